/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each command works with. */
#include "cli.h"

#include "error.h"
#include "json-text.h"
#include "prompt.h"
#include "text.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NAME_COLUMN 14

static unsigned
terminal_width(void)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void
gw_cli_init(GwCli *self, const GwArgs *args)
{
    const char *no_color = g_getenv("NO_COLOR"), *term = g_getenv("TERM");
    *self = (GwCli){.args = args, .json = gw_args_flag(args, "json"), .out_is_tty = isatty(STDOUT_FILENO)};
    self->can_ask = gw_prompt_is_possible();
    self->width = self->out_is_tty ? terminal_width() : 0;
    self->colour = self->out_is_tty && !(no_color && *no_color) && g_strcmp0(term, "dumb") != 0;
}

void
gw_cli_clear(GwCli *self)
{
    g_clear_pointer(&self->client, gw_http_client_free);
    g_clear_pointer(&self->session, gw_session_free);
}

const GwSession *
gw_cli_session(GwCli *self, GError **error)
{
    if (!self->session)
        self->session = gw_session_find(error);
    return self->session;
}

GwHttpClient *
gw_cli_connect(GwCli *self, unsigned timeout_s, GError **error)
{
    const GwSession *session = gw_cli_session(self, error);
    g_autoptr(GError) cause = NULL;
    GwHttpClient *client = session ? gw_session_connect(session, timeout_s, &cause) : NULL;
    if (cause)
        g_propagate_prefixed_error(error, g_steal_pointer(&cause), "the center %s: ", session->center);
    return client;
}

/* Of a certificate that is not trusted, the client says by which file; ours has no name for people. */
static char *
name_authority(const char *message)
{
    g_autoptr(GRegex) file =
        g_regex_new("the authority in /proc/self/fd/[0-9]+", G_REGEX_DEFAULT, G_REGEX_MATCH_DEFAULT, NULL);
    const char *ca = g_getenv("GODWIT_CA");
    g_autofree char *name = ca && *ca ? g_strconcat("the authority in GODWIT_CA, ", ca, NULL)
                                      : g_strdup("the authority that the session trusts");
    return g_regex_replace_literal(file, message, -1, 0, name, G_REGEX_MATCH_DEFAULT, NULL);
}

void
gw_cli_explain(GwCli *self, GError **error)
{
    if (!error || !*error || !self->session)
        return;
    g_autoptr(GError) cause = g_steal_pointer(error);
    const char *center = self->session->center;
    if (gw_exit_of_error(cause) == GW_EXIT_UNREACHABLE || g_error_matches(cause, GW_ERROR, GW_ERROR_PROTOCOL))
        g_propagate_prefixed_error(error, g_steal_pointer(&cause), "the center %s: ", center);
    else if (g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_PERMITTED)) {
        g_autofree char *text = name_authority(cause->message);
        g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, text);
    } else if (g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED))
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED, "%s ('godwit login %s' opens a new session)",
                    cause->message, center);
    else
        g_propagate_error(error, g_steal_pointer(&cause));
}

JsonObject *
gw_cli_call(GwCli *self, const char *method, const char *path, JsonObject *body, GError **error)
{
    g_autoptr(JsonObject) owned = body;
    g_autoptr(GError) cause = NULL;
    if (!self->client)
        self->client = gw_cli_connect(self, GW_CLI_TIMEOUT_S, error);
    if (!self->client)
        return NULL;
    g_autoptr(JsonObject) reply = gw_http_call(self->client, method, path, g_steal_pointer(&owned), &cause);
    if (!reply) {
        gw_cli_explain(self, &cause);
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    return self->json ? g_steal_pointer(&reply) : gw_text_plain_object(reply);
}

static void
append_part(GString *path, const char *part)
{
    g_autofree char *escaped = g_uri_escape_string(part, NULL, FALSE);
    g_string_append_printf(path, "/%s", escaped);
}

char *
gw_cli_path(const char *first, ...)
{
    GString *path = g_string_new("/v1");
    va_list parts;
    va_start(parts, first);
    for (const char *part = first; part; part = va_arg(parts, const char *))
        append_part(path, part);
    va_end(parts);
    return g_string_free(path, FALSE);
}

char *
gw_cli_path_of_argument(GwCli *self, const char *what, const char *behind)
{
    return gw_cli_path(what, gw_args_positional(self->args, 0), behind, NULL);
}

JsonObject *
gw_cli_body(GwCli *self)
{
    JsonObject *body = json_object_new();
    const char *reason = gw_args_text(self->args, "reason");
    if (reason)
        json_object_set_string_member(body, "reason", reason);
    return body;
}

void
gw_cli_print_json(JsonObject *object)
{
    g_autofree char *text = gw_json_object_text(object, true);
    puts(text);
}

void
gw_cli_print_table(GwCli *self, GwTable *table)
{
    g_autofree char *text = gw_table_to_text(table, self->width, self->colour);
    fputs(text, stdout);
}

void
gw_cli_print_done(GwCli *self, JsonObject *reply, const char *format, ...)
{
    if (self->json) {
        gw_cli_print_json(reply);
        return;
    }
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *plain = gw_text_plain(text);
    puts(plain);
}

void
gw_cli_print_line(GwCli *self, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *wrapped = gw_text_wrap(text, self->width, NAME_COLUMN);
    printf("%-*s%s\n", NAME_COLUMN, name, wrapped);
}

bool
gw_cli_confirm(GwCli *self, GError **error, const char *format, ...)
{
    if (!self->can_ask || gw_args_flag(self->args, "yes"))
        return true;
    va_list args;
    va_start(args, format);
    g_autofree char *question = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *plain = gw_text_plain(question);
    if (gw_prompt_yes(plain))
        return true;
    g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "nothing was changed");
    return false;
}

const char *
gw_cli_state_colour(const char *state)
{
    static const char *const good[] = {"up", "running", "completed", "done", "possible", NULL};
    static const char *const bad[] = {"unreachable", "crashed", "failed", "errors", "error", "denied", NULL};
    static const char *const odd[] = {"paused",       "queued",      "incoming",   "moved",
                                      "unsupervised", "unknown",     "cancelled",  "warnings",
                                      "warning",      "maintenance", "unresolved", NULL};
    if (g_strv_contains(good, state))
        return "32";
    if (g_strv_contains(bad, state))
        return "31";
    return g_strv_contains(odd, state) ? "33" : NULL;
}

char *
gw_cli_paint(GwCli *self, const char *sgr, const char *text)
{
    return self->colour && sgr ? g_strdup_printf("\033[%sm%s\033[0m", sgr, text) : g_strdup(text);
}
