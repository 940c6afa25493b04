/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state's way out. */
#include "state-pump.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

struct GwStatePump {
    /* set once */
    int fd;
    GwControl *control; /* borrowed */
    GwBell *bell;       /* borrowed */
    GThread *thread;
    /* guarded by lock */
    GMutex lock;
    GCond opened;
    bool open;
    /* any thread's */
    _Atomic uint64_t round_plus_1; /* 0: the head */
    _Atomic uint64_t n_bytes;
    _Atomic bool abandoned, at_end, done;
};

/* A connection that fails is no reason to stop reading: the VMM must not block in a write while the motion is
 * being taken back. */
static void *
pump(void *data)
{
    GwStatePump *self = data;
    g_autofree uint8_t *bytes = g_malloc(GW_WIRE_MAX_PAYLOAD);
    g_mutex_lock(&self->lock);
    while (!self->open)
        g_cond_wait(&self->opened, &self->lock);
    g_mutex_unlock(&self->lock);
    for (;;) {
        ssize_t n = read(self->fd, bytes, GW_WIRE_MAX_PAYLOAD);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        uint64_t round = atomic_load(&self->round_plus_1);
        self->n_bytes += (uint64_t)n;
        if (!self->abandoned)
            gw_control_send(self->control, GW_FRAME_STATE, round ? round - 1 : 0, round != 0, bytes,
                            (size_t)n);
    }
    self->at_end = true;
    if (!self->abandoned)
        gw_control_send(self->control, GW_FRAME_STATE_END, self->n_bytes, 0, NULL, 0);
    self->done = true;
    gw_bell_ring(self->bell);
    return NULL;
}

GwStatePump *
gw_state_pump_new(int fd, GwControl *control, GwBell *bell)
{
    GwStatePump *self = g_new0(GwStatePump, 1);
    self->fd = fd;
    self->control = control;
    self->bell = bell;
    g_mutex_init(&self->lock);
    g_cond_init(&self->opened);
    self->thread = g_thread_new("gw-state", pump, self);
    return self;
}

void
gw_state_pump_open(GwStatePump *self)
{
    g_mutex_lock(&self->lock);
    self->open = true;
    g_cond_signal(&self->opened);
    g_mutex_unlock(&self->lock);
}

void
gw_state_pump_set_round(GwStatePump *self, uint64_t round)
{
    atomic_store(&self->round_plus_1, round + 1);
}

void
gw_state_pump_abandon(GwStatePump *self)
{
    self->abandoned = true;
}

bool
gw_state_pump_is_at_end(GwStatePump *self)
{
    return self->at_end;
}

bool
gw_state_pump_is_done(GwStatePump *self, uint64_t *ret_bytes)
{
    *ret_bytes = self->n_bytes;
    return self->done;
}

void
gw_state_pump_free(GwStatePump *self)
{
    if (!self)
        return;
    shutdown(self->fd, SHUT_RDWR);
    gw_state_pump_open(self);
    g_thread_join(self->thread);
    close(self->fd);
    g_cond_clear(&self->opened);
    g_mutex_clear(&self->lock);
    g_free(self);
}
