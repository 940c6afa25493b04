/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's life on the real QEMU: started, traced, adopted, ended. Its state's way out and in:
 * test-qemu-migration.c. */
#include "counting-guest.h"
#include "error.h"
#include "trace.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static void
test_pause_and_resume(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    g_assert_no_error(error);
    GwVmm *vmm = gw_qemu_vmm(qemu);
    counting_guest_assert_run_state(qemu, "prelaunch");
    counting_guest_assert_still(f);
    gint64 before = g_get_monotonic_time(), resumed_us = -1;
    gw_vmm_resume(vmm, &resumed_us, &error);
    g_assert_no_error(error);
    /* By the wall clock, which may be set meanwhile, but not by a second. */
    g_assert_cmpint(resumed_us, >, before - G_USEC_PER_SEC);
    g_assert_cmpint(resumed_us, <=, g_get_monotonic_time());
    counting_guest_await_counting(f);
    g_assert_true(gw_vmm_resume(vmm, &resumed_us, &error));
    g_assert_cmpint(resumed_us, ==, 0);
    g_assert_true(gw_qemu_announce(qemu, &error));

    gw_vmm_pause(vmm, &error);
    g_assert_no_error(error);
    counting_guest_assert_run_state(qemu, "paused");
    counting_guest_assert_still(f);
    counting_guest_end(qemu);
}

static void
test_regions_and_trace(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    g_assert_no_error(error);
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    gw_vmm_regions(gw_qemu_vmm(qemu), regions, &error);
    g_assert_no_error(error);
    guint64 covered = 0;
    for (guint i = 0; i < regions->len; i++) {
        g_assert_cmpuint(g_array_index(regions, GwMemRegion, i).mem_off, ==, covered);
        covered += g_array_index(regions, GwMemRegion, i).size_bytes;
    }
    g_assert_cmpuint(covered, ==, COUNTING_MEMORY_BYTES);

    gw_vmm_resume(gw_qemu_vmm(qemu), NULL, &error);
    counting_guest_await_counting(f);
    g_autoptr(GwTrace) trace = gw_trace_arm(gw_qemu_uffd(qemu), gw_qemu_process(qemu)->pid,
                                            (GwMemRegion *)(void *)regions->data, regions->len, &error);
    g_assert_no_error(error);
    counting_guest_await_counting(f);
    guint64 at = 0;
    GwTraceRun run;
    /* The guest writes the counter's page and, its firmware being done, no other below it. */
    g_assert_cmpint(gw_trace_scan(trace, &at, COUNTING_GPA + 4096, &run, 1), ==, 1);
    g_assert_cmpuint(run.mem_off, ==, COUNTING_GPA);
    g_assert_cmpuint(run.size_bytes, ==, 4096);
    gw_qemu_kill(qemu);
    gw_trace_free(g_steal_pointer(&trace));
    gw_qemu_free(qemu);
}

static void
test_adoption(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *owner = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    g_assert_no_error(error);
    gw_vmm_resume(gw_qemu_vmm(owner), NULL, &error);
    pid_t pid = gw_qemu_process(owner)->pid;
    gw_qemu_free(owner); /* lets go of it, as a death would */
    counting_guest_await_counting(f);

    GwQemuHooks hooks = counting_guest_hooks(f, 0);
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    GwImage *image = NULL;
    g_assert_true(gw_process_open(pid, &process, &error));
    GwQemu *adopted = gw_qemu_adopt(&process, COUNTING_UUID, &hooks, &image, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(gw_image_inode(image), ==, gw_image_inode(f->image));
    g_assert_cmpint(gw_qemu_uffd(adopted), >=, 0);
    counting_guest_assert_run_state(adopted, "running");
    gw_qemu_kill(adopted);
    gw_qemu_free(adopted);
    gw_image_free(image);

    /* A process that does not hold the image is not taken. */
    g_assert_true(gw_process_open(getppid(), &process, &error));
    g_assert_null(gw_qemu_adopt(&process, COUNTING_UUID, &hooks, &image, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
}

static void
test_what_is_no_qemu(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    g_assert_null(counting_guest_start(f, 0, false, "/nonexistent/qemu", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_clear_error(&error);
    gint64 began = g_get_monotonic_time();
    g_assert_null(counting_guest_start(f, 0, false, "/bin/false", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_VMM_FAILED);
    g_assert_nonnull(strstr(error->message, "exit status 1"));
    g_assert_cmpint(g_get_monotonic_time() - began, <, 2 * G_TIME_SPAN_SECOND);
}

static void
test_end_is_told(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
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
    const struct {
        const char *path;
        void (*run)(CountingGuest *, const void *);
    } tests[] = {
        {"/qemu/pause-and-resume", test_pause_and_resume},
        {"/qemu/regions-and-trace", test_regions_and_trace},
        {"/qemu/adoption", test_adoption},
        {"/qemu/no-qemu", test_what_is_no_qemu},
        {"/qemu/end", test_end_is_told},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, CountingGuest, NULL, counting_guest_set_up, tests[i].run,
                   counting_guest_tear_down);
    return g_test_run();
}
