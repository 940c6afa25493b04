/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An HTTP server in a thread of its own. */
#include "http-rig.h"

#include "certificate.h"
#include "error.h"

#include <glib/gstdio.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

struct HttpRig {
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    GwHttpServer *server;
    /* guarded by lock */
    GMutex lock;
    GCond done;
};

typedef struct {
    HttpRig *rig;
    HttpRigFunc func;
    void *user_data;
    bool is_done;
} Order;

static void *
rig_thread(void *data)
{
    HttpRig *self = data;
    g_main_context_push_thread_default(self->context);
    g_main_loop_run(self->loop);
    gw_http_server_free(self->server);
    /* What libsoup and GIO still want to do: sources of closed connections. */
    while (g_main_context_iteration(self->context, FALSE))
        ;
    g_main_context_pop_thread_default(self->context);
    return NULL;
}

static gboolean
obey(void *data)
{
    Order *order = data;
    if (!order->rig->server)
        order->rig->server = gw_http_server_new("test");
    order->func(order->rig, order->rig->server, order->user_data);
    g_mutex_lock(&order->rig->lock);
    order->is_done = true;
    g_cond_broadcast(&order->rig->done);
    g_mutex_unlock(&order->rig->lock);
    return G_SOURCE_REMOVE;
}

void
http_rig_do(HttpRig *self, HttpRigFunc func, void *user_data)
{
    Order order = {self, func, user_data, false};
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, obey, &order, NULL);
    g_source_attach(source, self->context);
    g_mutex_lock(&self->lock);
    while (!order.is_done)
        g_cond_wait(&self->done, &self->lock);
    g_mutex_unlock(&self->lock);
}

HttpRig *
http_rig_new(HttpRigFunc set_up, void *user_data)
{
    HttpRig *self = g_new0(HttpRig, 1);
    g_mutex_init(&self->lock);
    g_cond_init(&self->done);
    self->context = g_main_context_new();
    self->loop = g_main_loop_new(self->context, FALSE);
    self->thread = g_thread_new("server", rig_thread, self);
    http_rig_do(self, set_up, user_data);
    return self;
}

static gboolean
quit(void *data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

void
http_rig_free(HttpRig *self)
{
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_callback(source, quit, self->loop, NULL);
    g_source_attach(source, self->context);
    g_thread_join(self->thread);
    g_main_loop_unref(self->loop);
    g_main_context_unref(self->context);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->done);
    g_free(self);
}

static const char *
write_file(HttpTrust *self, const char *name, const char *suffix, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *file = g_strconcat(name, suffix, NULL);
    g_autofree char *path = g_build_filename(self->directory, file, NULL);
    g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &error);
    g_assert_no_error(error);
    return g_intern_string(path);
}

HttpTrust *
http_trust_new(void)
{
    g_autoptr(GError) error = NULL;
    HttpTrust *self = g_new0(HttpTrust, 1);
    self->directory = g_dir_make_tmp("godwit-trust-XXXXXX", &error);
    g_assert_no_error(error);
    self->key = gw_key_new(&error);
    g_assert_no_error(error);
    self->authority = gw_certificate_new_authority(self->key, "an authority", &error);
    g_assert_no_error(error);
    self->authority_path = g_strdup(write_file(self, "ca", ".pem", self->authority));
    return self;
}

void
http_trust_free(HttpTrust *self)
{
    g_autoptr(GDir) directory = g_dir_open(self->directory, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename(self->directory, name, NULL);
        g_unlink(path);
    }
    g_rmdir(self->directory);
    gw_secret_free(self->key);
    g_free(self->directory);
    g_free(self->authority);
    g_free(self->authority_path);
    g_free(self);
}

/* The same certificate, over since a minute: gw_certificate_sign() makes no such thing. */
static char *
expire(const HttpTrust *self, const char *pem)
{
    gnutls_x509_crt_t certificate, authority;
    gnutls_x509_privkey_t key;
    gnutls_datum_t texts[] = {{(unsigned char *)pem, (unsigned)strlen(pem)},
                              {(unsigned char *)self->authority, (unsigned)strlen(self->authority)},
                              {(unsigned char *)self->key, (unsigned)strlen(self->key)}};
    gnutls_datum_t result = {0};
    g_assert_cmpint(gnutls_x509_crt_init(&certificate), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_init(&authority), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_init(&key), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(certificate, &texts[0], GNUTLS_X509_FMT_PEM), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(authority, &texts[1], GNUTLS_X509_FMT_PEM), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_import(key, &texts[2], GNUTLS_X509_FMT_PEM), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_expiration_time(certificate, time(NULL) - 60), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_sign2(certificate, authority, key, GNUTLS_DIG_SHA256, 0), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &result), ==, 0);
    char *text = g_strndup((char *)result.data, result.size);
    gnutls_free(result.data);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_crt_deinit(authority);
    gnutls_x509_privkey_deinit(key);
    return text;
}

GwTlsFiles
http_trust_issue(HttpTrust *self, const char *name, const char *role, bool is_expired)
{
    g_autoptr(GError) error = NULL;
    char *key = gw_key_new(&error);
    g_assert_no_error(error);
    g_autofree char *request = gw_certificate_request_new(key, name, &error);
    g_assert_no_error(error);
    GwCertificateSubject subject = {name, role, NULL, NULL, 30};
    g_autofree char *pem = gw_certificate_sign(self->authority, self->key, request, &subject, &error);
    g_assert_no_error(error);
    if (is_expired) {
        char *expired = expire(self, pem);
        g_free(pem);
        pem = expired;
    }
    GwTlsFiles files = {self->authority_path, write_file(self, name, ".cert.pem", pem),
                        write_file(self, name, ".key.pem", key)};
    gw_secret_free(key);
    return files;
}

void
http_assert_fails(GwHttpClient *client, const char *method, const char *path, const char *error_name,
                  const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = gw_http_call(client, method, path, NULL, &error);
    g_assert_null(reply);
    g_assert_nonnull(error);
    g_test_message("%s: %s", gw_error_name(error), error->message);
    g_assert_cmpstr(gw_error_name(error), ==, error_name);
    if (!strstr(error->message, part))
        g_error("'%s' does not say '%s'", error->message, part);
}
