/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The beginning of a TLS session: the handshake within one deadline, and what its failures mean to people. */
#include "tls-internal.h"

#include "error.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>

/* Alerts by which a peer says that it is our certificate that it does not like (RFC 8446, 6.2). */
bool
gw_tls_refuses_certificate(gnutls_alert_description_t alert)
{
    switch (alert) {
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_UNKNOWN_CA:
    case GNUTLS_A_ACCESS_DENIED:
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static const char *
why_not_trusted(unsigned status)
{
    if (status & GNUTLS_CERT_EXPIRED)
        return "it has expired";
    if (status & GNUTLS_CERT_NOT_ACTIVATED)
        return "it is not valid yet, or this host's clock is behind";
    if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
        return "it is not from the authority in ca.pem";
    if (status & GNUTLS_CERT_SIGNATURE_FAILURE)
        return "its signature is wrong";
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        return "its key or signature is too weak";
    return "it does not pass verification";
}

/* What a failed gnutls_handshake() means. */
static void
set_handshake_error(GwTls *self, int result, GError **error)
{
    const char *peer = self->socket->peer;
    gnutls_alert_description_t alert = gnutls_alert_get(self->session);
    switch (result) {
    case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "the certificate of %s is refused: %s", peer,
                    why_not_trusted(gnutls_session_get_verify_cert_status(self->session)));
        break;
    case GNUTLS_E_CERTIFICATE_REQUIRED:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "%s is refused: it shows no certificate", peer);
        break;
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
        if (gw_tls_refuses_certificate(alert))
            g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "%s refuses this host's certificate: %s",
                        peer, gnutls_alert_get_name(alert));
        else
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s ended the TLS handshake: %s", peer,
                        gnutls_alert_get_name(alert));
        break;
    default:
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s speaks no TLS 1.3 that could be understood: %s",
                    peer, gnutls_strerror(result));
    }
}

static bool
set_io_error(GwTls *self, int failed, GError **error)
{
    GwError code = failed == -ETIMEDOUT                            ? GW_ERROR_TIMED_OUT
                   : failed == -ECONNRESET || failed == -ESHUTDOWN ? GW_ERROR_PEER_LOST
                                                                   : GW_ERROR_IO;
    return gw_set_errno(error, code, -failed, "the TLS handshake with %s", self->socket->peer);
}

bool
gw_tls_shake_hands(GwTls *self, GError **error)
{
    for (;;) {
        int result = gnutls_handshake(self->session);
        bool is_fatal = result != GNUTLS_E_SUCCESS && gnutls_error_is_fatal(result);
        if (is_fatal)
            gnutls_alert_send_appropriate(self->session, result);
        int failed = gw_tls_flush(self);
        if (is_fatal) {
            set_handshake_error(self, result, error);
            return false;
        }
        if (failed == 0 && result == GNUTLS_E_AGAIN && gnutls_record_get_direction(self->session) == 0)
            failed = gw_tls_fill(self);
        if (failed < 0)
            return set_io_error(self, failed, error);
        if (result == GNUTLS_E_SUCCESS)
            return true;
    }
}

/* The common name, else the first other name. */
static bool
read_name(gnutls_x509_crt_t certificate, char *ret_name, size_t size)
{
    size_t length = size;
    if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret_name, &length) >= 0)
        return true;
    length = size;
    return gnutls_x509_crt_get_subject_alt_name(certificate, 0, ret_name, &length, NULL) >= 0;
}

static void
describe_peer(GwTls *self)
{
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(self->session, &n);
    gnutls_x509_crt_t certificate;
    if (!chain || n == 0 || gnutls_x509_crt_init(&certificate) < 0)
        return;
    if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) < 0 ||
        !read_name(certificate, self->peer_name, sizeof self->peer_name - 1))
        self->peer_name[0] = '\0';
    gnutls_x509_crt_deinit(certificate);
    /* It goes into messages and logs. */
    for (char *p = self->peer_name; *p; p++)
        *p = g_ascii_isprint(*p) ? *p : '?';
}

void
gw_tls_describe(GwTls *self)
{
    snprintf(self->cipher, sizeof self->cipher, "%s %s",
             gnutls_protocol_get_name(gnutls_protocol_get_version(self->session)),
             gnutls_cipher_get_name(gnutls_cipher_get(self->session)));
    describe_peer(self);
}
