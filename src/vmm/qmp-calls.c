/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands in flight: their ids, the threads that wait for the replies, and the way onto the socket.
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
 * command at most, as nobody adds to it before it is empty. */
#define G_LOG_DOMAIN "godwit-vmm"

#include "qmp-calls.h"

#include "deadline.h"
#include "error.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* A caller that polls once a second needs a quarter of an hour of a silent QEMU to get there. */
#define MAX_ABANDONED 1024

/* A command that waits for its reply, on the stack of the caller. The reader touches it only while it is in
 * GwQmpCalls.calls. */
typedef struct {
    /* set once, before it gets into GwQmpCalls.calls */
    gint64 id;
    const char *command; /* borrowed from the caller */
    int timeout_ms;
    gint64 deadline_us;

    /* guarded by GwQmpCalls.lock */
    pthread_cond_t woken;
    bool done;
    JsonNode *value; /* owned; set if done without error */
    GError *error;   /* owned */
} Call;

struct GwQmpCalls {
    /* set once */
    int fd; /* borrowed from the connection */

    /* owned by the holder of the write token */
    GString *unsent;

    pthread_mutex_t lock;
    /* guarded by lock */
    GError *why;      /* owned; set by the end */
    bool writing;     /* the write token is taken */
    unsigned n_users; /* threads inside execute */
    gint64 last_id;
    GHashTable *calls;     /* &Call.id → Call, both borrowed from the callers' stacks */
    GHashTable *abandoned; /* set of owned gint64 */
    pthread_cond_t unused; /* n_users has become 0 */
    pthread_cond_t token_free;
};

static void
lock(GwQmpCalls *self)
{
    pthread_mutex_lock(&self->lock);
}

static void
unlock(GwQmpCalls *self)
{
    pthread_mutex_unlock(&self->lock);
}

/* False once the deadline has passed. */
static bool
wait_until_locked(GwQmpCalls *self, pthread_cond_t *cond, gint64 deadline_us)
{
    return gw_deadline_wait(cond, &self->lock, deadline_us);
}

/* The reader: what QEMU answers. */

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

bool
gw_qmp_calls_accept_reply(GwQmpCalls *self, GwQmpMessage *message, GError **error)
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

void
gw_qmp_calls_end(GwQmpCalls *self, const GError *why)
{
    GHashTableIter iter;
    gpointer call = NULL;

    lock(self);
    g_assert(!self->why);
    self->why = g_error_copy(why);
    pthread_cond_broadcast(&self->token_free);
    g_hash_table_iter_init(&iter, self->calls);
    while (g_hash_table_iter_next(&iter, NULL, &call))
        pthread_cond_signal(&((Call *)call)->woken);
    unlock(self);
}

/* The callers: what we say. */

/* Takes the write token and gives the call its id. */
static bool
begin_locked(GwQmpCalls *self, Call *call, GError **error)
{
    g_autofree char *timeout = gw_deadline_format_timeout(call->timeout_ms);
    bool in_time = true;
    while (!self->why && self->writing && in_time)
        in_time = wait_until_locked(self, &self->token_free, call->deadline_us);
    if (self->why) {
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
            if (poll(&writable, 1, gw_deadline_ms_left(deadline_us)) == 0)
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
send_line(GwQmpCalls *self, const char *line, int fd, gint64 deadline_us, bool *ret_begun)
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
        shutdown(self->fd, SHUT_RDWR); /* the reader says why: see the top of qmp.c */
        return 0;
    }
    return r;
}

static void
abandon_locked(GwQmpCalls *self, Call *call)
{
    g_hash_table_remove(self->calls, &call->id);
    g_hash_table_add(self->abandoned, g_memdup2(&call->id, sizeof(call->id)));
}

/* Sends the registered call and gives the token back; `arguments`: taken. On failure the call is no longer
 * registered. */
static bool
send_call_locked(GwQmpCalls *self, Call *call, JsonObject *arguments, int fd, GError **error)
{
    bool begun = false;
    unlock(self);
    g_autofree char *line = gw_qmp_message_format_command(call->command, arguments, call->id);
    int r = send_line(self, line, fd, call->deadline_us, &begun);
    lock(self);
    self->writing = false;
    pthread_cond_broadcast(&self->token_free); /* all: who wakes may be one that must not send */
    if (r == 0 || call->done || self->why)
        return true;

    if (begun)
        abandon_locked(self, call);
    else
        g_hash_table_remove(self->calls, &call->id);
    if (r != -EAGAIN)
        return gw_set_errno(error, GW_ERROR_IO, -r, "qmp: %s: sending", call->command);
    g_autofree char *timeout = gw_deadline_format_timeout(call->timeout_ms);
    g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "qmp: %s: not %ssent within %s, QEMU does not read",
                call->command, begun ? "wholly " : "", timeout);
    return false;
}

static JsonNode *
wait_for_reply_locked(GwQmpCalls *self, Call *call, GError **error)
{
    bool in_time = true;
    while (!call->done && !self->why && in_time)
        in_time = wait_until_locked(self, &call->woken, call->deadline_us);
    if (call->done) {
        if (call->error)
            g_propagate_error(error, g_steal_pointer(&call->error));
        return g_steal_pointer(&call->value);
    }
    if (self->why) {
        g_hash_table_remove(self->calls, &call->id);
        g_propagate_prefixed_error(error, g_error_copy(self->why), "qmp: %s: ", call->command);
        return NULL;
    }
    abandon_locked(self, call);
    g_autofree char *timeout = gw_deadline_format_timeout(call->timeout_ms);
    g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "qmp: %s: no answer within %s", call->command, timeout);
    return NULL;
}

static JsonNode *
execute_locked(GwQmpCalls *self, Call *call, JsonObject *arguments, int fd, GError **error)
{
    if (!begin_locked(self, call, error)) {
        g_clear_pointer(&arguments, json_object_unref);
        return NULL;
    }
    return send_call_locked(self, call, arguments, fd, error) ? wait_for_reply_locked(self, call, error)
                                                              : NULL;
}

JsonNode *
gw_qmp_calls_execute(GwQmpCalls *self, const char *command, JsonObject *arguments, int fd, int timeout_ms,
                     GError **error)
{
    Call call = {.command = command, .timeout_ms = timeout_ms, .deadline_us = gw_deadline_in(timeout_ms)};
    gw_deadline_cond_init(&call.woken);

    lock(self);
    self->n_users++;
    JsonNode *value = execute_locked(self, &call, arguments, fd, error);
    if (--self->n_users == 0)
        pthread_cond_broadcast(&self->unused);
    unlock(self);

    pthread_cond_destroy(&call.woken);
    return value;
}

void
gw_qmp_calls_drain(GwQmpCalls *self)
{
    lock(self);
    while (self->n_users > 0)
        pthread_cond_wait(&self->unused, &self->lock);
    unlock(self);
}

GwQmpCalls *
gw_qmp_calls_new(int fd)
{
    GwQmpCalls *self = g_new0(GwQmpCalls, 1);
    self->fd = fd;
    self->unsent = g_string_new(NULL);
    self->calls = g_hash_table_new(g_int64_hash, g_int64_equal);
    self->abandoned = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    pthread_mutex_init(&self->lock, NULL);
    gw_deadline_cond_init(&self->unused);
    gw_deadline_cond_init(&self->token_free);
    return self;
}

void
gw_qmp_calls_free(GwQmpCalls *self)
{
    if (!self)
        return;
    g_assert(g_hash_table_size(self->calls) == 0);
    g_string_free(self->unsent, TRUE);
    g_clear_error(&self->why);
    g_hash_table_unref(self->calls);
    g_hash_table_unref(self->abandoned);
    pthread_cond_destroy(&self->unused);
    pthread_cond_destroy(&self->token_free);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}
