/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state of CPUs and devices on its way out of the real QEMU and into another, and back from every step.
 *
 * Both QEMUs have the same memory (a destination touches none of it before it is resumed), so that what the
 * guest counted tells whether the state fits it. */
#include "counting-guest.h"
#include "error.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Carries the state from the socket that the source writes to that which the destination reads, as a motion
 * does; with no destination it drops it. */
typedef struct {
    int source[2], destination[2]; /* [0] is QEMU's end, [1] is ours */
    bool to_destination;
    GThread *thread;
    gint n_bytes; /* atomic */
    gint hold;    /* atomic; reads at most once more */
} Pump;

static gpointer
pump_thread(gpointer data)
{
    Pump *self = data;
    char buffer[16384];
    ssize_t n;
    while (!g_atomic_int_get(&self->hold) && (n = read(self->source[1], buffer, sizeof buffer)) > 0) {
        if (self->to_destination && send(self->destination[1], buffer, (size_t)n, MSG_NOSIGNAL) != n)
            break;
        g_atomic_int_add(&self->n_bytes, (gint)n);
    }
    if (self->to_destination)
        shutdown(self->destination[1], SHUT_WR);
    return NULL;
}

static void
pump_init(Pump *self)
{
    *self = (Pump){0};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->source), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->destination), ==, 0);
}

/* QEMU then gets stuck amid the state when nobody reads it. */
static void
make_narrow(Pump *self)
{
    int least = 4096;
    g_assert_cmpint(setsockopt(self->source[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), ==, 0);
}

static void
pump_start(Pump *self, bool to_destination)
{
    self->to_destination = to_destination;
    self->thread = g_thread_new("pump", pump_thread, self);
}

/* Returns when the source's end has been seen, which is a test of its own. */
static void
pump_join(Pump *self)
{
    if (self->thread)
        g_thread_join(g_steal_pointer(&self->thread));
}

static void
close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void
pump_clear(Pump *self)
{
    pump_join(self);
    for (int i = 0; i < 2; i++) {
        close_end(&self->source[i]);
        close_end(&self->destination[i]);
    }
}

static GwQemu *
start_counting(CountingGuest *f)
{
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = counting_guest_start(f, 0, false, counting_guest_binary(), &error);
    g_assert_no_error(error);
    gw_vmm_resume(gw_qemu_vmm(qemu), NULL, &error);
    g_assert_no_error(error);
    counting_guest_await_counting(f);
    return qemu;
}

static void
prepare_save(GwQemu *qemu, Pump *pump)
{
    g_autoptr(GError) error = NULL;
    gw_vmm_prepare_save(gw_qemu_vmm(qemu), pump->source[0], &error);
    g_assert_no_error(error);
    close_end(&pump->source[0]);
}

static void
await_bytes(Pump *pump, gint n_bytes)
{
    gint64 deadline = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;
    while (g_atomic_int_get(&pump->n_bytes) < n_bytes && g_get_monotonic_time() < deadline)
        g_thread_yield();
    g_assert_cmpint(g_atomic_int_get(&pump->n_bytes), >=, n_bytes);
}

typedef struct {
    gint64 stop, save, load, resume, pause;
} Times;

/* One motion of the state from `from` to a new QEMU at the other place. Ends `from`. */
static GwQemu *
move_state(CountingGuest *f, GwQemu *from, unsigned to_place, Times *ret_times)
{
    g_autoptr(GError) error = NULL;
    Pump pump;
    pump_init(&pump);
    GwQemu *to = counting_guest_start(f, to_place, true, counting_guest_binary(), &error);
    g_assert_no_error(error);
    GwVmm *source = gw_qemu_vmm(from), *destination = gw_qemu_vmm(to);
    g_assert_true(gw_vmm_prepare_load(destination, pump.destination[0], &error));
    close_end(&pump.destination[0]);
    prepare_save(from, &pump);
    pump_start(&pump, true);
    counting_guest_await_counting(f); /* still runs */

    gint64 stopped_us = -1, resumed_us = -1, t0 = g_get_monotonic_time();
    gw_vmm_stop(source, &stopped_us, &error);
    g_assert_no_error(error);
    gint64 t1 = g_get_monotonic_time();
    guint32 at_stop = *f->counter;
    gint n_head = g_atomic_int_get(&pump.n_bytes);
    gint64 t2 = g_get_monotonic_time();
    gw_vmm_save(source, &error);
    g_assert_no_error(error);
    gw_vmm_await_saved(source, &error);
    g_assert_no_error(error);
    gint64 t3 = g_get_monotonic_time();
    gw_vmm_await_loaded(destination, &error);
    g_assert_no_error(error);
    gint64 t4 = g_get_monotonic_time();
    gw_vmm_resume(destination, &resumed_us, &error);
    g_assert_no_error(error);
    gint64 t5 = g_get_monotonic_time();
    *ret_times = (Times){t1 - t0, t3 - t2, t4 - t3, t5 - t4, resumed_us - stopped_us};

    g_assert_cmpuint(*f->counter, >=, at_stop);
    counting_guest_await_counting(f);
    pump_join(&pump);
    g_test_message("head %d of %d bytes; us: stop %" G_GINT64_FORMAT ", save %" G_GINT64_FORMAT
                   ", load after it %" G_GINT64_FORMAT ", resume %" G_GINT64_FORMAT
                   ", STOP to RESUME %" G_GINT64_FORMAT,
                   n_head, g_atomic_int_get(&pump.n_bytes), ret_times->stop, ret_times->save, ret_times->load,
                   ret_times->resume, ret_times->pause);
    pump_clear(&pump);
    counting_guest_end(from);
    return to;
}

/* Three hops: what has arrived leaves again. */
static void
test_state_moves_on_and_on(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    GwQemu *qemu = start_counting(f);
    for (unsigned hop = 1; hop <= 3; hop++) {
        Times times;
        qemu = move_state(f, qemu, hop % 2, &times);
        g_assert_cmpint(times.pause, >, 0);
        counting_guest_assert_run_state(qemu, "running");
    }
    counting_guest_end(qemu);
}

/* Set up, the guest runs on for as long as nobody reads the state's head, and stops soon after somebody does.
 */
static void
test_set_up_before_the_stop(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    Pump pump;
    pump_init(&pump);
    int few = 48 * 1024; /* as motion/source.c has it */
    setsockopt(pump.source[0], SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    GwQemu *from = start_counting(f);
    GwVmm *source = gw_qemu_vmm(from);
    prepare_save(from, &pump);
    gw_vmm_begin_save(source, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < 3; i++) {
        counting_guest_await_counting(f);
        g_usleep(20 * 1000);
        counting_guest_assert_run_state(from, "running");
    }
    gint64 stopped_us = 0, opened_us = g_get_monotonic_time();
    pump_start(&pump, false);
    gw_vmm_stop(source, &stopped_us, &error);
    g_assert_no_error(error);
    g_assert_cmpint(stopped_us, >=, opened_us);
    /* And back, from there as from the set-up alone. */
    gw_vmm_take_back(source, &error);
    g_assert_no_error(error);
    counting_guest_await_counting(f);
    pump_clear(&pump);

    pump_init(&pump);
    setsockopt(pump.source[0], SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    prepare_save(from, &pump);
    gw_vmm_begin_save(source, &error);
    g_assert_no_error(error);
    gw_vmm_take_back(source, &error);
    g_assert_no_error(error);
    counting_guest_assert_run_state(from, "running");
    counting_guest_await_counting(f);
    pump_clear(&pump);
    counting_guest_end(from);
}

/* What each step promises, looked at one by one. */
static void
test_steps_keep_their_promises(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    Pump pump;
    pump_init(&pump);
    GwQemu *from = start_counting(f);
    GwQemu *to = counting_guest_start(f, 1, true, counting_guest_binary(), &error);
    g_assert_no_error(error);
    GwVmm *source = gw_qemu_vmm(from), *destination = gw_qemu_vmm(to);
    prepare_save(from, &pump);
    pump_start(&pump, true);
    g_assert_true(gw_vmm_prepare_load(destination, pump.destination[0], &error));

    g_assert_true(gw_vmm_stop(source, NULL, &error));
    counting_guest_assert_run_state(from, "finish-migrate");
    counting_guest_assert_still(f);
    g_assert_true(counting_guest_disk_is_held(f));
    /* The head, and it does not hold the devices: a destination that has read it still waits. */
    await_bytes(&pump, 1000);
    counting_guest_assert_run_state(to, "inmigrate");

    g_assert_true(gw_vmm_save(source, &error));
    g_assert_true(gw_vmm_await_saved(source, &error));
    g_assert_false(counting_guest_disk_is_held(f));
    guint32 at_stop = *f->counter;
    pump_join(&pump);
    /* Some hundred kilobytes: the memory is not in it. */
    g_assert_cmpint(pump.n_bytes, <, 2 << 20);

    g_assert_true(gw_vmm_await_loaded(destination, &error));
    counting_guest_assert_run_state(to, "paused");
    counting_guest_assert_still(f);
    g_assert_cmpuint(*f->counter, ==, at_stop);
    g_assert_false(counting_guest_disk_is_held(f));
    counting_guest_end(from);
    g_assert_true(gw_vmm_resume(destination, NULL, &error));
    g_assert_true(counting_guest_disk_is_held(f));
    counting_guest_await_counting(f);
    pump_clear(&pump);
    counting_guest_end(to);
}

typedef enum {
    STEP_NONE,
    STEP_PREPARED,
    STEP_STOPPED,
    STEP_SAVING,
    STEP_STUCK, /* nobody reads, and QEMU does not get on with writing */
    STEP_SAVED,
    N_STEPS
} Step;

/* To the step, and back. */
static void
take_back_from(GwQemu *qemu, Step step)
{
    g_autoptr(GError) error = NULL;
    GwVmm *vmm = gw_qemu_vmm(qemu);
    Pump pump;
    pump_init(&pump);
    if (step == STEP_STUCK)
        make_narrow(&pump);
    if (step >= STEP_PREPARED) {
        prepare_save(qemu, &pump);
        pump_start(&pump, false);
    }
    if (step >= STEP_STOPPED)
        g_assert_true(gw_vmm_stop(vmm, NULL, &error));
    g_atomic_int_set(&pump.hold, step == STEP_STUCK);
    if (step >= STEP_SAVING && !gw_vmm_save(vmm, &error) && step == STEP_STUCK) {
        /* It was stuck, with its big lock, before it had answered. */
        g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
        g_clear_error(&error);
    }
    g_assert_no_error(error);
    if (step == STEP_SAVED)
        g_assert_true(gw_vmm_await_saved(vmm, &error));
    g_assert_no_error(error);

    gw_vmm_take_back(vmm, &error);
    g_assert_no_error(error);
    pump_clear(&pump); /* whoever reads the state has seen its end */
}

static void
test_takes_back_a_running_guest(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    GwQemu *qemu = start_counting(f);
    for (int round = 0; round < 2; round++)
        for (Step step = STEP_NONE; step < N_STEPS; step++) {
            take_back_from(qemu, step);
            counting_guest_assert_run_state(qemu, "running");
            counting_guest_await_counting(f);
            g_assert_true(counting_guest_disk_is_held(f));
        }
    Times times;
    qemu = move_state(f, qemu, 1, &times);
    counting_guest_end(qemu);
}

/* QEMU 7.2 refuses to save such a guest once more, and any does after a complete state: that is said. */
static void
assert_can_leave_or_says_why_not(GwQemu *qemu)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *state = gw_qemu_run_state(qemu, &error);
    Pump pump;
    pump_init(&pump);
    if (g_str_equal(state, "paused")) {
        g_assert_true(gw_vmm_prepare_save(gw_qemu_vmm(qemu), pump.source[0], &error));
        g_assert_true(gw_vmm_take_back(gw_qemu_vmm(qemu), &error));
    } else {
        g_assert_cmpstr(state, ==, "postmigrate");
        g_assert_false(gw_vmm_prepare_save(gw_qemu_vmm(qemu), pump.source[0], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    }
    pump_clear(&pump);
}

static void
test_takes_back_a_paused_guest(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start_counting(f);
    for (Step step = STEP_NONE; step < N_STEPS; step++) {
        g_assert_true(gw_vmm_pause(gw_qemu_vmm(qemu), &error));
        guint32 at_pause = *f->counter;
        take_back_from(qemu, step);
        counting_guest_assert_still(f);
        g_assert_cmpuint(*f->counter, ==, at_pause);
        assert_can_leave_or_says_why_not(qemu);
        g_assert_true(gw_vmm_resume(gw_qemu_vmm(qemu), NULL, &error));
        counting_guest_await_counting(f);
        g_assert_true(counting_guest_disk_is_held(f));
    }
    counting_guest_end(qemu);
}

/* A guest that was paused arrives paused, and was not stopped by us. */
static void
test_moves_a_paused_guest(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    Pump pump;
    pump_init(&pump);
    GwQemu *from = start_counting(f);
    GwQemu *to = counting_guest_start(f, 1, true, counting_guest_binary(), &error);
    g_assert_no_error(error);
    g_assert_true(gw_vmm_pause(gw_qemu_vmm(from), &error));
    prepare_save(from, &pump);
    pump_start(&pump, true);
    g_assert_true(gw_vmm_prepare_load(gw_qemu_vmm(to), pump.destination[0], &error));
    gint64 stopped_us = -1;
    g_assert_true(gw_vmm_stop(gw_qemu_vmm(from), &stopped_us, &error));
    g_assert_cmpint(stopped_us, ==, 0);
    g_assert_true(gw_vmm_save(gw_qemu_vmm(from), &error));
    g_assert_true(gw_vmm_await_saved(gw_qemu_vmm(from), &error));
    g_assert_true(gw_vmm_await_loaded(gw_qemu_vmm(to), &error));
    counting_guest_end(from);
    counting_guest_assert_run_state(to, "paused");
    counting_guest_assert_still(f);
    g_assert_true(gw_vmm_resume(gw_qemu_vmm(to), NULL, &error));
    counting_guest_await_counting(f);
    pump_clear(&pump);
    counting_guest_end(to);
}

/* The link, or the thread that reads the state, dies: QEMU fails by itself. */
static void
test_goes_on_when_the_reader_dies(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    GwQemu *qemu = start_counting(f);
    GwVmm *vmm = gw_qemu_vmm(qemu);
    for (Step dies_at = STEP_PREPARED; dies_at <= STEP_STOPPED; dies_at++) {
        g_autoptr(GError) error = NULL;
        Pump pump;
        pump_init(&pump);
        gint64 began = g_get_monotonic_time();
        prepare_save(qemu, &pump);
        if (dies_at == STEP_PREPARED)
            close_end(&pump.source[1]);
        bool stopped = gw_vmm_stop(vmm, NULL, &error);
        g_assert_true(stopped == (dies_at != STEP_PREPARED));
        close_end(&pump.source[1]);
        if (stopped)
            g_assert_false(gw_vmm_save(vmm, &error) && gw_vmm_await_saved(vmm, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_VMM_FAILED);
        g_clear_error(&error);
        g_assert_true(gw_vmm_take_back(vmm, &error));
        g_assert_cmpint(g_get_monotonic_time() - began, <, 5 * G_TIME_SPAN_SECOND);
        counting_guest_assert_run_state(qemu, "running");
        counting_guest_await_counting(f);
        pump_clear(&pump);
    }
    counting_guest_end(qemu);
}

static gpointer
kill_soon(gpointer qemu)
{
    g_usleep(50 *
             G_TIME_SPAN_MILLISECOND); /* the other thread waits by then, or meets a dead one: both end */
    gw_process_signal(gw_qemu_process(qemu), SIGKILL);
    return NULL;
}

/* A wait that would last for ever, as nobody reads the state, ends with QEMU; and whoever reads sees the end.
 */
static void
test_waits_end_with_qemu(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start_counting(f);
    GwVmm *vmm = gw_qemu_vmm(qemu);
    Pump pump;
    pump_init(&pump);
    make_narrow(&pump);
    prepare_save(qemu, &pump);
    pump_start(&pump, false);
    g_assert_true(gw_vmm_stop(vmm, NULL, &error));
    g_atomic_int_set(&pump.hold, true);
    g_assert_true(gw_vmm_save(vmm, &error));
    pump_join(&pump);

    g_autoptr(GThread) killer = g_thread_new("killer", kill_soon, qemu);
    gint64 began = g_get_monotonic_time();
    g_assert_false(gw_vmm_await_saved(vmm, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    g_clear_error(&error);
    g_assert_cmpint(g_get_monotonic_time() - began, >, 25 * G_TIME_SPAN_MILLISECOND);
    g_assert_false(gw_vmm_take_back(vmm, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    g_assert_cmpint(g_get_monotonic_time() - began, <, 2 * G_TIME_SPAN_SECOND);
    g_thread_join(g_steal_pointer(&killer));
    g_atomic_int_set(&pump.hold, false);
    pump_start(&pump, false);
    pump_clear(&pump);
    counting_guest_end(qemu);
}

static void
assert_load_fails(CountingGuest *f, const char *bytes, size_t n_bytes)
{
    g_autoptr(GError) error = NULL;
    Pump pump;
    pump_init(&pump);
    GwQemu *qemu = counting_guest_start(f, 0, true, counting_guest_binary(), &error);
    g_assert_no_error(error);
    gint64 began = g_get_monotonic_time();
    g_assert_true(gw_vmm_prepare_load(gw_qemu_vmm(qemu), pump.destination[0], &error));
    close_end(&pump.destination[0]);
    g_assert_cmpint(write(pump.destination[1], bytes, n_bytes), ==, (ssize_t)n_bytes);
    close_end(&pump.destination[1]);
    g_assert_false(gw_vmm_await_loaded(gw_qemu_vmm(qemu), &error));
    g_assert_true(g_error_matches(error, GW_ERROR, GW_ERROR_PEER_LOST) ||
                  g_error_matches(error, GW_ERROR, GW_ERROR_VMM_FAILED));
    g_assert_cmpint(g_get_monotonic_time() - began, <, 5 * G_TIME_SPAN_SECOND);
    pump_clear(&pump);
    counting_guest_end(qemu);
}

static void
test_a_broken_state_is_refused(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    assert_load_fails(f, "no state at all", 15);
    assert_load_fails(f, "QEVM\0\0\0\3", 8); /* a true beginning, cut short */
}

static void
test_wrong_orders_are_refused(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *qemu = start_counting(f);
    GwVmm *vmm = gw_qemu_vmm(qemu);
    bool (*const early[])(GwVmm *, GError **) = {gw_vmm_save, gw_vmm_await_saved};
    for (size_t i = 0; i < G_N_ELEMENTS(early); i++) {
        g_assert_false(early[i](vmm, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
        g_clear_error(&error);
    }
    g_assert_false(gw_vmm_stop(vmm, NULL, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_clear_error(&error);
    g_assert_false(gw_vmm_prepare_save(vmm, STDERR_FILENO, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    Pump pump;
    pump_init(&pump);
    g_assert_false(gw_vmm_prepare_load(vmm, pump.destination[0], &error)); /* it does not wait for one */
    g_assert_error(error, GW_ERROR, GW_ERROR_VMM_FAILED);
    g_clear_error(&error);
    g_assert_true(gw_vmm_prepare_save(vmm, pump.source[0], &error));
    g_assert_false(gw_vmm_prepare_save(vmm, pump.source[0], &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    counting_guest_assert_run_state(qemu, "running");
    pump_clear(&pump);
    counting_guest_end(qemu);
}

/* Its supervisor dies while the guest stands still, and the next one takes it back. */
static void
test_adopted_amid_a_motion(CountingGuest *f, const void *data)
{
    if (counting_guest_cannot_run())
        return;
    g_autoptr(GError) error = NULL;
    GwQemu *owner = start_counting(f);
    pid_t pid = gw_qemu_process(owner)->pid;
    Pump pump;
    pump_init(&pump);
    prepare_save(owner, &pump);
    g_assert_true(gw_vmm_stop(gw_qemu_vmm(owner), NULL, &error));
    gw_qemu_free(owner);
    pump_clear(&pump);
    counting_guest_assert_still(f);

    GwQemuHooks hooks = counting_guest_hooks(f, 0);
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    g_autoptr(GwImage) image = NULL;
    g_assert_true(gw_process_open(pid, &process, &error));
    GwQemu *adopted = gw_qemu_adopt(&process, COUNTING_UUID, &hooks, &image, &error);
    g_assert_no_error(error);
    counting_guest_assert_still(f);
    g_assert_true(gw_vmm_take_back(gw_qemu_vmm(adopted), &error));
    counting_guest_assert_run_state(adopted, "running");
    counting_guest_await_counting(f);
    Times times;
    adopted = move_state(f, adopted, 1, &times);
    counting_guest_end(adopted);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const struct {
        const char *path;
        void (*run)(CountingGuest *, const void *);
    } tests[] = {
        {"/qemu-migration/moves-on-and-on", test_state_moves_on_and_on},
        {"/qemu-migration/steps", test_steps_keep_their_promises},
        {"/qemu-migration/set-up", test_set_up_before_the_stop},
        {"/qemu-migration/take-back/running", test_takes_back_a_running_guest},
        {"/qemu-migration/take-back/paused", test_takes_back_a_paused_guest},
        {"/qemu-migration/paused", test_moves_a_paused_guest},
        {"/qemu-migration/reader-dies", test_goes_on_when_the_reader_dies},
        {"/qemu-migration/qemu-dies", test_waits_end_with_qemu},
        {"/qemu-migration/broken-state", test_a_broken_state_is_refused},
        {"/qemu-migration/wrong-order", test_wrong_orders_are_refused},
        {"/qemu-migration/adopted", test_adopted_amid_a_motion},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, CountingGuest, NULL, counting_guest_set_up, tests[i].run,
                   counting_guest_tear_down);
    return g_test_run();
}
