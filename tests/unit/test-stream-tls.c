/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What only TLS streams have: identities, refusals at both ends, records that are cut or changed on their
 * way, key updates, memory that changes while it is sent. Peers that are no streams: test-stream-strangers.c.
 */
#include "stream.h"

#include "certificates.h"
#include "error.h"
#include "stream-pair.h"
#include "tls-identity.h"
#include "wire.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_S 86400
#define MIB   (1024 * 1024)

static TestAuthority *authority, *foreign_authority;
static GwTlsIdentity *identity;
static char *scratch; /* a directory for identities */

/* An identity on disk, to be removed by the caller. */
static char *
make_directory(const TestAuthority *issuer, const TestAuthority *trusted, time_t from_s, time_t until_s)
{
    static int n = 0;
    g_autofree char *name = g_strdup_printf("host-%d", n++);
    char *directory = g_build_filename(scratch, name, NULL);
    test_identity_make(directory, name, issuer, trusted, from_s, until_s);
    return directory;
}

static GwTlsIdentity *
load(const TestAuthority *issuer, const TestAuthority *trusted)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = make_directory(issuer, trusted, -60, DAY_S);
    GwTlsIdentity *loaded = gw_tls_identity_load(directory, &error);
    g_assert_no_error(error);
    test_identity_remove(directory);
    return loaded;
}

/* An identity as gw_tls_identity_load() would not give it: without its checks, without a certificate if
 * `directory` has none, or with other versions of TLS. */
static GwTlsIdentity *
load_unchecked(const char *directory, bool has_certificate, const char *priority)
{
    GwTlsIdentity *self = g_new0(GwTlsIdentity, 1);
    g_autofree char *ca = g_build_filename(directory, "ca.pem", NULL);
    g_autofree char *cert = g_build_filename(directory, "cert.pem", NULL);
    g_autofree char *key = g_build_filename(directory, "key.pem", NULL);
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&self->credentials), ==, 0);
    g_assert_cmpint(gnutls_certificate_set_x509_trust_file(self->credentials, ca, GNUTLS_X509_FMT_PEM), ==,
                    1);
    if (has_certificate)
        g_assert_cmpint(
            gnutls_certificate_set_x509_key_file(self->credentials, cert, key, GNUTLS_X509_FMT_PEM), >=, 0);
    g_assert_cmpint(gnutls_priority_init(&self->priority, priority, NULL), ==, 0);
    return self;
}

static int
send_bytes(GwStream *stream, const void *bytes, size_t size)
{
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
    return gw_stream_send(stream, &part, 1);
}

/* --- identities --------------------------------------------------------------------------------------- */

static void
check_refused(const char *directory, GwError code, const char *names)
{
    g_autoptr(GError) error = NULL;
    unsigned before = n_open_fds();
    g_autoptr(GwTlsIdentity) loaded = gw_tls_identity_load(directory, &error);
    if (loaded)
        g_error("%s/%s was taken", directory, names);
    g_assert_error(error, GW_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, names));
    g_assert_cmpuint(n_open_fds(), ==, before);
}

static void
test_identity_files(void)
{
    static const char *const names[] = {"ca.pem", "cert.pem", "key.pem"};
    static const char *const no_pem[] = {"", "hello\n",
                                         "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(no_pem); k++) {
            g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
            g_autofree char *path = g_build_filename(directory, names[i], NULL);
            g_assert_true(
                g_file_set_contents_full(path, no_pem[k], -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
            check_refused(directory, GW_ERROR_INVALID_CONFIG, names[i]);
            g_assert_cmpint(g_unlink(path), ==, 0);
            check_refused(directory, GW_ERROR_NOT_FOUND, path);
            g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
            check_refused(directory, GW_ERROR_INVALID_CONFIG, names[i]);
            g_assert_cmpint(g_rmdir(path), ==, 0);
            test_identity_remove(directory);
        }
    }
    check_refused("/nonexistent", GW_ERROR_NOT_FOUND, "/nonexistent/ca.pem");
}

static void
test_identity_key_mode(void)
{
    static const mode_t refused[] = {0640, 0604, 0660, 0644, 0602, 0620}, allowed[] = {0600, 0400, 0700};
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    g_autofree char *key = g_build_filename(directory, "key.pem", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_assert_cmpint(chmod(key, refused[i]), ==, 0);
        check_refused(directory, GW_ERROR_NOT_PERMITTED, key);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(chmod(key, allowed[i]), ==, 0);
        g_autoptr(GwTlsIdentity) loaded = gw_tls_identity_load(directory, &error);
        g_assert_no_error(error);
        g_assert_nonnull(loaded);
    }
    test_identity_remove(directory);
}

static void
test_identity_validity(void)
{
    g_autofree char *expired = make_directory(authority, authority, -2 * DAY_S, -60);
    g_autofree char *early = make_directory(authority, authority, 3600, DAY_S);
    check_refused(expired, GW_ERROR_INVALID_CONFIG, "has expired");
    check_refused(early, GW_ERROR_INVALID_CONFIG, "not valid yet");
    test_identity_remove(expired);
    test_identity_remove(early);
}

static void
test_identity_other_key(void)
{
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    g_autofree char *other = make_directory(authority, authority, -60, DAY_S);
    g_autofree char *key = g_build_filename(directory, "key.pem", NULL);
    g_autofree char *other_key = g_build_filename(other, "key.pem", NULL);
    g_assert_cmpint(rename(other_key, key), ==, 0);
    check_refused(directory, GW_ERROR_INVALID_CONFIG, "is not the key of cert.pem");
    test_identity_remove(directory);
    test_identity_remove(other);
}

/* --- refusals ----------------------------------------------------------------------------------------- */

/* The client's handshake succeeds, and its first receive tells; also when it has sent much that the server
 * never read, whose close is then a reset. */
static void
check_server_refuses(const GwTlsIdentity *client, const GwTlsIdentity *server, const char *why, bool sends)
{
    g_auto(StreamPair) pair = {0};
    unsigned port = 0;
    uint8_t bytes[GW_WIRE_HEADER_BYTES + GW_WIRE_HELLO_BYTES] = {0};
    StreamServer *thread = stream_server_start(server, 5000, &port);
    pair.client = gw_stream_connect(NULL, "127.0.0.1", port, client, 5000, &pair.client_error);
    g_assert_no_error(pair.client_error);
    if (sends) /* it may fail, if the server was quick */
        for (int i = 0; i < 10; i++)
            send_bytes(pair.client, bytes, sizeof bytes);
    stream_server_join(thread, &pair);
    g_assert_null(pair.server);
    g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
    g_assert_nonnull(strstr(pair.server_error->message, why));
    g_assert_cmpint(gw_stream_receive(pair.client, bytes, 1), ==, -EACCES);
    g_assert_cmpint(gw_stream_receive(pair.client, bytes, 1), ==, -EACCES);
    g_assert_true(gw_stream_has_pending(pair.client));
}

static void
check_client_refuses(const GwTlsIdentity *client, const GwTlsIdentity *server, const char *why)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_try(&pair, client, server, 5000);
    g_assert_null(pair.client);
    g_assert_null(pair.server);
    g_assert_error(pair.client_error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
    g_assert_nonnull(strstr(pair.client_error->message, why));
    g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
    g_assert_nonnull(strstr(pair.server_error->message, "refuses this host's certificate"));
}

static void
test_wrong_authority(void)
{
    g_autoptr(GwTlsIdentity) foreign = load(foreign_authority, foreign_authority);
    g_autoptr(GwTlsIdentity) impostor = load(foreign_authority, authority); /* trusts us, is not trusted */
    check_client_refuses(foreign, identity, "not from the authority");
    check_client_refuses(identity, foreign, "not from the authority");
    check_client_refuses(identity, impostor, "not from the authority");
    check_server_refuses(impostor, identity, "not from the authority", false);
    check_server_refuses(impostor, identity, "not from the authority", true);
}

/* A host's certificate vouches for no other. */
static void
test_host_is_no_authority(void)
{
    TestAuthority host = {0};
    gnutls_datum_t pem = {0};
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    g_autofree char *cert = g_build_filename(directory, "cert.pem", NULL);
    g_autofree char *key = g_build_filename(directory, "key.pem", NULL);
    g_assert_cmpint(gnutls_x509_crt_init(&host.certificate), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_init(&host.key), ==, 0);
    g_assert_cmpint(gnutls_load_file(cert, &pem), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(host.certificate, &pem, GNUTLS_X509_FMT_PEM), ==, 0);
    g_autofree char *host_pem = g_strndup((char *)pem.data, pem.size);
    gnutls_free(pem.data);
    g_assert_cmpint(gnutls_load_file(key, &pem), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_import(host.key, &pem, GNUTLS_X509_FMT_PEM), ==, 0);
    gnutls_free(pem.data);

    /* Its certificate with the host's behind it, as a chain. */
    g_autofree char *forged = make_directory(&host, authority, -60, DAY_S);
    g_autofree char *forged_cert = g_build_filename(forged, "cert.pem", NULL);
    g_autofree char *forged_pem = NULL;
    g_assert_true(g_file_get_contents(forged_cert, &forged_pem, NULL, NULL));
    g_autofree char *chain = g_strconcat(forged_pem, host_pem, NULL);
    g_assert_true(g_file_set_contents(forged_cert, chain, -1, NULL));
    g_autoptr(GError) error = NULL;
    g_autoptr(GwTlsIdentity) impostor = gw_tls_identity_load(forged, &error);
    g_assert_no_error(error);
    check_server_refuses(impostor, identity, "the certificate of 127.0.0.1", false);
    check_client_refuses(identity, impostor, "the certificate of 127.0.0.1");
    gnutls_x509_crt_deinit(host.certificate);
    gnutls_x509_privkey_deinit(host.key);
    test_identity_remove(directory);
    test_identity_remove(forged);
}

static void
test_expired(void)
{
    g_autofree char *directory = make_directory(authority, authority, -2 * DAY_S, -60);
    g_autoptr(GwTlsIdentity) expired = load_unchecked(directory, true, "NORMAL");
    check_client_refuses(identity, expired, "has expired");
    check_server_refuses(expired, identity, "has expired", true);
    test_identity_remove(directory);
}

static void
test_no_certificate(void)
{
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    g_autoptr(GwTlsIdentity) bare = load_unchecked(directory, false, "NORMAL");
    check_server_refuses(bare, identity, "shows no certificate", true);
    test_identity_remove(directory);
}

static void
test_older_tls(void)
{
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    g_autoptr(GwTlsIdentity) old = load_unchecked(directory, true, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    const GwTlsIdentity *ends[][2] = {{old, identity}, {identity, old}};
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_auto(StreamPair) pair = {0};
        stream_pair_try(&pair, ends[i][0], ends[i][1], 5000);
        g_assert_true(!pair.client && !pair.server);
        g_assert_error(pair.client_error, GW_ERROR, GW_ERROR_PROTOCOL);
        g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_PROTOCOL);
    }
    test_identity_remove(directory);
}

static void
test_ciphers(void)
{
    static const struct {
        const char *priority, *cipher;
    } cases[] = {
        {"NORMAL", "TLS1.3 AES-128-GCM"}, /* which would prefer another */
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3:-AES-128-GCM:-CHACHA20-POLY1305", "TLS1.3 AES-256-GCM"},
        {"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305", "TLS1.3 CHACHA20-POLY1305"},
    };
    g_autofree char *directory = make_directory(authority, authority, -60, DAY_S);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(StreamPair) pair = {0};
        g_autoptr(GwTlsIdentity) other = load_unchecked(directory, true, cases[i].priority);
        stream_pair_try(&pair, identity, other, 5000);
        g_assert_no_error(pair.client_error);
        g_assert_no_error(pair.server_error);
        g_assert_cmpstr(gw_stream_cipher(pair.client), ==, i == 0 ? "TLS1.3 AES-128-GCM" : cases[i].cipher);
    }
    test_identity_remove(directory);
}

/* --- on the way --------------------------------------------------------------------------------------- */

/* A relay for one connection that, from byte `meddle_at` on of what the client sends, cuts or changes. */
typedef struct {
    int listening;
    unsigned server_port;
    size_t meddle_at; /* 0: never */
    bool cuts;        /* else one bit is changed */
    gint armed;       /* atomic; counts from then on */
    size_t n_relayed;
    int client, server;
} Relay;

static gpointer
relay_back(gpointer user)
{
    Relay *self = user;
    uint8_t bytes[4096];
    for (ssize_t n = 0; (n = recv(self->server, bytes, sizeof bytes, 0)) > 0;)
        if (send(self->client, bytes, (size_t)n, MSG_NOSIGNAL) != n)
            break;
    return NULL;
}

static gpointer
relay_thread(gpointer user)
{
    Relay *self = user;
    uint8_t bytes[4096];
    self->client = stream_raw_accept(self->listening);
    self->server = stream_raw_connect(self->server_port);
    GThread *back = g_thread_new("back", relay_back, self);
    for (ssize_t n = 0; (n = recv(self->client, bytes, sizeof bytes, 0)) > 0;) {
        bool is_last = false;
        if (g_atomic_int_get(&self->armed)) {
            if (self->n_relayed + (size_t)n > self->meddle_at && self->n_relayed <= self->meddle_at) {
                size_t k = self->meddle_at - self->n_relayed;
                bytes[k] ^= 1;
                is_last = self->cuts;
                n = is_last ? (ssize_t)k : n;
            }
            self->n_relayed += (size_t)n;
        }
        if (send(self->server, bytes, (size_t)n, MSG_NOSIGNAL) != n || is_last)
            break;
    }
    shutdown(self->client, SHUT_RDWR);
    shutdown(self->server, SHUT_RDWR);
    g_thread_join(back);
    close(self->client);
    close(self->server);
    return NULL;
}

/* What the server's receive says when `meddle_at` bytes of 100,000 went by untouched. */
static int
receive_through(size_t meddle_at, bool cuts)
{
    g_auto(StreamPair) pair = {0};
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    Relay relay = {.meddle_at = meddle_at, .cuts = cuts};
    StreamServer *server = stream_server_start(identity, 5000, &relay.server_port);
    relay.listening = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    GThread *thread = g_thread_new("relay", relay_thread, &relay);
    pair.client = gw_stream_connect(NULL, "127.0.0.1", port, identity, 5000, &error);
    g_assert_no_error(error);
    stream_server_join(server, &pair);
    g_assert_no_error(pair.server_error);
    g_atomic_int_set(&relay.armed, 1);
    g_autofree uint8_t *bytes = g_malloc(100000);
    stream_pattern_fill(bytes, 100000, 0);
    send_bytes(pair.client, bytes, 100000); /* may fail, when the relay is gone */
    int result = gw_stream_receive(pair.server, bytes, 100000);
    if (result == 0)
        stream_pattern_check(bytes, 100000, 0);
    else /* and it stays so */
        g_assert_cmpint(gw_stream_receive(pair.server, bytes, 1), ==, result);
    g_clear_pointer(&pair.client, gw_stream_free);
    g_clear_pointer(&pair.server, gw_stream_free);
    g_thread_join(thread);
    close(relay.listening);
    return result;
}

static void
test_cut_on_the_way(void)
{
    g_assert_cmpint(receive_through(1 << 30, true), ==, 0);
    /* within the first record's header, in its midst, at its end, in the last one */
    static const size_t places[] = {3, 5, 8000, 16384 + 22, 16384 + 23, 100050};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        g_assert_cmpint(receive_through(places[i], true), ==, -ECONNRESET);
}

static void
test_changed_on_the_way(void)
{
    /* a length, the text, a tag, the last record; the outer type (at 0) says nothing, the true one is inside
     */
    static const size_t places[] = {4, 5, 8000, 16384 + 21, 40000, 100050};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        g_assert_cmpint(receive_through(places[i], false), ==, -EPROTO);
}

/* --- two threads -------------------------------------------------------------------------------------- */

typedef struct {
    GwStream *stream;
    uint8_t *bytes;
    size_t size;
    int result;
    gint stop; /* atomic */
} Work;

static gpointer
send_work(gpointer user)
{
    Work *self = user;
    for (size_t done = 0; done < self->size && self->result == 0; done += MIB)
        self->result = send_bytes(self->stream, self->bytes, MIB);
    return NULL;
}

static gpointer
receive_work(gpointer user)
{
    Work *self = user;
    for (size_t done = 0; done < self->size && self->result == 0; done += MIB) {
        self->result = gw_stream_receive(self->stream, self->bytes, MIB);
        if (self->result == 0)
            stream_pattern_check(self->bytes, MIB, 0);
    }
    return NULL;
}

/* A peer of GnuTLS alone, over its own socket calls. */
static gnutls_session_t
open_raw_client(int fd)
{
    gnutls_session_t session;
    g_assert_cmpint(gnutls_init(&session, GNUTLS_CLIENT), ==, 0);
    g_assert_cmpint(gnutls_priority_set(session, identity->priority), ==, 0);
    g_assert_cmpint(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, identity->credentials), ==, 0);
    gnutls_transport_set_int(session, fd);
    g_assert_cmpint(gnutls_handshake(session), ==, 0);
    return session;
}

/* A MiB in records of odd sizes. */
static void
send_raw(gnutls_session_t session, const uint8_t *bytes)
{
    for (size_t done = 0, n = 0; done < MIB; done += n) {
        n = MIN(12345, MIB - done);
        g_assert_cmpint((int)gnutls_record_send(session, bytes + done, n), ==, (int)n);
    }
}

static void
receive_raw(gnutls_session_t session, uint8_t *bytes)
{
    for (size_t done = 0; done < MIB;) {
        ssize_t n = gnutls_record_recv(session, bytes + done, MIB - done);
        if (n == GNUTLS_E_AGAIN) /* that was a key update */
            continue;
        g_assert_cmpint((int)n, >, 0);
        done += (size_t)n;
    }
    stream_pattern_check(bytes, MIB, 0);
}

/* The peer changes its keys and asks for new ones of ours, while one thread of ours sends and another
 * receives. Every byte arrives, both ways. */
static void
test_key_updates(void)
{
    g_auto(StreamPair) pair = {0};
    unsigned port = 0;
    StreamServer *server = stream_server_start(identity, 5000, &port);
    int fd = stream_raw_connect(port);
    gnutls_session_t session = open_raw_client(fd);
    stream_server_join(server, &pair);
    g_assert_no_error(pair.server_error);

    g_autofree uint8_t *pattern = g_malloc(MIB), *theirs = g_malloc(MIB), *buffer = g_malloc(MIB);
    stream_pattern_fill(pattern, MIB, 0);
    Work sends = {.stream = pair.server, .bytes = pattern, .size = 16 * MIB};
    Work receives = {.stream = pair.server, .bytes = buffer, .size = 16 * MIB};
    GThread *sender = g_thread_new("send", send_work, &sends);
    GThread *receiver = g_thread_new("receive", receive_work, &receives);
    for (int i = 0; i < 16; i++) {
        if (i == 12) /* GnuTLS takes one a second */
            g_usleep(1100000);
        if (i == 4 || i == 12)
            g_assert_cmpint(gnutls_session_key_update(session, GNUTLS_KU_PEER), ==, 0);
        send_raw(session, pattern);
        receive_raw(session, theirs);
    }
    g_thread_join(sender);
    g_thread_join(receiver);
    g_assert_cmpint(sends.result, ==, 0);
    g_assert_cmpint(receives.result, ==, 0);
    g_assert_cmpint(gnutls_bye(session, GNUTLS_SHUT_WR), ==, 0);
    g_assert_cmpint(gw_stream_receive(pair.server, buffer, 1), ==, -ECONNRESET);
    gnutls_deinit(session);
    close(fd);
}

static gpointer
scribble(gpointer user)
{
    Work *self = user;
    for (uint32_t i = 0; !g_atomic_int_get(&self->stop); i += 97)
        __atomic_store_n(&self->bytes[i % MIB], (uint8_t)i, __ATOMIC_RELAXED);
    return NULL;
}

/* A guest writes its memory while it is sent: records have to decrypt all the same. */
static void
test_changing_memory(void)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity);
    g_autofree uint8_t *memory = g_malloc0(MIB);
    Work writes = {.bytes = memory}, sends = {.stream = pair.client, .bytes = memory, .size = 64 * MIB};
    GThread *writer = g_thread_new("scribble", scribble, &writes);
    GThread *sender = g_thread_new("send", send_work, &sends);
    const uint8_t *bytes = NULL;
    for (size_t done = 0; done < sends.size;) {
        ssize_t n = gw_stream_take(pair.server, &bytes, sends.size - done);
        g_assert_cmpint((int)n, >, 0);
        done += (size_t)n;
    }
    g_thread_join(sender);
    g_atomic_int_set(&writes.stop, 1);
    g_thread_join(writer);
    g_assert_cmpint(sends.result, ==, 0);
}

/* Frames of pages are taken in pages: four a record. */
static void
test_takes_are_whole_pages(void)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity);
    g_autofree uint8_t *pages = g_malloc0(64 * 1024);
    uint8_t header[GW_WIRE_HEADER_BYTES] = {0};
    struct iovec parts[2] = {{header, sizeof header}, {pages, 64 * 1024}};
    for (int i = 0; i < 3; i++) {
        const uint8_t *bytes = NULL;
        g_assert_cmpint(gw_stream_send(pair.client, parts, 2), ==, 0);
        g_assert_cmpint(gw_stream_receive(pair.server, header, sizeof header), ==, 0);
        for (int k = 0; k < 4; k++)
            g_assert_cmpint((int)gw_stream_take(pair.server, &bytes, 1024 * 1024), ==, 16384);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    scratch = g_dir_make_tmp("test-stream-tls-XXXXXX", &error);
    g_assert_no_error(error);
    authority = test_authority_new("authority");
    foreign_authority = test_authority_new("foreign authority");
    identity = load(authority, authority);

    g_test_add_func("/stream-tls/identity/files", test_identity_files);
    g_test_add_func("/stream-tls/identity/key-mode", test_identity_key_mode);
    g_test_add_func("/stream-tls/identity/validity", test_identity_validity);
    g_test_add_func("/stream-tls/identity/other-key", test_identity_other_key);
    g_test_add_func("/stream-tls/wrong-authority", test_wrong_authority);
    g_test_add_func("/stream-tls/host-is-no-authority", test_host_is_no_authority);
    g_test_add_func("/stream-tls/expired", test_expired);
    g_test_add_func("/stream-tls/no-certificate", test_no_certificate);
    g_test_add_func("/stream-tls/older-tls", test_older_tls);
    g_test_add_func("/stream-tls/ciphers", test_ciphers);
    g_test_add_func("/stream-tls/cut-on-the-way", test_cut_on_the_way);
    g_test_add_func("/stream-tls/changed-on-the-way", test_changed_on_the_way);
    g_test_add_func("/stream-tls/key-updates", test_key_updates);
    g_test_add_func("/stream-tls/changing-memory", test_changing_memory);
    g_test_add_func("/stream-tls/takes-are-whole-pages", test_takes_are_whole_pages);
    int result = g_test_run();

    gw_tls_identity_free(identity);
    test_authority_free(authority);
    test_authority_free(foreign_authority);
    g_assert_cmpint(g_rmdir(scratch), ==, 0);
    g_free(scratch);
    return result;
}
