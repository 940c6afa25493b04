/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The receiving end: a thread for each request, which serves all connections to its ports.
 *
 * All at once and not one after the other: who connects and says nothing must not keep the others waiting,
 * and the sender connects all its ways before it uses the first. It uses one at a time, so that nobody shares
 * the receiver's CPU while it is measured. */
#include "probe-internal.h"
#include "probe.h"

#include "error.h"
#include "json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define LISTEN_US       (30 * G_USEC_PER_SEC)
/* A port that was used and is not any more gives its place to others. */
#define IDLE_US         (3 * G_USEC_PER_SEC)
#define MAX_CONNECTIONS 64
#define CHUNK           (256 * 1024)
#define SAMPLE_EVERY_US 1000

struct GwProbeDoor {
    int stop; /* eventfd; set once */
    GMutex lock;
    GCond ended;
    unsigned n_listeners, n_threads; /* guarded by lock */
};

typedef struct {
    int fd;
    unsigned n_token; /* characters of the token that came */
    char token[GW_PROBE_TOKEN_CHARS];
    GArray *samples; /* of GwProbeSample */
    uint64_t bytes;
    gint64 last_us;
} Connection;

/* What one request opened. */
typedef struct {
    GwProbeDoor *door; /* borrowed */
    char token[GW_PROBE_TOKEN_CHARS + 1];
    GArray *listeners;   /* of int */
    GArray *connections; /* of Connection */
    gint64 until_us;
    gint64 used_us; /* when a measurement ended last; 0: never */
    char *chunk;
} Session;

static void
connection_clear(void *data)
{
    Connection *connection = data;
    close(connection->fd);
    g_array_unref(connection->samples);
}

static void
fd_clear(void *data)
{
    close(*(int *)data);
}

static void
session_free(Session *self)
{
    g_array_unref(self->listeners);
    g_array_unref(self->connections);
    g_free(self->chunk);
    g_free(self);
}

static Session *
session_new(GwProbeDoor *door)
{
    Session *self = g_new0(Session, 1);
    self->door = door;
    self->listeners = g_array_new(FALSE, FALSE, sizeof(int));
    self->connections = g_array_new(FALSE, FALSE, sizeof(Connection));
    g_array_set_clear_func(self->listeners, fd_clear);
    g_array_set_clear_func(self->connections, connection_clear);
    self->chunk = g_malloc(CHUNK);
    return self;
}

static void
accept_one(Session *self, int listener)
{
    Connection connection = {.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (connection.fd < 0)
        return;
    if (self->connections->len >= MAX_CONNECTIONS) {
        close(connection.fd);
        return;
    }
    connection.samples = g_array_new(FALSE, FALSE, sizeof(GwProbeSample));
    g_array_append_val(self->connections, connection);
}

/* In a time that does not depend on where they differ. */
static bool
token_is(const char *a, const char *b)
{
    unsigned char difference = 0;
    for (unsigned i = 0; i < GW_PROBE_TOKEN_CHARS; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

static void
note_sample(Connection *connection, gint64 now_us)
{
    const GArray *samples = connection->samples;
    const GwProbeSample sample = {now_us, connection->bytes};
    if (samples->len == 0 ||
        now_us - g_array_index(samples, GwProbeSample, samples->len - 1).us >= SAMPLE_EVERY_US)
        g_array_append_val(connection->samples, sample);
}

static void
answer(Connection *connection)
{
    uint64_t bytes, us, reply[2];
    GwProbeSample last = {connection->last_us, connection->bytes};
    g_array_append_val(connection->samples, last);
    gw_probe_window(connection->samples, &bytes, &us);
    reply[0] = GUINT64_TO_BE(bytes);
    reply[1] = GUINT64_TO_BE(us);
    G_STATIC_ASSERT(sizeof reply == GW_PROBE_ANSWER_BYTES);
    if (send(connection->fd, reply, sizeof reply, MSG_NOSIGNAL) < 0)
        g_debug("probe: %s, ignoring", g_strerror(errno));
}

/* False: it is at its end, or not one of ours. */
static bool
receive(Session *self, Connection *connection)
{
    bool has_token = connection->n_token == GW_PROBE_TOKEN_CHARS;
    char *into = has_token ? self->chunk : connection->token + connection->n_token;
    size_t room = has_token ? CHUNK : GW_PROBE_TOKEN_CHARS - connection->n_token;
    ssize_t n = recv(connection->fd, into, room, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
        if (has_token) {
            answer(connection);
            self->used_us = g_get_monotonic_time();
        }
        return false;
    }
    if (has_token) {
        connection->bytes += (uint64_t)n;
        connection->last_us = g_get_monotonic_time();
        note_sample(connection, connection->last_us);
        return true;
    }
    connection->n_token += (unsigned)n;
    return connection->n_token < GW_PROBE_TOKEN_CHARS || token_is(connection->token, self->token);
}

/* One round; false once the time is over or the door closes. */
static bool
serve(Session *self)
{
    struct pollfd fds[1 + GW_PROBE_MAX_LISTENERS + MAX_CONNECTIONS];
    unsigned n_listeners = self->listeners->len, n_connections = self->connections->len, n = 0;
    fds[n++] = (struct pollfd){self->door->stop, POLLIN, 0};
    for (unsigned i = 0; i < n_listeners; i++)
        fds[n++] = (struct pollfd){g_array_index(self->listeners, int, i), POLLIN, 0};
    for (unsigned i = 0; i < n_connections; i++)
        fds[n++] = (struct pollfd){g_array_index(self->connections, Connection, i).fd, POLLIN, 0};
    bool is_idle = self->used_us && n_connections == 0;
    gint64 until_us = is_idle ? MIN(self->until_us, self->used_us + IDLE_US) : self->until_us;
    gint64 left_us = until_us - g_get_monotonic_time();
    if (left_us <= 0 || (poll(fds, n, (int)(left_us / 1000) + 1) < 0 && errno != EINTR) || fds[0].revents)
        return false;
    for (unsigned i = n_connections; i-- > 0;)
        if (fds[1 + n_listeners + i].revents &&
            !receive(self, &g_array_index(self->connections, Connection, i)))
            g_array_remove_index_fast(self->connections, i);
    for (unsigned i = 0; i < n_listeners; i++)
        if (fds[1 + i].revents)
            accept_one(self, fds[1 + i].fd);
    return true;
}

static void *
session_thread(void *data)
{
    Session *self = data;
    GwProbeDoor *door = self->door;
    unsigned n_listeners = self->listeners->len;
    while (serve(self))
        ;
    session_free(self);
    g_mutex_lock(&door->lock);
    door->n_listeners -= n_listeners;
    door->n_threads--;
    g_cond_signal(&door->ended);
    g_mutex_unlock(&door->lock);
    return NULL;
}

GwProbeDoor *
gw_probe_door_new(void)
{
    GwProbeDoor *self = g_new0(GwProbeDoor, 1);
    self->stop = eventfd(0, EFD_CLOEXEC);
    g_mutex_init(&self->lock);
    g_cond_init(&self->ended);
    return self;
}

void
gw_probe_door_free(GwProbeDoor *self)
{
    if (!self)
        return;
    eventfd_write(self->stop, 1);
    g_mutex_lock(&self->lock);
    while (self->n_threads > 0)
        g_cond_wait(&self->ended, &self->lock);
    g_mutex_unlock(&self->lock);
    close(self->stop);
    g_cond_clear(&self->ended);
    g_mutex_clear(&self->lock);
    g_free(self);
}

/* bind(2) alone would let a foreign address pass where ip_nonlocal_bind is set. */
static bool
is_this_hosts(const struct sockaddr_storage *address)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != address->ss_family)
            continue;
        if (address->ss_family == AF_INET)
            found = ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr ==
                    ((const struct sockaddr_in *)address)->sin_addr.s_addr;
        else
            found = memcmp(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr,
                           &((const struct sockaddr_in6 *)address)->sin6_addr, 16) == 0;
    }
    freeifaddrs(all);
    return found;
}

/* Listens at `text`, at a port of the kernel's choice, which it returns; 0 on error. */
static unsigned
listen_at(Session *self, const char *text, GError **error)
{
    struct sockaddr_storage address;
    socklen_t length;
    if (!gw_probe_address_parse(text, 0, &address, &length)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no numeric address", text);
        return 0;
    }
    if (!is_this_hosts(&address)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "%s is no address of this host", text);
        return 0;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, MAX_CONNECTIONS) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "listening at %s", text);
        if (fd >= 0)
            close(fd);
        return 0;
    }
    g_array_append_val(self->listeners, fd);
    /* the port lies at the same place in both */
    G_STATIC_ASSERT(G_STRUCT_OFFSET(struct sockaddr_in, sin_port) ==
                    G_STRUCT_OFFSET(struct sockaddr_in6, sin6_port));
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* "listening" of the answer; NULL on error. */
static JsonArray *
listen_at_all(Session *self, JsonArray *addresses, GError **error)
{
    g_autoptr(JsonArray) listening = json_array_new();
    for (guint i = 0; i < json_array_get_length(addresses); i++) {
        JsonNode *node = json_array_get_element(addresses, i);
        const char *text =
            json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
        if (!text) {
            g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'addresses' holds what is no text");
            return NULL;
        }
        unsigned port = listen_at(self, text, error);
        if (port == 0)
            return NULL;
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "address", text);
        json_object_set_int_member(object, "port", port);
        json_array_add_object_element(listening, object);
    }
    return g_steal_pointer(&listening);
}

static bool
make_token(char token[GW_PROBE_TOKEN_CHARS + 1], GError **error)
{
    unsigned char bytes[GW_PROBE_TOKEN_CHARS / 2];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return gw_set_errno(error, GW_ERROR_IO, errno, "making a token");
    for (unsigned i = 0; i < sizeof bytes; i++)
        g_snprintf(token + (size_t)2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* Takes the session, also on failure. */
static bool
session_start(Session *self, GError **error)
{
    GwProbeDoor *door = self->door;
    unsigned n_listeners = self->listeners->len;
    self->until_us = g_get_monotonic_time() + LISTEN_US;
    g_mutex_lock(&door->lock);
    bool fits = door->n_listeners + n_listeners <= GW_PROBE_MAX_LISTENERS;
    if (fits) {
        door->n_listeners += n_listeners;
        door->n_threads++;
    }
    g_mutex_unlock(&door->lock);
    GThread *thread = NULL;
    if (fits) {
        thread = g_thread_try_new("probe", session_thread, self, error);
    } else {
        g_set_error(error, GW_ERROR, GW_ERROR_BUSY, "%d ports are open for probes: try again in a minute",
                    GW_PROBE_MAX_LISTENERS);
    }
    if (thread) {
        g_thread_unref(thread);
        return true;
    }
    session_free(self);
    if (fits) {
        g_mutex_lock(&door->lock);
        door->n_listeners -= n_listeners;
        door->n_threads--;
        g_mutex_unlock(&door->lock);
    }
    return false;
}

JsonObject *
gw_probe_door_open(GwProbeDoor *self, JsonObject *request, GError **error)
{
    JsonArray *addresses = gw_json_get_array(request, "addresses");
    guint n = addresses ? json_array_get_length(addresses) : 0;
    if (n < 1 || n > GW_PROBE_MAX_LISTENERS) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'addresses': expected a list of 1 to %d of this host's addresses",
                    GW_PROBE_MAX_LISTENERS);
        return NULL;
    }
    Session *session = session_new(self);
    g_autoptr(JsonArray) listening =
        make_token(session->token, error) ? listen_at_all(session, addresses, error) : NULL;
    g_autofree char *token = g_strdup(session->token);
    if (!listening) {
        session_free(session);
        return NULL;
    }
    if (!session_start(session, error))
        return NULL;
    JsonObject *answer_object = json_object_new();
    json_object_set_string_member(answer_object, "token", token);
    json_object_set_array_member(answer_object, "listening", g_steal_pointer(&listening));
    return answer_object;
}
