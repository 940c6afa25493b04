/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two VMMs and their world. */
#include "fake-vmm.h"

#include "error.h"
#include "kernel-abi.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE       ((uint64_t)GW_PAGE_SIZE)
#define HEAD_BYTES 3000 /* of the state: written before the guest is stopped */

struct FakeVmm {
    GwVmm vmm;
    FakeWorld *world;
    bool at_source;
    int fd;          /* ours of the state's stream; -1: none */
    GThread *thread; /* writes the state, or reads it */
    bool ran_before; /* at prepare_save */
    /* guarded by the world's lock */
    FakeFault fault;
    bool runs, dead;
    bool ended, loaded; /* the thread */
    char *why;
};

struct FakeWorld {
    /* set once */
    const char *name; /* of the motion, for who reads of its failure */
    uint64_t size_bytes;
    size_t state_bytes;
    GwImage *images[2]; /* destination's, source's */
    FakeTrace *trace;
    FakeVmm vmms[2];
    bool writes;
    GThread *guest;
    /* guarded by lock, which a guest's step holds, too */
    GMutex lock;
    GCond changed;
    bool ending, late_write, punches, allow_both;
    bool stopped_once, resumed_at_source, arrived;
    uint64_t n_steps;
    gint64 stopped_us, pause_us;
};

static const char *const op_names[] = {"none",      "prepare-save", "stop",         "save",  "await-saved",
                                       "take-back", "prepare-load", "await-loaded", "resume"};
G_STATIC_ASSERT(G_N_ELEMENTS(op_names) == FAKE_N_OPS);

const char *
fake_op_name(FakeOp op)
{
    return op_names[op];
}

static uint8_t
state_byte(size_t i)
{
    return (uint8_t)(i * 131 >> 3 ^ i);
}

/* --- the world ---------------------------------------------------------------------------------------- */

/* A step of the guest: some bytes somewhere, mostly where it was before. */
static void
step_locked(FakeWorld *self, bool at_source)
{
    uint64_t n_pages = self->size_bytes / PAGE, step = ++self->n_steps;
    uint64_t pfn = (step % 5 ? step % 40 : step * 2654435761u) % n_pages, number = step | 1ull << 63;
    uint64_t mem_off = pfn * PAGE + step * 8 % PAGE;
    if (at_source)
        fake_trace_write(self->trace, self->images[1], mem_off, &number, sizeof number);
    else
        gw_image_write(self->images[0], mem_off, &number, sizeof number);
    if (self->punches && at_source && step % 16 == 0)
        gw_image_punch(self->images[1], (step * 40503u % n_pages) * PAGE, PAGE);
}

static void *
guest_main(void *data)
{
    FakeWorld *self = data;
    g_mutex_lock(&self->lock);
    while (!self->ending) {
        if (!self->vmms[0].runs && !self->vmms[1].runs) {
            g_cond_wait(&self->changed, &self->lock);
            continue;
        }
        for (unsigned i = 0; i < 20; i++)
            step_locked(self, self->vmms[1].runs);
        g_mutex_unlock(&self->lock);
        g_usleep(200);
        g_mutex_lock(&self->lock);
    }
    g_mutex_unlock(&self->lock);
    return NULL;
}

bool
fake_world_is_equal(FakeWorld *self)
{
    const uint8_t *a = gw_image_map(self->images[0], NULL), *b = gw_image_map(self->images[1], NULL);
    return memcmp(a, b, self->size_bytes) == 0;
}

static void
check_equal(FakeWorld *self, const char *what)
{
    const uint8_t *a = gw_image_map(self->images[0], NULL), *b = gw_image_map(self->images[1], NULL);
    uint64_t at = fake_world_is_equal(self) ? self->size_bytes : 0;
    while (at < self->size_bytes && a[at] == b[at])
        at++;
    if (at < self->size_bytes)
        g_error("motion \"%s\": %s: page %u from its byte %u on", self->name, what, (unsigned)(at / PAGE),
                (unsigned)(at % PAGE));
}

static void
run_locked(FakeVmm *self)
{
    FakeWorld *world = self->world;
    FakeVmm *other = &world->vmms[self->at_source ? 0 : 1];
    if (other->runs)
        g_error("motion \"%s\": the guest runs at both ends", world->name);
    if (self->runs)
        return;
    if (self->at_source && world->stopped_once) {
        world->resumed_at_source = true;
        if (world->arrived && !world->allow_both)
            g_error("motion \"%s\": it goes on at its source, and has run elsewhere", world->name);
    }
    if (!self->at_source) {
        if (world->resumed_at_source && !world->allow_both)
            g_error("motion \"%s\": the guest arrives, and has gone on at its source", world->name);
        if (!self->loaded)
            g_error("motion \"%s\": the guest is to run, and its state is not loaded", world->name);
        if (!world->allow_both)
            check_equal(world, "the guest takes its first step, and memory differs");
        world->arrived = true;
    }
    if (world->stopped_us)
        world->pause_us = MAX(world->pause_us, g_get_monotonic_time() - world->stopped_us);
    world->stopped_us = 0;
    self->runs = true;
    g_cond_broadcast(&world->changed);
}

static void
end_stream(FakeVmm *self)
{
    if (self->fd >= 0)
        shutdown(self->fd, SHUT_RDWR);
    if (self->thread)
        g_thread_join(g_steal_pointer(&self->thread));
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
}

static void
die_locked(FakeVmm *self)
{
    self->dead = true;
    self->runs = false;
    if (self->fd >= 0)
        shutdown(self->fd, SHUT_RDWR);
    g_cond_broadcast(&self->world->changed);
}

/* Called with the lock, which is released while an op takes its time. False with an error if it is to fail.
 */
static bool
begin_op_locked(FakeVmm *self, FakeOp op, GError **error)
{
    FakeFault fault = self->fault;
    bool due = fault.op == op;
    if (due && self->fault.n_times && --self->fault.n_times == 0)
        self->fault.op = FAKE_OP_NONE;
    if (due && fault.how == FAKE_IS_SLOW) {
        gint64 until_us = g_get_monotonic_time() + fault.slow_us;
        while (!self->dead && g_cond_wait_until(&self->world->changed, &self->world->lock, until_us))
            ;
    }
    if (self->dead) { /* before it was asked: nothing came of it */
        g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "%s: the VMM is dead", op_names[op]);
        return false;
    }
    if (due && fault.how == FAKE_DIES)
        die_locked(self);
    if (self->dead)
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: the VMM is dead", op_names[op]);
    else if (due && fault.how == FAKE_FAILS)
        g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "%s: the VMM says no", op_names[op]);
    else
        return true;
    return false;
}

static bool
end_op_locked(FakeVmm *self, FakeFault before, FakeOp op)
{
    if (before.op == op && before.how == FAKE_DIES_AFTER)
        die_locked(self);
    g_mutex_unlock(&self->world->lock);
    return true;
}

static bool
fail_op(FakeVmm *self)
{
    g_mutex_unlock(&self->world->lock);
    return false;
}

/* --- the source --------------------------------------------------------------------------------------- */

static bool
fake_prepare_save(GwVmm *vmm, int fd, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_PREPARE_SAVE, error))
        return fail_op(self);
    g_assert_cmpint(self->fd, ==, -1);
    self->ran_before = self->runs;
    self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return end_op_locked(self, fault, FAKE_OP_PREPARE_SAVE);
}

static bool
write_state(FakeVmm *self, size_t from, size_t end)
{
    uint8_t bytes[2048];
    while (from < end) {
        size_t n = MIN(sizeof bytes, end - from);
        for (size_t i = 0; i < n; i++)
            bytes[i] = state_byte(from + i);
        ssize_t sent = send(self->fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        from += (size_t)sent;
    }
    return true;
}

static bool
fake_stop(GwVmm *vmm, gint64 *ret_stopped_us, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_STOP, error))
        return fail_op(self);
    g_assert_cmpint(self->fd, >=, 0);
    for (unsigned i = 0; i < 10 && self->runs; i++)
        step_locked(self->world, true); /* devices are drained */
    *ret_stopped_us = self->ran_before ? g_get_monotonic_time() : 0;
    if (self->runs)
        self->world->stopped_us = g_get_monotonic_time();
    self->runs = false;
    self->world->stopped_once = true;
    g_mutex_unlock(&self->world->lock);
    bool ok = write_state(self, 0, HEAD_BYTES);
    g_mutex_lock(&self->world->lock);
    if (!ok) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED, "stop: nobody reads the state");
        return fail_op(self);
    }
    return end_op_locked(self, fault, FAKE_OP_STOP);
}

static void *
save_thread(void *data)
{
    FakeVmm *self = data;
    bool ok = write_state(self, HEAD_BYTES, HEAD_BYTES + self->world->state_bytes);
    g_mutex_lock(&self->world->lock);
    self->ended = true;
    self->loaded = ok && !self->dead;
    shutdown(self->fd, SHUT_RDWR);
    g_cond_broadcast(&self->world->changed);
    g_mutex_unlock(&self->world->lock);
    return NULL;
}

static bool
fake_save(GwVmm *vmm, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_SAVE, error))
        return fail_op(self);
    g_assert_false(self->runs);
    self->ended = self->loaded = false;
    self->thread = g_thread_new("fake-save", save_thread, self);
    return end_op_locked(self, fault, FAKE_OP_SAVE);
}

static bool
fake_await_saved(GwVmm *vmm, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_AWAIT_SAVED, error))
        return fail_op(self);
    while (!self->ended && !self->dead)
        g_cond_wait(&self->world->changed, &self->world->lock);
    if (!self->loaded || self->dead) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED, "await-saved: the state was not taken");
        return fail_op(self);
    }
    if (self->world->late_write)
        step_locked(self->world, true); /* the last round is over: this is asked behind it */
    return end_op_locked(self, fault, FAKE_OP_AWAIT_SAVED);
}

static bool
fake_take_back(GwVmm *vmm, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    end_stream(self);
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_TAKE_BACK, error))
        return fail_op(self);
    if (self->ran_before)
        run_locked(self);
    self->ran_before = false;
    return end_op_locked(self, fault, FAKE_OP_TAKE_BACK);
}

/* --- the destination ---------------------------------------------------------------------------------- */

/* What a VMM would find as it loads: memory has to be there. Unless the motion has been given up meanwhile.
 */
static void
check_memory(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    if (!self->resumed_at_source && !self->late_write)
        check_equal(self, "devices' state came before the memory that belongs to it");
    g_mutex_unlock(&self->lock);
}

static void *
load_thread(void *data)
{
    FakeVmm *self = data;
    size_t total = HEAD_BYTES + self->world->state_bytes, n_read = 0;
    uint8_t bytes[2048];
    const char *why = NULL;
    while (n_read < total && !why) {
        ssize_t n = recv(self->fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            why = "the state ends too early";
            break;
        }
        if (n_read <= HEAD_BYTES && n_read + (size_t)n > HEAD_BYTES)
            check_memory(self->world);
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] != state_byte(n_read + (size_t)i))
                why = "the state is damaged";
        n_read += (size_t)n;
    }
    if (!why && n_read > total)
        why = "there is more than the state";
    g_mutex_lock(&self->world->lock);
    self->ended = true;
    self->loaded = !why && !self->dead;
    self->why = g_strdup(why);
    g_cond_broadcast(&self->world->changed);
    g_mutex_unlock(&self->world->lock);
    return NULL;
}

static bool
fake_prepare_load(GwVmm *vmm, int fd, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_PREPARE_LOAD, error))
        return fail_op(self);
    self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    self->thread = g_thread_new("fake-load", load_thread, self);
    return end_op_locked(self, fault, FAKE_OP_PREPARE_LOAD);
}

static bool
fake_await_loaded(GwVmm *vmm, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_AWAIT_LOADED, error))
        return fail_op(self);
    while (!self->ended && !self->dead)
        g_cond_wait(&self->world->changed, &self->world->lock);
    if (!self->loaded || self->dead) {
        g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "await-loaded: %s",
                    self->why ? self->why : "the VMM is dead");
        return fail_op(self);
    }
    return end_op_locked(self, fault, FAKE_OP_AWAIT_LOADED);
}

static bool
fake_resume(GwVmm *vmm, gint64 *ret_resumed_us, GError **error)
{
    FakeVmm *self = (FakeVmm *)vmm;
    g_mutex_lock(&self->world->lock);
    FakeFault fault = self->fault;
    if (!begin_op_locked(self, FAKE_OP_RESUME, error))
        return fail_op(self);
    if (ret_resumed_us)
        *ret_resumed_us = self->runs ? 0 : g_get_monotonic_time();
    run_locked(self);
    return end_op_locked(self, fault, FAKE_OP_RESUME);
}

static const GwVmmOps fake_ops = {
    .resume = fake_resume,
    .prepare_save = fake_prepare_save,
    .stop = fake_stop,
    .save = fake_save,
    .await_saved = fake_await_saved,
    .take_back = fake_take_back,
    .prepare_load = fake_prepare_load,
    .await_loaded = fake_await_loaded,
};

/* --- its life ----------------------------------------------------------------------------------------- */

static void
fill_image(FakeWorld *self)
{
    uint8_t page[GW_PAGE_SIZE];
    for (uint64_t pfn = 0; pfn < self->size_bytes / PAGE; pfn++) {
        if (pfn % 11 > 4) /* holes */
            continue;
        memset(page, (int)(pfn % 11 == 0 ? 0 : pfn % 251 + 1), sizeof page);
        g_assert_cmpint(gw_image_write(self->images[1], pfn * PAGE, page, sizeof page), ==, 0);
    }
}

FakeWorld *
fake_world_new(const char *name, uint64_t size_bytes, bool guest_runs, bool writes, size_t state_bytes)
{
    FakeWorld *self = g_new0(FakeWorld, 1);
    self->name = name;
    self->size_bytes = size_bytes;
    self->state_bytes = state_bytes;
    self->writes = writes;
    self->trace = fake_trace_new(size_bytes);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    for (unsigned i = 0; i < 2; i++) {
        self->images[i] = gw_image_new(i ? "fake-source" : "fake-destination", size_bytes, NULL);
        g_assert_nonnull(gw_image_map(self->images[i], NULL));
        self->vmms[i] = (FakeVmm){.vmm.ops = &fake_ops, .world = self, .at_source = i, .fd = -1};
    }
    fill_image(self);
    self->vmms[1].runs = guest_runs;
    if (writes)
        self->guest = g_thread_new("fake-guest", guest_main, self);
    return self;
}

void
fake_world_free(FakeWorld *self)
{
    fake_vmm_kill(self, true);
    fake_vmm_kill(self, false);
    g_mutex_lock(&self->lock);
    self->ending = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    if (self->guest)
        g_thread_join(self->guest);
    for (unsigned i = 0; i < 2; i++) {
        gw_image_free(self->images[i]);
        g_free(self->vmms[i].why);
    }
    gw_trace_free(fake_trace(self->trace));
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

void
fake_vmm_kill(FakeWorld *self, bool at_source)
{
    FakeVmm *vmm = &self->vmms[at_source];
    g_mutex_lock(&self->lock);
    die_locked(vmm);
    g_mutex_unlock(&self->lock);
    end_stream(vmm);
}

GwVmm *
fake_vmm(FakeWorld *self, bool at_source)
{
    return &self->vmms[at_source].vmm;
}

GwImage *
fake_image(FakeWorld *self, bool at_source)
{
    return self->images[at_source];
}

GwTrace *
fake_world_trace(FakeWorld *self)
{
    return fake_trace(self->trace);
}

void
fake_world_set_fault(FakeWorld *self, bool at_source, FakeFault fault)
{
    g_mutex_lock(&self->lock);
    self->vmms[at_source].fault = fault;
    g_mutex_unlock(&self->lock);
}

void
fake_world_set_late_write(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    self->late_write = true;
    g_mutex_unlock(&self->lock);
}

void
fake_world_set_punches(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    self->punches = true;
    g_mutex_unlock(&self->lock);
}

void
fake_world_allow_both(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    self->allow_both = true;
    g_mutex_unlock(&self->lock);
}

bool
fake_vmm_runs(FakeWorld *self, bool at_source)
{
    g_mutex_lock(&self->lock);
    bool runs = self->vmms[at_source].runs;
    g_mutex_unlock(&self->lock);
    return runs;
}

bool
fake_vmm_is_dead(FakeWorld *self, bool at_source)
{
    g_mutex_lock(&self->lock);
    bool dead = self->vmms[at_source].dead;
    g_mutex_unlock(&self->lock);
    return dead;
}

bool
fake_world_has_arrived(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    bool arrived = self->arrived;
    g_mutex_unlock(&self->lock);
    return arrived;
}

gint64
fake_world_pause_us(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    gint64 pause_us = self->pause_us;
    g_mutex_unlock(&self->lock);
    return pause_us;
}

bool
fake_world_is_stopped(FakeWorld *self)
{
    g_mutex_lock(&self->lock);
    bool stopped = self->stopped_us != 0;
    g_mutex_unlock(&self->lock);
    return stopped;
}
