/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The five functions of vmm.h on the real QEMU: a guest of twelve bytes counts in its memory, is paused, its
 * state saved, its QEMU killed, and it goes on counting in another QEMU on the same memory. */
#include "error.h"
#include "qemu.h"
#include "trace.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define QEMU         "/usr/bin/qemu-system-x86_64"
#define UUID         "9f1d6f0a-3c0b-4b43-8f29-0e6a4f5d2b11"
#define MEMORY_BYTES (64ull << 20)
#define COUNTER_GPA  0x8000

/* cli (the timer's handler would write memory, too); xor ax,ax; mov ds,ax; loop: inc dword [0x8000]; jmp loop
 */
static const unsigned char boot_code[] = {0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66,
                                          0xff, 0x06, 0x00, 0x80, 0xeb, 0xf9};

typedef struct {
    char *directory, *disk, *qmp, *log, *state;
    GwVmConfig *config;
    GwImage *image;
    volatile guint32 *counter; /* in the mapped image */
    void *map;
    GMutex lock;
    GCond changed;
    GString *events; /* names, a space behind each */
} Fixture;

static volatile pid_t running_pid; /* of the QEMU that was started last */

static void
on_event(const char *event, JsonObject *data, gint64 when_us, void *user_data)
{
    Fixture *f = user_data;
    g_mutex_lock(&f->lock);
    g_string_append_printf(f->events, "%s ", event);
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
}

static void
set_up(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    f->directory = g_dir_make_tmp("godwit-qemu-XXXXXX", &error);
    g_assert_no_error(error);
    f->disk = g_build_filename(f->directory, "boot.raw", NULL);
    f->qmp = g_build_filename(f->directory, "qmp.sock", NULL);
    f->log = g_build_filename(f->directory, "qemu.log", NULL);
    f->state = g_build_filename(f->directory, "state", NULL);
    f->events = g_string_new(NULL);

    char sector[512] = {0};
    memcpy(sector, boot_code, sizeof boot_code);
    sector[510] = 0x55;
    sector[511] = (char)0xaa;
    g_file_set_contents(f->disk, sector, sizeof sector, &error);
    g_assert_no_error(error);
    /* SeaBIOS does not read from a virtio disk of less than a cylinder. */
    g_assert_cmpint(truncate(f->disk, 16 << 20), ==, 0);

    f->config =
        gw_vm_config_parse("{\"name\":\"counter\",\"uuid\":\"" UUID "\",\"machine\":\"pc-i440fx-7.2\","
                           "\"vcpus\":1,\"cpu_model\":\"qemu64\",\"memory_mib\":64,\"serial_ports\":0,"
                           "\"boot\":{\"kind\":\"bios\"},"
                           "\"disks\":[{\"datastore\":\"ds\",\"path\":\"boot.raw\",\"format\":\"raw\"}]}",
                           -1, &error);
    g_assert_no_error(error);
    f->image = gw_image_new(UUID, MEMORY_BYTES, &error);
    g_assert_no_error(error);
    f->map = mmap(NULL, MEMORY_BYTES, PROT_READ, MAP_SHARED, gw_image_fd(f->image), 0);
    g_assert_true(f->map != MAP_FAILED);
    f->counter = (volatile guint32 *)((char *)f->map + COUNTER_GPA);
}

/* An assertion that fails aborts: the QEMU of the test must not go on without it. */
static void
on_abort(int signal_number)
{
    if (running_pid > 0)
        kill(running_pid, SIGKILL);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void
tear_down(Fixture *f, const void *data)
{
    munmap(f->map, MEMORY_BYTES);
    gw_image_free(f->image);
    gw_vm_config_free(f->config);
    const char *files[] = {f->disk, f->qmp, f->log, f->state};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        g_unlink(files[i]);
    g_rmdir(f->directory);
    g_string_free(f->events, TRUE);
    g_free(f->disk);
    g_free(f->qmp);
    g_free(f->log);
    g_free(f->state);
    g_free(f->directory);
}

static const char *
library(void)
{
    const char *path = g_getenv("GODWIT_UFFD_LIBRARY");
    g_assert_nonnull(path);
    return path;
}

/* NULL after g_test_skip() where this machine cannot run it. */
static GwQemu *
start(Fixture *f, bool incoming, const char *qemu, GError **error)
{
    int rw_fd = open(f->disk, O_RDWR | O_CLOEXEC), ro_fd = open(f->disk, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(rw_fd, >=, 0);
    GwDiskFds disk = {.rw_fd = rw_fd, .ro_fd = ro_fd};
    GwQemuLaunch launch = {
        .binary = qemu,
        .preload_library = library(),
        .config = f->config,
        .accel = GW_ACCEL_TCG,
        .image = f->image,
        .fds = {.kernel_fd = -1, .initrd_fd = -1, .uefi_vars_fd = -1, .disks = &disk},
        .incoming = incoming,
        .record_fd = -1,
    };
    GwQemuHooks hooks = {.qmp_path = f->qmp, .log_path = f->log, .event = on_event, .user_data = f};
    GwQemu *started = gw_qemu_start(&launch, &hooks, error);
    close(rw_fd);
    close(ro_fd);
    running_pid = started ? gw_qemu_process(started)->pid : 0;
    return started;
}

static bool
cannot_run(void)
{
    if (access(QEMU, X_OK) != 0)
        g_test_skip(QEMU " is not installed");
    else if (access("/dev/userfaultfd", R_OK | W_OK) != 0)
        g_test_skip("/dev/userfaultfd does not open: needs Linux 6.7 and root");
    else
        return false;
    return true;
}

/* Waits until the guest has counted on; fails after ten seconds of its standing still. */
static void
await_counting(const Fixture *f)
{
    guint32 from = *f->counter;
    gint64 deadline = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (*f->counter - from < 1000 && g_get_monotonic_time() < deadline)
        g_thread_yield();
    g_assert_cmpuint(*f->counter - from, >=, 1000);
}

static void
assert_still(const Fixture *f)
{
    guint32 from = *f->counter;
    gint64 until = g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND;
    while (g_get_monotonic_time() < until)
        g_thread_yield();
    g_assert_cmpuint(*f->counter, ==, from);
}

static void
assert_run_state(GwQemu *qemu, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *state = gw_qemu_run_state(qemu, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(state, ==, expected);
}

static void
test_state_moves_to_another_qemu(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *first = start(f, false, QEMU, &error);
    g_assert_no_error(error);
    assert_run_state(first, "prelaunch");
    assert_still(f);
    gw_vmm_resume(gw_qemu_vmm(first), &error);
    g_assert_no_error(error);
    await_counting(f);

    gw_vmm_pause(gw_qemu_vmm(first), &error);
    g_assert_no_error(error);
    assert_still(f);
    guint32 at_pause = *f->counter;
    int state = open(f->state, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gw_vmm_save_state(gw_qemu_vmm(first), state, &error);
    g_assert_no_error(error);
    /* Some hundred kilobytes: the memory is not in it. */
    off_t size = lseek(state, 0, SEEK_END);
    g_assert_cmpint(size, >, 1000);
    g_assert_cmpint(size, <, 2 << 20);
    gw_qemu_kill(first);
    gw_qemu_free(first);

    GwQemu *second = start(f, true, QEMU, &error);
    g_assert_no_error(error);
    assert_run_state(second, "inmigrate");
    g_assert_cmpint(lseek(state, 0, SEEK_SET), ==, 0);
    gw_vmm_load_state(gw_qemu_vmm(second), state, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(*f->counter, ==, at_pause);
    assert_still(f);
    gw_vmm_resume(gw_qemu_vmm(second), &error);
    g_assert_no_error(error);
    await_counting(f);
    gw_qemu_kill(second);
    gw_qemu_free(second);
    close(state);
}

static void
test_source_goes_on_after_a_save(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start(f, false, QEMU, &error);
    g_assert_no_error(error);
    gw_vmm_resume(gw_qemu_vmm(qemu), &error);
    await_counting(f);
    for (int round = 0; round < 3; round++) {
        int state = open("/dev/null", O_WRONLY | O_CLOEXEC);
        gw_vmm_pause(gw_qemu_vmm(qemu), &error);
        gw_vmm_save_state(gw_qemu_vmm(qemu), state, &error);
        g_assert_no_error(error);
        close(state);
        gw_vmm_resume(gw_qemu_vmm(qemu), &error);
        g_assert_no_error(error);
        await_counting(f);
    }
    gw_qemu_kill(qemu);
    gw_qemu_free(qemu);
}

static void
test_a_broken_state_is_refused(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start(f, true, QEMU, &error);
    g_assert_no_error(error);
    int state = open(f->state, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(write(state, "no state at all", 15), ==, 15);
    lseek(state, 0, SEEK_SET);
    g_assert_false(gw_vmm_load_state(gw_qemu_vmm(qemu), state, &error));
    g_assert_nonnull(error);
    gw_qemu_kill(qemu);
    gw_qemu_free(qemu);
    close(state);
}

static void
test_regions_and_trace(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start(f, false, QEMU, &error);
    g_assert_no_error(error);
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    gw_vmm_regions(gw_qemu_vmm(qemu), regions, &error);
    g_assert_no_error(error);
    guint64 covered = 0;
    for (guint i = 0; i < regions->len; i++) {
        g_assert_cmpuint(g_array_index(regions, GwMemRegion, i).mem_off, ==, covered);
        covered += g_array_index(regions, GwMemRegion, i).size_bytes;
    }
    g_assert_cmpuint(covered, ==, MEMORY_BYTES);

    gw_vmm_resume(gw_qemu_vmm(qemu), &error);
    await_counting(f);
    g_autoptr(GwTrace) trace = gw_trace_arm(gw_qemu_uffd(qemu), gw_qemu_process(qemu)->pid,
                                            (GwMemRegion *)(void *)regions->data, regions->len, &error);
    g_assert_no_error(error);
    await_counting(f);
    guint64 at = 0;
    GwTraceRun run;
    /* The guest writes the counter's page and, its firmware being done, no other below it. */
    g_assert_cmpint(gw_trace_scan(trace, &at, COUNTER_GPA + 4096, &run, 1), ==, 1);
    g_assert_cmpuint(run.mem_off, ==, COUNTER_GPA);
    g_assert_cmpuint(run.size_bytes, ==, 4096);
    gw_qemu_kill(qemu);
    gw_trace_free(g_steal_pointer(&trace));
    gw_qemu_free(qemu);
}

static void
test_adoption(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *owner = start(f, false, QEMU, &error);
    g_assert_no_error(error);
    gw_vmm_resume(gw_qemu_vmm(owner), &error);
    pid_t pid = gw_qemu_process(owner)->pid;
    gw_qemu_free(owner); /* lets go of it, as a death would */
    await_counting(f);

    GwQemuHooks hooks = {.qmp_path = f->qmp, .log_path = f->log, .event = on_event, .user_data = f};
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    GwImage *image = NULL;
    g_assert_true(gw_process_open(pid, &process, &error));
    GwQemu *adopted = gw_qemu_adopt(&process, UUID, &hooks, &image, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(gw_image_inode(image), ==, gw_image_inode(f->image));
    g_assert_cmpint(gw_qemu_uffd(adopted), >=, 0);
    assert_run_state(adopted, "running");
    gw_qemu_kill(adopted);
    gw_qemu_free(adopted);
    gw_image_free(image);

    /* A process that does not hold the image is not taken. */
    g_assert_true(gw_process_open(getppid(), &process, &error));
    g_assert_null(gw_qemu_adopt(&process, UUID, &hooks, &image, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
}

static void
test_what_is_no_qemu(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    g_assert_null(start(f, false, "/nonexistent/qemu", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_clear_error(&error);
    gint64 began = g_get_monotonic_time();
    g_assert_null(start(f, false, "/bin/false", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_VMM_FAILED);
    g_assert_nonnull(strstr(error->message, "exit status 1"));
    g_assert_cmpint(g_get_monotonic_time() - began, <, 2 * G_TIME_SPAN_SECOND);
}

static void
test_end_is_told(Fixture *f, const void *data)
{
    if (cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start(f, false, QEMU, &error);
    g_assert_no_error(error);
    gw_process_signal(gw_qemu_process(qemu), SIGTERM);
    g_assert_true(gw_process_wait(gw_qemu_process(qemu), 5000));
    gw_qemu_drain(qemu);
    g_assert_nonnull(strstr(f->events->str, "SHUTDOWN"));
    g_autofree char *how = gw_process_reap(gw_qemu_process(qemu));
    g_assert_cmpstr(how, ==, "exit status 0");
    g_autofree char *words = gw_qemu_last_words(f->log);
    g_assert_nonnull(strstr(words, "terminating on signal 15"));
    g_assert_false(gw_vmm_pause(gw_qemu_vmm(qemu), &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    gw_qemu_free(qemu);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGABRT, on_abort);
    signal(SIGTRAP, on_abort);
    const struct {
        const char *path;
        void (*run)(Fixture *, const void *);
    } tests[] = {
        {"/qemu/state-moves", test_state_moves_to_another_qemu},
        {"/qemu/source-goes-on", test_source_goes_on_after_a_save},
        {"/qemu/broken-state", test_a_broken_state_is_refused},
        {"/qemu/regions-and-trace", test_regions_and_trace},
        {"/qemu/adoption", test_adoption},
        {"/qemu/no-qemu", test_what_is_no_qemu},
        {"/qemu/end", test_end_is_told},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
    return g_test_run();
}
