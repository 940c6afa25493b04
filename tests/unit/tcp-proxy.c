/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread accepts; each connection has two, one a direction, so that neither waits for the other. */
#include "tcp-proxy.h"

#include "stream-pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Small enough to stop at about the byte that was asked for; the moment itself is exact. */
#define PIECE_BYTES 16384

typedef struct {
    TcpProxy *proxy;
    int fds[2];
    GThread *threads[2];
    int n_ended; /* atomic: of the threads */
} Wire;

typedef struct {
    Wire *wire;
    unsigned from;
} Direction;

struct TcpProxy {
    int listening;
    unsigned to_port;
    GThread *thread;
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    GPtrArray *wires; /* of Wire */
    ProxyState state, later;
    uint64_t n_bytes, after;
    bool has_acted, ending;
};

static void
end_wires_locked(TcpProxy *self)
{
    for (guint i = 0; i < self->wires->len; i++) {
        Wire *wire = g_ptr_array_index(self->wires, i);
        shutdown(wire->fds[0], SHUT_RDWR);
        shutdown(wire->fds[1], SHUT_RDWR);
    }
}

static void
set_locked(TcpProxy *self, ProxyState state)
{
    self->state = state;
    if (state == PROXY_CUTS_ONCE || state == PROXY_IS_DOWN)
        end_wires_locked(self);
    if (state == PROXY_CUTS_ONCE)
        self->state = PROXY_WORKS;
    g_cond_broadcast(&self->changed);
}

/* How many of `size` bytes may go on, once they may, and what is to happen behind them. */
static size_t
claim(TcpProxy *self, size_t size, ProxyState *ret_then)
{
    *ret_then = PROXY_WORKS;
    g_mutex_lock(&self->lock);
    while (self->state == PROXY_STALLS && !self->ending)
        g_cond_wait(&self->changed, &self->lock);
    if (self->ending) {
        size = 0;
    } else if (self->later != PROXY_WORKS && self->n_bytes + size >= self->after) {
        size = self->after > self->n_bytes ? (size_t)(self->after - self->n_bytes) : 0;
        *ret_then = self->later;
        self->later = PROXY_WORKS;
        self->has_acted = true;
    }
    self->n_bytes += size;
    g_mutex_unlock(&self->lock);
    return size;
}

static bool
send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/* False if the connection is broken, true at the sender's orderly end. */
static bool
carry(Wire *wire, unsigned from)
{
    g_autofree char *bytes = g_malloc(PIECE_BYTES);
    for (;;) {
        ssize_t n = recv(wire->fds[from], bytes, PIECE_BYTES, 0);
        if (n <= 0)
            return n == 0;
        for (size_t done = 0; done < (size_t)n;) {
            ProxyState then;
            size_t passes = claim(wire->proxy, (size_t)n - done, &then);
            if (!send_all(wire->fds[!from], bytes + done, passes))
                return false;
            if (then != PROXY_WORKS)
                tcp_proxy_set(wire->proxy, then);
            else if (passes == 0)
                return false;
            done += passes;
        }
    }
}

static void *
carry_thread(void *data)
{
    Direction *direction = data;
    Wire *wire = direction->wire;
    unsigned from = direction->from;
    g_free(direction);
    if (carry(wire, from)) {
        shutdown(wire->fds[!from], SHUT_WR); /* what was sent arrives before the end does */
    } else {
        shutdown(wire->fds[0], SHUT_RDWR);
        shutdown(wire->fds[1], SHUT_RDWR);
    }
    g_atomic_int_inc(&wire->n_ended);
    return NULL;
}

static void
free_wire(Wire *wire)
{
    for (unsigned i = 0; i < 2; i++)
        g_thread_join(wire->threads[i]);
    close(wire->fds[0]);
    close(wire->fds[1]);
    g_free(wire);
}

static void
reap_locked(TcpProxy *self)
{
    for (guint i = self->wires->len; i-- > 0;) {
        Wire *wire = g_ptr_array_index(self->wires, i);
        if (g_atomic_int_get(&wire->n_ended) == 2)
            free_wire(g_ptr_array_steal_index_fast(self->wires, i));
    }
}

static void
add_wire(TcpProxy *self, int fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)self->to_port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_mutex_lock(&self->lock);
    bool wanted = self->state != PROXY_IS_DOWN && !self->ending;
    g_mutex_unlock(&self->lock);
    if (!wanted || connect(other, (struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        close(other);
        return;
    }
    Wire *wire = g_new0(Wire, 1);
    *wire = (Wire){.proxy = self, .fds = {fd, other}};
    for (unsigned i = 0; i < 2; i++) /* a wire does not wait for more */
        setsockopt(wire->fds[i], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    g_mutex_lock(&self->lock);
    reap_locked(self);
    g_ptr_array_add(self->wires, wire);
    for (unsigned i = 0; i < 2; i++) {
        Direction *direction = g_new(Direction, 1);
        *direction = (Direction){wire, i};
        wire->threads[i] = g_thread_new("proxy-wire", carry_thread, direction);
    }
    if (self->state == PROXY_IS_DOWN || self->ending)
        end_wires_locked(self);
    g_mutex_unlock(&self->lock);
}

static void *
accept_thread(void *data)
{
    TcpProxy *self = data;
    for (;;) {
        struct pollfd waits = {.fd = self->listening, .events = POLLIN};
        if (poll(&waits, 1, -1) < 0)
            continue;
        int fd = accept4(self->listening, NULL, NULL, SOCK_CLOEXEC);
        g_mutex_lock(&self->lock);
        bool ending = self->ending;
        g_mutex_unlock(&self->lock);
        if (fd >= 0 && !ending)
            add_wire(self, fd);
        else if (fd >= 0)
            close(fd);
        if (ending)
            return NULL;
    }
}

TcpProxy *
tcp_proxy_new(unsigned to_port, unsigned *ret_port)
{
    TcpProxy *self = g_new0(TcpProxy, 1);
    self->to_port = to_port;
    self->wires = g_ptr_array_new();
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->listening = gw_stream_listen("127.0.0.1", 0, ret_port, NULL);
    g_assert_cmpint(self->listening, >=, 0);
    self->thread = g_thread_new("proxy", accept_thread, self);
    return self;
}

void
tcp_proxy_set(TcpProxy *self, ProxyState state)
{
    g_mutex_lock(&self->lock);
    set_locked(self, state);
    g_mutex_unlock(&self->lock);
}

void
tcp_proxy_set_after(TcpProxy *self, ProxyState state, uint64_t n_bytes)
{
    g_mutex_lock(&self->lock);
    self->later = state;
    self->after = n_bytes;
    g_mutex_unlock(&self->lock);
}

uint64_t
tcp_proxy_n_bytes(TcpProxy *self)
{
    g_mutex_lock(&self->lock);
    uint64_t n_bytes = self->n_bytes;
    g_mutex_unlock(&self->lock);
    return n_bytes;
}

bool
tcp_proxy_has_acted(TcpProxy *self)
{
    g_mutex_lock(&self->lock);
    bool acted = self->has_acted;
    g_mutex_unlock(&self->lock);
    return acted;
}

void
tcp_proxy_free(TcpProxy *self)
{
    g_mutex_lock(&self->lock);
    self->ending = true;
    end_wires_locked(self);
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    shutdown(self->listening, SHUT_RDWR); /* wakes accept4(2) */
    g_thread_join(self->thread);
    close(self->listening);
    for (guint i = 0; i < self->wires->len; i++)
        free_wire(g_ptr_array_index(self->wires, i));
    g_ptr_array_unref(self->wires);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}
