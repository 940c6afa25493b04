/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Accepting, and hearing hellos. */
#include "door.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_MS 100

struct GwDoor {
    /* set once */
    GwTicket *ticket; /* owned */
    GwDoorOptions options;
    struct pollfd *polled; /* the listening sockets, and behind them the eventfd that ends the thread */
    unsigned n_listening;
    GThread *thread;
    /* guarded by lock */
    GMutex lock;
    GCond heard;
    GList *unheard;  /* of Unheard, each its thread's */
    GQueue visitors; /* of GwVisitor */
};

typedef struct {
    GwDoor *door;
    int fd;      /* the stream's, as soon as there is one */
    int same_fd; /* a copy, so that others can shut the connection down whoever holds it */
    gint64 deadline_us;
    bool dropped;
} Unheard;

void
gw_visitor_clear(GwVisitor *self)
{
    g_clear_pointer(&self->stream, gw_stream_free);
    explicit_bzero(&self->hello, sizeof self->hello);
}

static void
visitor_free(void *visitor)
{
    gw_visitor_clear(visitor);
    g_free(visitor);
}

static void
refuse(GwDoor *self, const char *who, const char *why)
{
    if (self->options.refused)
        self->options.refused(who, why, self->options.user_data);
}

/* Whether the hello opens the door; the reason if not. */
static const char *
judge(const GwDoor *self, const GwWireHello *hello)
{
    if (memcmp(hello->session, self->ticket->session, sizeof hello->session) != 0)
        return "it asks for another session";
    if (!gw_wire_secrets_equal(hello->secret, self->ticket->secret))
        return "it has a wrong secret";
    if (gw_wire_choose_version(hello) == 0)
        return "it speaks no version of the protocol that we speak";
    if (hello->memory_bytes != self->options.memory_bytes)
        return "its VM has another size of memory";
    return NULL;
}

static const char *
hear_hello(const GwDoor *self, GwStream *stream, GwWireHello *ret_hello)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES], payload[GW_WIRE_HELLO_BYTES];
    GwWireHeader header;
    if (gw_stream_receive(stream, bytes, sizeof bytes) < 0)
        return "it said no hello";
    GwWireVerdict verdict = gw_wire_decode_header(bytes, 0, &header);
    if (verdict == GW_WIRE_OK && header.type != GW_FRAME_HELLO)
        verdict = GW_WIRE_BAD_PLACE;
    if (verdict == GW_WIRE_OK) {
        if (gw_stream_receive(stream, payload, sizeof payload) < 0)
            return "it said half a hello";
        verdict = gw_wire_decode_hello(payload, sizeof payload, ret_hello);
        explicit_bzero(payload, sizeof payload);
    }
    return verdict == GW_WIRE_OK ? judge(self, ret_hello) : gw_wire_verdict_name(verdict);
}

static void
describe_peer(int fd, char *ret_text, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    g_strlcpy(ret_text, "somebody", size);
    if (getpeername(fd, (struct sockaddr *)&address, &length) < 0)
        return;
    g_autoptr(GSocketAddress) peer = g_socket_address_new_from_native(&address, length);
    g_autofree char *text = peer ? g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(peer)) : NULL;
    if (text)
        g_strlcpy(ret_text, text, size);
}

static void
let_in(GwDoor *self, GwStream *stream, const GwWireHello *hello)
{
    GwVisitor *visitor = g_new(GwVisitor, 1);
    *visitor = (GwVisitor){stream, *hello};
    g_mutex_lock(&self->lock);
    g_queue_push_tail(&self->visitors, visitor);
    g_mutex_unlock(&self->lock);
    gw_bell_ring(self->options.bell);
}

static void
hear(GwDoor *self, int fd)
{
    char who[80];
    describe_peer(fd, who, sizeof who);
    g_autoptr(GError) error = NULL;
    int hello_ms = (int)self->options.hello_ms;
    g_autoptr(GwStream) stream = gw_stream_accept(fd, self->options.identity, hello_ms, &error);
    if (!stream) {
        refuse(self, who, error->message);
        return;
    }
    GwWireHello hello = {0};
    gw_stream_set_timeout(stream, hello_ms);
    const char *why = hear_hello(self, stream, &hello);
    if (why) {
        refuse(self, who, why);
    } else {
        gw_stream_set_timeout(stream, -1);
        let_in(self, g_steal_pointer(&stream), &hello);
    }
    explicit_bzero(&hello, sizeof hello);
}

static void *
hear_thread(void *data)
{
    Unheard *unheard = data;
    GwDoor *self = unheard->door;
    hear(self, unheard->fd);
    g_mutex_lock(&self->lock);
    self->unheard = g_list_remove(self->unheard, unheard);
    close(unheard->same_fd);
    g_free(unheard);
    g_cond_broadcast(&self->heard);
    g_mutex_unlock(&self->lock); /* from here on the door may be gone */
    return NULL;
}

static void
drop(Unheard *unheard)
{
    unheard->dropped = true;
    shutdown(unheard->same_fd, SHUT_RDWR);
}

/* Room for one more, with the lock: at the cost of who has been silent longest, or a few that say nothing
 * would keep the source out. Who is dropped ends at once; that a crowd of them has not yet is no reason to
 * have ever more threads. */
static bool
make_room_locked(GwDoor *self)
{
    gint64 until_us = g_get_monotonic_time() + RETRY_MS * G_TIME_SPAN_MILLISECOND;
    while (g_list_length(self->unheard) >= 2 * GW_DOOR_MAX_UNHEARD)
        if (!g_cond_wait_until(&self->heard, &self->lock, until_us))
            return false;
    unsigned n_heard = 0;
    Unheard *oldest = NULL;
    for (GList *each = self->unheard; each; each = each->next) {
        Unheard *unheard = each->data;
        if (unheard->dropped)
            continue;
        n_heard++;
        oldest = unheard; /* the newest is the list's head */
    }
    if (n_heard >= GW_DOOR_MAX_UNHEARD)
        drop(oldest);
    return true;
}

static void
admit(GwDoor *self, int fd)
{
    g_mutex_lock(&self->lock);
    int same_fd = make_room_locked(self) ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (same_fd >= 0) {
        Unheard *unheard = g_new(Unheard, 1);
        *unheard = (Unheard){
            .door = self,
            .fd = fd,
            .same_fd = same_fd,
            .deadline_us = g_get_monotonic_time() + self->options.hello_ms * G_TIME_SPAN_MILLISECOND,
        };
        self->unheard = g_list_prepend(self->unheard, unheard);
        g_thread_unref(g_thread_new("gw-hello", hear_thread, unheard));
    }
    g_mutex_unlock(&self->lock);
    if (same_fd >= 0)
        return;
    char who[80];
    describe_peer(fd, who, sizeof who);
    close(fd);
    refuse(self, who, "too many connections that have not said hello");
}

/* Ends who has had its time: the streams' own time-outs begin anew with each byte. In how many milliseconds
 * the next one will have; -1: nobody is being heard. */
static int
drop_late(GwDoor *self)
{
    gint64 now = g_get_monotonic_time(), next_us = G_MAXINT64;
    g_mutex_lock(&self->lock);
    for (GList *each = self->unheard; each; each = each->next) {
        Unheard *unheard = each->data;
        if (unheard->deadline_us <= now)
            drop(unheard);
        else
            next_us = MIN(next_us, unheard->deadline_us);
    }
    g_mutex_unlock(&self->lock);
    return next_us == G_MAXINT64 ? -1 : (int)((next_us - now) / 1000 + 1);
}

/* Who waits in the backlog makes poll(2) return at once: where it cannot be accepted (no descriptor is left),
 * a moment passes before the next try. */
static void
accept_one(GwDoor *self, int listening)
{
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        admit(self, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        poll(&self->polled[self->n_listening], 1, RETRY_MS);
}

static void *
accept_all(void *data)
{
    GwDoor *self = data;
    for (;;) {
        int n = poll(self->polled, self->n_listening + 1, drop_late(self));
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0 && self->polled[self->n_listening].revents)
            break;
        for (unsigned i = 0; n > 0 && i < self->n_listening; i++)
            if (self->polled[i].revents)
                accept_one(self, self->polled[i].fd);
    }
    return NULL;
}

static GwDoor *
door_new(GwTicket *ticket, const GwDoorOptions *options)
{
    GwDoor *self = g_new0(GwDoor, 1);
    self->options = *options;
    if (self->options.hello_ms == 0)
        self->options.hello_ms = GW_DOOR_HELLO_MS;
    self->polled = g_new0(struct pollfd, ticket->endpoints->len + 1);
    g_mutex_init(&self->lock);
    g_cond_init(&self->heard);
    g_queue_init(&self->visitors);
    return self;
}

GwDoor *
gw_door_open(GwTicket *ticket, const GwDoorOptions *options, GError **error)
{
    g_autoptr(GwDoor) self = door_new(ticket, options);
    for (guint i = 0; i < ticket->endpoints->len; i++) {
        GwEndpoint *endpoint = &g_array_index(ticket->endpoints, GwEndpoint, i);
        int fd = gw_stream_listen(endpoint->address, endpoint->port, &endpoint->port, error);
        if (fd < 0)
            return NULL;
        self->polled[self->n_listening++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    int ender = eventfd(0, EFD_CLOEXEC);
    if (ender < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "eventfd");
        return NULL;
    }
    self->polled[self->n_listening] = (struct pollfd){.fd = ender, .events = POLLIN};
    self->ticket = gw_ticket_copy(ticket);
    self->thread = g_thread_new("gw-door", accept_all, self);
    return g_steal_pointer(&self);
}

bool
gw_door_next(GwDoor *self, GwVisitor *ret_visitor)
{
    g_mutex_lock(&self->lock);
    g_autofree GwVisitor *visitor = g_queue_pop_head(&self->visitors);
    g_mutex_unlock(&self->lock);
    if (visitor)
        *ret_visitor = *visitor;
    return visitor != NULL;
}

int
gw_door_welcome(GwVisitor *visitor)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES + GW_WIRE_WELCOME_BYTES];
    GwWireWelcome welcome = {.version = gw_wire_choose_version(&visitor->hello)};
    gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_WELCOME, .payload_bytes = GW_WIRE_WELCOME_BYTES},
                          bytes);
    gw_wire_encode_welcome(&welcome, bytes + GW_WIRE_HEADER_BYTES);
    return gw_stream_send(visitor->stream, &(struct iovec){bytes, sizeof bytes}, 1);
}

static void
end_unheard(GwDoor *self)
{
    g_mutex_lock(&self->lock);
    for (GList *each = self->unheard; each; each = each->next)
        drop(each->data);
    while (self->unheard)
        g_cond_wait(&self->heard, &self->lock);
    g_mutex_unlock(&self->lock);
}

void
gw_door_free(GwDoor *self)
{
    if (!self)
        return;
    if (self->thread) {
        uint64_t one = 1;
        if (write(self->polled[self->n_listening].fd, &one, sizeof one) < 0)
            g_debug("ending the door: %s, ignoring", g_strerror(errno));
        g_thread_join(self->thread);
        close(self->polled[self->n_listening].fd);
    }
    for (unsigned i = 0; i < self->n_listening; i++)
        close(self->polled[i].fd);
    end_unheard(self);
    g_queue_clear_full(&self->visitors, visitor_free);
    gw_ticket_free(self->ticket);
    g_free(self->polled);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->heard);
    g_free(self);
}
