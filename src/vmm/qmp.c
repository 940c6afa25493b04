/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP client: one connection, its reader thread, and the threads that wait for replies.
 *
 *      caller 1 ──┐  write token   ┌────────┐  lines, checked   reader ──► event(), lost()
 *      caller 2 ──┼───────────────►│ socket │──────────────────►   │
 *      caller 3 ──┘                └────────┘                      └─ reply id 2 ──► wakes caller 2 only
 *
 * Requests. A caller registers a Call (on its own stack) under its id, sends the line itself and sleeps on
 * the Call's condition. The reader finds the Call by the reply's id, puts the result in and signals that one
 * condition, so a reply costs one wake-up and no other thread stirs. Ids count up from 1 and are never
 * reused.
 *
 * A Call that is not answered in time leaves its id in `abandoned`, and the late reply takes it out again. So
 * at any time each id was either never sent, or waits in `calls`, or is owed in `abandoned`, or is done with,
 * and a reply to any but the second and third is a protocol error. The set has a bound: QEMU that owes
 * MAX_ABANDONED replies gets no more commands until it answers some. (Forgetting old ids instead would make a
 * peer that is merely slow look like one that lies.)
 *
 * Writing. Who holds the token (`writing`) writes, without the lock, so that nobody else's time-out depends
 * on a full socket. A time-out in the middle of a line leaves the rest in `unsent`, and the next writer sends
 * it first: half a command can neither be taken back nor be followed by another one. `unsent` holds one
 * command at most, as nobody adds to it before it is empty.
 *
 * The end. Only the reader ends a connection: by gw_qmp_free(), the end of the stream, or a line that does
 * not fit. It latches the reason, shuts the socket down (which wakes a writer in poll) and wakes everyone. A
 * writer that finds the connection broken shuts it down and waits for its reply as if nothing were: the
 * reader first delivers what QEMU had still said and then ends the connection, and the better reason wins.
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

#include "error.h"
#include "qmp-message.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK_BYTES (64 * 1024)

/* A caller that polls once a second needs a quarter of an hour of a silent QEMU to get there. */
#define MAX_ABANDONED 1024

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

/* A command that waits for its reply, on the stack of the caller. The reader touches it only while it is in
 * GwQmp.calls. */
typedef struct {
    /* set once, before it gets into GwQmp.calls */
    gint64 id;
    const char *command; /* borrowed from the caller */
    int timeout_ms;
    gint64 deadline_us;

    /* guarded by GwQmp.lock */
    pthread_cond_t woken;
    bool done;
    JsonNode *value; /* owned; set if done without error */
    GError *error;   /* owned */
} Call;

/* There is one lock. It is a leaf: no callback and no I/O under it, but for the debug line of a state change.
 */
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

    /* owned by the holder of the write token */
    GString *unsent;

    pthread_mutex_t lock;
    /* guarded by lock */
    State state;
    GError *why;      /* owned; set from STATE_ENDED on */
    bool stopping;    /* gw_qmp_free() has begun */
    bool writing;     /* the write token is taken */
    unsigned n_users; /* threads inside execute */
    gint64 last_id;
    GHashTable *calls;      /* &Call.id → Call, both borrowed from the callers' stacks */
    GHashTable *abandoned;  /* set of owned gint64 */
    pthread_cond_t changed; /* state; n_users has become 0 */
    pthread_cond_t token_free;
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
cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* False once the deadline has passed. */
static bool
wait_until_locked(GwQmp *self, pthread_cond_t *cond, gint64 deadline_us)
{
    struct timespec deadline = {
        .tv_sec = deadline_us / G_USEC_PER_SEC,
        .tv_nsec = deadline_us % G_USEC_PER_SEC * 1000,
    };
    return pthread_cond_timedwait(cond, &self->lock, &deadline) != ETIMEDOUT;
}

static gint64
deadline_in(int timeout_ms)
{
    g_assert(timeout_ms >= 0);
    return g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
}

/* What poll() needs to sleep until the deadline; 0 once it has passed. */
static int
ms_until(gint64 deadline_us)
{
    gint64 left_us = deadline_us - g_get_monotonic_time();
    return left_us <= 0 ? 0 : (int)MIN((left_us + 999) / 1000, G_MAXINT);
}

static char *
format_timeout(int timeout_ms)
{
    return timeout_ms % 1000 == 0 ? g_strdup_printf("%d s", timeout_ms / 1000)
                                  : g_strdup_printf("%d ms", timeout_ms);
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

static void
complete_locked(Call *call, GwQmpMessage *message)
{
    if (message->kind == GW_QMP_RETURN)
        call->value = g_steal_pointer(&message->value);
    else
        g_set_error(&call->error, GW_ERROR, GW_ERROR_VMM_FAILED, "qmp: QEMU answered %s with %s: %s",
                    call->command, message->error_class, message->error_description);
    call->done = true;
    pthread_cond_signal(&call->woken);
}

static bool
accept_reply(GwQmp *self, GwQmpMessage *message, GError **error)
{
    if (!message->has_id) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "QEMU could not read a command: %s: %s",
                    message->error_class, message->error_description);
        return false;
    }
    lock(self);
    Call *call = g_hash_table_lookup(self->calls, &message->id);
    if (call) {
        g_hash_table_remove(self->calls, &message->id);
        complete_locked(call, message);
    }
    bool late = !call && g_hash_table_remove(self->abandoned, &message->id);
    unlock(self);

    if (late)
        g_debug("qmp: late reply to command %" G_GINT64_FORMAT ", ignoring", message->id);
    if (!call && !late)
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL,
                    "\"%s\" for id %" G_GINT64_FORMAT ", which no command waits for",
                    gw_qmp_kind_name(message->kind), message->id);
    return call || late;
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
        return accept_reply(self, &message, error);
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
    GHashTableIter iter;
    gpointer call = NULL;

    lock(self);
    bool tell = self->state == STATE_READY && !self->stopping;
    self->why = why;
    set_state_locked(self, STATE_ENDED);
    pthread_cond_broadcast(&self->token_free);
    g_hash_table_iter_init(&iter, self->calls);
    while (g_hash_table_iter_next(&iter, NULL, &call))
        pthread_cond_signal(&((Call *)call)->woken);
    unlock(self);
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

/* Takes the write token and gives the call its id. */
static bool
begin_locked(GwQmp *self, Call *call, GError **error)
{
    g_autofree char *timeout = format_timeout(call->timeout_ms);
    bool in_time = true;
    while (self->state != STATE_ENDED && self->writing && in_time)
        in_time = wait_until_locked(self, &self->token_free, call->deadline_us);
    if (self->state == STATE_ENDED) {
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: %s: ", call->command);
        return false;
    }
    if (self->writing) {
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT,
                    "qmp: %s: not sent within %s, an earlier command is still on its way", call->command,
                    timeout);
        return false;
    }
    if (g_hash_table_size(self->abandoned) >= MAX_ABANDONED) {
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT,
                    "qmp: %s: not sent, QEMU owes replies to %d earlier commands", call->command,
                    MAX_ABANDONED);
        return false;
    }
    self->writing = true;
    call->id = ++self->last_id;
    g_hash_table_insert(self->calls, &call->id, call);
    return true;
}

/* One attempt; -errno, or the number of bytes that have left. `fd` goes with the first byte; -1: none. */
static ssize_t
send_some(int socket_fd, const char *bytes, size_t n_bytes, int fd)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = n_bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }
    ssize_t n = sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

/* Sends all of it until the deadline. Returns 0, -EAGAIN when the time is over, or another -errno;
 * *ret_n_sent bytes have left in each case. */
static int
send_until(int socket_fd, const char *bytes, size_t n_bytes, int fd, gint64 deadline_us, size_t *ret_n_sent)
{
    size_t n_sent = 0;
    ssize_t n = 0;
    while (n_sent < n_bytes) {
        n = send_some(socket_fd, bytes + n_sent, n_bytes - n_sent, n_sent == 0 ? fd : -1);
        if (n >= 0) {
            n_sent += (size_t)n;
        } else if (n == -EAGAIN) {
            struct pollfd writable = {.fd = socket_fd, .events = POLLOUT};
            if (poll(&writable, 1, ms_until(deadline_us)) == 0)
                break;
        } else if (n != -EINTR) {
            break;
        }
    }
    *ret_n_sent = n_sent;
    return n_sent == n_bytes ? 0 : (int)n;
}

/* With the write token. Returns as send_until(), about `line`; *ret_begun: QEMU has got some of it. */
static int
send_line(GwQmp *self, const char *line, int fd, gint64 deadline_us, bool *ret_begun)
{
    size_t n_sent = 0;
    *ret_begun = false;
    int r = send_until(self->fd, self->unsent->str, self->unsent->len, -1, deadline_us, &n_sent);
    g_string_erase(self->unsent, 0, (gssize)n_sent);
    if (r == 0) {
        r = send_until(self->fd, line, strlen(line), fd, deadline_us, &n_sent);
        *ret_begun = n_sent > 0;
        if (*ret_begun)
            g_string_assign(self->unsent, line + n_sent);
    }
    if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN) {
        shutdown(self->fd, SHUT_RDWR); /* the reader says why: see the top */
        return 0;
    }
    return r;
}

static void
abandon_locked(GwQmp *self, Call *call)
{
    g_hash_table_remove(self->calls, &call->id);
    g_hash_table_add(self->abandoned, g_memdup2(&call->id, sizeof(call->id)));
}

/* Sends the registered call and gives the token back; `arguments`: taken. On failure the call is no longer
 * registered. */
static bool
send_call_locked(GwQmp *self, Call *call, JsonObject *arguments, int fd, GError **error)
{
    bool begun = false;
    unlock(self);
    g_autofree char *line = gw_qmp_message_format_command(call->command, arguments, call->id);
    int r = send_line(self, line, fd, call->deadline_us, &begun);
    lock(self);
    self->writing = false;
    pthread_cond_broadcast(&self->token_free); /* all: who wakes may be one that must not send */
    if (r == 0 || call->done || self->state == STATE_ENDED)
        return true;

    if (begun)
        abandon_locked(self, call);
    else
        g_hash_table_remove(self->calls, &call->id);
    if (r != -EAGAIN)
        return gw_set_errno(error, GW_ERROR_IO, -r, "qmp: %s: sending", call->command);
    g_autofree char *timeout = format_timeout(call->timeout_ms);
    g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "qmp: %s: not %ssent within %s, QEMU does not read",
                call->command, begun ? "wholly " : "", timeout);
    return false;
}

static JsonNode *
wait_for_reply_locked(GwQmp *self, Call *call, GError **error)
{
    bool in_time = true;
    while (!call->done && self->state != STATE_ENDED && in_time)
        in_time = wait_until_locked(self, &call->woken, call->deadline_us);
    if (call->done) {
        if (call->error)
            g_propagate_error(error, g_steal_pointer(&call->error));
        return g_steal_pointer(&call->value);
    }
    if (self->state == STATE_ENDED) {
        g_hash_table_remove(self->calls, &call->id);
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: %s: ", call->command);
        return NULL;
    }
    abandon_locked(self, call);
    g_autofree char *timeout = format_timeout(call->timeout_ms);
    g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "qmp: %s: no answer within %s", call->command, timeout);
    return NULL;
}

static JsonNode *
execute_locked(GwQmp *self, Call *call, JsonObject *arguments, int fd, GError **error)
{
    if (!begin_locked(self, call, error)) {
        g_clear_pointer(&arguments, json_object_unref);
        return NULL;
    }
    return send_call_locked(self, call, arguments, fd, error) ? wait_for_reply_locked(self, call, error)
                                                              : NULL;
}

static JsonNode *
execute(GwQmp *self, const char *command, JsonObject *arguments, int fd, int timeout_ms, GError **error)
{
    g_assert(g_thread_self() != self->reader);
    Call call = {.command = command, .timeout_ms = timeout_ms, .deadline_us = deadline_in(timeout_ms)};
    cond_init_monotonic(&call.woken);

    lock(self);
    self->n_users++;
    JsonNode *value = execute_locked(self, &call, arguments, fd, error);
    if (--self->n_users == 0)
        pthread_cond_broadcast(&self->changed);
    unlock(self);

    pthread_cond_destroy(&call.woken);
    return value;
}

JsonNode *
gw_qmp_execute(GwQmp *self, const char *command, JsonObject *arguments, int timeout_ms, GError **error)
{
    return execute(self, command, arguments, -1, timeout_ms, error);
}

JsonNode *
gw_qmp_execute_with_fd(GwQmp *self, const char *command, JsonObject *arguments, int fd, int timeout_ms,
                       GError **error)
{
    g_assert(fd >= 0);
    return execute(self, command, arguments, fd, timeout_ms, error);
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
    self->unsent = g_string_new(NULL);
    self->calls = g_hash_table_new(g_int64_hash, g_int64_equal);
    self->abandoned = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    pthread_mutex_init(&self->lock, NULL);
    cond_init_monotonic(&self->changed);
    cond_init_monotonic(&self->token_free);
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
        in_time = wait_until_locked(self, &self->changed, deadline_us);
    State state = self->state;
    if (state == STATE_ENDED)
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: no greeting: ");
    unlock(self);

    if (state == STATE_GREETING) {
        g_autofree char *timeout = format_timeout(self->callbacks.timeout_ms);
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
    gint64 deadline_us = deadline_in(callbacks->timeout_ms);
    g_autoptr(GwQmp) self = qmp_alloc(fd, callbacks);
    if (!start_reader(self, error) || !wait_for_greeting(self, deadline_us, error) ||
        !gw_qmp_command(self, "qmp_capabilities", NULL, ms_until(deadline_us), error) ||
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

    lock(self);
    while (self->n_users > 0)
        pthread_cond_wait(&self->changed, &self->lock);
    unlock(self);
}

void
gw_qmp_free(GwQmp *self)
{
    if (!self)
        return;
    if (self->reader)
        stop_reader(self);
    g_assert(g_hash_table_size(self->calls) == 0);
    close(self->fd);
    if (self->stop_fd >= 0)
        close(self->stop_fd);
    gw_qmp_lines_free(self->lines);
    g_string_free(self->unsent, TRUE);
    g_clear_error(&self->why);
    g_hash_table_unref(self->calls);
    g_hash_table_unref(self->abandoned);
    pthread_cond_destroy(&self->changed);
    pthread_cond_destroy(&self->token_free);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}
