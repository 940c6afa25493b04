/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tickets, and what a source meets when it dials: each way in which a destination can be absent, somebody
 * else, silent or wrong has its own error, in time. */
#include "ticket.h"

#include "census.h"
#include "certificates.h"
#include "error.h"
#include "kernel-abi.h"
#include "stream-pair.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY      (64 * (uint64_t)GW_PAGE_SIZE)
#define HELLO_SIZE  (GW_WIRE_HEADER_BYTES + GW_WIRE_HELLO_BYTES)
#define ANSWER_SIZE (GW_WIRE_HEADER_BYTES + GW_WIRE_WELCOME_BYTES)

static GwTlsIdentity *identity, *stranger;

/* --- hexadecimal -------------------------------------------------------------------------------------- */

static void
test_hex(void)
{
    uint8_t all[256], back[256] = {0};
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    g_autofree char *text = gw_hex_encode(all, 256);
    g_assert_cmpuint(strlen(text), ==, 512);
    g_assert_true(g_str_has_prefix(text, "000102030405060708090a0b0c0d0e0f10"));
    g_assert_true(g_str_has_suffix(text, "f9fafbfcfdfeff"));
    g_assert_true(gw_hex_decode(text, back, 256));
    g_assert_cmpmem(back, 256, all, 256);
    g_autofree char *upper = g_ascii_strup(text, -1);
    memset(back, 0, sizeof back);
    g_assert_true(gw_hex_decode(upper, back, 256));
    g_assert_cmpmem(back, 256, all, 256);
    g_autofree char *nothing = gw_hex_encode(all, 0);
    g_assert_cmpstr(nothing, ==, "");
    g_assert_true(gw_hex_decode("", back, 0));
}

static void
test_hex_refused(void)
{
    static const char *const wrong[] = {"",     "0",    "00",   "000",  "00000", "000000",
                                        "0g00", "00 0", "-000", "+1+1", "0x00",  "00\xc3\xa4",
                                        "/000", ":000", "@000", "G000", "`000"};
    uint8_t bytes[2];
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++)
        if (gw_hex_decode(wrong[i], bytes, sizeof bytes))
            g_error("\"%s\" was taken for two bytes", wrong[i]);
    for (unsigned c = 1; c < 256; c++) { /* each character, at each place */
        for (unsigned at = 0; at < 4; at++) {
            char text[5] = "0000";
            text[at] = (char)c;
            g_assert_cmpint(gw_hex_decode(text, bytes, sizeof bytes), ==, g_ascii_isxdigit((char)c));
        }
    }
}

/* --- tickets ------------------------------------------------------------------------------------------ */

static void
test_new(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwTicket) one = gw_ticket_new(&error), two = gw_ticket_new(&error);
    g_assert_no_error(error);
    static const uint8_t zeros[GW_WIRE_SECRET_BYTES];
    g_assert_true(memcmp(one->session, two->session, sizeof one->session) != 0);
    g_assert_true(memcmp(one->secret, two->secret, sizeof one->secret) != 0);
    g_assert_true(memcmp(one->secret, zeros, sizeof one->secret) != 0);
    g_assert_true(memcmp(one->session, one->secret, sizeof one->session) != 0);
    g_assert_cmpuint(one->endpoints->len, ==, 0);
    gw_ticket_free(NULL);
}

static void
test_copy(void)
{
    g_autoptr(GwTicket) ticket = gw_ticket_new(NULL);
    gw_ticket_add(ticket, "10.0.0.1", 4000, NULL);
    gw_ticket_add(ticket, "fd00::1", 65535, "fd00::2");
    g_autoptr(GwTicket) copy = gw_ticket_copy(ticket);
    g_assert_cmpmem(copy->session, sizeof copy->session, ticket->session, sizeof ticket->session);
    g_assert_cmpmem(copy->secret, sizeof copy->secret, ticket->secret, sizeof ticket->secret);
    gw_ticket_add(ticket, "10.0.0.3", 1, NULL);
    g_clear_pointer(&ticket, gw_ticket_free);
    g_assert_cmpuint(copy->endpoints->len, ==, 2);
    g_assert_cmpstr(gw_ticket_endpoint(copy, 0)->address, ==, "10.0.0.1");
    g_assert_cmpuint(gw_ticket_endpoint(copy, 0)->port, ==, 4000);
    g_assert_null(gw_ticket_endpoint(copy, 0)->local);
    g_assert_cmpstr(gw_ticket_endpoint(copy, 1)->address, ==, "fd00::1");
    g_assert_cmpuint(gw_ticket_endpoint(copy, 1)->port, ==, 65535);
    g_assert_cmpstr(gw_ticket_endpoint(copy, 1)->local, ==, "fd00::2");
}

/* --- dialling ----------------------------------------------------------------------------------------- */

/* Whom a source reaches: waits for the hello, says what the test wants, and then ends or stays. */
typedef struct {
    int listening;
    unsigned port;
    const GwTlsIdentity *identity;
    uint8_t answer[GW_WIRE_HEADER_BYTES + GW_WIRE_MAX_TEXT];
    size_t answer_size;
    bool stays, hears_nothing;
    GThread *thread;
    uint8_t heard[HELLO_SIZE];
    GwTicket *ticket;
} Peer;

static void *
answer(void *data)
{
    Peer *self = data;
    int fd = stream_raw_accept(self->listening);
    g_autoptr(GwStream) stream = gw_stream_accept(fd, self->identity, 5000, NULL);
    if (!stream || self->hears_nothing)
        return NULL;
    if (gw_stream_receive(stream, self->heard, sizeof self->heard) < 0)
        return NULL;
    gw_stream_send(stream, &(struct iovec){self->answer, self->answer_size}, 1);
    char byte;
    if (self->stays) /* until the other end has had enough */
        gw_stream_receive(stream, &byte, 1);
    return NULL;
}

static void
peer_start(Peer *self)
{
    self->listening = gw_stream_listen("127.0.0.1", 0, &self->port, NULL);
    self->ticket = gw_ticket_new(NULL);
    gw_ticket_add(self->ticket, "127.0.0.1", self->port, NULL);
    self->thread = g_thread_new("peer", answer, self);
}

static GwStream *
peer_dial(Peer *self, const GwTlsIdentity *mine, int timeout_ms, GError **error)
{
    return gw_ticket_dial(self->ticket, 0, GW_STREAM_DATA, 3, 4, MEMORY, mine, timeout_ms, error);
}

static void
peer_end(Peer *self)
{
    g_thread_join(self->thread);
    close(self->listening);
    g_clear_pointer(&self->ticket, gw_ticket_free);
}

static void
set_welcome(Peer *self, uint16_t version)
{
    gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_WELCOME, .payload_bytes = GW_WIRE_WELCOME_BYTES},
                          self->answer);
    gw_wire_encode_welcome(&(GwWireWelcome){.version = version}, self->answer + GW_WIRE_HEADER_BYTES);
    self->answer_size = ANSWER_SIZE;
}

static void
test_dial(gconstpointer is_tls)
{
    Census before = census_take();
    g_autoptr(GError) error = NULL;
    Peer peer = {.identity = is_tls ? identity : NULL};
    set_welcome(&peer, GW_WIRE_VERSION);
    peer_start(&peer);
    g_autoptr(GwStream) stream = peer_dial(&peer, peer.identity, 5000, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_stream_is_encrypted(stream), ==, is_tls != NULL);
    g_clear_pointer(&stream, gw_stream_free);
    g_thread_join(g_steal_pointer(&peer.thread));

    GwWireHeader header;
    GwWireHello hello;
    g_assert_cmpint(gw_wire_decode_header(peer.heard, 0, &header), ==, GW_WIRE_OK);
    g_assert_cmpuint(header.type, ==, GW_FRAME_HELLO);
    g_assert_cmpint(gw_wire_decode_hello(peer.heard + GW_WIRE_HEADER_BYTES, GW_WIRE_HELLO_BYTES, &hello), ==,
                    GW_WIRE_OK);
    g_assert_cmpuint(hello.version_min, ==, GW_WIRE_VERSION);
    g_assert_cmpuint(hello.version_max, ==, GW_WIRE_VERSION);
    g_assert_cmpuint(hello.kind, ==, GW_STREAM_DATA);
    g_assert_cmpuint(hello.index, ==, 3);
    g_assert_cmpuint(hello.n_streams, ==, 4);
    g_assert_cmpuint(hello.page_bytes, ==, GW_PAGE_SIZE);
    g_assert_cmpuint(hello.memory_bytes, ==, MEMORY);
    g_assert_cmpmem(hello.session, sizeof hello.session, peer.ticket->session, sizeof hello.session);
    g_assert_cmpmem(hello.secret, sizeof hello.secret, peer.ticket->secret, sizeof hello.secret);
    close(peer.listening);
    gw_ticket_free(peer.ticket);
    census_check(&before);
}

/* What comes of an answer. `expected` is what stands behind the address, %s the peer. */
static void
assert_dial_fails(Peer *peer, const GwTlsIdentity *mine, GwError code, const char *expected)
{
    Census before = census_take();
    g_autoptr(GError) error = NULL;
    peer_start(peer);
    gint64 began_us = g_get_monotonic_time();
    g_assert_null(peer_dial(peer, mine, code == GW_ERROR_TIMED_OUT ? 400 : 20000, &error));
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 15 * G_TIME_SPAN_SECOND);
    g_autofree char *who = g_strdup_printf("127.0.0.1:%u", peer->port);
    g_autofree char *prefix = g_strdup_printf("127.0.0.1 port %u: ", peer->port);
    g_autoptr(GString) text = g_string_new(expected);
    g_string_replace(text, "%s", who, 0);
    g_assert_true(g_str_has_prefix(error->message, prefix));
    g_assert_cmpstr(error->message + strlen(prefix), ==, text->str);
    g_assert_error(error, GW_ERROR, (int)code);
    peer_end(peer);
    census_check(&before);
}

static void
set_frame(Peer *peer, GwFrameType type, uint64_t arg, const char *text)
{
    GwWireHeader header = {.type = (uint8_t)type, .arg = arg, .payload_bytes = (uint32_t)strlen(text)};
    gw_wire_encode_header(&header, peer->answer);
    memcpy(peer->answer + GW_WIRE_HEADER_BYTES, text, strlen(text));
    peer->answer_size = GW_WIRE_HEADER_BYTES + strlen(text);
}

static const char closed[] = ": the destination closed the connection; its log says why (another session, a "
                             "wrong secret, or TLS at one end only)";

static void
test_refused(void)
{
    g_autofree char *text = g_strconcat("waiting for the destination's welcome", closed, NULL);
    Peer peer = {0};
    assert_dial_fails(&peer, NULL, GW_ERROR_NOT_PERMITTED, text); /* it heard the hello, and went */

    peer = (Peer){.stays = true};
    set_frame(&peer, GW_FRAME_ABORT, 0, "no room\nhere");
    assert_dial_fails(&peer, NULL, GW_ERROR_NOT_PERMITTED, "the destination refused: no room?here");
    set_frame(&peer, GW_FRAME_ABORT, 7, "");
    assert_dial_fails(&peer, NULL, GW_ERROR_NOT_PERMITTED, "the destination refused: it gave no reason");
    set_frame(&peer, GW_FRAME_ABORT, 7, "something");
    peer.answer_size -= 3; /* and breaks off */
    peer.stays = false;
    assert_dial_fails(&peer, NULL, GW_ERROR_NOT_PERMITTED, "the destination refused: it gave no reason");
}

static void
test_wrong_welcomes(void)
{
    static const char refused[] = "the destination's welcome is refused: ";
    static const struct {
        unsigned at;
        const char *why;
    } wrong[] = {{0, "bad-magic"},     {4, "bad-type"},      {6, "bad-reserved"},
                 {8, "bad-length"},    {12, "bad-reserved"}, {16, "bad-sequence"},
                 {24, "bad-reserved"}, {32, "bad-version"},  {40, "bad-reserved"}};
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autofree char *text = g_strconcat(refused, wrong[i].why, NULL);
        Peer peer = {.stays = true};
        set_welcome(&peer, GW_WIRE_VERSION);
        peer.answer[wrong[i].at] ^= 0x40;
        assert_dial_fails(&peer, NULL, GW_ERROR_PROTOCOL, text);
    }
    Peer peer = {.stays = true};
    set_welcome(&peer, GW_WIRE_VERSION + 1);
    assert_dial_fails(&peer, NULL, GW_ERROR_PROTOCOL, "the destination's welcome is refused: bad-version");
    set_frame(&peer, GW_FRAME_READY, 0, "");
    assert_dial_fails(&peer, NULL, GW_ERROR_PROTOCOL, "the destination's welcome is refused: bad-place");
}

static void
test_silence(void)
{
    for (unsigned size = 0; size < ANSWER_SIZE; size += 16) {
        Peer peer = {.stays = true};
        set_welcome(&peer, GW_WIRE_VERSION);
        peer.answer_size = size;
        assert_dial_fails(&peer, NULL, GW_ERROR_TIMED_OUT,
                          "waiting for the destination's welcome: %s: Connection timed out");
    }
    /* cut short at the same places */
    g_autofree char *over = g_strconcat("waiting for the destination's welcome", closed, NULL);
    for (unsigned size = 0; size < ANSWER_SIZE; size += 16) {
        Peer peer = {0};
        set_welcome(&peer, GW_WIRE_VERSION);
        peer.answer_size = size;
        assert_dial_fails(&peer, NULL, GW_ERROR_NOT_PERMITTED, over);
    }
}

static void
test_nobody(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwTicket) ticket = gw_ticket_new(NULL);
    unsigned port = 0;
    close(gw_stream_listen("127.0.0.1", 0, &port, NULL));
    gw_ticket_add(ticket, "127.0.0.1", port, NULL);
    gw_ticket_add(ticket, "127.0.0.1", port, "192.0.2.1"); /* not ours */
    Census before = census_take();
    g_assert_null(gw_ticket_dial(ticket, 0, GW_STREAM_CONTROL, 0, 1, MEMORY, NULL, 1000, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    g_assert_nonnull(strstr(error->message, "Connection refused"));
    g_clear_error(&error);
    g_assert_null(gw_ticket_dial(ticket, 1, GW_STREAM_CONTROL, 0, 1, MEMORY, NULL, 1000, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, "192.0.2.1"));
    census_check(&before);
}

/* Somebody who accepts the connection of a kernel that has no room for it any more: black holes take no
 * longer than they may. */
static void
test_black_hole(void)
{
    g_autoptr(GError) error = NULL;
    Census before = census_take();
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int full = gw_stream_listen("127.0.0.1", 0, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(getsockname(full, (struct sockaddr *)&address, &length), ==, 0);
    g_assert_cmpint(listen(full, 0), ==, 0);
    int waits = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(waits, (struct sockaddr *)&address, length), ==, 0);
    g_autoptr(GwTicket) ticket = gw_ticket_new(NULL);
    const uint8_t *port = (const uint8_t *)&address + 2; /* of sockaddr_in, as on the wire */
    gw_ticket_add(ticket, "127.0.0.1", (unsigned)port[0] << 8 | port[1], NULL);
    gint64 began_us = g_get_monotonic_time();
    g_assert_null(gw_ticket_dial(ticket, 0, GW_STREAM_CONTROL, 0, 1, MEMORY, NULL, 300, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    gint64 took_us = g_get_monotonic_time() - began_us;
    g_assert_cmpint(took_us, >=, 280000);
    g_assert_cmpint(took_us, <, 2 * G_TIME_SPAN_SECOND);
    close(waits);
    close(full);
    census_check(&before);
}

/* --- with TLS ----------------------------------------------------------------------------------------- */

static void
test_tls_at_one_end(void)
{
    Census before = census_take();
    g_autoptr(GError) error = NULL;
    Peer peer = {.identity = identity};
    peer_start(&peer);
    g_assert_null(peer_dial(&peer, NULL, 5000, &error)); /* a plain source: the server ends it, or says so */
    g_assert_nonnull(error);
    g_clear_error(&error);
    peer_end(&peer);
    peer = (Peer){.identity = NULL};
    peer_start(&peer);
    g_assert_null(peer_dial(&peer, identity, 400, &error)); /* a plain destination takes the hello for data */
    g_assert_nonnull(error);
    peer_end(&peer);
    census_check(&before);
}

/* A destination that does not accept our certificate says so behind the handshake, and an operator is told
 * that it is the certificate. */
static void
test_tls_certificate_refused(void)
{
    Census before = census_take();
    g_autoptr(GError) error = NULL;
    Peer peer = {.identity = identity};
    peer_start(&peer);
    g_assert_null(peer_dial(&peer, stranger, 5000, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
    g_assert_nonnull(strstr(error->message, "certificate"));
    peer_end(&peer);
    census_check(&before);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-ticket-XXXXXX", &error);
    g_autofree char *other_dir = g_dir_make_tmp("test-ticket-XXXXXX", &error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    g_autoptr(TestAuthority) other = test_authority_new("another authority");
    test_identity_make(dir, "host1", authority, authority, -60, 3600);
    test_identity_make(other_dir, "host2", other, authority, -60, 3600); /* trusts us, is not trusted */
    g_autoptr(GwTlsIdentity) mine = gw_tls_identity_load(dir, &error);
    g_assert_no_error(error);
    g_autoptr(GwTlsIdentity) others = gw_tls_identity_load(other_dir, &error);
    g_assert_no_error(error);
    identity = mine;
    stranger = others;

    g_test_add_func("/ticket/hex", test_hex);
    g_test_add_func("/ticket/hex/refused", test_hex_refused);
    g_test_add_func("/ticket/new", test_new);
    g_test_add_func("/ticket/copy", test_copy);
    g_test_add_data_func("/ticket/dial/plain", NULL, test_dial);
    g_test_add_data_func("/ticket/dial/tls", "", test_dial);
    g_test_add_func("/ticket/refused", test_refused);
    g_test_add_func("/ticket/wrong-welcomes", test_wrong_welcomes);
    g_test_add_func("/ticket/silence", test_silence);
    g_test_add_func("/ticket/nobody", test_nobody);
    g_test_add_func("/ticket/black-hole", test_black_hole);
    g_test_add_func("/ticket/tls/at-one-end", test_tls_at_one_end);
    g_test_add_func("/ticket/tls/certificate-refused", test_tls_certificate_refused);
    int result = g_test_run();
    test_identity_remove(dir);
    test_identity_remove(other_dir);
    return result;
}
