/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination's door: who knows the secret comes in; everyone else gets nothing but the end of the
 * connection, holds up nobody, and does not get to stay. */
#include "door.h"

#include "census.h"
#include "certificates.h"
#include "error.h"
#include "kernel-abi.h"
#include "stream-pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY      (64 * (uint64_t)GW_PAGE_SIZE)
#define HELLO_SIZE  (GW_WIRE_HEADER_BYTES + GW_WIRE_HELLO_BYTES)
#define PATIENCE_MS 20000

static GwTlsIdentity *identity;

/* A door on 127.0.0.1, and what it said of those that it refused. */
typedef struct {
    GwTicket *ticket;
    const GwTlsIdentity *identity; /* of both sides; NULL: plain */
    GwBell bell;
    GwDoor *door;
    Census before;
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    GPtrArray *refusals; /* of "why" */
} Fixture;

static void
note_refusal(const char *who, const char *why, void *user_data)
{
    Fixture *f = user_data;
    g_assert_true(g_str_has_prefix(who, "127.0.0.1:") || strcmp(who, "somebody") == 0); /* has gone already */
    g_mutex_lock(&f->lock);
    g_ptr_array_add(f->refusals, g_strdup(why));
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
}

static void
set_up_with(Fixture *f, const GwTlsIdentity *tls, unsigned hello_ms)
{
    g_autoptr(GError) error = NULL;
    *f = (Fixture){
        .before = census_take(), .identity = tls, .refusals = g_ptr_array_new_with_free_func(g_free)};
    g_mutex_init(&f->lock);
    g_cond_init(&f->changed);
    gw_bell_init(&f->bell);
    f->ticket = gw_ticket_new(&error);
    g_assert_no_error(error);
    gw_ticket_add(f->ticket, "127.0.0.1", 0, NULL);
    GwDoorOptions options = {.identity = tls,
                             .memory_bytes = MEMORY,
                             .hello_ms = hello_ms,
                             .bell = &f->bell,
                             .refused = note_refusal,
                             .user_data = f};
    f->door = gw_door_open(f->ticket, &options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(gw_ticket_endpoint(f->ticket, 0)->port, >, 0);
}

static void
set_up(Fixture *f)
{
    set_up_with(f, NULL, 0);
}

static void
tear_down(Fixture *f)
{
    gw_door_free(f->door);
    gw_ticket_free(f->ticket);
    gw_bell_clear(&f->bell);
    g_ptr_array_unref(f->refusals);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->changed);
    census_check(&f->before);
}

static unsigned
port_of(const Fixture *f)
{
    return gw_ticket_endpoint(f->ticket, 0)->port;
}

/* Waits until `n` were refused; the last one's reason, borrowed. */
static const char *
await_refusal(Fixture *f, unsigned n)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    g_mutex_lock(&f->lock);
    while (f->refusals->len < n)
        if (!g_cond_wait_until(&f->changed, &f->lock, until_us))
            g_error("%u of %u were refused", f->refusals->len, n);
    const char *why = g_ptr_array_index(f->refusals, n - 1);
    g_mutex_unlock(&f->lock);
    return why;
}

static void
await_visitor(Fixture *f, GwVisitor *ret_visitor)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        if (gw_door_next(f->door, ret_visitor))
            return;
        if (g_get_monotonic_time() > until_us)
            g_error("nobody came in");
        gw_bell_wait(&f->bell, seen, until_us);
    }
}

static GwWireHello
right_hello(const Fixture *f)
{
    GwWireHello hello = {.version_min = GW_WIRE_VERSION,
                         .version_max = GW_WIRE_VERSION,
                         .kind = GW_STREAM_DATA,
                         .index = 2,
                         .n_streams = 3,
                         .page_bytes = GW_PAGE_SIZE,
                         .memory_bytes = MEMORY};
    memcpy(hello.session, f->ticket->session, sizeof hello.session);
    memcpy(hello.secret, f->ticket->secret, sizeof hello.secret);
    return hello;
}

static void
encode(const GwWireHello *hello, uint8_t bytes[HELLO_SIZE])
{
    gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_HELLO, .payload_bytes = GW_WIRE_HELLO_BYTES},
                          bytes);
    gw_wire_encode_hello(hello, bytes + GW_WIRE_HEADER_BYTES);
}

/* Nothing is said to this socket but that it is over. */
static void
assert_ended(int fd)
{
    char byte;
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    g_assert_cmpint(poll(&waits, 1, PATIENCE_MS), ==, 1);
    ssize_t n = recv(fd, &byte, 1, 0);
    g_assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static void
assert_not_ended(int fd)
{
    struct pollfd waits = {.fd = fd, .events = POLLIN};
    g_assert_cmpint(poll(&waits, 1, 0), ==, 0);
}

/* Connects, says these bytes, and is refused for `why`. */
static void
assert_refused(Fixture *f, const uint8_t *bytes, size_t size, const char *why)
{
    unsigned n = f->refusals->len;
    int fd = stream_raw_connect(port_of(f));
    g_assert_cmpint((int)send(fd, bytes, size, MSG_NOSIGNAL), ==, (int)size);
    g_assert_cmpstr(await_refusal(f, n + 1), ==, why);
    assert_ended(fd);
    close(fd);
}

static void
assert_hello_refused(Fixture *f, const GwWireHello *hello, const char *why)
{
    uint8_t bytes[HELLO_SIZE];
    encode(hello, bytes);
    assert_refused(f, bytes, sizeof bytes, why);
}

/* --- who comes in ------------------------------------------------------------------------------------- */

static void *
dial(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    GwStream *stream = gw_ticket_dial(f->ticket, 0, GW_STREAM_DATA, 5, 7, MEMORY, f->identity, 5000, &error);
    g_assert_no_error(error);
    return stream;
}

/* Comes in, as soon as there is room: the place of one who was heard is free a moment after that. */
static void
come_in(Fixture *f)
{
    uint8_t bytes[HELLO_SIZE];
    GwWireHello hello = right_hello(f);
    encode(&hello, bytes);
    gint64 until_us = g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        g_auto(GwVisitor) visitor = {0};
        int fd = stream_raw_connect(port_of(f));
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        while (poll(&waits, 1, 1) == 0 && !gw_door_next(f->door, &visitor))
            ;
        close(fd);
        if (visitor.stream)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
    }
}

static void
test_let_in(gconstpointer is_tls)
{
    Fixture f;
    set_up_with(&f, is_tls ? identity : NULL, 0);
    GThread *client = g_thread_new("client", dial, &f);
    g_auto(GwVisitor) visitor = {0};
    await_visitor(&f, &visitor);
    g_assert_cmpuint(visitor.hello.kind, ==, GW_STREAM_DATA);
    g_assert_cmpuint(visitor.hello.index, ==, 5);
    g_assert_cmpuint(visitor.hello.n_streams, ==, 7);
    g_assert_cmpuint(visitor.hello.memory_bytes, ==, MEMORY);
    g_assert_cmpint(gw_stream_is_encrypted(visitor.stream), ==, is_tls != NULL);
    g_assert_cmpint(gw_door_welcome(&visitor), ==, 0);
    g_autoptr(GwStream) stream = g_thread_join(client);

    /* and both ends may take their time from here on */
    g_assert_cmpint(gw_stream_send(stream, &(struct iovec){(void *)"abc", 3}, 1), ==, 0);
    char text[4] = {0};
    g_assert_cmpint(gw_stream_receive(visitor.stream, text, 3), ==, 0);
    g_assert_cmpstr(text, ==, "abc");
    g_assert_cmpuint(f.refusals->len, ==, 0);
    GwVisitor none;
    g_assert_false(gw_door_next(f.door, &none));
    g_clear_pointer(&stream, gw_stream_free);
    gw_visitor_clear(&visitor);
    tear_down(&f);
}

/* Each comes out once, in the order in which they said hello. */
static void
test_order(void)
{
    Fixture f;
    set_up(&f);
    int fds[8];
    GwWireHello hello = right_hello(&f);
    hello.n_streams = 8;
    for (unsigned i = 0; i < 8; i++)
        fds[i] = stream_raw_connect(port_of(&f));
    for (unsigned i = 8; i-- > 0;) {
        uint8_t bytes[HELLO_SIZE];
        hello.index = (uint8_t)i;
        encode(&hello, bytes);
        uint64_t seen = gw_bell_count(&f.bell);
        g_assert_cmpint((int)send(fds[i], bytes, sizeof bytes, MSG_NOSIGNAL), ==, (int)sizeof bytes);
        gw_bell_wait(&f.bell, seen, g_get_monotonic_time() + PATIENCE_MS * G_TIME_SPAN_MILLISECOND);
    }
    for (unsigned i = 8; i-- > 0;) {
        g_auto(GwVisitor) visitor = {0};
        await_visitor(&f, &visitor);
        g_assert_cmpuint(visitor.hello.index, ==, i);
        close(fds[i]);
    }
    tear_down(&f);
}

static void
test_addresses(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    GwBell bell;
    gw_bell_init(&bell);
    g_autoptr(GwTicket) ticket = gw_ticket_new(NULL);
    gw_ticket_add(ticket, "127.0.0.1", 0, NULL);
    gw_ticket_add(ticket, "127.0.0.2", 0, NULL);
    gw_ticket_add(ticket, "127.0.0.1", 0, NULL);
    GwDoorOptions options = {.memory_bytes = MEMORY, .bell = &bell};
    g_autoptr(GwDoor) door = gw_door_open(ticket, &options, &error);
    g_assert_no_error(error);
    /* at each of them */
    for (unsigned i = 0; i < 3; i++) {
        const GwEndpoint *endpoint = gw_ticket_endpoint(ticket, i);
        g_autoptr(GwStream) stream =
            gw_stream_connect(NULL, endpoint->address, endpoint->port, NULL, 5000, &error);
        g_assert_no_error(error);
    }
    g_assert_cmpuint(gw_ticket_endpoint(ticket, 0)->port, !=, gw_ticket_endpoint(ticket, 2)->port);
    /* a port that is given is taken, and one that is another's is an error */
    g_autoptr(GwTicket) taken = gw_ticket_copy(ticket);
    g_assert_null(gw_door_open(taken, &options, &error));
    g_assert_nonnull(strstr(error->message, "Address already in use"));
    g_clear_error(&error);
    g_clear_pointer(&door, gw_door_free);
    door = gw_door_open(taken, &options, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpuint(gw_ticket_endpoint(taken, i)->port, ==, gw_ticket_endpoint(ticket, i)->port);
    g_clear_pointer(&door, gw_door_free);
    gw_bell_clear(&bell);
    tear_down(&f);
}

/* --- who does not ------------------------------------------------------------------------------------- */

static void
test_wrong_hellos(void)
{
    Fixture f;
    set_up(&f);
    GwWireHello hello = right_hello(&f);
    for (unsigned i = 0; i < GW_WIRE_SECRET_BYTES; i++) { /* a single bit of it, anywhere */
        hello.secret[i] ^= 0x10;
        assert_hello_refused(&f, &hello, "it has a wrong secret");
        hello.secret[i] ^= 0x10;
    }
    for (unsigned i = 0; i < GW_WIRE_SESSION_BYTES; i++) {
        hello.session[i] ^= 1;
        assert_hello_refused(&f, &hello, "it asks for another session");
        hello.session[i] ^= 1;
    }
    hello.memory_bytes = MEMORY + GW_PAGE_SIZE;
    assert_hello_refused(&f, &hello, "its VM has another size of memory");
    hello.memory_bytes = MEMORY;
    hello.version_min = GW_WIRE_VERSION + 1;
    hello.version_max = GW_WIRE_VERSION + 2;
    assert_hello_refused(&f, &hello, "bad-version");
    hello.version_min = GW_WIRE_VERSION; /* a later version that still speaks ours */
    uint8_t bytes[HELLO_SIZE];
    encode(&hello, bytes);
    int fd = stream_raw_connect(port_of(&f));
    g_assert_cmpint((int)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), ==, (int)sizeof bytes);
    g_auto(GwVisitor) visitor = {0};
    await_visitor(&f, &visitor);
    gw_visitor_clear(&visitor);
    close(fd);
    g_assert_false(gw_door_next(f.door, &visitor));
    tear_down(&f);
}

static void
test_no_hellos(void)
{
    Fixture f;
    set_up(&f);
    GwWireHello hello = right_hello(&f);
    uint8_t right[HELLO_SIZE], bytes[HELLO_SIZE];
    encode(&hello, right);
    /* No byte of the header may be another one. */
    static const struct {
        unsigned at;
        const char *why;
    } wrong[] = {{0, "bad-magic"},     {3, "bad-magic"},     {4, "bad-type"},      {5, "bad-reserved"},
                 {8, "bad-length"},    {11, "bad-length"},   {12, "bad-reserved"}, {16, "bad-sequence"},
                 {23, "bad-sequence"}, {24, "bad-reserved"}, {31, "bad-reserved"}};
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        memcpy(bytes, right, sizeof bytes);
        bytes[wrong[i].at] ^= 0x80;
        assert_refused(&f, bytes, sizeof bytes, wrong[i].why);
    }
    gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_GO, .count = 1}, bytes);
    assert_refused(&f, bytes, GW_WIRE_HEADER_BYTES, "bad-place");
    hello.n_streams = 0;
    assert_hello_refused(&f, &hello, "bad-field");

    /* cut short at every place */
    for (unsigned size = 0; size < HELLO_SIZE; size += 7) {
        unsigned n = f.refusals->len;
        int fd = stream_raw_connect(port_of(&f));
        g_assert_cmpint((int)send(fd, right, size, MSG_NOSIGNAL), ==, (int)size);
        shutdown(fd, SHUT_WR);
        g_assert_cmpstr(await_refusal(&f, n + 1), ==,
                        size < GW_WIRE_HEADER_BYTES ? "it said no hello" : "it said half a hello");
        assert_ended(fd);
        close(fd);
    }
    tear_down(&f);
}

static void
test_tls_strangers(void)
{
    Fixture f;
    set_up_with(&f, identity, 0);
    GwWireHello hello = right_hello(&f);
    uint8_t bytes[HELLO_SIZE];
    encode(&hello, bytes);
    int fd = stream_raw_connect(port_of(&f));
    g_assert_cmpint((int)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), ==, (int)sizeof bytes);
    const char *why = await_refusal(&f, 1); /* in the words of TLS, which are not ours to test */
    g_assert_cmpstr(why, !=, "");
    close(fd);
    g_auto(GwVisitor) visitor = {0};
    g_assert_false(gw_door_next(f.door, &visitor));
    tear_down(&f);
}

/* --- who says nothing --------------------------------------------------------------------------------- */

#define SHORT_MS 300

static void
test_silent(gconstpointer is_tls)
{
    Fixture f;
    set_up_with(&f, is_tls ? identity : NULL, SHORT_MS);
    gint64 began_us = g_get_monotonic_time();
    int fd = stream_raw_connect(port_of(&f));
    await_refusal(&f, 1);
    assert_ended(fd);
    gint64 took_us = g_get_monotonic_time() - began_us;
    g_assert_cmpint(took_us, >=, SHORT_MS * 1000 - 20000);
    g_assert_cmpint(took_us, <, SHORT_MS * 1000 + 1000000);
    close(fd);
    tear_down(&f);
}

/* Each byte comes in time, the hello does not. */
static void
test_trickling(void)
{
    Fixture f;
    set_up_with(&f, NULL, SHORT_MS);
    GwWireHello hello = right_hello(&f);
    uint8_t bytes[HELLO_SIZE];
    encode(&hello, bytes);
    gint64 began_us = g_get_monotonic_time();
    int fd = stream_raw_connect(port_of(&f));
    unsigned n_sent = 0;
    for (; n_sent < HELLO_SIZE && g_get_monotonic_time() - began_us < 10 * SHORT_MS * 1000; n_sent++) {
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        if (send(fd, bytes + n_sent, 1, MSG_NOSIGNAL) < 0 || poll(&waits, 1, SHORT_MS / 20) > 0)
            break;
    }
    gint64 took_us = g_get_monotonic_time() - began_us;
    g_assert_cmpuint(n_sent, <, HELLO_SIZE - 1);
    g_assert_cmpint(took_us, <, SHORT_MS * 1000 + 1000000);
    g_assert_cmpstr(await_refusal(&f, 1), ==,
                    n_sent < GW_WIRE_HEADER_BYTES ? "it said no hello" : "it said half a hello");
    close(fd);
    tear_down(&f);
}

/* Once there are too many, each takes the place of who has been silent longest; who knows the secret gets in
 * past them. */
static void
test_too_many(void)
{
    Fixture f;
    set_up_with(&f, NULL, PATIENCE_MS);
    int silent[3 * GW_DOOR_MAX_UNHEARD];
    for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++) {
        silent[i] = stream_raw_connect(port_of(&f));
        if (i >= GW_DOOR_MAX_UNHEARD) {
            assert_ended(silent[i - GW_DOOR_MAX_UNHEARD]);
            g_assert_cmpstr(await_refusal(&f, i - GW_DOOR_MAX_UNHEARD + 1), ==, "it said no hello");
        }
    }
    for (unsigned i = 1; i < GW_DOOR_MAX_UNHEARD; i++)
        assert_not_ended(silent[G_N_ELEMENTS(silent) - i]);
    come_in(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(silent); i++)
        close(silent[i]);
    await_refusal(&f, G_N_ELEMENTS(silent));
    come_in(&f);
    tear_down(&f);
}

/* --- the door is closed ------------------------------------------------------------------------------- */

/* Threads that wait for a hello, or in the midst of a TLS handshake, end at once; so do visitors that nobody
 * has taken. */
static void
test_close(gconstpointer is_tls)
{
    Fixture f;
    set_up_with(&f, is_tls ? identity : NULL, 0);
    GwWireHello hello = right_hello(&f);
    uint8_t bytes[HELLO_SIZE];
    encode(&hello, bytes);
    int fds[9];
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = stream_raw_connect(port_of(&f));
        static const uint8_t half_a_client_hello[] = {22, 3, 1, 2, 0, 1, 0};
        if (is_tls && i % 2)
            send(fds[i], half_a_client_hello, sizeof half_a_client_hello, MSG_NOSIGNAL);
        else if (!is_tls)
            send(fds[i], bytes, i % 3 == 0 ? sizeof bytes : i % 3 == 1 ? 40 : 0, MSG_NOSIGNAL);
    }
    if (!is_tls)
        while (gw_bell_count(&f.bell) < 3)
            gw_bell_wait(&f.bell, gw_bell_count(&f.bell), g_get_monotonic_time() + 1000);
    gint64 began_us = g_get_monotonic_time();
    g_clear_pointer(&f.door, gw_door_free);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4000000);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        assert_ended(fds[i]);
        close(fds[i]);
    }
    tear_down(&f);
}

/* Connections come in while it closes. */
static void *
knock(void *data)
{
    const unsigned *port = data;
    for (unsigned i = 0; i < 200; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval patience = {.tv_usec = 10000}; /* not for a SYN that a full backlog dropped */
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            send(fd, "hello?", 6, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void
test_close_under_knocks(void)
{
    for (unsigned round = 0; round < 10; round++) {
        Fixture f;
        set_up(&f);
        unsigned port = port_of(&f);
        GThread *threads[2];
        for (unsigned i = 0; i < 2; i++)
            threads[i] = g_thread_new("knock", knock, &port);
        g_usleep(round * 300);
        g_clear_pointer(&f.door, gw_door_free);
        for (unsigned i = 0; i < 2; i++)
            g_thread_join(threads[i]);
        tear_down(&f);
    }
    gw_door_free(NULL);
}

/* No descriptor is left for who knocks: the door waits for better times without burning a core. */
static void
test_out_of_descriptors(void)
{
    Fixture f;
    set_up(&f);
    struct rlimit before, low;
    struct rusage began, ended;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(&f))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), next = dup(fd);
    close(next);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    low = (struct rlimit){(rlim_t)next, before.rlim_max};
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&to, sizeof to), ==, 0);
    getrusage(RUSAGE_SELF, &began);
    g_usleep(300000);
    getrusage(RUSAGE_SELF, &ended);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    long used_us =
        (ended.ru_utime.tv_sec - began.ru_utime.tv_sec + ended.ru_stime.tv_sec - began.ru_stime.tv_sec) *
            1000000 +
        (ended.ru_utime.tv_usec - began.ru_utime.tv_usec) + (ended.ru_stime.tv_usec - began.ru_stime.tv_usec);
    g_assert_cmpint(used_us, <, 100000);

    GwWireHello hello = right_hello(&f);
    uint8_t bytes[HELLO_SIZE];
    encode(&hello, bytes);
    g_assert_cmpint((int)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), ==, (int)sizeof bytes);
    g_auto(GwVisitor) visitor = {0};
    await_visitor(&f, &visitor);
    gw_visitor_clear(&visitor);
    close(fd);
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-door-XXXXXX", &error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    test_identity_make(dir, "host1", authority, authority, -60, 3600);
    g_autoptr(GwTlsIdentity) mine = gw_tls_identity_load(dir, &error);
    g_assert_no_error(error);
    identity = mine;

    g_test_add_data_func("/door/let-in/plain", NULL, test_let_in);
    g_test_add_data_func("/door/let-in/tls", "", test_let_in);
    g_test_add_func("/door/wrong-hellos", test_wrong_hellos);
    g_test_add_func("/door/no-hellos", test_no_hellos);
    g_test_add_func("/door/tls-strangers", test_tls_strangers);
    g_test_add_data_func("/door/silent/plain", NULL, test_silent);
    g_test_add_data_func("/door/silent/tls", "", test_silent);
    g_test_add_func("/door/trickling", test_trickling);
    g_test_add_data_func("/door/close/tls", "", test_close);
    g_test_add_data_func("/door/close/plain", NULL, test_close);
    g_test_add_func("/door/close/under-knocks", test_close_under_knocks);
    g_test_add_func("/door/order", test_order);
    g_test_add_func("/door/addresses", test_addresses);
    g_test_add_func("/door/too-many", test_too_many);
    g_test_add_func("/door/out-of-descriptors", test_out_of_descriptors);
    int result = g_test_run();
    test_identity_remove(dir);
    return result;
}
