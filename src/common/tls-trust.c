/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A GTlsDatabase with a rule of our own.
 *
 * It is asked about every certificate, and nothing else is: libsoup's "accept-certificate" comes only when
 * the usual rules have found a fault, so that it cannot be stricter than they are (another name than the
 * URL's host, an authority that has to be a certain one and not any that the system trusts). */
#include "tls-trust.h"

#include "certificate.h"
#include "error.h"
#include "tls-files.h"

typedef struct {
    GTlsDatabase parent_instance;
    /* set once */
    GTlsDatabase *authority;      /* ref; NULL where pinned */
    GSocketConnectable *expected; /* ref; NULL where pinned */
    char *expected_name, *authority_path;
    char *fingerprint; /* NULL and no authority: anybody */
} Trust;
typedef GTlsDatabaseClass TrustClass;

static GType trust_get_type(void);
G_DEFINE_TYPE(Trust, trust, G_TYPE_TLS_DATABASE)

static bool
has_fingerprint(GTlsCertificate *certificate, const char *fingerprint)
{
    g_autoptr(GByteArray) der = NULL;
    g_object_get(certificate, "certificate", &der, NULL);
    if (!der)
        return false;
    g_autofree char *digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, der->data, der->len);
    return g_ascii_strcasecmp(digest, fingerprint) == 0;
}

static bool
is_center(GTlsCertificate *certificate)
{
    g_autofree char *pem = NULL, *name = NULL, *role = NULL;
    g_object_get(certificate, "certificate-pem", &pem, NULL);
    return pem && gw_certificate_holder(pem, &name, &role, NULL) && g_strcmp0(role, "center") == 0;
}

/* The name is not asked for: who makes the first call to a cluster knows its authority and nothing else. But
 * the authority's hosts are not who may be told a token or a password. */
static GTlsCertificateFlags
verify_pinned(const Trust *self, GTlsCertificate *chain)
{
    for (GTlsCertificate *each = chain; each; each = g_tls_certificate_get_issuer(each))
        if (has_fingerprint(each, self->fingerprint))
            return g_tls_certificate_verify(chain, NULL, each) |
                   (is_center(chain) ? 0 : G_TLS_CERTIFICATE_BAD_IDENTITY);
    return G_TLS_CERTIFICATE_UNKNOWN_CA;
}

static GTlsCertificateFlags
trust_verify_chain(GTlsDatabase *database, GTlsCertificate *chain, const char *purpose,
                   GSocketConnectable *identity, GTlsInteraction *interaction, GTlsDatabaseVerifyFlags flags,
                   GCancellable *cancellable, GError **error)
{
    const Trust *self = (Trust *)database;
    if (self->authority)
        return g_tls_database_verify_chain(self->authority, chain, purpose, self->expected, interaction,
                                           flags, cancellable, error);
    return self->fingerprint ? verify_pinned(self, chain) : 0;
}

static void
trust_finalize(GObject *object)
{
    Trust *self = (Trust *)object;
    g_clear_object(&self->authority);
    g_clear_object(&self->expected);
    g_free(self->expected_name);
    g_free(self->authority_path);
    g_free(self->fingerprint);
    G_OBJECT_CLASS(trust_parent_class)->finalize(object);
}

static void
trust_class_init(TrustClass *class)
{
    G_OBJECT_CLASS(class)->finalize = trust_finalize;
    class->verify_chain = trust_verify_chain;
}

static void
trust_init(Trust *self)
{
}

GTlsDatabase *
gw_tls_trust_new(const char *authority_path, const char *expected_name, GError **error)
{
    g_autofree char *text = gw_tls_file_read(authority_path, false, error);
    if (!text)
        return NULL;
    g_autoptr(GError) inner = NULL;
    g_autoptr(GTlsCertificate) any = g_tls_certificate_new_from_pem(text, -1, &inner);
    g_autoptr(GTlsDatabase) authority = any ? g_tls_file_database_new(authority_path, &inner) : NULL;
    if (!authority) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s: %s", authority_path, inner->message);
        return NULL;
    }
    Trust *self = g_object_new(trust_get_type(), NULL);
    self->authority = g_steal_pointer(&authority);
    self->expected = g_network_address_new(expected_name, 0);
    self->expected_name = g_strdup(expected_name);
    self->authority_path = g_strdup(authority_path);
    return (GTlsDatabase *)self;
}

GTlsDatabase *
gw_tls_trust_new_pinned(const char *fingerprint)
{
    Trust *self = g_object_new(trust_get_type(), NULL);
    self->fingerprint = g_strdup(fingerprint);
    return (GTlsDatabase *)self;
}

void
gw_tls_trust_nobody_else(void)
{
    static gsize done;
    if (!g_once_init_enter(&done))
        return;
    g_autoptr(GTlsDatabase) nobody = gw_tls_trust_new_pinned(""); /* no certificate has this fingerprint */
    g_tls_backend_set_default_database(g_tls_backend_get_default(), nobody);
    g_once_init_leave(&done, 1);
}

char *
gw_tls_trust_explain(GTlsDatabase *database, GTlsCertificateFlags errors)
{
    const Trust *self = (Trust *)database;
    g_autoptr(GPtrArray) why = g_ptr_array_new_with_free_func(g_free);
    if (errors & G_TLS_CERTIFICATE_UNKNOWN_CA)
        g_ptr_array_add(why, self->fingerprint
                                 ? g_strdup("it is not of the authority whose fingerprint was "
                                            "given")
                                 : g_strdup_printf("it is not of the authority in %s", self->authority_path));
    if (errors & G_TLS_CERTIFICATE_BAD_IDENTITY)
        g_ptr_array_add(why, self->fingerprint ? g_strdup("it is not a center's")
                                               : g_strdup_printf("it is not for '%s'", self->expected_name));
    if (errors & G_TLS_CERTIFICATE_EXPIRED)
        g_ptr_array_add(why, g_strdup("it has expired"));
    if (errors & G_TLS_CERTIFICATE_NOT_ACTIVATED)
        g_ptr_array_add(why, g_strdup("its time has not begun: see whether the clocks are right"));
    if (errors & G_TLS_CERTIFICATE_REVOKED)
        g_ptr_array_add(why, g_strdup("it was revoked"));
    if (errors & G_TLS_CERTIFICATE_INSECURE)
        g_ptr_array_add(why, g_strdup("its algorithm is not safe"));
    if (why->len == 0)
        g_ptr_array_add(why, g_strdup("it could not be verified"));
    g_ptr_array_add(why, NULL);
    return g_strjoinv("; ", (char **)why->pdata);
}
