/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The authority's directory.
 *
 * It is made beside its place and renamed there, so that there is all of it or nothing. Afterwards only the
 * center's own pair is ever written again, in an order that a crash cannot make wrong: the certificate goes,
 * a key is made, a certificate for it comes. The authority's own files are never made anew: every host would
 * have to join again, so what is wrong with them is told and left for a backup.
 *
 * People trust any certificate of this authority that carries the name by which they call the center. So no
 * host gets one with a name or an address of the center's. */
#include "authority.h"

#include "certificate.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AUTHORITY_NAME  "godwit authority"
#define RENEW_BEFORE_US (30 * G_TIME_SPAN_DAY)
#define CA_PEM          "ca.pem"
#define CA_KEY_PEM      "ca-key.pem"
#define CERTIFICATE_PEM "cert.pem"
#define KEY_PEM         "key.pem"

struct GwAuthority {
    char *directory;                             /* owned */
    char **names, **addresses;                   /* owned: the center's */
    char *pem, *key_pem, *fingerprint;           /* owned; of the authority, key_pem a secret */
    char *ca_path, *certificate_path, *key_path; /* owned; what `files` points to */
    GwTlsFiles files;
};

/* -- Files */

static bool
sync_directory(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (!done)
        gw_set_errno(error, GW_ERROR_IO, errno, "syncing the directory %s", path);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Whole or not at all, and on disk. */
static bool
write_file(const char *directory, const char *name, const char *text, int mode, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    const GFileSetContentsFlags flags = G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE;
    return g_file_set_contents_full(path, text, -1, flags, mode, error) && sync_directory(directory, error);
}

static char *
read_file(const char *directory, const char *name, GError **error)
{
    char *text = NULL;
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_file_get_contents(path, &text, NULL, error);
    return text;
}

static bool
has_file(const GwAuthority *self, const char *name)
{
    g_autofree char *path = g_build_filename(self->directory, name, NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* -- The authority */

static bool
write_new_authority(const char *directory, GError **error)
{
    char *key = gw_key_new(error);
    g_autofree char *pem = key ? gw_certificate_new_authority(key, AUTHORITY_NAME, error) : NULL;
    bool done = pem && write_file(directory, CA_KEY_PEM, key, 0600, error) &&
                write_file(directory, CA_PEM, pem, 0644, error);
    gw_secret_free(key);
    return done;
}

static void
remove_unfinished(const char *directory)
{
    static const char *const names[] = {CA_PEM, CA_KEY_PEM};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(directory, names[i], NULL);
        g_unlink(path);
    }
    g_rmdir(directory);
}

/* rename(2) replaces an empty directory, and no other. */
static bool
make_authority(const char *directory, GError **error)
{
    g_autofree char *unfinished = g_strconcat(directory, ".XXXXXX", NULL);
    g_autofree char *parent = g_path_get_dirname(directory);
    if (!g_mkdtemp_full(unfinished, 0700))
        return gw_set_errno(error, GW_ERROR_IO, errno, "making the directory %s", unfinished);
    bool done = write_new_authority(unfinished, error);
    if (done && rename(unfinished, directory) < 0)
        done = gw_set_errno(error, GW_ERROR_IO, errno,
                            "%s has no %s and cannot be made an authority's directory, which has to be empty",
                            directory, CA_PEM);
    if (!done) {
        remove_unfinished(unfinished);
        return false;
    }
    return sync_directory(parent, error);
}

/* A key that others could read is everybody's. */
static bool
check_secrecy(const GwAuthority *self, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(self->directory, name, NULL);
    struct stat st;
    if (stat(path, &st) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
    if ((st.st_mode & 077) == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                "%s may be read by others than its owner (mode %03o): if nobody has, 'chmod 600' it", path,
                st.st_mode & 0777);
    return false;
}

static bool
load_authority(GwAuthority *self, GError **error)
{
    if (!check_secrecy(self, CA_KEY_PEM, error) || !(self->pem = read_file(self->directory, CA_PEM, error)) ||
        !(self->key_pem = read_file(self->directory, CA_KEY_PEM, error)))
        return false;
    self->fingerprint = gw_certificate_fingerprint(self->pem, error);
    return self->fingerprint != NULL;
}

/* -- The center's own */

static char *
sign_own(const GwAuthority *self, const char *key, GError **error)
{
    g_autofree char *request = gw_certificate_request_new(key, "center", error);
    GwCertificateSubject subject = {
        .name = "center",
        .role = "center",
        .dns_names = (const char *const *)self->names,
        .addresses = (const char *const *)self->addresses,
        .days = GW_CERTIFICATE_DAYS,
    };
    return request ? gw_certificate_sign(self->pem, self->key_pem, request, &subject, error) : NULL;
}

static bool
covers(GTlsCertificate *certificate, GTlsCertificate *authority, const char *const *names)
{
    for (; names && *names; names++) {
        g_autoptr(GSocketConnectable) identity = g_network_address_new(*names, 0);
        if (g_tls_certificate_verify(certificate, identity, authority) != 0)
            return false;
    }
    return true;
}

/* Of this authority, valid now, and with all the names. */
static bool
is_good(const GwAuthority *self, const char *pem, GError **error)
{
    g_autoptr(GTlsCertificate) authority = g_tls_certificate_new_from_pem(self->pem, -1, error);
    g_autoptr(GTlsCertificate) certificate =
        authority ? g_tls_certificate_new_from_pem(pem, -1, error) : NULL;
    if (!certificate)
        return false;
    if (g_tls_certificate_verify(certificate, NULL, authority) != 0)
        g_set_error(error, GW_ERROR, GW_ERROR_IO,
                    "it is not this authority's, or not valid by this host's clock");
    else if (!covers(certificate, authority, (const char *const *)self->names) ||
             !covers(certificate, authority, (const char *const *)self->addresses))
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "it lacks one of the center's names and addresses");
    else
        return true;
    return false;
}

static bool
ends_soon(const char *pem)
{
    g_autoptr(GTlsCertificate) certificate = g_tls_certificate_new_from_pem(pem, -1, NULL);
    g_autoptr(GDateTime) end = certificate ? g_tls_certificate_get_not_valid_after(certificate) : NULL;
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return !end || g_date_time_difference(end, now) < RENEW_BEFORE_US;
}

/* A key without a certificate, or the other way round, is what a crash left, or an administrator's wish. */
static char *
own_key(GwAuthority *self, GError **error)
{
    if (has_file(self, KEY_PEM))
        return check_secrecy(self, KEY_PEM, error) ? read_file(self->directory, KEY_PEM, error) : NULL;
    char *key = NULL;
    if (g_unlink(self->certificate_path) < 0 && errno != ENOENT)
        gw_set_errno(error, GW_ERROR_IO, errno, "removing %s, which has no key", self->certificate_path);
    else if (sync_directory(self->directory, error))
        key = gw_key_new(error);
    if (key && !write_file(self->directory, KEY_PEM, key, 0600, error))
        g_clear_pointer(&key, gw_secret_free);
    return key;
}

/* A certificate is signed at each start and thrown away if that in place is good: so it is known now, and not
 * when a host joins, that the authority's key belongs to its certificate. */
static bool
ensure_own(GwAuthority *self, GError **error)
{
    g_autoptr(GError) why = NULL;
    char *key = own_key(self, error);
    g_autofree char *made = key ? sign_own(self, key, error) : NULL;
    gw_secret_free(key);
    if (!made)
        return false;
    if (!is_good(self, made, &why)) {
        g_set_error(error, GW_ERROR, GW_ERROR_IO,
                    "a certificate for the center, just signed, is of no use: %s", why->message);
        return false;
    }
    g_autofree char *present = read_file(self->directory, CERTIFICATE_PEM, NULL);
    return (present && is_good(self, present, NULL) && !ends_soon(present)) ||
           write_file(self->directory, CERTIFICATE_PEM, made, 0644, error);
}

/* -- */

static GwAuthority *
new_authority(const char *directory, const char *const *names, const char *const *addresses)
{
    GwAuthority *self = g_new0(GwAuthority, 1);
    self->directory = g_canonicalize_filename(directory, NULL);
    self->names = g_strdupv((char **)names);
    self->addresses = g_strdupv((char **)addresses);
    self->ca_path = g_build_filename(self->directory, CA_PEM, NULL);
    self->certificate_path = g_build_filename(self->directory, CERTIFICATE_PEM, NULL);
    self->key_path = g_build_filename(self->directory, KEY_PEM, NULL);
    self->files = (GwTlsFiles){self->ca_path, self->certificate_path, self->key_path};
    return self;
}

GwAuthority *
gw_authority_open(const char *directory, const char *const *names, const char *const *addresses,
                  GError **error)
{
    g_autoptr(GwAuthority) self = new_authority(directory, names, addresses);
    if (!has_file(self, CA_PEM) && !make_authority(self->directory, error))
        return NULL;
    if (g_chmod(self->directory, 0700) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "taking away others' rights to %s", self->directory);
        return NULL;
    }
    if (!load_authority(self, error) || !ensure_own(self, error)) {
        g_prefix_error(error, "the authority in %s: ", self->directory);
        return NULL;
    }
    return g_steal_pointer(&self);
}

void
gw_authority_free(GwAuthority *self)
{
    if (!self)
        return;
    gw_secret_free(self->key_pem);
    g_strfreev(self->names);
    g_strfreev(self->addresses);
    g_free(self->directory);
    g_free(self->pem);
    g_free(self->fingerprint);
    g_free(self->ca_path);
    g_free(self->certificate_path);
    g_free(self->key_path);
    g_free(self);
}

const GwTlsFiles *
gw_authority_files(const GwAuthority *self)
{
    return &self->files;
}

const char *
gw_authority_certificate(const GwAuthority *self)
{
    return self->pem;
}

const char *
gw_authority_fingerprint(const GwAuthority *self)
{
    return self->fingerprint;
}

static bool
is_own_name(const GwAuthority *self, const char *name)
{
    bool is_own = g_ascii_strcasecmp(name, "center") == 0;
    for (char **own = self->names; own && *own && !is_own; own++)
        is_own = g_ascii_strcasecmp(name, *own) == 0;
    return is_own;
}

/* As bytes: an IPv6 address has many spellings. */
static bool
is_own_address(const GwAuthority *self, GInetAddress *inet)
{
    bool is_own = false;
    for (char **text = self->addresses; text && *text && !is_own; text++) {
        g_autoptr(GInetAddress) own = g_inet_address_new_from_string(*text);
        is_own = own && g_inet_address_equal(own, inet);
    }
    return is_own;
}

char *
gw_authority_sign_host(const GwAuthority *self, const char *request_pem, const char *name,
                       const char *address, GError **error)
{
    g_autoptr(GInetAddress) inet = address ? g_inet_address_new_from_string(address) : NULL;
    if (address && !inet) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no numeric address", address);
        return NULL;
    }
    /* a client that calls an address takes a certificate with the address as its name for one of that address
     */
    if (!name || is_own_name(self, name) || g_hostname_is_ip_address(name)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'%s' is a name of the center, or an address: give the host a name of its own",
                    name ? name : "");
        return NULL;
    }
    /* a host that shares the center's machine has its address too, and is known by its name */
    const char *const addresses[] = {inet && !is_own_address(self, inet) ? address : NULL, NULL};
    GwCertificateSubject subject = {
        .name = name, .role = "host", .addresses = addresses, .days = GW_CERTIFICATE_DAYS};
    return gw_certificate_sign(self->pem, self->key_pem, request_pem, &subject, error);
}
