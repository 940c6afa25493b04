/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tickets, and the source's half of the hello. */
#include "ticket.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static void
clear_endpoint(void *data)
{
    GwEndpoint *endpoint = data;
    g_free(endpoint->address);
    g_free(endpoint->local);
}

static GwTicket *
ticket_alloc(void)
{
    GwTicket *self = g_new0(GwTicket, 1);
    self->endpoints = g_array_new(FALSE, TRUE, sizeof(GwEndpoint));
    g_array_set_clear_func(self->endpoints, clear_endpoint);
    return self;
}

GwTicket *
gw_ticket_new(GError **error)
{
    g_autoptr(GwTicket) self = ticket_alloc();
    if (getrandom(self->session, sizeof self->session, 0) != (ssize_t)sizeof self->session ||
        getrandom(self->secret, sizeof self->secret, 0) != (ssize_t)sizeof self->secret) {
        gw_set_errno(error, GW_ERROR_IO, errno, "the kernel's random numbers");
        return NULL;
    }
    return g_steal_pointer(&self);
}

GwTicket *
gw_ticket_copy(const GwTicket *self)
{
    GwTicket *copy = ticket_alloc();
    memcpy(copy->session, self->session, sizeof copy->session);
    memcpy(copy->secret, self->secret, sizeof copy->secret);
    for (guint i = 0; i < self->endpoints->len; i++) {
        const GwEndpoint *each = gw_ticket_endpoint(self, i);
        gw_ticket_add(copy, each->address, each->port, each->local);
    }
    return copy;
}

void
gw_ticket_add(GwTicket *self, const char *address, unsigned port, const char *local)
{
    GwEndpoint endpoint = {g_strdup(address), port, g_strdup(local)};
    g_array_append_val(self->endpoints, endpoint);
}

void
gw_ticket_free(GwTicket *self)
{
    if (!self)
        return;
    g_array_unref(self->endpoints);
    explicit_bzero(self->secret, sizeof self->secret);
    g_free(self);
}

const GwEndpoint *
gw_ticket_endpoint(const GwTicket *self, unsigned index)
{
    return &g_array_index(self->endpoints, GwEndpoint, index);
}

char *
gw_hex_encode(const uint8_t *bytes, size_t n)
{
    char *text = g_malloc(2 * n + 1);
    for (size_t i = 0; i < n; i++)
        g_snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[2 * n] = '\0';
    return text;
}

bool
gw_hex_decode(const char *text, uint8_t *ret_bytes, size_t n)
{
    if (strlen(text) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = g_ascii_xdigit_value(text[2 * i]), low = g_ascii_xdigit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool
lost(const GwStream *stream, int r, const char *what, GError **error)
{
    if (r != -ECONNRESET)
        return gw_stream_set_error(stream, r, what, error);
    g_set_error(
        error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
        "%s: the destination closed the connection; its log says why (another session, a wrong secret, or "
        "TLS at one end only)",
        what);
    return false;
}

static bool
say_hello(GwStream *stream, const GwWireHello *hello, GError **error)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES + GW_WIRE_HELLO_BYTES];
    gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_HELLO, .payload_bytes = GW_WIRE_HELLO_BYTES},
                          bytes);
    gw_wire_encode_hello(hello, bytes + GW_WIRE_HEADER_BYTES);
    int r = gw_stream_send(stream, &(struct iovec){bytes, sizeof bytes}, 1);
    explicit_bzero(bytes, sizeof bytes);
    return r == 0 || lost(stream, r, "saying hello", error);
}

static bool
take_abort(GwStream *stream, const GwWireHeader *header, GError **error)
{
    uint8_t payload[GW_WIRE_MAX_TEXT];
    char text[GW_WIRE_MAX_TEXT + 1] = "it gave no reason";
    if (header->payload_bytes > 0 && gw_stream_receive(stream, payload, header->payload_bytes) == 0)
        gw_wire_decode_text(payload, header->payload_bytes, text);
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "the destination refused: %s", text);
    return false;
}

static bool
await_welcome(GwStream *stream, GError **error)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES], payload[GW_WIRE_WELCOME_BYTES];
    GwWireHeader header;
    GwWireWelcome welcome;
    int r = gw_stream_receive(stream, bytes, sizeof bytes);
    if (r < 0)
        return lost(stream, r, "waiting for the destination's welcome", error);
    GwWireVerdict verdict = gw_wire_decode_header(bytes, 0, &header);
    if (verdict == GW_WIRE_OK && header.type == GW_FRAME_ABORT)
        return take_abort(stream, &header, error);
    if (verdict == GW_WIRE_OK && header.type != GW_FRAME_WELCOME)
        verdict = GW_WIRE_BAD_PLACE;
    if (verdict == GW_WIRE_OK) {
        r = gw_stream_receive(stream, payload, sizeof payload);
        if (r < 0)
            return lost(stream, r, "waiting for the destination's welcome", error);
        verdict = gw_wire_decode_welcome(payload, sizeof payload, &welcome);
    }
    if (verdict == GW_WIRE_OK)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the destination's welcome is refused: %s",
                gw_wire_verdict_name(verdict));
    return false;
}

GwStream *
gw_ticket_dial(const GwTicket *self, unsigned endpoint, GwStreamKind kind, unsigned index, unsigned n_streams,
               uint64_t memory_bytes, const GwTlsIdentity *identity, int timeout_ms, GError **error)
{
    const GwEndpoint *to = gw_ticket_endpoint(self, endpoint);
    GwWireHello hello = {
        .version_min = GW_WIRE_VERSION,
        .version_max = GW_WIRE_VERSION,
        .kind = kind,
        .index = (uint8_t)index,
        .n_streams = (uint8_t)n_streams,
        .page_bytes = GW_PAGE_SIZE,
        .memory_bytes = memory_bytes,
    };
    memcpy(hello.session, self->session, sizeof hello.session);
    memcpy(hello.secret, self->secret, sizeof hello.secret);
    g_autoptr(GwStream) stream =
        gw_stream_connect(to->local, to->address, to->port, identity, timeout_ms, error);
    if (stream)
        gw_stream_set_timeout(stream, timeout_ms);
    bool ok = stream && say_hello(stream, &hello, error) && await_welcome(stream, error);
    explicit_bzero(&hello, sizeof hello);
    if (ok)
        return g_steal_pointer(&stream);
    g_prefix_error(error, "%s port %u: ", to->address, to->port);
    return NULL;
}
