/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection of a motion: a TCP socket, with TLS 1.3 or, where that was switched off by name, without.
 *
 * TLS has both sides authenticated by certificates of one authority (mutual X.509) and AES-128-GCM first;
 * neither side checks host names: who may take part in *this* motion is told by the secret in its hello
 * (wire.h).
 *
 * Threads. One thread sends and one receives, at once if need be; gw_stream_shutdown() is for any thread.
 * Blocking. Errors of set-up are GError; sending and receiving are hot and return -errno:
 *
 *   -ECONNRESET   the other end closed, or is gone
 *   -ETIMEDOUT    no byte moved within the time-out
 *   -ESHUTDOWN    gw_stream_shutdown() was called
 *   -EACCES       the other end refuses our certificate. A TLS 1.3 client learns it here, with the first
 *                 receive: its own handshake was over before the server had seen the certificate
 *   -EPROTO       any other TLS alert, or a record that does not decrypt
 *
 * After an error the stream is good for nothing but gw_stream_free(); only a gw_stream_take() that timed out
 * may be repeated. SIGPIPE is never raised. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Fits the L2 cache beside its copy: of receiving 1 GiB in pieces of 256 KiB and writing each to a memfd,
 * 1.35 GB/s in one stream over loopback, where receiving into the mapping came to 1.05. */
#define GW_STREAM_BUFFER_BYTES (256 * 1024)

/* Certificates of this host: DIR/ca.pem, DIR/cert.pem, DIR/key.pem. Immutable and shared by threads. */
typedef struct GwTlsIdentity GwTlsIdentity;
/* GW_ERROR_NOT_FOUND naming the missing file, GW_ERROR_NOT_PERMITTED if the key can be read by others than
 * its owner, GW_ERROR_INVALID_CONFIG for what is no certificate, is not valid now, or does not fit its key.
 */
GwTlsIdentity *gw_tls_identity_load(const char *directory, GError **error);
void gw_tls_identity_free(GwTlsIdentity *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTlsIdentity, gw_tls_identity_free)

/* A listening, non-blocking socket on a numeric address (IPv4 or IPv6) of this host; port 0 takes a free one.
 * -1 on error. `ret_port` may be NULL. */
int gw_stream_listen(const char *address, unsigned port, unsigned *ret_port, GError **error);

typedef struct GwStream GwStream;

/* Connects from `local` (numeric; NULL: the system chooses), within `timeout_ms`, and does the TLS handshake
 * as client if `identity` (borrowed while the stream lives) is not NULL. GW_ERROR_PEER_LOST,
 * GW_ERROR_TIMED_OUT, GW_ERROR_PROTOCOL for what speaks no TLS 1.3, GW_ERROR_NOT_PERMITTED for a certificate
 * that is refused, by either side as far as that can be known (see -EACCES above). */
GwStream *gw_stream_connect(const char *local, const char *address, unsigned port,
                            const GwTlsIdentity *identity, int timeout_ms, GError **error);

/* Takes `fd` (a connected stream socket, also on failure): server's handshake within `timeout_ms` if
 * `identity` is not NULL. Errors as above. */
GwStream *gw_stream_accept(int fd, const GwTlsIdentity *identity, int timeout_ms, GError **error);

/* How long a later send or receive may wait without one byte moving, and data that was sent may stay
 * unacknowledged; -1: for ever. Before it is called, what gw_stream_connect() or gw_stream_accept() were
 * given. For a thread that is about to send or receive. */
void gw_stream_set_timeout(GwStream *self, int timeout_ms);

/* Sends all of it. Plain: one sendmsg(2) if the socket takes it, straight from the caller's memory. TLS:
 * records of 16 KiB, 15 of them in one sendmsg(2). The memory may change meanwhile (a guest writes it): what
 * arrives is then old or new, byte by byte, but arrives. */
int gw_stream_send(GwStream *self, const struct iovec *parts, unsigned n_parts);

/* Receives exactly `size` bytes. 0, or -errno. */
int gw_stream_receive(GwStream *self, void *buffer, size_t size);

/* The same, all of it within `timeout_ms`: for the first frames of a stranger, who might send a byte now and
 * then. Only while no other thread sends. */
int gw_stream_receive_within(GwStream *self, void *buffer, size_t size, int timeout_ms);

/* At most `max` of the bytes that have arrived, in the stream's own buffer and without a copy: valid until
 * the receiving thread's next call, which takes them as consumed. Waits for at least one. With TLS never more
 * than a record, 16 KiB. Returns how many, or -errno. */
ssize_t gw_stream_take(GwStream *self, const uint8_t **ret_bytes, size_t max);

/* Whoever waits in this stream, sending or receiving, now or later, gets an error, and the other end is told
 * that nothing follows. (An other end that waits to send wakes only when the stream is freed.) Any thread. */
void gw_stream_shutdown(GwStream *self);

/* Whoever waits to receive here gets an error once what had come already is read; the other end is told
 * nothing, and what it sends stays unread. Any thread. */
void gw_stream_stop_receiving(GwStream *self);

bool gw_stream_is_encrypted(const GwStream *self);
/* "TLS1.3 AES-128-GCM", or "none". Borrowed. */
const char *gw_stream_cipher(const GwStream *self);
/* The peer's address and port, and the name in its certificate ("" without TLS), for messages. Borrowed. */
const char *gw_stream_peer(const GwStream *self);
const char *gw_stream_peer_name(const GwStream *self);
int gw_stream_fd(const GwStream *self); /* for poll(2) and TCP_INFO */
/* Whether something is to be received here already, so that poll(2) on the socket would not tell: bytes, or
 * an error. The receiving thread's. */
bool gw_stream_has_pending(GwStream *self);

/* The seam to GError: what `result` (-errno of the above) while doing `what` ("receiving page content") means
 * for the control path. Always returns FALSE. */
gboolean gw_stream_set_error(const GwStream *self, int result, const char *what, GError **error);

/* Says good-bye if that takes no waiting, and closes. No other thread may be in the stream. */
void gw_stream_free(GwStream *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwStream, gw_stream_free)
