/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that counts, on the real QEMU. */
#include "counting-guest.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define QEMU           "/usr/bin/qemu-system-x86_64"
#define MAX_RUNNING    2
/* raw_apply_lock_bytes() in QEMU's block/file-posix.c: permissions used and not shared, a byte each. */
#define QEMU_LOCK_BASE 100
#define QEMU_LOCK_SIZE 200

/* cli (the timer's handler would write memory, too); xor ax,ax; mov ds,ax; loop: inc dword [0x8000]; jmp loop
 */
static const unsigned char boot_code[] = {0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66,
                                          0xff, 0x06, 0x00, 0x80, 0xeb, 0xf9};

static volatile pid_t running[MAX_RUNNING]; /* by place, that which was started last */

/* An assertion that fails aborts: the QEMU of the test must not go on without it. */
static void
on_abort(int signal_number)
{
    for (int i = 0; i < MAX_RUNNING; i++)
        if (running[i] > 0)
            kill(running[i], SIGKILL);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void
on_event(const char *event, JsonObject *data, gint64 when_us, void *user_data)
{
    CountingGuest *self = user_data;
    g_mutex_lock(&self->lock);
    g_string_append_printf(self->events, "%s ", event);
    g_mutex_unlock(&self->lock);
}

static void
make_disk(const CountingGuest *self)
{
    g_autoptr(GError) error = NULL;
    char sector[512] = {0};
    memcpy(sector, boot_code, sizeof boot_code);
    sector[510] = 0x55;
    sector[511] = (char)0xaa;
    g_file_set_contents(self->disk, sector, sizeof sector, &error);
    g_assert_no_error(error);
    /* SeaBIOS does not read from a virtio disk of less than a cylinder. */
    g_assert_cmpint(truncate(self->disk, 16 << 20), ==, 0);
}

void
counting_guest_set_up(CountingGuest *self, const void *data)
{
    g_autoptr(GError) error = NULL;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGABRT, on_abort);
    signal(SIGTRAP, on_abort);
    self->directory = g_dir_make_tmp("godwit-qemu-XXXXXX", &error);
    g_assert_no_error(error);
    self->disk = g_build_filename(self->directory, "boot.raw", NULL);
    self->qmp[0] = g_build_filename(self->directory, "qmp0.sock", NULL);
    self->qmp[1] = g_build_filename(self->directory, "qmp1.sock", NULL);
    self->log = g_build_filename(self->directory, "qemu.log", NULL);
    self->events = g_string_new(NULL);
    make_disk(self);

    self->config = gw_vm_config_parse(
        "{\"name\":\"counter\",\"uuid\":\"" COUNTING_UUID "\",\"machine\":\"pc-i440fx-7.2\","
        "\"vcpus\":1,\"cpu_model\":\"qemu64\",\"memory_mib\":64,\"serial_ports\":0,"
        "\"boot\":{\"kind\":\"bios\"},"
        "\"disks\":[{\"datastore\":\"ds\",\"path\":\"boot.raw\",\"format\":\"raw\"}]}",
        -1, &error);
    g_assert_no_error(error);
    self->image = gw_image_new(COUNTING_UUID, COUNTING_MEMORY_BYTES, &error);
    g_assert_no_error(error);
    self->map = mmap(NULL, COUNTING_MEMORY_BYTES, PROT_READ, MAP_SHARED, gw_image_fd(self->image), 0);
    g_assert_true(self->map != MAP_FAILED);
    self->counter = (volatile guint32 *)((char *)self->map + COUNTING_GPA);
}

void
counting_guest_tear_down(CountingGuest *self, const void *data)
{
    munmap(self->map, COUNTING_MEMORY_BYTES);
    gw_image_free(self->image);
    gw_vm_config_free(self->config);
    char *files[] = {self->disk, self->qmp[0], self->qmp[1], self->log};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_unlink(files[i]);
        g_free(files[i]);
    }
    g_rmdir(self->directory);
    g_free(self->directory);
    g_string_free(self->events, TRUE);
}

const char *
counting_guest_binary(void)
{
    const char *binary = g_getenv("GODWIT_QEMU");
    return binary ? binary : QEMU;
}

bool
counting_guest_cannot_run(void)
{
    if (access(counting_guest_binary(), X_OK) != 0)
        g_test_skip("QEMU is not installed");
    else if (access("/dev/userfaultfd", R_OK | W_OK) != 0)
        g_test_skip("/dev/userfaultfd does not open: needs Linux 6.7 and root");
    else
        return false;
    return true;
}

GwQemuHooks
counting_guest_hooks(CountingGuest *self, unsigned place)
{
    return (GwQemuHooks){
        .qmp_path = self->qmp[place], .log_path = self->log, .event = on_event, .user_data = self};
}

GwQemu *
counting_guest_start(CountingGuest *self, unsigned place, bool incoming, const char *binary, GError **error)
{
    const char *library = g_getenv("GODWIT_UFFD_LIBRARY");
    g_assert_nonnull(library);
    int rw_fd = open(self->disk, O_RDWR | O_CLOEXEC), ro_fd = open(self->disk, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(rw_fd, >=, 0);
    GwDiskFds disk = {.rw_fd = rw_fd, .ro_fd = ro_fd};
    GwQemuLaunch launch = {
        .binary = binary,
        .preload_library = library,
        .config = self->config,
        .accel = GW_ACCEL_TCG,
        .image = self->image,
        .fds = {.kernel_fd = -1, .initrd_fd = -1, .uefi_vars_fd = -1, .disks = &disk},
        .incoming = incoming,
        .record_fd = -1,
    };
    g_unlink(self->qmp[place]);
    GwQemuHooks hooks = counting_guest_hooks(self, place);
    GwQemu *started = gw_qemu_start(&launch, &hooks, error);
    close(rw_fd);
    close(ro_fd);
    running[place] = started ? gw_qemu_process(started)->pid : 0;
    return started;
}

void
counting_guest_end(GwQemu *qemu)
{
    gw_qemu_kill(qemu);
    g_free(gw_process_reap(gw_qemu_process(qemu)));
    gw_qemu_free(qemu);
}

void
counting_guest_await_counting(const CountingGuest *self)
{
    guint32 from = *self->counter;
    gint64 deadline = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (*self->counter - from < 1000 && g_get_monotonic_time() < deadline)
        g_thread_yield();
    g_assert_cmpuint(*self->counter - from, >=, 1000);
}

void
counting_guest_assert_still(const CountingGuest *self)
{
    guint32 from = *self->counter;
    gint64 until = g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND;
    while (g_get_monotonic_time() < until)
        g_thread_yield();
    g_assert_cmpuint(*self->counter, ==, from);
}

void
counting_guest_assert_run_state(GwQemu *qemu, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *state = gw_qemu_run_state(qemu, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(state, ==, expected);
}

bool
counting_guest_disk_is_held(const CountingGuest *self)
{
    int fd = open(self->disk, O_RDWR | O_CLOEXEC);
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = QEMU_LOCK_BASE, .l_len = QEMU_LOCK_SIZE};
    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &lock), ==, 0);
    close(fd);
    return lock.l_type != F_UNLCK;
}
