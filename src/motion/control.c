/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reader, heartbeat, queue. */
#include "control.h"

#include "error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Frames that wait for the motion's thread; then the reader waits, and TCP makes the peer wait. With the
 * largest payload that is 16 MiB. */
#define QUEUE_LIMIT 256

struct GwControl {
    /* set once */
    GwStream *stream; /* owned */
    bool peer_is_source;
    GwBell *bell; /* borrowed */
    unsigned lost_ms;
    GThread *reader;
    /* the reader's */
    uint64_t receive_sequence;
    gint64 heard_us, pinged_us;
    /* guarded by send_lock */
    GMutex send_lock;
    uint64_t send_sequence;
    int send_failed; /* the first -errno; the stream takes nothing more */
    /* guarded by lock */
    GMutex lock;
    GCond room;
    GQueue frames; /* of GwControlFrame */
    bool closed;   /* by us: nothing more is wanted */
    bool cannot_send;
    bool ended; /* the reader has read its last */
    GError *why;
    uint64_t rtt_us;
};

void
gw_bell_init(GwBell *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->rung);
    self->n_rings = 0;
}

void
gw_bell_clear(GwBell *self)
{
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->rung);
}

void
gw_bell_ring(GwBell *self)
{
    g_mutex_lock(&self->lock);
    self->n_rings++;
    g_cond_broadcast(&self->rung);
    g_mutex_unlock(&self->lock);
}

uint64_t
gw_bell_count(GwBell *self)
{
    g_mutex_lock(&self->lock);
    uint64_t n = self->n_rings;
    g_mutex_unlock(&self->lock);
    return n;
}

void
gw_bell_wait(GwBell *self, uint64_t seen, gint64 deadline_us)
{
    g_mutex_lock(&self->lock);
    while (self->n_rings <= seen && g_cond_wait_until(&self->rung, &self->lock, deadline_us))
        ;
    g_mutex_unlock(&self->lock);
}

void
gw_control_frame_clear(GwControlFrame *self)
{
    g_clear_pointer(&self->payload, g_free);
}

static void
frame_free(void *frame)
{
    gw_control_frame_clear(frame);
    g_free(frame);
}

/* Takes it. The first reason stays. */
static void
set_reason(GwControl *self, GError *why)
{
    g_mutex_lock(&self->lock);
    if (!self->why)
        self->why = g_steal_pointer(&why);
    g_mutex_unlock(&self->lock);
    g_clear_error(&why);
}

/* The reader's end. */
static void
end_reading(GwControl *self)
{
    g_mutex_lock(&self->lock);
    self->ended = true;
    g_mutex_unlock(&self->lock);
    gw_bell_ring(self->bell);
}

static void
fail(GwControl *self, GError *why)
{
    set_reason(self, why);
    gw_stream_shutdown(self->stream);
    end_reading(self);
}

/* What has arrived counts although the peer is gone: it may be the word that it runs the guest. So the reader
 * goes on until nothing is left, and ends the connection then. */
static void
fail_sending(GwControl *self, GError *why)
{
    set_reason(self, why);
    g_mutex_lock(&self->lock);
    self->cannot_send = true;
    g_mutex_unlock(&self->lock);
}

static bool
cannot_send(GwControl *self)
{
    g_mutex_lock(&self->lock);
    bool cannot = self->cannot_send;
    g_mutex_unlock(&self->lock);
    return cannot;
}

static GError *
io_error(const GwControl *self, int r)
{
    GError *error = NULL;
    if (r == -ETIMEDOUT || r == -EAGAIN)
        g_set_error(&error, GW_ERROR, GW_ERROR_PEER_LOST, "nothing heard from the peer for %g s",
                    self->lost_ms / 1000.0);
    else if (r == -EPROTO)
        g_set_error(&error, GW_ERROR, GW_ERROR_PROTOCOL, "the peer broke TLS");
    else if (r == -ECONNRESET || r == -EPIPE)
        g_set_error(&error, GW_ERROR, GW_ERROR_PEER_LOST, "the peer closed the connection");
    else
        gw_set_errno(&error, GW_ERROR_PEER_LOST, -r, "the connection to the peer");
    return error;
}

static GError *
refusal(GwWireVerdict verdict, const GwWireHeader *header)
{
    return g_error_new(GW_ERROR, GW_ERROR_PROTOCOL, "the peer sent a frame that is refused: %s%s%s",
                       gw_wire_verdict_name(verdict), header ? " " : "",
                       header ? gw_frame_type_name(header->type) : "");
}

/* With send_lock. */
static int
send_locked(GwControl *self, const GwWireHeader *what, const void *payload)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader header = *what;
    header.sequence = self->send_sequence++;
    gw_wire_encode_header(&header, bytes);
    struct iovec parts[2] = {{bytes, sizeof bytes}, {(void *)payload, header.payload_bytes}};
    if (self->send_failed == 0)
        self->send_failed = gw_stream_send(self->stream, parts, header.payload_bytes ? 2 : 1);
    return self->send_failed;
}

int
gw_control_send(GwControl *self, GwFrameType type, uint64_t arg, uint32_t count, const void *payload,
                size_t size)
{
    GwWireHeader header = {.type = type, .arg = arg, .count = count, .payload_bytes = (uint32_t)size};
    g_mutex_lock(&self->send_lock);
    int r = send_locked(self, &header, payload);
    g_mutex_unlock(&self->send_lock);
    if (r < 0)
        fail_sending(self, io_error(self, r));
    return r;
}

/* A heartbeat is left out while something else is being sent: that is sign of life enough, and the reader
 * must not wait behind a sender that the peer does not read. */
static void
send_if_idle(GwControl *self, GwFrameType type, uint64_t arg)
{
    if (!g_mutex_trylock(&self->send_lock))
        return;
    GwWireHeader header = {.type = type, .arg = arg};
    int r = send_locked(self, &header, NULL);
    g_mutex_unlock(&self->send_lock);
    if (r < 0)
        fail_sending(self, io_error(self, r));
}

static gint64
ping_interval_us(const GwControl *self)
{
    return self->lost_ms * G_TIME_SPAN_MILLISECOND / GW_CONTROL_PINGS_IN_TIME;
}

/* In how many microseconds the next PING is due; 0: it was, and has been sent. */
static gint64
ping_if_due(GwControl *self, gint64 now)
{
    gint64 due_us = self->pinged_us + ping_interval_us(self);
    if (due_us > now)
        return due_us - now;
    self->pinged_us = now;
    send_if_idle(self, GW_FRAME_PING, (uint64_t)now);
    return 0;
}

/* Waits for the socket, and pings meanwhile. False: the connection has failed. */
static bool
await_bytes(GwControl *self)
{
    while (!gw_stream_has_pending(self->stream)) {
        gint64 now = g_get_monotonic_time();
        if (now - self->heard_us > self->lost_ms * G_TIME_SPAN_MILLISECOND) {
            fail(self, io_error(self, -ETIMEDOUT));
            return false;
        }
        gint64 ping_us = ping_if_due(self, now);
        if (ping_us == 0)
            continue;
        struct pollfd readable = {.fd = gw_stream_fd(self->stream), .events = POLLIN};
        bool is_last = cannot_send(self);
        int n = poll(&readable, 1, is_last ? 0 : (int)(ping_us / 1000 + 1));
        if (n > 0)
            break;
        if (is_last || (n < 0 && errno != EINTR)) {
            fail(self, io_error(self, is_last ? -EPIPE : -errno));
            return false;
        }
    }
    return true;
}

/* A PONG carries our own clock back; one that was made up is not believed beyond what is possible. */
static void
note_pong(GwControl *self, uint64_t sent_us)
{
    uint64_t now = (uint64_t)g_get_monotonic_time();
    if (sent_us > now || now - sent_us > 60 * G_TIME_SPAN_SECOND)
        return;
    g_mutex_lock(&self->lock);
    if (self->rtt_us == 0 || now - sent_us < self->rtt_us)
        self->rtt_us = MAX(now - sent_us, 1);
    g_mutex_unlock(&self->lock);
}

/* With the lock. That nobody takes frames here is no reason for the peer to think that nobody is here. */
static void
await_room_locked(GwControl *self)
{
    while (g_queue_get_length(&self->frames) >= QUEUE_LIMIT && !self->closed) {
        if (g_cond_wait_until(&self->room, &self->lock, self->pinged_us + ping_interval_us(self)))
            continue;
        g_mutex_unlock(&self->lock);
        ping_if_due(self, g_get_monotonic_time());
        g_mutex_lock(&self->lock);
    }
}

/* False if nothing is wanted any more: the stream is shut down then. */
static bool
enqueue(GwControl *self, const GwControlFrame *frame)
{
    g_mutex_lock(&self->lock);
    await_room_locked(self);
    self->heard_us = g_get_monotonic_time(); /* nobody has listened since */
    bool wanted = !self->closed;
    if (wanted)
        g_queue_push_tail(&self->frames, g_memdup2(frame, sizeof *frame));
    g_mutex_unlock(&self->lock);
    if (wanted)
        gw_bell_ring(self->bell);
    return wanted;
}

static bool
read_frame(GwControl *self)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    g_auto(GwControlFrame) frame = {0};
    int r = gw_stream_receive(self->stream, bytes, sizeof bytes);
    if (r < 0) {
        fail(self, io_error(self, r));
        return false;
    }
    GwWireVerdict verdict = gw_wire_decode_header(bytes, self->receive_sequence++, &frame.header);
    if (verdict == GW_WIRE_OK)
        verdict = gw_wire_check_place(GW_STREAM_CONTROL, self->peer_is_source, frame.header.type);
    if (verdict != GW_WIRE_OK) {
        /* The connection stays: the motion's thread may want to say why it ends. */
        set_reason(self, refusal(verdict, verdict == GW_WIRE_BAD_PLACE ? &frame.header : NULL));
        end_reading(self);
        return false;
    }
    if (frame.header.payload_bytes > 0) {
        frame.payload = g_malloc(frame.header.payload_bytes); /* bounded by the header's check */
        r = gw_stream_receive(self->stream, frame.payload, frame.header.payload_bytes);
        if (r < 0) {
            fail(self, io_error(self, r));
            return false;
        }
    }
    self->heard_us = frame.received_us = g_get_monotonic_time();
    if (frame.header.type == GW_FRAME_PING)
        send_if_idle(self, GW_FRAME_PONG, frame.header.arg);
    else if (frame.header.type == GW_FRAME_PONG)
        note_pong(self, frame.header.arg);
    else if (enqueue(self, &frame))
        frame.payload = NULL;
    return true;
}

static void *
read_frames(void *data)
{
    GwControl *self = data;
    while (await_bytes(self) && read_frame(self))
        ;
    return NULL;
}

GwControl *
gw_control_new(GwStream *stream, bool peer_is_source, GwBell *bell, unsigned lost_ms)
{
    GwControl *self = g_new0(GwControl, 1);
    self->stream = stream;
    self->peer_is_source = peer_is_source;
    self->bell = bell;
    self->lost_ms = lost_ms ? lost_ms : GW_CONTROL_LOST_MS;
    self->receive_sequence = self->send_sequence = 1; /* the hellos were 0 */
    self->heard_us = g_get_monotonic_time();
    g_mutex_init(&self->send_lock);
    g_mutex_init(&self->lock);
    g_cond_init(&self->room);
    g_queue_init(&self->frames);
    gw_stream_set_timeout(stream, (int)self->lost_ms);
    self->reader = g_thread_new("gw-control", read_frames, self);
    return self;
}

void
gw_control_set_send_timeout(GwControl *self, int timeout_ms)
{
    gw_stream_set_timeout(self->stream, timeout_ms);
}

bool
gw_control_next(GwControl *self, GwControlFrame *ret_frame)
{
    g_mutex_lock(&self->lock);
    g_autofree GwControlFrame *frame = g_queue_pop_head(&self->frames);
    g_cond_signal(&self->room);
    g_mutex_unlock(&self->lock);
    if (frame)
        *ret_frame = *frame;
    return frame != NULL;
}

bool
gw_control_failed(GwControl *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool failed = self->ended && g_queue_is_empty(&self->frames);
    if (failed && error)
        *error = g_error_copy(self->why);
    g_mutex_unlock(&self->lock);
    return failed;
}

uint64_t
gw_control_rtt_us(GwControl *self)
{
    g_mutex_lock(&self->lock);
    uint64_t rtt_us = self->rtt_us;
    g_mutex_unlock(&self->lock);
    return rtt_us;
}

const GwStream *
gw_control_stream(const GwControl *self)
{
    return self->stream;
}

void
gw_control_shutdown(GwControl *self)
{
    g_mutex_lock(&self->lock);
    self->closed = true;
    g_cond_broadcast(&self->room);
    g_mutex_unlock(&self->lock);
    gw_stream_shutdown(self->stream);
}

void
gw_control_free(GwControl *self)
{
    if (!self)
        return;
    gw_control_shutdown(self);
    g_thread_join(self->reader);
    g_queue_clear_full(&self->frames, frame_free);
    gw_stream_free(self->stream);
    g_clear_error(&self->why);
    g_mutex_clear(&self->send_lock);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->room);
    g_free(self);
}
