/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who comes in, how long they may take, and who has to go when there are too many.
 *
 * A GSocketService accepts and libsoup is handed the connection: its own listeners leak each connection's
 * socket object, and the descriptor of one that its client closes while idle (seen in 3.2.3, which Debian 12
 * has).
 *
 *   accepted -> HANDSHAKE -> WAITING -> ASKED -> LEAVING -> gone
 *               TLS alone    for the    at work  the client
 *                            whole      or a     takes the
 *                            request    stream   answer
 *
 * Each state but ASKED has a time limit. When there are too many connections, the one goes that has waited
 * longest without having asked; then one that has been answered. So clients that connect and say nothing keep
 * nobody out, however many they are. Where libsoup has the connection it is ended by shutting its socket
 * down, and libsoup finds that out by itself.
 *
 * libsoup gives a message no way back to its connection but its addresses: the remote one carries ours. */
#include "http-connection.h"

#include "certificate.h"
#include "error.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define KEY         "godwit-connection"
#define DRAIN_BYTES (256 * 1024)

typedef enum { HANDSHAKE, WAITING, ASKED, LEAVING, GONE } State;

struct GwHttpConnection {
    GwHttpLobby *lobby;
    GSocketConnection *socket_connection; /* borrowed: ends with it, see on_connection_gone() */
    GwTlsServerStream *tls;               /* ref during the handshake, then libsoup's */
    GIOStream *stream;                    /* borrowed: the one or the other */
    GSocketAddress *remote;               /* ref */
    State state;
    GSource *timer, *watch;     /* attached; NULL if there is none */
    SoupServerMessage *refused; /* ref, paused until all is said */
    bool is_local;
    char *address, *peer_name, *peer_role;
};

typedef struct {
    GwHttpLobby *lobby;
    GSocketService *service;
    GwTlsServerCredentials *credentials; /* ref; NULL: without TLS */
    bool wants_peer;
} Listener;

struct GwHttpLobby {
    SoupServer *soup; /* borrowed */
    GwHttpLimits limits;
    GPtrArray *listeners; /* owned */
    GQueue connections;   /* of GwHttpConnection, the longest here at the head */
};

static void
source_clear(GSource **source)
{
    if (*source)
        g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

static void
connection_free(GwHttpConnection *self)
{
    source_clear(&self->timer);
    source_clear(&self->watch);
    g_object_set_data(G_OBJECT(self->remote), KEY, NULL);
    g_object_unref(self->remote);
    g_clear_object(&self->refused);
    g_free(self->address);
    g_free(self->peer_name);
    g_free(self->peer_role);
    g_free(self);
}

static void
on_connection_gone(void *data, GObject *where)
{
    GwHttpConnection *self = data;
    g_queue_remove(&self->lobby->connections, self);
    connection_free(self);
}

/* `self` may be freed when this returns. */
static void
end(GwHttpConnection *self)
{
    g_autoptr(GSocketConnection) keep = g_object_ref(self->socket_connection);
    bool was_ours = self->state == HANDSHAKE;
    self->state = GONE;
    source_clear(&self->timer);
    source_clear(&self->watch);
    if (was_ours) {
        g_io_stream_close(G_IO_STREAM(self->tls), NULL, NULL);
        g_clear_object(&self->tls);
        return;
    }
    g_socket_shutdown(g_socket_connection_get_socket(keep), TRUE, TRUE, NULL);
    g_autoptr(SoupServerMessage) refused = g_steal_pointer(&self->refused);
    if (refused)
        soup_server_message_unpause(refused); /* reads on, and finds the end */
}

/* Against its will. A client that does not take its answer, or sends on and on, would not notice an orderly
 * end, and the kernel keep what was not sent: it gets a reset. */
static void
throw_out(GwHttpConnection *self)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (self->state == LEAVING) {
        int fd = g_socket_get_fd(g_socket_connection_get_socket(self->socket_connection));
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    end(self);
}

static gboolean
on_late(void *data)
{
    throw_out(data);
    return G_SOURCE_REMOVE;
}

static void
enter(GwHttpConnection *self, State state, unsigned timeout_ms)
{
    self->state = state;
    source_clear(&self->timer);
    if (timeout_ms == 0 || self->is_local)
        return;
    self->timer = g_timeout_source_new(timeout_ms);
    g_source_set_callback(self->timer, on_late, self, NULL);
    g_source_attach(self->timer, g_main_context_get_thread_default());
}

/* What is still coming is read and thrown away, for a while: closing with bytes unread would be a reset,
 * which takes the answer away from a client that has not read it yet. */
static gboolean
on_drain(GSocket *socket, GIOCondition condition, void *data)
{
    GwHttpConnection *self = data;
    g_autofree char *nowhere = g_malloc(DRAIN_BYTES);
    g_autoptr(GError) error = NULL;
    gssize n = g_socket_receive_with_blocking(socket, nowhere, DRAIN_BYTES, FALSE, NULL, &error);
    if (n > 0 || g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        return G_SOURCE_CONTINUE;
    end(self);
    return G_SOURCE_REMOVE;
}

static void
linger(GwHttpConnection *self)
{
    GSocket *socket = g_socket_connection_get_socket(self->socket_connection);
    g_socket_shutdown(socket, FALSE, TRUE, NULL);
    enter(self, self->state, self->lobby->limits.linger_ms);
    source_clear(&self->watch);
    self->watch = g_socket_create_source(socket, G_IO_IN, NULL);
    g_source_set_priority(self->watch, G_PRIORITY_LOW);
    g_source_set_callback(self->watch, G_SOURCE_FUNC(on_drain), self, NULL);
    g_source_attach(self->watch, g_main_context_get_thread_default());
}

static bool
is_open(const GwHttpConnection *self)
{
    return self->state != GONE && !g_io_stream_is_closed(G_IO_STREAM(self->socket_connection));
}

/* Whether one more may come. */
static bool
make_room(GwHttpLobby *self)
{
    unsigned n_open = 0;
    GwHttpConnection *silent = NULL, *leaving = NULL;
    for (GList *each = self->connections.head; each; each = each->next) {
        GwHttpConnection *connection = each->data;
        if (connection->is_local || !is_open(connection))
            continue;
        n_open++;
        if (!silent && (connection->state == HANDSHAKE || connection->state == WAITING))
            silent = connection;
        if (!leaving && connection->state == LEAVING)
            leaving = connection;
    }
    if (n_open < self->limits.max_connections)
        return true;
    GwHttpConnection *victim = silent ? silent : leaving;
    if (victim)
        throw_out(victim);
    return victim != NULL;
}

static void
hand_over(GwHttpConnection *self)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocketAddress) local = g_socket_connection_get_local_address(self->socket_connection, &error);
    enter(self, WAITING, self->lobby->limits.request_ms);
    if (!local || !soup_server_accept_iostream(self->lobby->soup, self->stream, local, self->remote, &error))
        g_debug("a connection was not accepted: %s", error->message);
}

static void
meet_peer(GwHttpConnection *self)
{
    g_autofree char *pem = gw_tls_server_stream_peer_pem(self->tls);
    if (pem)
        gw_certificate_holder(pem, &self->peer_name, &self->peer_role, NULL);
    g_autoptr(GwTlsServerStream) tls G_GNUC_UNUSED = g_steal_pointer(&self->tls);
    hand_over(self);
}

static gboolean on_handshake_ready(GSocket *socket, GIOCondition condition, void *data);

static void
shake_hands(GwHttpConnection *self)
{
    GIOCondition wait = G_IO_IN;
    g_autoptr(GError) error = NULL;
    source_clear(&self->watch);
    if (gw_tls_server_stream_handshake(self->tls, &wait, &error)) {
        meet_peer(self);
    } else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        self->watch =
            g_socket_create_source(g_socket_connection_get_socket(self->socket_connection), wait, NULL);
        g_source_set_callback(self->watch, G_SOURCE_FUNC(on_handshake_ready), self, NULL);
        g_source_attach(self->watch, g_main_context_get_thread_default());
    } else {
        g_debug("%s: %s", self->address, error->message);
        linger(self); /* the alert has to arrive: it says why */
    }
}

static gboolean
on_handshake_ready(GSocket *socket, GIOCondition condition, void *data)
{
    shake_hands(data);
    return G_SOURCE_REMOVE;
}

static GwHttpConnection *
connection_new(GwHttpLobby *lobby, GSocketConnection *socket_connection, GSocketAddress *remote)
{
    GwHttpConnection *self = g_new0(GwHttpConnection, 1);
    self->lobby = lobby;
    self->socket_connection = socket_connection;
    self->stream = G_IO_STREAM(socket_connection);
    self->state = WAITING;
    self->remote = g_object_ref(remote);
    self->is_local = g_socket_address_get_family(remote) == G_SOCKET_FAMILY_UNIX;
    self->address =
        G_IS_INET_SOCKET_ADDRESS(remote)
            ? g_inet_address_to_string(g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(remote)))
            : g_strdup("");
    g_object_set_data(G_OBJECT(remote), KEY, self);
    g_object_weak_ref(G_OBJECT(socket_connection), on_connection_gone, self);
    g_queue_push_tail(&lobby->connections, self);
    return self;
}

static void
let_in(Listener *listener, GSocketConnection *socket_connection, GSocketAddress *remote)
{
    g_autoptr(GError) error = NULL;
    GSocket *socket = g_socket_connection_get_socket(socket_connection);
    g_autoptr(GwTlsServerStream) tls = NULL;
    if (g_socket_address_get_family(remote) != G_SOCKET_FAMILY_UNIX) {
        g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL); /* events are small and wanted now */
        if (!make_room(listener->lobby)) {
            g_debug("too many connections, all of them at work");
            return;
        }
    }
    if (listener->credentials) {
        tls =
            gw_tls_server_stream_new(socket_connection, listener->credentials, listener->wants_peer, &error);
        if (!tls) {
            g_debug("%s", error->message);
            return;
        }
    }
    GwHttpConnection *self = connection_new(listener->lobby, socket_connection, remote);
    if (!tls) {
        hand_over(self);
        return;
    }
    self->stream = G_IO_STREAM(tls);
    self->tls = g_steal_pointer(&tls);
    enter(self, HANDSHAKE, self->lobby->limits.handshake_ms);
    shake_hands(self);
}

static gboolean
on_connection(GSocketService *service, GSocketConnection *connection, GObject *source, gpointer user_data)
{
    g_autoptr(GSocketAddress) remote = g_socket_connection_get_remote_address(connection, NULL);
    if (remote) /* else it is gone already */
        let_in(user_data, connection, remote);
    return TRUE;
}

static void
listener_free(void *data)
{
    Listener *listener = data;
    g_socket_service_stop(listener->service);
    g_socket_listener_close(G_SOCKET_LISTENER(listener->service));
    g_object_unref(listener->service);
    gw_tls_server_credentials_unref(listener->credentials);
    g_free(listener);
}

GwHttpLobby *
gw_http_lobby_new(SoupServer *soup)
{
    static const GwHttpLimits usual = {.max_connections = 512,
                                       .handshake_ms = 10 * 1000,
                                       .request_ms = 30 * 1000,
                                       .answer_ms = 120 * 1000,
                                       .linger_ms = 2 * 1000};
    GwHttpLobby *self = g_new0(GwHttpLobby, 1);
    self->soup = soup;
    self->limits = usual;
    self->listeners = g_ptr_array_new_with_free_func(listener_free);
    g_queue_init(&self->connections);
    return self;
}

void
gw_http_lobby_set_limits(GwHttpLobby *self, const GwHttpLimits *limits)
{
    self->limits = *limits;
}

/* Those whose handshake is under way are ours. */
static void
end_handshakes(GwHttpLobby *self)
{
    GList *next = NULL;
    for (GList *each = self->connections.head; each; each = next) {
        next = each->next;
        if (((GwHttpConnection *)each->data)->state == HANDSHAKE)
            end(each->data);
    }
}

void
gw_http_lobby_stop(GwHttpLobby *self)
{
    g_ptr_array_set_size(self->listeners, 0);
    end_handshakes(self);
}

static bool
is_one_leaving(const GwHttpLobby *self)
{
    for (GList *each = self->connections.head; each; each = each->next) {
        const GwHttpConnection *connection = each->data;
        if (connection->state == LEAVING && !connection->refused && is_open(connection))
            return true;
    }
    return false;
}

static gboolean
set_late(void *data)
{
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

void
gw_http_lobby_drain(GwHttpLobby *self, unsigned limit_ms)
{
    bool late = false;
    GMainContext *context = g_main_context_get_thread_default();
    g_autoptr(GSource) limit = g_timeout_source_new(limit_ms);
    g_source_set_callback(limit, set_late, &late, NULL);
    g_source_attach(limit, context);
    while (!late && is_one_leaving(self))
        g_main_context_iteration(context, TRUE);
    g_source_destroy(limit);
}

void
gw_http_lobby_free(GwHttpLobby *self)
{
    GwHttpConnection *connection;
    gw_http_lobby_stop(self);
    while ((connection = g_queue_pop_head(&self->connections))) {
        g_object_weak_unref(G_OBJECT(connection->socket_connection), on_connection_gone, connection);
        connection_free(connection);
    }
    g_ptr_array_unref(self->listeners);
    g_free(self);
}

/* A service of its own for each socket: adding a socket to one that accepts already makes it begin anew, and
 * a connection that is just coming in is then dropped. */
bool
gw_http_lobby_listen(GwHttpLobby *self, GSocket *socket, GwTlsServerCredentials *credentials, bool wants_peer,
                     GError **error)
{
    Listener *listener = g_new0(Listener, 1);
    listener->lobby = self;
    listener->service = g_socket_service_new();
    listener->credentials = credentials ? gw_tls_server_credentials_ref(credentials) : NULL;
    listener->wants_peer = wants_peer;
    g_ptr_array_add(self->listeners, listener);
    g_signal_connect(listener->service, "incoming", G_CALLBACK(on_connection), listener);
    return g_socket_listener_add_socket(G_SOCKET_LISTENER(listener->service), socket, NULL, error);
}

void
gw_http_lobby_set_credentials(GwHttpLobby *self, GwTlsServerCredentials *credentials)
{
    for (guint i = 0; i < self->listeners->len; i++) {
        Listener *listener = self->listeners->pdata[i];
        if (!listener->credentials)
            continue;
        gw_tls_server_credentials_unref(listener->credentials);
        listener->credentials = gw_tls_server_credentials_ref(credentials);
    }
}

GwHttpConnection *
gw_http_connection_of(SoupServerMessage *message)
{
    GSocketAddress *remote = soup_server_message_get_remote_address(message);
    return remote ? g_object_get_data(G_OBJECT(remote), KEY) : NULL;
}

void
gw_http_connection_asked(GwHttpConnection *self)
{
    if (self->state == WAITING)
        enter(self, ASKED, 0);
}

void
gw_http_connection_answered(GwHttpConnection *self)
{
    if (self->state == ASKED)
        enter(self, LEAVING, self->lobby->limits.answer_ms);
}

void
gw_http_connection_refuse(GwHttpConnection *self, SoupServerMessage *message, const char *answer)
{
    GPollableOutputStream *output = G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(self->stream));
    g_autoptr(GError) error = NULL;
    soup_server_message_pause(message);
    self->refused = g_object_ref(message);
    /* The first bytes of a connection always have room; who has none left will not get an answer. */
    if (g_pollable_output_stream_write_nonblocking(output, answer, strlen(answer), NULL, &error) < 0)
        g_debug("%s", error->message);
    self->is_local = false; /* even root's client does not linger for ever */
    self->state = LEAVING;
    linger(self);
}

const char *
gw_http_connection_address(const GwHttpConnection *self)
{
    return self->address;
}

bool
gw_http_connection_is_local(const GwHttpConnection *self)
{
    return self->is_local;
}

const char *
gw_http_connection_peer_name(const GwHttpConnection *self)
{
    return self->peer_name;
}

const char *
gw_http_connection_peer_role(const GwHttpConnection *self)
{
    return self->peer_role;
}
