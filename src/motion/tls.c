/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A TLS session that two threads use at once, and that moves many records in one system call.
 *
 *   sender    caller's memory ─▶ gnutls_record_send ─push─▶ out  ─sendmsg─▶ socket
 *   receiver  caller ◀─ text ◀─ gnutls_record_recv_packet ◀─pull─ in ◀─recv─ socket
 *
 * GnuTLS never touches the socket: push and pull move bytes to and from buffers of ours and say EAGAIN where
 * these are full or empty. All waiting is done outside of it, so that a lock can be held around each of its
 * calls. It allows one thread to send while another receives, but not while a key update is under way: that
 * works on secrets of both directions, comes by itself every 2^24 records and whenever the peer asks for
 * it. The lock costs 20 ns a record as long as only one direction is busy, as with data streams.
 *
 * Rejected: gnutls_record_cork(), which copies all and then still pushes record by record; kernel TLS, which
 * Debian 12's GnuTLS is not built for. */
#include "tls-internal.h"

#include "error.h"
#include "tls-identity.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* What a record takes with header, padding, tag, and a key update before it. */
#define RECORD_ROOM (GW_TLS_RECORD_BYTES + 512)

/* --- what GnuTLS calls -------------------------------------------------------------------------------- */

static ssize_t
push(gnutls_transport_ptr_t user, const giovec_t *parts, int n_parts)
{
    GwTls *self = user;
    size_t n_taken = 0;
    for (int i = 0; self->may_push && i < n_parts; i++) {
        size_t n = MIN(parts[i].iov_len, GW_STREAM_BUFFER_BYTES - self->n_out);
        memcpy(self->out + self->n_out, parts[i].iov_base, n);
        self->n_out += n;
        n_taken += n;
    }
    if (n_taken > 0)
        return (ssize_t)n_taken;
    errno = EAGAIN;
    return -1;
}

static ssize_t
pull(gnutls_transport_ptr_t user, void *buffer, size_t size)
{
    GwTls *self = user;
    size_t n = MIN(size, self->in_end - self->in_start);
    if (n == 0) {
        self->is_starved = true;
        errno = EAGAIN;
        return -1;
    }
    memcpy(buffer, self->in + self->in_start, n);
    self->in_start += n;
    return (ssize_t)n;
}

/* "Something to pull?": pull answers that itself. */
static int
pull_now(gnutls_transport_ptr_t user, unsigned ms)
{
    return 1;
}

/* --- the socket's side -------------------------------------------------------------------------------- */

int
gw_tls_flush(GwTls *self)
{
    struct iovec part = {.iov_base = self->out, .iov_len = self->n_out};
    int failed = self->n_out > 0 ? gw_stream_socket_send(self->socket, &part, 1) : 0;
    self->n_out = 0;
    return failed;
}

int
gw_tls_fill(GwTls *self)
{
    ssize_t n = gw_stream_socket_receive(self->socket, self->in, GW_STREAM_BUFFER_BYTES);
    self->in_start = 0;
    self->in_end = n > 0 ? (size_t)n : 0;
    return n > 0 ? 0 : (int)n;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static int
open_session(GwTls *self, const GwTlsIdentity *identity, bool is_server)
{
    /* Without tickets: nothing is ever resumed, and a source that only sends would leave them unread in its
     * socket, whose close(2) is then a reset, ahead of data that is still under way. A client shows its
     * certificate even if the server seems to want another's: so it is told what is wrong with it. */
    unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_FORCE_CLIENT_CERT;
    int failed = gnutls_init(&self->session, flags | (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT));
    if (failed < 0)
        return failed;
    gnutls_handshake_set_timeout(self->session, 0); /* the deadline is kept here */
    gnutls_transport_set_ptr(self->session, self);
    gnutls_transport_set_vec_push_function(self->session, push);
    gnutls_transport_set_pull_function(self->session, pull);
    gnutls_transport_set_pull_timeout_function(self->session, pull_now);
    if (is_server) {
        gnutls_certificate_server_set_request(self->session, GNUTLS_CERT_REQUIRE);
        gnutls_certificate_send_x509_rdn_sequence(self->session, 1); /* do not: the client has one only */
    }
    gnutls_session_set_verify_cert(self->session, NULL, 0); /* against ca.pem, without a host's name */
    failed = gnutls_priority_set(self->session, identity->priority);
    return failed < 0 ? failed
                      : gnutls_credentials_set(self->session, GNUTLS_CRD_CERTIFICATE, identity->credentials);
}

GwTls *
gw_tls_new(GwStreamSocket *socket, const GwTlsIdentity *identity, bool is_server, GError **error)
{
    GwTls *self = g_new0(GwTls, 1);
    self->socket = socket;
    self->out = g_malloc(GW_STREAM_BUFFER_BYTES);
    self->in = g_malloc(GW_STREAM_BUFFER_BYTES);
    self->staged = g_malloc(GW_TLS_RECORD_BYTES);
    g_mutex_init(&self->lock);
    int failed = open_session(self, identity, is_server);
    self->may_push = true;
    self->is_broken = true; /* until there is somebody to say good-bye to */
    if (failed < 0)
        g_set_error(error, GW_ERROR, GW_ERROR_FAILED, "GnuTLS: %s", gnutls_strerror(failed));
    if (failed < 0 || !gw_tls_shake_hands(self, error)) {
        gw_tls_free(self);
        return NULL;
    }
    self->may_push = self->is_broken = false;
    gw_tls_describe(self);
    return self;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static ssize_t
push_record(GwTls *self, const uint8_t *bytes, size_t size)
{
    g_mutex_lock(&self->lock);
    self->may_push = true;
    ssize_t result = gnutls_record_send(self->session, bytes, size);
    self->may_push = false;
    g_mutex_unlock(&self->lock);
    return result;
}

/* `size` is at most a record, but a peer may have asked for smaller ones. */
static int
send_record(GwTls *self, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        int failed = GW_STREAM_BUFFER_BYTES - self->n_out < RECORD_ROOM ? gw_tls_flush(self) : 0;
        if (failed < 0)
            return failed;
        ssize_t result = push_record(self, bytes, size);
        if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED) {
            failed = gw_tls_flush(self);
            if (failed < 0)
                return failed;
        } else if (result <= 0)
            return -EPROTO;
        else {
            bytes += result;
            size -= (size_t)result;
        }
    }
    return 0;
}

static int
send_staged(GwTls *self)
{
    int failed = send_record(self, self->staged, self->n_staged);
    self->n_staged = 0;
    return failed;
}

/* Whole records go straight from the caller's memory; what is smaller shares records. So the header of a
 * frame of pages is a record of its own, and each record behind it is four pages, which is how they are
 * taken. */
static int
send_part(GwTls *self, const uint8_t *bytes, size_t size)
{
    int failed = 0;
    while (size > 0 && failed == 0) {
        size_t n = MIN(size, GW_TLS_RECORD_BYTES);
        if (self->n_staged > 0 && n == GW_TLS_RECORD_BYTES) {
            failed = send_staged(self);
            continue;
        }
        if (n == GW_TLS_RECORD_BYTES)
            failed = send_record(self, bytes, n);
        else {
            n = MIN(n, GW_TLS_RECORD_BYTES - self->n_staged);
            memcpy(self->staged + self->n_staged, bytes, n);
            self->n_staged += n;
            if (self->n_staged == GW_TLS_RECORD_BYTES)
                failed = send_staged(self);
        }
        bytes += n;
        size -= n;
    }
    return failed;
}

int
gw_tls_send(GwTls *self, const struct iovec *parts, unsigned n_parts)
{
    int failed = self->is_broken ? -ECONNRESET : 0;
    for (unsigned i = 0; i < n_parts && failed == 0; i++)
        failed = send_part(self, parts[i].iov_base, parts[i].iov_len);
    if (failed == 0)
        failed = send_staged(self);
    if (failed == 0)
        failed = gw_tls_flush(self);
    self->is_broken = failed < 0;
    return failed;
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static int
error_of_record(GwTls *self, ssize_t result)
{
    if (result == 0 || result == GNUTLS_E_PREMATURE_TERMINATION)
        return -ECONNRESET;
    if (result == GNUTLS_E_FATAL_ALERT_RECEIVED &&
        gw_tls_refuses_certificate(gnutls_alert_get(self->session)))
        return -EACCES;
    return -EPROTO;
}

/* The next record's text out of what is here. 0, -EAGAIN if no record is whole, or an error. */
static int
next_record(GwTls *self)
{
    for (;;) {
        if (self->packet)
            gnutls_packet_deinit(g_steal_pointer(&self->packet));
        self->is_starved = false;
        g_mutex_lock(&self->lock);
        ssize_t result = gnutls_record_recv_packet(self->session, &self->packet);
        int failed = result > 0 || self->packet ? 0 : error_of_record(self, result);
        g_mutex_unlock(&self->lock);
        if (result > 0) {
            gnutls_datum_t text;
            gnutls_packet_get(self->packet, &text, NULL);
            self->text = text.data;
            self->n_text = text.size;
            return 0;
        }
        if (result == GNUTLS_E_AGAIN && self->is_starved)
            return -EAGAIN;
        /* An empty record, a warning, a key update (which is "again" too): on to what is behind. */
        if (failed < 0 && result != GNUTLS_E_AGAIN && result != GNUTLS_E_INTERRUPTED &&
            result != GNUTLS_E_WARNING_ALERT_RECEIVED)
            return self->failed = failed;
    }
}

ssize_t
gw_tls_take(GwTls *self, const uint8_t **ret_bytes, size_t max)
{
    while (self->n_text == 0) {
        int failed = self->failed < 0 ? self->failed : next_record(self);
        if (failed == -EAGAIN) {
            failed = gw_tls_fill(self);
            if (failed != -ETIMEDOUT) /* which takes nothing away: it may be tried again */
                self->failed = failed;
        }
        if (failed < 0)
            return failed;
    }
    size_t n = MIN(max, self->n_text);
    *ret_bytes = self->text;
    self->text += n;
    self->n_text -= n;
    return (ssize_t)n;
}

bool
gw_tls_has_pending(GwTls *self)
{
    return self->n_text > 0 || self->failed < 0 || next_record(self) != -EAGAIN;
}

/* --- the rest ----------------------------------------------------------------------------------------- */

const char *
gw_tls_cipher(const GwTls *self)
{
    return self->cipher;
}

const char *
gw_tls_peer_name(const GwTls *self)
{
    return self->peer_name;
}

/* Tells the peer that this end was meant (RFC 8446, 6.1), unless it would have to be waited for. */
static void
say_good_bye(GwTls *self)
{
    self->may_push = true;
    if (gnutls_bye(self->session, GNUTLS_SHUT_WR) == GNUTLS_E_SUCCESS &&
        send(self->socket->fd, self->out, self->n_out, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        g_debug("good-bye to %s: %s, ignoring", self->socket->peer, g_strerror(errno));
}

void
gw_tls_free(GwTls *self)
{
    if (!self)
        return;
    if (!self->is_broken && gw_stream_socket_check(self->socket) == 0)
        say_good_bye(self);
    if (self->packet)
        gnutls_packet_deinit(self->packet);
    if (self->session)
        gnutls_deinit(self->session);
    g_mutex_clear(&self->lock);
    g_free(self->staged);
    g_free(self->out);
    g_free(self->in);
    g_free(self);
}
