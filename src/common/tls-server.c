/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS over GnuTLS, as streams that libsoup can poll.
 *
 * Not GIO's GTlsServerConnection: it does each handshake in a thread of GTask's few, so that clients who
 * begin one and fall silent keep everybody else waiting, and its close, which libsoup calls in the main
 * thread, blocks until a client that does not read has room for the last alert. Here nothing blocks: whatever
 * cannot go on says G_IO_ERROR_WOULD_BLOCK. */
#include "tls-server.h"

#include "certificate.h"
#include "error.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

/* TLS 1.2 for clients that people have; AES-GCM is in hardware on whatever runs KVM, ChaCha20 is for the
 * rest. Each of them with a fresh key exchange. */
#define PRIORITY                                                                                             \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-CIPHER-ALL:"                                           \
    "+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"

struct GwTlsServerCredentials {
    gatomicrefcount refs;
    gnutls_certificate_credentials_t gnutls;
    gnutls_priority_t priority;
};

/* The three streams' common part, counted because libsoup keeps them separately. Two threads: libsoup has the
 * end of a chunked answer written by one of GTask's, which may also be the last to let go of the writing
 * side. */
typedef struct {
    GSocket *socket;                     /* ref */
    GwTlsServerCredentials *credentials; /* ref */
    GMutex lock;                         /* never held for long: nothing blocks */
    /* guarded by lock */
    gnutls_session_t gnutls;
    bool established; /* the handshake is through, and nothing has failed since */
    bool closed;      /* the descriptor may be another's by now */
    bool unsent;      /* GnuTLS took bytes that are not out yet; it wants to be asked for them again */
} Session;

struct GwTlsServerStream {
    GIOStream parent_instance;
    GSocketConnection *connection; /* ref */
    Session *session;              /* ref */
    GInputStream *input;           /* owned */
    GOutputStream *output;         /* owned */
};
typedef GIOStreamClass GwTlsServerStreamClass;

static GType gw_tls_server_stream_get_type(void);
G_DEFINE_TYPE(GwTlsServerStream, gw_tls_server_stream, G_TYPE_IO_STREAM)

static bool
ok(int result, GwError code, const char *what, GError **error)
{
    if (result >= 0)
        return true;
    g_set_error(error, GW_ERROR, code, "%s: %s", what, gnutls_strerror(result));
    return false;
}

/* The authority's certificate, where the files do not have it in the chain already: a client that has only
 * its fingerprint looks for it there. Takes what it adds out of `authorities`. */
static void
complete_chain(GPtrArray *chain, GPtrArray *authorities)
{
    gnutls_x509_crt_t last = chain->pdata[chain->len - 1];
    if (gnutls_x509_crt_check_issuer(last, last))
        return;
    for (guint i = 0; i < authorities->len; i++) {
        if (gnutls_x509_crt_check_issuer(last, authorities->pdata[i])) {
            g_ptr_array_add(chain, g_ptr_array_steal_index(authorities, i));
            return;
        }
    }
}

static void
certificate_free(void *certificate)
{
    gnutls_x509_crt_deinit(certificate);
}

static GPtrArray *
load_certificates(const char *path, GError **error)
{
    g_autofree char *text = gw_tls_file_read(path, false, error);
    if (!text)
        return NULL;
    gnutls_datum_t pem = {(unsigned char *)text, (unsigned)strlen(text)};
    gnutls_x509_crt_t *all = NULL;
    unsigned n = 0;
    int result = gnutls_x509_crt_list_import2(&all, &n, &pem, GNUTLS_X509_FMT_PEM, 0);
    if (!ok(result, GW_ERROR_INVALID_CONFIG, path, error))
        return NULL;
    GPtrArray *list = g_ptr_array_new_with_free_func(certificate_free);
    for (unsigned i = 0; i < n; i++)
        g_ptr_array_add(list, all[i]);
    gnutls_free(all);
    return list;
}

static gnutls_x509_privkey_t
load_key(const char *path, GError **error)
{
    char *text = gw_tls_file_read(path, true, error);
    if (!text)
        return NULL;
    gnutls_datum_t pem = {(unsigned char *)text, (unsigned)strlen(text)};
    gnutls_x509_privkey_t key = NULL;
    int result = gnutls_x509_privkey_init(&key);
    if (result >= 0)
        result = gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM);
    gw_secret_free(text);
    if (!ok(result, GW_ERROR_INVALID_CONFIG, path, error))
        g_clear_pointer(&key, gnutls_x509_privkey_deinit);
    return key;
}

static bool
set_identity(GwTlsServerCredentials *self, const GwTlsFiles *files, GError **error)
{
    g_autoptr(GPtrArray) chain = load_certificates(files->certificate, error);
    g_autoptr(GPtrArray) authorities = chain ? load_certificates(files->authority, error) : NULL;
    gnutls_x509_privkey_t key = authorities ? load_key(files->key, error) : NULL;
    if (!key)
        return false;
    g_autofree char *what = g_strdup_printf("%s with the key %s", files->certificate, files->key);
    complete_chain(chain, authorities);
    int result = gnutls_certificate_set_x509_key(self->gnutls, (gnutls_x509_crt_t *)chain->pdata,
                                                 (int)chain->len, key);
    gnutls_x509_privkey_deinit(key);
    return ok(result, GW_ERROR_INVALID_CONFIG, what, error);
}

static bool
set_authority(GwTlsServerCredentials *self, const char *path, GError **error)
{
    g_autofree char *text = gw_tls_file_read(path, false, error);
    if (!text)
        return false;
    gnutls_datum_t pem = {(unsigned char *)text, (unsigned)strlen(text)};
    int n = gnutls_certificate_set_x509_trust_mem(self->gnutls, &pem, GNUTLS_X509_FMT_PEM);
    return ok(n == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : n, GW_ERROR_INVALID_CONFIG, path, error);
}

GwTlsServerCredentials *
gw_tls_server_credentials_load(const GwTlsFiles *files, GError **error)
{
    g_autoptr(GwTlsServerCredentials) self = g_new0(GwTlsServerCredentials, 1);
    g_atomic_ref_count_init(&self->refs);
    if (!ok(gnutls_certificate_allocate_credentials(&self->gnutls), GW_ERROR_FAILED, "TLS", error) ||
        !ok(gnutls_priority_init(&self->priority, PRIORITY, NULL), GW_ERROR_FAILED, "TLS", error) ||
        !set_identity(self, files, error) || !set_authority(self, files->authority, error))
        return NULL;
    return g_steal_pointer(&self);
}

GwTlsServerCredentials *
gw_tls_server_credentials_ref(GwTlsServerCredentials *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
gw_tls_server_credentials_unref(GwTlsServerCredentials *self)
{
    if (!self || !g_atomic_ref_count_dec(&self->refs))
        return;
    if (self->gnutls)
        gnutls_certificate_free_credentials(self->gnutls);
    if (self->priority)
        gnutls_priority_deinit(self->priority);
    g_free(self);
}

static void
session_clear(void *data)
{
    Session *self = data;
    if (self->gnutls)
        gnutls_deinit(self->gnutls);
    g_object_unref(self->socket);
    gw_tls_server_credentials_unref(self->credentials);
    g_mutex_clear(&self->lock);
}

static void
session_unref(Session *self)
{
    g_atomic_rc_box_release_full(self, session_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_unref)

static Session *
session_new(GSocket *socket, GwTlsServerCredentials *credentials, bool wants_peer, GError **error)
{
    static gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID,
                                            (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, 0};
    g_autoptr(Session) self = g_atomic_rc_box_new0(Session);
    g_mutex_init(&self->lock);
    self->socket = g_object_ref(socket);
    self->credentials = gw_tls_server_credentials_ref(credentials);
    if (!ok(gnutls_init(&self->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL), GW_ERROR_FAILED,
            "TLS", error) ||
        !ok(gnutls_priority_set(self->gnutls, credentials->priority), GW_ERROR_FAILED, "TLS", error) ||
        !ok(gnutls_credentials_set(self->gnutls, GNUTLS_CRD_CERTIFICATE, credentials->gnutls),
            GW_ERROR_FAILED, "TLS", error))
        return NULL;
    if (wants_peer) {
        gnutls_certificate_server_set_request(self->gnutls, GNUTLS_CERT_REQUIRE);
        gnutls_session_set_verify_cert2(self->gnutls, &purpose, 1, 0);
    }
    gnutls_transport_set_int(self->gnutls, g_socket_get_fd(socket));
    return g_steal_pointer(&self);
}

/* What a record call gave, as GIO says it. */
static gssize
conclude(Session *self, gssize result, GError **error)
{
    if (result >= 0)
        return result;
    if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "TLS has to wait");
        return -1;
    }
    self->established = false;
    int code = result == GNUTLS_E_PREMATURE_TERMINATION || result == GNUTLS_E_PUSH_ERROR
                   ? G_IO_ERROR_CONNECTION_CLOSED
                   : G_IO_ERROR_FAILED;
    g_set_error(error, G_IO_ERROR, code, "TLS: %s", gnutls_strerror((int)result));
    return -1;
}

static gssize
session_read(Session *self, void *buffer, size_t count, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    return conclude(self, gnutls_record_recv(self->gnutls, buffer, count), error);
}

static gssize
session_write(Session *self, const void *buffer, size_t count, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    if (self->closed) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CLOSED, "TLS: the connection is closed");
        return -1;
    }
    gssize result = self->unsent ? gnutls_record_send(self->gnutls, NULL, 0)
                                 : gnutls_record_send(self->gnutls, buffer, count);
    self->unsent = result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED;
    return conclude(self, result, error);
}

static GSource *
pollable_source(void *stream, Session *session, GIOCondition condition, bool is_ready,
                GCancellable *cancellable)
{
    g_autoptr(GSource) child =
        is_ready ? g_timeout_source_new(0) : g_socket_create_source(session->socket, condition, NULL);
    return g_pollable_source_new_full(stream, child, cancellable);
}

/* The reading side. */

typedef struct {
    GInputStream parent_instance;
    Session *session; /* ref */
} TlsInput;
typedef GInputStreamClass TlsInputClass;

static void tls_input_pollable(GPollableInputStreamInterface *interface);
static GType tls_input_get_type(void);
G_DEFINE_TYPE_WITH_CODE(TlsInput, tls_input, G_TYPE_INPUT_STREAM,
                        G_IMPLEMENT_INTERFACE(G_TYPE_POLLABLE_INPUT_STREAM, tls_input_pollable))

static gssize
tls_input_read(GInputStream *stream, void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
    return session_read(((TlsInput *)stream)->session, buffer, count, error);
}

static gssize
tls_input_read_nonblocking(GPollableInputStream *stream, void *buffer, gsize count, GError **error)
{
    return session_read(((TlsInput *)stream)->session, buffer, count, error);
}

static gboolean
tls_input_is_readable(GPollableInputStream *stream)
{
    Session *session = ((TlsInput *)stream)->session;
    return gnutls_record_check_pending(session->gnutls) > 0 ||
           g_socket_condition_check(session->socket, G_IO_IN) != 0;
}

static GSource *
tls_input_create_source(GPollableInputStream *stream, GCancellable *cancellable)
{
    Session *session = ((TlsInput *)stream)->session;
    bool is_ready = gnutls_record_check_pending(session->gnutls) > 0;
    return pollable_source(stream, session, G_IO_IN, is_ready, cancellable);
}

static void
tls_input_finalize(GObject *object)
{
    session_unref(((TlsInput *)object)->session);
    G_OBJECT_CLASS(tls_input_parent_class)->finalize(object);
}

static void
tls_input_pollable(GPollableInputStreamInterface *interface)
{
    interface->is_readable = tls_input_is_readable;
    interface->create_source = tls_input_create_source;
    interface->read_nonblocking = tls_input_read_nonblocking;
}

static void
tls_input_class_init(TlsInputClass *class)
{
    G_OBJECT_CLASS(class)->finalize = tls_input_finalize;
    class->read_fn = tls_input_read;
}

static void
tls_input_init(TlsInput *self)
{
}

/* The writing side. */

typedef struct {
    GOutputStream parent_instance;
    Session *session; /* ref */
} TlsOutput;
typedef GOutputStreamClass TlsOutputClass;

static void tls_output_pollable(GPollableOutputStreamInterface *interface);
static GType tls_output_get_type(void);
G_DEFINE_TYPE_WITH_CODE(TlsOutput, tls_output, G_TYPE_OUTPUT_STREAM,
                        G_IMPLEMENT_INTERFACE(G_TYPE_POLLABLE_OUTPUT_STREAM, tls_output_pollable))

static gssize
tls_output_write(GOutputStream *stream, const void *buffer, gsize count, GCancellable *cancellable,
                 GError **error)
{
    return session_write(((TlsOutput *)stream)->session, buffer, count, error);
}

static gssize
tls_output_write_nonblocking(GPollableOutputStream *stream, const void *buffer, gsize count, GError **error)
{
    return session_write(((TlsOutput *)stream)->session, buffer, count, error);
}

static gboolean
tls_output_is_writable(GPollableOutputStream *stream)
{
    return g_socket_condition_check(((TlsOutput *)stream)->session->socket, G_IO_OUT) != 0;
}

static GSource *
tls_output_create_source(GPollableOutputStream *stream, GCancellable *cancellable)
{
    return pollable_source(stream, ((TlsOutput *)stream)->session, G_IO_OUT, false, cancellable);
}

static void
tls_output_finalize(GObject *object)
{
    session_unref(((TlsOutput *)object)->session);
    G_OBJECT_CLASS(tls_output_parent_class)->finalize(object);
}

static void
tls_output_pollable(GPollableOutputStreamInterface *interface)
{
    interface->is_writable = tls_output_is_writable;
    interface->create_source = tls_output_create_source;
    interface->write_nonblocking = tls_output_write_nonblocking;
}

static void
tls_output_class_init(TlsOutputClass *class)
{
    G_OBJECT_CLASS(class)->finalize = tls_output_finalize;
    class->write_fn = tls_output_write;
}

static void
tls_output_init(TlsOutput *self)
{
}

/* Both. */

GwTlsServerStream *
gw_tls_server_stream_new(GSocketConnection *connection, GwTlsServerCredentials *credentials, bool wants_peer,
                         GError **error)
{
    GSocket *socket = g_socket_connection_get_socket(connection);
    g_autoptr(Session) session = session_new(socket, credentials, wants_peer, error);
    if (!session)
        return NULL;
    GwTlsServerStream *self = g_object_new(gw_tls_server_stream_get_type(), NULL);
    self->connection = g_object_ref(connection);
    self->session = g_atomic_rc_box_acquire(session);
    self->input = g_object_new(tls_input_get_type(), NULL);
    ((TlsInput *)self->input)->session = g_atomic_rc_box_acquire(session);
    self->output = g_object_new(tls_output_get_type(), NULL);
    ((TlsOutput *)self->output)->session = g_atomic_rc_box_acquire(session);
    return self;
}

bool
gw_tls_server_stream_handshake(GwTlsServerStream *self, GIOCondition *ret_wait, GError **error)
{
    gnutls_session_t gnutls = self->session->gnutls;
    int result;
    do
        result = gnutls_handshake(gnutls);
    while (result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (result == GNUTLS_E_AGAIN) {
        *ret_wait = gnutls_record_get_direction(gnutls) ? G_IO_OUT : G_IO_IN;
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "TLS has to wait");
        return false;
    }
    if (result < 0) {
        gnutls_alert_send_appropriate(gnutls, result); /* so that the peer can tell its people why */
        return ok(result, GW_ERROR_NOT_PERMITTED, "TLS handshake", error);
    }
    self->session->established = true;
    return true;
}

char *
gw_tls_server_stream_peer_pem(GwTlsServerStream *self)
{
    unsigned n = 0;
    gnutls_datum_t pem = {0};
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(self->session->gnutls, &n);
    if (!chain || n == 0 || gnutls_pem_base64_encode2("CERTIFICATE", &chain[0], &pem) < 0)
        return NULL;
    char *text = g_strndup((char *)pem.data, pem.size);
    gnutls_free(pem.data);
    return text;
}

static GInputStream *
get_input_stream(GIOStream *stream)
{
    return ((GwTlsServerStream *)stream)->input;
}

static GOutputStream *
get_output_stream(GIOStream *stream)
{
    return ((GwTlsServerStream *)stream)->output;
}

static gboolean
close_both(GIOStream *stream, GCancellable *cancellable, GError **error)
{
    GwTlsServerStream *self = (GwTlsServerStream *)stream;
    g_mutex_lock(&self->session->lock);
    if (self->session->established)
        gnutls_bye(self->session->gnutls, GNUTLS_SHUT_WR); /* if it has room; see above */
    self->session->established = false;
    self->session->closed = true;
    g_mutex_unlock(&self->session->lock);
    return g_io_stream_close(G_IO_STREAM(self->connection), cancellable, error);
}

static void
gw_tls_server_stream_finalize(GObject *object)
{
    GwTlsServerStream *self = (GwTlsServerStream *)object;
    g_object_unref(self->input);
    g_object_unref(self->output);
    g_object_unref(self->connection);
    session_unref(self->session);
    G_OBJECT_CLASS(gw_tls_server_stream_parent_class)->finalize(object);
}

static void
gw_tls_server_stream_class_init(GwTlsServerStreamClass *class)
{
    G_OBJECT_CLASS(class)->finalize = gw_tls_server_stream_finalize;
    class->get_input_stream = get_input_stream;
    class->get_output_stream = get_output_stream;
    class->close_fn = close_both;
}

static void
gw_tls_server_stream_init(GwTlsServerStream *self)
{
}
