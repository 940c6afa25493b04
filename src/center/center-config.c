/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* center.conf: one table of keys, read in one pass that goes on behind a mistake. */
#include "center-config.h"

#include "config-report.h"
#include "error.h"

#include <gio/gio.h>
#include <string.h>

#define GROUP "center"

typedef struct {
    GKeyFile *file;
    GPtrArray *mistakes; /* owned lines */
} Reader;

static void G_GNUC_PRINTF(3, 4) mistake(Reader *self, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(self->mistakes, g_strdup_printf("[" GROUP "] %s: %s", key, text));
}

typedef bool (*IsGood)(const char *value);

static bool
is_address(const char *value)
{
    return g_hostname_is_ip_address(value);
}

static bool
is_dns_name(const char *value)
{
    size_t length = strlen(value);
    return length > 0 && length <= 253 && g_ascii_isalnum(value[0]) &&
           strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == length;
}

static bool
is_absolute(const char *value)
{
    return g_path_is_absolute(value);
}

static bool
is_store(const char *value)
{
    const char *path = g_str_has_prefix(value, "sqlite:") ? value + strlen("sqlite:") : value;
    return g_path_is_absolute(path);
}

static bool
is_log_level(const char *value)
{
    static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
    return g_strv_contains(levels, value);
}

/* A name of a cluster or user: it stands in paths, tables and URLs. */
static bool
is_plain_name(const char *value)
{
    size_t length = strlen(value);
    return length > 0 && length <= 63 && (g_ascii_isalnum(value[0]) || value[0] == '_') &&
           strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

static char *
read_string(Reader *self, const char *key, const char *fallback, IsGood is_good, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *value = g_key_file_get_string(self->file, GROUP, key, &error);
    if (!value && !g_key_file_has_key(self->file, GROUP, key, NULL))
        return g_strdup(fallback);
    if (!value)
        mistake(self, key, "%s", error->message);
    else if (!is_good(value))
        mistake(self, key, "got '%s', expected %s", value, expected);
    else
        return g_steal_pointer(&value);
    return NULL;
}

static char **
read_list(Reader *self, const char *key, IsGood is_good, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) values = g_key_file_get_string_list(self->file, GROUP, key, NULL, &error);
    if (!values && g_key_file_has_key(self->file, GROUP, key, NULL))
        mistake(self, key, "%s", error->message);
    for (char **value = values; value && *value; value++) {
        g_strstrip(*value);
        if (!is_good(*value))
            mistake(self, key, "got '%s', expected %s", *value, expected);
    }
    return values ? g_steal_pointer(&values) : g_new0(char *, 1);
}

static unsigned
read_port(Reader *self, const char *key, unsigned fallback)
{
    g_autofree char *value = g_key_file_get_string(self->file, GROUP, key, NULL);
    guint64 port = fallback;
    if (value && !g_ascii_string_to_unsigned(value, 10, 1, 65535, &port, NULL))
        mistake(self, key, "got '%s', expected a number from 1 to 65535", value);
    return (unsigned)port;
}

static void
find_unknown(Reader *self)
{
    static const char *const known[] = {"listen", "port", "names",   "addresses", "data-dir", "store",
                                        "socket", "user", "cluster", "log-level", NULL};
    g_auto(GStrv) groups = g_key_file_get_groups(self->file, NULL);
    for (char **group = groups; *group; group++)
        if (strcmp(*group, GROUP) != 0)
            g_ptr_array_add(self->mistakes,
                            g_strdup_printf("[%s]: no such group, there is only [" GROUP "]", *group));
    g_auto(GStrv) keys = g_key_file_get_keys(self->file, GROUP, NULL, NULL);
    for (char **key = keys; key && *key; key++)
        if (!g_strv_contains(known, *key))
            mistake(self, *key, "no such key, see godwit-center.conf(5)");
}

static GwCenterConfig *
read_all(Reader *self)
{
    const char *path = "an absolute path";
    GwCenterConfig *config = g_new0(GwCenterConfig, 1);
    config->listen = read_string(self, "listen", "0.0.0.0", is_address, "a numeric IP address");
    config->port = read_port(self, "port", 7440);
    config->names = read_list(self, "names", is_dns_name, "DNS names");
    config->addresses = read_list(self, "addresses", is_address, "numeric IP addresses");
    config->data_dir = read_string(self, "data-dir", "/var/lib/godwit-center", is_absolute, path);
    config->store = read_string(self, "store", NULL, is_store, "sqlite: and an absolute path");
    config->socket = read_string(self, "socket", "/run/godwit-center/center.sock", is_absolute, path);
    config->user = read_string(self, "user", NULL, is_plain_name, "a user's name");
    config->cluster = read_string(self, "cluster", "default", is_plain_name,
                                  "1 to 63 letters, digits, '.', '_' or '-', the first no sign");
    config->log_level = read_string(self, "log-level", "info", is_log_level, "error, warning, info or debug");
    if (!config->store && config->data_dir)
        config->store = g_strdup_printf("sqlite:%s/center.db", config->data_dir);
    find_unknown(self);
    return config;
}

static void
set_mistakes(const GPtrArray *mistakes, const char *file, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "%u error%s in %s:", mistakes->len, mistakes->len == 1 ? "" : "s", file);
    for (guint i = 0; i < mistakes->len; i++) {
        g_string_append(text, "\n  ");
        gw_config_append_plain(text, mistakes->pdata[i]);
    }
    g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, text->str);
}

GwCenterConfig *
gw_center_config_parse(const char *text, const char *file, GError **error)
{
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_autoptr(GPtrArray) mistakes = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) syntax = NULL;
    if (!g_utf8_validate(text, -1, NULL)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s: is no UTF-8 text", file);
        return NULL;
    }
    if (*text && !g_key_file_load_from_data(keys, text, (gsize)-1, G_KEY_FILE_NONE, &syntax)) {
        g_autoptr(GString) report = g_string_new(file);
        g_string_append(report, ": ");
        gw_config_append_plain(report, syntax->message);
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, report->str);
        return NULL;
    }
    Reader reader = {keys, mistakes};
    g_autoptr(GwCenterConfig) config = read_all(&reader);
    if (mistakes->len > 0) {
        set_mistakes(mistakes, file, error);
        return NULL;
    }
    return g_steal_pointer(&config);
}

GwCenterConfig *
gw_center_config_read(const char *file, bool may_be_absent, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autofree char *text = NULL;
    if (!g_file_get_contents(file, &text, NULL, &reason)) {
        if (may_be_absent && g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return gw_center_config_parse("", file, error);
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return gw_center_config_parse(text, file, error);
}

void
gw_center_config_free(GwCenterConfig *self)
{
    if (!self)
        return;
    g_free(self->listen);
    g_strfreev(self->names);
    g_strfreev(self->addresses);
    g_free(self->data_dir);
    g_free(self->store);
    g_free(self->socket);
    g_free(self->user);
    g_free(self->cluster);
    g_free(self->log_level);
    g_free(self);
}
