/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit login, logout, whoami, completion. */
#include "center-url.h"
#include "certificate.h"
#include "cli.h"
#include "completion.h"
#include "error.h"
#include "format.h"
#include "json.h"
#include "prompt.h"
#include "text.h"

#include <stdio.h>
#include <string.h>

#define LOGIN_TIMEOUT_S 20

/* Colons and capitals are how other tools write it. */
static char *
bare_fingerprint(const char *text)
{
    GString *bare = g_string_new(NULL);
    for (const char *at = text; *at; at++)
        if (*at != ':')
            g_string_append_c(bare, g_ascii_tolower(*at));
    return g_string_free(bare, FALSE);
}

/* Asks the center for its authority's certificate. Without a fingerprint whoever answers is asked: what comes
 * is worth something only once somebody has compared it. */
static char *
ask_for_authority(const GwCenterUrl *url, const char *fingerprint, char **ret_fingerprint, GError **error)
{
    g_autoptr(GwHttpClient) client =
        gw_http_client_new_pinned(url->host, url->port, fingerprint, LOGIN_TIMEOUT_S, error);
    g_autoptr(JsonObject) about = client ? gw_http_call(client, "GET", "/v1/about", NULL, error) : NULL;
    if (!about) {
        g_prefix_error(error, "the center %s: ", url->text);
        return NULL;
    }
    const char *ca = gw_json_get_string(about, "ca");
    if (!ca) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s is no godwit center: it names no authority",
                    url->text);
        return NULL;
    }
    *ret_fingerprint = gw_certificate_fingerprint(ca, error);
    return *ret_fingerprint ? g_strdup(ca) : NULL;
}

static bool
fingerprint_matches(const GwCenterUrl *url, const char *wanted, const char *fingerprint, GError **error)
{
    if (strcmp(wanted, fingerprint) == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                "%s is not trusted: the fingerprint of its authority is %s, expected %s", url->text,
                fingerprint, wanted);
    return false;
}

static bool
ask_person(GwCli *cli, const GwCenterUrl *url, const char *fingerprint, GError **error)
{
    if (!cli->can_ask) {
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
            "nothing says whether %s is to be trusted: give --fingerprint (it calls itself %s; compare "
            "with what 'godwit about' says on the center's own machine) or --ca FILE",
            url->text, fingerprint);
        return false;
    }
    fprintf(stderr,
            "The authority of %s has the fingerprint\n  %s\n"
            "Compare it with what 'godwit about' says on the center's own machine.\n",
            url->text, fingerprint);
    if (gw_prompt_yes("Trust it?"))
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_CANCELLED, "%s is not trusted: nothing was sent", url->text);
    return false;
}

/* By what the person says, then by what an earlier login found out, then by asking. */
static char *
find_authority(GwCli *cli, const GwCenterUrl *url, const GwSession *stored, GError **error)
{
    const char *file = gw_args_text(cli->args, "ca"), *given = gw_args_text(cli->args, "fingerprint");
    g_autofree char *wanted = given ? bare_fingerprint(given) : NULL, *fingerprint = NULL, *ca = NULL;
    if (file)
        return g_file_get_contents(file, &ca, NULL, error) ? g_steal_pointer(&ca) : NULL;
    if (!wanted && stored && stored->ca && strcmp(stored->center, url->text) == 0)
        return g_strdup(stored->ca);
    ca = ask_for_authority(url, wanted, &fingerprint, error);
    if (!ca)
        return NULL;
    bool trusted = wanted ? fingerprint_matches(url, wanted, fingerprint, error)
                          : ask_person(cli, url, fingerprint, error);
    return trusted ? g_steal_pointer(&ca) : NULL;
}

static char *
find_password(GwCli *cli, const char *option, const char *question, GError **error)
{
    const char *file = gw_args_text(cli->args, option);
    return file ? gw_prompt_password_from(file, error) : gw_prompt_password(question, error);
}

/* Fills the session from the center's answer. */
static bool
open_session(GwSession *session, const char *user, const char *password, GError **error)
{
    g_autoptr(GwHttpClient) client = gw_session_connect(session, LOGIN_TIMEOUT_S, error);
    if (!client)
        return false;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "user", user);
    json_object_set_string_member(body, "password", password);
    g_autoptr(JsonObject) reply = gw_http_call(client, "POST", "/v1/login", body, error);
    if (!reply)
        return false;
    session->token = g_strdup(gw_json_get_string(reply, "token"));
    session->user = gw_text_plain(gw_field_text(reply, "user", user));
    session->role = gw_text_plain(gw_field_text(reply, "role", "?"));
    session->expires = gw_text_plain(gw_field_text(reply, "expires", ""));
    if (!session->token)
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the center gave no token");
    return session->token != NULL;
}

static JsonObject *
session_json(const GwSession *session)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "center", session->center);
    json_object_set_string_member(object, "user", session->user);
    json_object_set_string_member(object, "role", session->role);
    json_object_set_string_member(object, "expires", session->expires);
    return object;
}

static bool
run_login(GwCli *cli, GError **error)
{
    g_autofree char *path = gw_session_path(), *password = NULL;
    g_autoptr(GwSession) stored = gw_session_load(path, NULL);
    const char *center = gw_args_positional(cli->args, 0), *user = gw_args_text(cli->args, "user");
    if (!center)
        center = g_getenv("GODWIT_CENTER") ? g_getenv("GODWIT_CENTER") : stored ? stored->center : NULL;
    if (!center) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "which center? 'godwit login https://CENTER:7440'");
        return false;
    }
    g_autoptr(GwCenterUrl) url = gw_center_url_parse(center, error);
    g_autoptr(GwSession) session = url ? gw_session_new(url->text) : NULL;
    if (!session || (!url->socket && !(session->ca = find_authority(cli, url, stored, error))))
        return false;
    user = user ? user : "admin";
    g_autofree char *question = g_strdup_printf("Password of %s at %s: ", user, url->text);
    password = find_password(cli, "password-file", question, error);
    bool done =
        password && open_session(session, user, password, error) && gw_session_save(session, path, error);
    gw_prompt_forget(g_steal_pointer(&password));
    if (!done)
        return false;
    g_autoptr(JsonObject) reply = session_json(session);
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autofree char *until = gw_format_time(session->expires, zone);
    gw_cli_print_done(cli, reply, "logged in at %s as %s (%s) until %s", session->center, session->user,
                      session->role, until);
    return true;
}

/* The file goes even if the center cannot be told: the token is of no use without it. */
static bool
run_logout(GwCli *cli, GError **error)
{
    g_autofree char *path = gw_session_path();
    g_autoptr(GError) cause = NULL;
    g_autoptr(JsonObject) nothing = json_object_new();
    g_autoptr(GwSession) stored = gw_session_load(path, &cause);
    if (g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        gw_cli_print_done(cli, nothing, "there is no session");
        return true;
    }
    g_clear_error(&cause);
    g_autoptr(GwHttpClient) client = stored ? gw_session_connect(stored, LOGIN_TIMEOUT_S, &cause) : NULL;
    g_autoptr(JsonObject) reply = client ? gw_http_call(client, "POST", "/v1/logout", NULL, &cause) : NULL;
    if (!gw_session_remove(path, error))
        return false;
    if (stored && cause && !g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED))
        fprintf(stderr, "godwit: the center was not told, its end of the session lasts until %s: %s\n",
                stored->expires ? stored->expires : "it expires", cause->message);
    gw_cli_print_done(cli, nothing, "logged out");
    return true;
}

/* Who one is stands in the session; that it still holds is the center's to say. */
static bool
run_whoami(GwCli *cli, GError **error)
{
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/tasks?limit=1", NULL, error);
    if (!reply)
        return false;
    const GwSession *session = gw_cli_session(cli, NULL);
    bool is_local = g_str_has_prefix(session->center, "unix:") && !session->token;
    g_autoptr(JsonObject) who = session_json(session);
    if (is_local) {
        json_object_set_string_member(who, "user", "root@local");
        json_object_set_string_member(who, "role", "administrator");
    }
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autofree char *until = gw_format_time(session->expires, zone);
    gw_cli_print_done(cli, who, "%s (%s) at %s%s%s", gw_field_text(who, "user", "the bearer of GODWIT_TOKEN"),
                      gw_field_text(who, "role", "role not known"), session->center,
                      session->expires ? " until " : "", session->expires ? until : "");
    return true;
}

static bool
run_about(GwCli *cli, GError **error)
{
    g_autoptr(JsonObject) about = gw_cli_call(cli, "GET", "/v1/about", NULL, error);
    if (!about)
        return false;
    if (cli->json) {
        gw_cli_print_json(about);
        return true;
    }
    gw_cli_print_line(cli, "center", "%s (%s)", gw_field_text(about, "name", "?"),
                      gw_cli_session(cli, NULL)->center);
    gw_cli_print_line(cli, "version", "godwit %s", gw_field_text(about, "version", "?"));
    gw_cli_print_line(cli, "fingerprint", "%s", gw_field_text(about, "fingerprint", "?"));
    return true;
}

static bool
run_completion(GwCli *cli, GError **error)
{
    const char *shell = gw_args_positional(cli->args, 0);
    if (strcmp(shell, "bash") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "there is no completion for '%s', only for bash", shell);
        return false;
    }
    fputs(GW_BASH_COMPLETION, stdout);
    return true;
}

static const GwOption login_options[] = {
    {"user", GW_OPTION_TEXT, "USER", "who logs in (admin)"},
    {"password-file", GW_OPTION_TEXT, "FILE",
     "the password is the first line of FILE, or of standard input if it "
     "is -; otherwise it is asked for"},
    {"ca", GW_OPTION_TEXT, "FILE", "trust the center by this certificate of its authority"},
    {"fingerprint", GW_OPTION_TEXT, "HEX",
     "trust the center if its authority's certificate has this SHA-256 "
     "fingerprint: 'godwit about' on the center's own machine says it"},
    GW_JSON_OPTION,
    {NULL}};
static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};
static const GwOption no_options[] = {{NULL}};

const GwCommand gw_session_commands[] = {
    {"login", "[CENTER]", login_options, "open a session",
     "Opens a session at a center and keeps it in a file that only you can read. CENTER is https://HOST:PORT, or "
     "unix:PATH. Before anything secret is sent the center has to be trusted: by --ca, by --fingerprint, by an "
     "earlier login, or because you compare the fingerprint that is shown.",
     "godwit login https://center.example:7440\n"
     "godwit login https://10.70.0.254:7440 --user ops --password-file ~/.secret --fingerprint 4f0e…\n",
     run_login},
    {"logout", NULL, json_options, "end the session", "Ends the session at the center and removes it here.",
     "godwit logout\n", run_logout},
    {"whoami", NULL, json_options, "whose session is in use",
     "Says who you are to which center, after asking it whether the session still holds.", "godwit whoami\n",
     run_whoami},
    {"about", NULL, json_options, "which center is in use",
     "Shows the center: its name, its version, and the fingerprint of its authority's certificate, by which others can "
     "trust it. On the center's own machine root needs no session for this.",
     "godwit about\n", run_about},
    {"completion", "SHELL", no_options, "print the completion script of a shell",
     "Prints what makes a shell complete commands, options, and the names of VMs and hosts. SHELL is bash.",
     "source <(godwit completion bash)\n", run_completion},
    {NULL}};
