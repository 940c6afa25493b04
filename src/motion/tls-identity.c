/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host's certificates, read once and checked before any connection is tried with them: what is wrong here
 * is better told here than by a peer's alert. That the certificate comes from the authority in ca.pem is not
 * asked: while an authority is being replaced, it is the peers' ca.pem that has to have it. */
#include "tls-identity.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* TLS 1.3 alone: no renegotiation, no older hand shakes to be talked down to. AES-GCM is in hardware on
 * whatever runs KVM; ChaCha20 is for the rest. */
#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"

/* A chain of certificates in PEM is some kilobytes. */
#define MAX_FILE_BYTES (1024 * 1024)

/* The content with a NUL behind it, or NULL. `is_secret`: nobody but the owner may be able to read it. */
static char *
read_file(const char *directory, const char *name, bool is_secret, gnutls_datum_t *ret_bytes, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int errnum = errno;
        GwError code = errnum == ENOENT || errnum == ENOTDIR ? GW_ERROR_NOT_FOUND
                       : errnum == EACCES                    ? GW_ERROR_NOT_PERMITTED
                                                             : GW_ERROR_IO;
        gw_set_errno(error, code, errnum, "%s", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *text = NULL;
    ssize_t n = -1;
    if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE_BYTES)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s is no file of PEM text", path);
    else if (is_secret && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "%s has mode %04o, so others than its owner have access: chmod 600 it", path,
                    (unsigned)(st.st_mode & 07777));
    else {
        text = g_malloc0((size_t)st.st_size + 1);
        n = read(fd, text, (size_t)st.st_size);
        if (n < 0)
            gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
    }
    close(fd);
    if (n < 0)
        g_clear_pointer(&text, g_free);
    else
        *ret_bytes = (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)n};
    return text;
}

static bool
refuse(const char *directory, const char *name, const char *why, GError **error)
{
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s/%s: %s", directory, name, why);
    return false;
}

/* A peer would refuse it too, but could not say so precisely. */
static bool
check_validity(const char *directory, const gnutls_datum_t *pem, GError **error)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned n = 0;
    int failed = gnutls_x509_crt_list_import2(&chain, &n, pem, GNUTLS_X509_FMT_PEM, 0);
    if (failed < 0)
        return refuse(directory, "cert.pem", gnutls_strerror(failed), error);
    time_t now = time(NULL);
    bool is_early = now < gnutls_x509_crt_get_activation_time(chain[0]);
    bool is_late = now > gnutls_x509_crt_get_expiration_time(chain[0]);
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    if (is_early)
        return refuse(directory, "cert.pem", "the certificate is not valid yet: look at this host's clock",
                      error);
    return !is_late || refuse(directory, "cert.pem", "the certificate has expired", error);
}

static bool
load_authority(GwTlsIdentity *self, const char *directory, GError **error)
{
    gnutls_datum_t pem;
    g_autofree char *text = read_file(directory, "ca.pem", false, &pem, error);
    if (!text)
        return false;
    int n = gnutls_certificate_set_x509_trust_mem(self->credentials, &pem, GNUTLS_X509_FMT_PEM);
    return n > 0 || refuse(directory, "ca.pem", n < 0 ? gnutls_strerror(n) : "holds no certificate", error);
}

static bool
load_certificate(GwTlsIdentity *self, const char *directory, GError **error)
{
    gnutls_datum_t pem, key;
    g_autofree char *text = read_file(directory, "cert.pem", false, &pem, error);
    if (!text || !check_validity(directory, &pem, error))
        return false;
    g_autofree char *key_text = read_file(directory, "key.pem", true, &key, error);
    if (!key_text)
        return false;
    int failed = gnutls_certificate_set_x509_key_mem(self->credentials, &pem, &key, GNUTLS_X509_FMT_PEM);
    gnutls_memset(key_text, 0, key.size);
    if (failed == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return refuse(directory, "key.pem", "is not the key of cert.pem", error);
    return failed >= 0 || refuse(directory, "key.pem", gnutls_strerror(failed), error);
}

GwTlsIdentity *
gw_tls_identity_load(const char *directory, GError **error)
{
    g_autoptr(GwTlsIdentity) self = g_new0(GwTlsIdentity, 1);
    int failed = gnutls_certificate_allocate_credentials(&self->credentials);
    if (failed >= 0)
        failed = gnutls_priority_init(&self->priority, PRIORITY, NULL);
    if (failed < 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED, "GnuTLS: %s", gnutls_strerror(failed));
        return NULL;
    }
    if (!load_authority(self, directory, error) || !load_certificate(self, directory, error))
        return NULL;
    return g_steal_pointer(&self);
}

void
gw_tls_identity_free(GwTlsIdentity *self)
{
    if (!self)
        return;
    if (self->credentials)
        gnutls_certificate_free_credentials(self->credentials);
    if (self->priority)
        gnutls_priority_deinit(self->priority);
    g_free(self);
}
