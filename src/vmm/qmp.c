/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP client: one connection, its reader thread, and what becomes of it.
 *
 *      caller 1 ──┐  qmp-calls.c   ┌────────┐  lines, checked   reader ──► event(), lost()
 *      caller 2 ──┼───────────────►│ socket │──────────────────►   │
 *      caller 3 ──┘                └────────┘                      └─ reply id 2 ──► wakes caller 2 only
 *
 * Commands, from the caller to the socket and from the reply to the caller, are qmp-calls.c's. Here are the
 * reader and the connection's life.
 *
 * The end. Only the reader ends a connection: by gw_qmp_free(), the end of the stream, or a line that does
 * not fit. It latches the reason, ends the calls with it, and shuts the socket down (which wakes a writer in
 * poll). A writer that finds the connection broken shuts it down and waits for its reply as if nothing were:
 * the reader first delivers what QEMU had still said and then ends the connection, and the better reason
 * wins.
 *
 * State       Entered by                       Allowed                             Left to
 * GREETING    gw_qmp_new()                     the greeting, nothing else          NEGOTIATING, ENDED
 * NEGOTIATING the reader, on the greeting      qmp_capabilities; events            READY, ENDED
 * READY       gw_qmp_new(), before it returns  all but a greeting                  ENDED
 * ENDED       the reader                       nothing; execute fails at once      -
 *
 * pthread locks rather than GMutex: GLib's go to the futex call by themselves, which ThreadSanitizer does not
 * see, and conditions on CLOCK_MONOTONIC are as simple here.
 *
 * Out-of-band execution is not enabled: QEMU then runs one command at a time, which is what callers expect of
 * "stop, then query". Nor is a time-out of a command a reason to end the connection: QEMU's main loop may
 * rightly be busy for seconds. */
#define G_LOG_DOMAIN "godwit-vmm"

#include "qmp.h"

#include "deadline.h"
#include "error.h"
#include "qmp-calls.h"
#include "qmp-message.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK_BYTES (64 * 1024)

typedef enum {
    STATE_GREETING,
    STATE_NEGOTIATING,
    STATE_READY,
    STATE_ENDED,
    N_STATES,
} State;

static const char *const state_names[] = {
    [STATE_GREETING] = "greeting",
    [STATE_NEGOTIATING] = "negotiating",
    [STATE_READY] = "ready",
    [STATE_ENDED] = "ended",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == N_STATES);

/* The lock is a leaf: no callback, no I/O and no call into GwQmpCalls (which has one of its own) under it,
 * but for the debug line of a state change. */
struct GwQmp {
    /* set once, before the reader starts */
    GwQmpCallbacks callbacks;
    int fd;          /* owned; sends and receives are each non-blocking by their flags */
    int stop_fd;     /* owned; eventfd */
    GThread *reader; /* set right after it has started; the reader itself does not look at it */

    /* set once by the reader, before it leaves STATE_GREETING; gw_qmp_new() returns only after that */
    unsigned version;

    /* owned by the reader thread */
    GwQmpLines *lines;
    bool greeted;

    GwQmpCalls *calls; /* owned; has its own lock; ends after `state` has become STATE_ENDED */

    pthread_mutex_t lock;
    /* guarded by lock */
    State state;
    GError *why;            /* owned; set from STATE_ENDED on */
    bool stopping;          /* gw_qmp_free() has begun */
    pthread_cond_t changed; /* state */
};

static void
lock(GwQmp *self)
{
    pthread_mutex_lock(&self->lock);
}

static void
unlock(GwQmp *self)
{
    pthread_mutex_unlock(&self->lock);
}

static void
set_state_locked(GwQmp *self, State state)
{
    static const bool legal[N_STATES][N_STATES] = {
        [STATE_GREETING] = {[STATE_NEGOTIATING] = true, [STATE_ENDED] = true},
        [STATE_NEGOTIATING] = {[STATE_READY] = true, [STATE_ENDED] = true},
        [STATE_READY] = {[STATE_ENDED] = true},
    };
    g_assert(legal[self->state][state]);
    g_debug("qmp: fd %d: %s -> %s", self->fd, state_names[self->state], state_names[state]);
    self->state = state;
    pthread_cond_broadcast(&self->changed);
}

/* The reader: what QEMU says. */

static bool
accept_greeting(GwQmp *self, const GwQmpMessage *message, GError **error)
{
    if (self->greeted) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "a second greeting");
        return false;
    }
    self->greeted = true;
    self->version = message->version;
    lock(self);
    set_state_locked(self, STATE_NEGOTIATING);
    unlock(self);
    return true;
}

/* QEMU stamps an event when it happens; this thread may get a CPU milliseconds later, and downtimes are told
 * from these times. A stamp that makes no sense (a clock that was set meanwhile) counts for nothing. */
static gint64
event_time_us(int64_t sent_us)
{
    gint64 delay_us = sent_us >= 0 ? g_get_real_time() - sent_us : 0;
    return g_get_monotonic_time() - (delay_us > 0 && delay_us < G_USEC_PER_SEC ? delay_us : 0);
}

static bool
accept_line(GwQmp *self, const char *line, size_t length, GError **error)
{
    g_auto(GwQmpMessage) message = {0};
    if (!gw_qmp_message_parse(line, length, &message, error))
        return false;
    if (message.kind == GW_QMP_GREETING)
        return accept_greeting(self, &message, error);
    if (!self->greeted) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "\"%s\" before the greeting",
                    gw_qmp_kind_name(message.kind));
        return false;
    }
    if (message.kind != GW_QMP_EVENT)
        return gw_qmp_calls_accept_reply(self->calls, &message, error);
    if (self->callbacks.event)
        self->callbacks.event(message.event, message.data, event_time_us(message.sent_us),
                              self->callbacks.user_data);
    return true;
}

static bool
accept_chunk(GwQmp *self, const char *chunk, size_t n_bytes, GError **error)
{
    const char *line = NULL;
    size_t length = 0;

    gw_qmp_lines_feed(self->lines, chunk, n_bytes);
    for (;;) {
        if (!gw_qmp_lines_next(self->lines, &line, &length, error))
            return false;
        if (!line)
            return true;
        if (!accept_line(self, line, length, error))
            return false;
    }
}

static bool
set_closed(GwQmp *self, GError **error)
{
    size_t n_pending = gw_qmp_lines_n_pending(self->lines);
    if (n_pending > 0)
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST,
                    "QEMU closed the connection after %zu bytes of a line", n_pending);
    else
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PEER_LOST, "QEMU closed the connection");
    return false;
}

static bool
read_chunk(GwQmp *self, GError **error)
{
    char chunk[READ_CHUNK_BYTES];
    /* No room for control data: file descriptors that come along are closed by the kernel. */
    ssize_t n = recv(self->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n > 0)
        return accept_chunk(self, chunk, (size_t)n, error);
    if (n == 0 || errno == ECONNRESET)
        return set_closed(self, error);
    if (errno == EAGAIN || errno == EINTR)
        return true;
    return gw_set_errno(error, GW_ERROR_IO, errno, "receiving");
}

/* Reads until there is a reason to end the connection, and returns it. */
static GError *
read_until_end(GwQmp *self)
{
    GError *why = NULL;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = self->fd, .events = POLLIN},
            {.fd = self->stop_fd, .events = POLLIN},
        };
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR) {
            gw_set_errno(&why, GW_ERROR_IO, errno, "waiting for QEMU");
            return why;
        }
        if (fds[1].revents)
            return g_error_new_literal(GW_ERROR, GW_ERROR_PEER_LOST, "the connection is being closed");
        if (fds[0].revents && !read_chunk(self, &why))
            return why;
    }
}

/* `why`: taken. Returns whether the owner has to be told: gw_qmp_new() has succeeded and free not begun. */
static bool
end_connection(GwQmp *self, GError *why)
{
    lock(self);
    bool tell = self->state == STATE_READY && !self->stopping;
    self->why = why;
    set_state_locked(self, STATE_ENDED);
    unlock(self);
    gw_qmp_calls_end(self->calls, why); /* `why` is constant by now */
    shutdown(self->fd, SHUT_RDWR);
    return tell;
}

static gpointer
reader_thread(gpointer data)
{
    GwQmp *self = data;
    GError *why = read_until_end(self);
    g_autoptr(GError) told = g_error_copy(why);
    g_prefix_error(&told, "qmp: ");
    if (end_connection(self, why) && self->callbacks.lost)
        self->callbacks.lost(told, self->callbacks.user_data);
    return NULL;
}

/* The callers: what we say. */

JsonNode *
gw_qmp_execute(GwQmp *self, const char *command, JsonObject *arguments, int timeout_ms, GError **error)
{
    g_assert(g_thread_self() != self->reader);
    return gw_qmp_calls_execute(self->calls, command, arguments, -1, timeout_ms, error);
}

JsonNode *
gw_qmp_execute_with_fd(GwQmp *self, const char *command, JsonObject *arguments, int fd, int timeout_ms,
                       GError **error)
{
    g_assert(fd >= 0);
    g_assert(g_thread_self() != self->reader);
    return gw_qmp_calls_execute(self->calls, command, arguments, fd, timeout_ms, error);
}

bool
gw_qmp_command(GwQmp *self, const char *command, JsonObject *arguments, int timeout_ms, GError **error)
{
    g_autoptr(JsonNode) value = gw_qmp_execute(self, command, arguments, timeout_ms, error);
    return value != NULL;
}

unsigned
gw_qmp_version(const GwQmp *self)
{
    return self->version;
}

bool
gw_qmp_is_connected(GwQmp *self)
{
    lock(self);
    bool connected = self->state == STATE_READY;
    unlock(self);
    return connected;
}

/* Making and ending connections. */

static GwQmp *
qmp_alloc(int fd, const GwQmpCallbacks *callbacks)
{
    GwQmp *self = g_new0(GwQmp, 1);
    self->callbacks = *callbacks;
    self->fd = fd;
    self->stop_fd = -1;
    self->lines = gw_qmp_lines_new(GW_QMP_LINE_LIMIT);
    self->calls = gw_qmp_calls_new(fd);
    pthread_mutex_init(&self->lock, NULL);
    gw_deadline_cond_init(&self->changed);
    return self;
}

static bool
start_reader(GwQmp *self, GError **error)
{
    self->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (self->stop_fd < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "qmp: eventfd");
    g_autoptr(GError) cause = NULL;
    self->reader = g_thread_try_new("qmp", reader_thread, self, &cause);
    if (!self->reader)
        g_set_error(error, GW_ERROR, GW_ERROR_FAILED, "qmp: starting the reader: %s", cause->message);
    return self->reader != NULL;
}

static bool
wait_for_greeting(GwQmp *self, gint64 deadline_us, GError **error)
{
    bool in_time = true;
    lock(self);
    while (self->state == STATE_GREETING && in_time)
        in_time = gw_deadline_wait(&self->changed, &self->lock, deadline_us);
    State state = self->state;
    if (state == STATE_ENDED)
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: no greeting: ");
    unlock(self);

    if (state == STATE_GREETING) {
        g_autofree char *timeout = gw_deadline_format_timeout(self->callbacks.timeout_ms);
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "qmp: no greeting within %s", timeout);
    }
    return state == STATE_NEGOTIATING;
}

/* From here on the owner hears of the end by its callback, up to here by our return value. */
static bool
set_ready(GwQmp *self, GError **error)
{
    lock(self);
    bool ok = self->state == STATE_NEGOTIATING;
    if (ok)
        set_state_locked(self, STATE_READY);
    else
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: ");
    unlock(self);
    return ok;
}

GwQmp *
gw_qmp_new(int fd, const GwQmpCallbacks *callbacks, GError **error)
{
    gint64 deadline_us = gw_deadline_in(callbacks->timeout_ms);
    g_autoptr(GwQmp) self = qmp_alloc(fd, callbacks);
    if (!start_reader(self, error) || !wait_for_greeting(self, deadline_us, error) ||
        !gw_qmp_command(self, "qmp_capabilities", NULL, gw_deadline_ms_left(deadline_us), error) ||
        !set_ready(self, error))
        return NULL;
    return g_steal_pointer(&self);
}

static void
stop_reader(GwQmp *self)
{
    static const guint64 one = 1;
    g_assert(g_thread_self() != self->reader);
    lock(self);
    self->stopping = true;
    unlock(self);
    ssize_t n = write(self->stop_fd, &one, sizeof(one));
    g_assert(n == sizeof(one)); /* the first write to an eventfd of ours */
    g_thread_join(self->reader);
    gw_qmp_calls_drain(self->calls);
}

void
gw_qmp_free(GwQmp *self)
{
    if (!self)
        return;
    if (self->reader)
        stop_reader(self);
    gw_qmp_calls_free(self->calls);
    close(self->fd);
    if (self->stop_fd >= 0)
        close(self->stop_fd);
    gw_qmp_lines_free(self->lines);
    g_clear_error(&self->why);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}
