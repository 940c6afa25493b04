/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structured log. GLib chooses the fields, this writer the place and the form. */
#include "log.h"

#include "error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FIELDS 4

static const char *log_program = "godwit";
static GLogLevelFlags log_most = G_LOG_LEVEL_MESSAGE;
static bool log_to_journal;
static bool log_criticals_are_fatal; /* G_DEBUG=fatal-criticals: GLib leaves that to the writer */
static struct {
    const char *name;
    char *journal_name;
    char *value;
} log_fields[MAX_FIELDS];
static unsigned n_log_fields;

static const struct {
    const char *name;
    GLogLevelFlags level;
} levels[] = {
    {"error", G_LOG_LEVEL_CRITICAL},
    {"warning", G_LOG_LEVEL_WARNING},
    {"info", G_LOG_LEVEL_INFO},
    {"debug", G_LOG_LEVEL_DEBUG},
};

static const char *
level_word(GLogLevelFlags level)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
        return "error";
    if (level & G_LOG_LEVEL_WARNING)
        return "warning";
    return level & G_LOG_LEVEL_DEBUG ? "debug" : "info";
}

static void
write_line(GLogLevelFlags level, const char *message)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "%s.%03dZ %s[%d] %s: %s", stamp, g_date_time_get_microsecond(now) / 1000,
                    log_program, getpid(), level_word(level), message);
    for (unsigned i = 0; i < n_log_fields; i++)
        g_string_append_printf(line, " %s=%s", log_fields[i].name, log_fields[i].value);
    /* A message is one line, whatever QEMU or a file name had in it. */
    g_strdelimit(line->str, "\n\r", ' ');
    g_string_append_c(line, '\n');
    /* One write a line, so that lines of several threads do not mix; a log that cannot be written is no
     * reason to stop a VM. */
    if (write(STDERR_FILENO, line->str, line->len) < 0)
        return;
}

static GLogWriterOutput
write_journal(GLogLevelFlags level, const GLogField *fields, gsize n_fields)
{
    GLogField all[64];
    gsize n = MIN(n_fields, G_N_ELEMENTS(all) - MAX_FIELDS);
    memcpy(all, fields, n * sizeof *fields);
    for (unsigned i = 0; i < n_log_fields; i++)
        all[n++] = (GLogField){log_fields[i].journal_name, log_fields[i].value, -1};
    return g_log_writer_journald(level, all, n, NULL);
}

static GLogWriterOutput
writer(GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
    /* GLib's levels grow with verbosity; G_LOG_LEVEL_MASK drops the recursion and fatal bits. */
    if ((level & G_LOG_LEVEL_MASK) > log_most)
        return G_LOG_WRITER_HANDLED;
    if (log_to_journal)
        write_journal(level, fields, n_fields);
    for (gsize i = 0; i < n_fields && !log_to_journal; i++)
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            write_line(level, fields[i].value);
    if (log_criticals_are_fatal && (level & G_LOG_LEVEL_CRITICAL))
        abort();
    return G_LOG_WRITER_HANDLED;
}

bool
gw_log_init(const char *program, const char *level, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        if (strcmp(levels[i].name, level) != 0)
            continue;
        log_program = program;
        log_most = levels[i].level;
        const char *debug = g_getenv("G_DEBUG");
        log_criticals_are_fatal = debug && strstr(debug, "fatal-criticals");
        log_to_journal = g_log_writer_is_journald(STDERR_FILENO);
        g_log_set_writer_func(writer, NULL, NULL);
        return true;
    }
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "log level '%s' is none of error, warning, info, debug", level);
    return false;
}

void
gw_log_set_field(const char *name, const char *value)
{
    g_return_if_fail(n_log_fields < MAX_FIELDS);
    g_autofree char *upper = g_ascii_strup(name, -1);
    log_fields[n_log_fields].name = name;
    log_fields[n_log_fields].journal_name = g_strconcat("GODWIT_", upper, NULL);
    log_fields[n_log_fields].value = g_strdup(value);
    n_log_fields++;
}
