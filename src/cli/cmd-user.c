/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit user. */
#include "cli.h"
#include "error.h"
#include "format.h"
#include "prompt.h"

#include <stdio.h>
#include <string.h>

static bool
run_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {{"USER", .may_shrink = true}, {"ROLE"}, {"CREATED"}};
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/users", NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "users"); i++) {
        JsonObject *user = gw_field_element(reply, "users", i);
        gw_table_take(table, g_strdup(gw_field_text(user, "name", "?")),
                      g_strdup(gw_field_text(user, "role", "?")),
                      gw_format_time(gw_field_text(user, "created", NULL), zone));
    }
    gw_cli_print_table(cli, table);
    return true;
}

/* From --password-file, or asked for twice: what one does not see one mistypes. */
static char *
new_password(GwCli *cli, const char *user, GError **error)
{
    const char *file = gw_args_text(cli->args, "password-file");
    if (file)
        return gw_prompt_password_from(file, error);
    g_autofree char *question = g_strdup_printf("New password of %s: ", user);
    char *first = gw_prompt_password(question, error);
    char *second = first ? gw_prompt_password("The same again: ", error) : NULL;
    bool same = second && strcmp(first, second) == 0;
    if (second && !same)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "the passwords are not the same: nothing was changed");
    gw_prompt_forget(second);
    if (same)
        return first;
    gw_prompt_forget(first);
    return NULL;
}

static void
set_secret(JsonObject *body, const char *member, char *password)
{
    json_object_set_string_member(body, member, password);
    gw_prompt_forget(password);
}

static bool
run_add(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0), *role = gw_args_text(cli->args, "role");
    role = role ? role : "read-only";
    char *password = new_password(cli, name, error);
    if (!password)
        return false;
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "name", name);
    json_object_set_string_member(body, "role", role);
    set_secret(body, "password", password);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", "/v1/users", body, error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "%s may log in (%s)", name, role);
    return true;
}

static bool
run_rm(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0);
    g_autofree char *path = gw_cli_path_of_argument(cli, "users", NULL);
    if (!gw_cli_confirm(cli, error, "Remove user %s? The sessions end at once.", name))
        return false;
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "DELETE", path, gw_cli_body(cli), error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "%s is removed", name);
    return true;
}

/* One's own needs the old one; an administrator's word is enough for another's. */
static bool
run_passwd(GwCli *cli, GError **error)
{
    const GwSession *session = gw_cli_session(cli, error);
    if (!session)
        return false;
    const char *name = gw_args_positional(cli->args, 0),
               *old_file = gw_args_text(cli->args, "old-password-file");
    name = name ? name : session->user;
    if (!name) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "whose password? 'godwit user passwd USER'");
        return false;
    }
    bool own = g_strcmp0(name, session->user) == 0;
    g_autofree char *path = gw_cli_path("users", name, "password", NULL);
    char *old = NULL;
    if (old_file || own)
        old = old_file ? gw_prompt_password_from(old_file, error)
                       : gw_prompt_password("Your password now: ", error);
    if ((old_file || own) && !old)
        return false;
    char *password = new_password(cli, name, error);
    if (!password) {
        gw_prompt_forget(old);
        return false;
    }
    JsonObject *body = gw_cli_body(cli);
    set_secret(body, "password", password);
    if (old)
        set_secret(body, "old_password", old);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", path, body, error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "the password of %s is changed, and every session of that name has ended",
                      name);
    return true;
}

static bool
run_role(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0), *role = gw_args_positional(cli->args, 1);
    g_autofree char *path = gw_cli_path_of_argument(cli, "users", "role");
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "role", role);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", path, body, error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "%s is %s now", name, role);
    return true;
}

#define ROLES "read-only|operator|administrator"

static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};
static const GwOption add_options[] = {{"role", GW_OPTION_TEXT, ROLES, "what the user may do (read-only)"},
                                       {"password-file", GW_OPTION_TEXT, "FILE",
                                        "the password is the first line of FILE, or of standard input if it "
                                        "is -; otherwise it is asked for"},
                                       GW_REASON_OPTION,
                                       GW_JSON_OPTION,
                                       {NULL}};
static const GwOption rm_options[] = {GW_YES_OPTION, GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption passwd_options[] = {
    {"password-file", GW_OPTION_TEXT, "FILE",
     "the new password is the first line of FILE, or of standard input if "
     "it is -; otherwise it is asked for"},
    {"old-password-file", GW_OPTION_TEXT, "FILE", "likewise the password until now"},
    GW_REASON_OPTION,
    GW_JSON_OPTION,
    {NULL}};
static const GwOption role_options[] = {GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};

const GwCommand gw_user_commands[] = {
    {"ls", NULL, json_options, "list who may log in", "Lists the users. For administrators.",
     "godwit user ls\n", run_ls},
    {"add", "USER", add_options, "let somebody log in",
     "Adds a user. read-only sees everything; operator also moves, starts and stops VMs; administrator also changes "
     "hosts and users.",
     "godwit user add ops --role operator\n", run_add},
    {"rm", "USER", rm_options, "let somebody log in no longer",
     "Removes a user and ends all sessions of that name.", "godwit user rm ops\n", run_rm},
    {"passwd", "[USER]", passwd_options, "change a password",
     "Changes your own password, for which you are asked for the old one, or as an administrator another user's.",
     "godwit user passwd\n", run_passwd},
    {"role", "USER " ROLES, role_options, "change what a user may do", "Changes a user's role.",
     "godwit user role ops administrator\n", run_role},
    {NULL}};
