/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm receive, send, motion: a motion by hand, one supervisor at a time. */
#include "client.h"
#include "commands.h"
#include "error.h"
#include "json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define POLL_US      (200 * 1000)
#define TICKET_LIMIT 65536

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int signal_number)
{
    interrupted = 1;
}

static double
ms_of(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);
    return node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0;
}

static bool
is_known(JsonObject *object, const char *member)
{
    return json_object_has_member(object, member) && !json_object_get_null_member(object, member);
}

int
gw_cmd_receive(int argc, char **argv)
{
    char **listen = NULL;
    gboolean no_tls = FALSE;
    const GOptionEntry entries[] = {
        GW_RUNTIME_DIR_ENTRY,
        {"listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &listen,
         "address of a motion interface of this host; may be given several times", "ADDRESS"},
        {"no-tls", 0, 0, G_OPTION_ARG_NONE, &no_tls, "let guest memory come unencrypted", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(
            &argc, &argv, entries, "NAME", 1,
            "Opens the door for a VM that was started with 'run --incoming', and prints the ticket that "
            "'send' needs. Whoever has the ticket can send: keep it secret."))
        return 2;
    g_auto(GStrv) addresses = listen;
    JsonObject *body = json_object_new();
    JsonArray *list = json_array_new();
    for (char **each = addresses; each && *each; each++)
        json_array_add_string_element(list, *each);
    json_object_set_string_member(body, "action", "receive");
    json_object_set_array_member(body, "listen", list);
    json_object_set_boolean_member(body, "tls", !no_tls);
    g_autoptr(JsonObject) ticket = gw_client_call(argv[1], "POST", "/v1/motion", body, &error);
    if (!ticket)
        return gw_fail(error);
    gw_client_print_json(ticket);
    return 0;
}

/* From a file or standard input: a secret is no argument, which every user of the host could read. */
static JsonObject *
read_ticket(const char *path, GError **error)
{
    g_autofree char *text = g_malloc(TICKET_LIMIT);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        gw_set_errno(error, GW_ERROR_NOT_FOUND, errno, "%s", path);
        return NULL;
    }
    size_t n = fread(text, 1, TICKET_LIMIT, file);
    if (file != stdin)
        fclose(file);
    JsonObject *ticket = gw_json_parse_object(text, (gssize)n, error);
    g_prefix_error(error, "the ticket (%s): ", path);
    return ticket;
}

static bool
set_locals(JsonObject *ticket, char **locals, GError **error)
{
    JsonArray *addresses = gw_json_get_array(ticket, "addresses");
    guint n = locals ? g_strv_length(locals) : 0;
    if (n > 0 && (!addresses || json_array_get_length(addresses) != n)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "--local: got %u, expected one for each address of the ticket (%u)", n,
                    addresses ? json_array_get_length(addresses) : 0);
        return false;
    }
    for (guint i = 0; i < n; i++) {
        JsonObject *address = gw_json_array_object(addresses, i);
        if (address)
            json_object_set_string_member(address, "local", locals[i]);
    }
    return true;
}

/* One line, over and over: state, round, speed, what is left, what is expected. */
static void
print_progress(JsonObject *motion)
{
    char expected[64] = "";
    if (is_known(motion, "eta_ms"))
        snprintf(expected, sizeof expected, ", switchover in %.1f s, pause of %.0f ms expected",
                 ms_of(motion, "eta_ms") / 1000, ms_of(motion, "expected_pause_ms"));
    printf("%s, round %" G_GINT64_FORMAT ": %" G_GINT64_FORMAT " MB sent, %" G_GINT64_FORMAT
           " MB/s, %" G_GINT64_FORMAT " MB left%s",
           gw_client_string(motion, "state", "?"), gw_client_int(motion, "round"),
           gw_client_int(motion, "bytes_on_wire") / 1000000,
           gw_client_int(motion, "link_bytes_per_s") / 1000000,
           gw_client_int(motion, "remaining_bytes") / 1000000, expected);
    fflush(stdout);
}

static bool
has_ended(JsonObject *motion)
{
    const char *state = gw_client_string(motion, "state", "");
    return strcmp(state, "completed") == 0 || strcmp(state, "failed") == 0 ||
           strcmp(state, "cancelled") == 0 || strcmp(state, "unresolved") == 0;
}

static void
print_end(const char *name, JsonObject *motion)
{
    const char *state = gw_client_string(motion, "state", "?");
    JsonObject *why = gw_json_get_object(motion, "error");
    if (strcmp(state, "completed") != 0) {
        printf("%s: motion %s: %s\n", name, state, gw_client_string(why, "message", "no reason given"));
        return;
    }
    printf("%s: moved in %.2f s", name, ms_of(motion, "total_ms") / 1000);
    if (is_known(motion, "downtime_ms"))
        printf(", stood still for %.1f ms", ms_of(motion, "downtime_ms"));
    printf("; %" G_GINT64_FORMAT " MB on the wire, %" G_GINT64_FORMAT " rounds, %s\n",
           gw_client_int(motion, "bytes_on_wire") / 1000000, gw_client_int(motion, "round") + 1,
           gw_client_string(motion, "cipher", "no cipher"));
}

/* Waits for the end; Ctrl-C cancels, and the end is waited for all the same. */
static JsonObject *
follow(const char *name, bool show, GError **error)
{
    bool cancelled = false;
    signal(SIGINT, on_interrupt);
    for (;;) {
        JsonObject *motion = gw_client_call(name, "GET", "/v1/motion", NULL, error);
        if (!motion || has_ended(motion)) {
            if (show)
                printf("\r\033[K");
            return motion;
        }
        if (show) {
            printf("\r\033[K");
            print_progress(motion);
        }
        json_object_unref(motion);
        if (interrupted && !cancelled) {
            g_autoptr(GError) too_late = NULL;
            g_autoptr(JsonObject) reply = gw_client_call(name, "DELETE", "/v1/motion", NULL, &too_late);
            cancelled = true;
            if (!reply)
                fprintf(stderr, "\ngodwit-vm: %s\n", too_late->message);
        }
        g_usleep(POLL_US);
    }
}

static JsonObject *
send_body(const char *ticket_path, char **locals, int streams, int goal_ms, int deadline_s, bool no_tls,
          GError **error)
{
    g_autoptr(JsonObject) body = read_ticket(ticket_path, error);
    if (!body || !set_locals(body, locals, error))
        return NULL;
    json_object_set_string_member(body, "action", "send");
    if (streams)
        json_object_set_int_member(body, "streams", streams);
    if (goal_ms)
        json_object_set_int_member(body, "switchover_goal_ms", goal_ms);
    if (deadline_s)
        json_object_set_int_member(body, "deadline_s", deadline_s);
    if (no_tls)
        json_object_set_boolean_member(body, "tls", FALSE);
    return g_steal_pointer(&body);
}

int
gw_cmd_send(int argc, char **argv)
{
    char *to = NULL, **locals = NULL;
    int streams = 0, goal_ms = 0, deadline_s = 0;
    gboolean no_tls = FALSE;
    const GOptionEntry entries[] = {
        GW_RUNTIME_DIR_ENTRY,
        GW_JSON_ENTRY,
        {"to", 0, 0, G_OPTION_ARG_FILENAME, &to, "the ticket that 'receive' printed ('-': standard input)",
         "FILE"},
        {"local", 0, 0, G_OPTION_ARG_STRING_ARRAY, &locals,
         "this host's motion interface for each address of the ticket, in its order", "ADDRESS"},
        {"streams", 0, 0, G_OPTION_ARG_INT, &streams,
         "connections that carry memory (1-8; one for two CPUs, at least 2)", "N"},
        {"goal", 0, 0, G_OPTION_ARG_INT, &goal_ms, "the longest acceptable pause (500)", "MS"},
        {"deadline", 0, 0, G_OPTION_ARG_INT, &deadline_s, "give up after this long (600)", "SECONDS"},
        {"no-tls", 0, 0, G_OPTION_ARG_NONE, &no_tls, "send guest memory unencrypted; 'receive' has to agree",
         NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(
            &argc, &argv, entries, "NAME", 1,
            "Moves a VM to where 'receive' waits for it, and shows how it goes. Ctrl-C cancels."))
        return 2;
    g_autofree char *ticket_path = to;
    g_auto(GStrv) local_addresses = locals;
    if (!ticket_path) {
        fprintf(stderr,
                "godwit-vm: send: --to FILE is missing: the ticket that 'godwit-vm receive' printed\n");
        return 2;
    }
    JsonObject *body = send_body(ticket_path, local_addresses, streams, goal_ms, deadline_s, no_tls, &error);
    g_autoptr(JsonObject) begun = body ? gw_client_call(argv[1], "POST", "/v1/motion", body, &error) : NULL;
    g_autoptr(JsonObject) end = begun ? follow(argv[1], !gw_opt_json && isatty(STDOUT_FILENO), &error) : NULL;
    if (!end)
        return gw_fail(error);
    if (gw_opt_json)
        gw_client_print_json(end);
    else
        print_end(argv[1], end);
    return strcmp(gw_client_string(end, "state", ""), "completed") == 0 ? 0 : 1;
}

int
gw_cmd_motion(int argc, char **argv)
{
    gboolean cancel = FALSE;
    char *resolve = NULL;
    const GOptionEntry entries[] = {
        GW_RUNTIME_DIR_ENTRY,
        GW_JSON_ENTRY,
        {"cancel", 0, 0, G_OPTION_ARG_NONE, &cancel, "give the motion up; the guest stays where it is", NULL},
        {"resolve", 0, 0, G_OPTION_ARG_STRING, &resolve,
         "decide an unresolved motion: 'run' the VM here, or 'discard' it here for ever. Only after making sure that "
         "it does not run, or does, at the other end",
         "run|discard"},
        {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1, "Shows a VM's motion, or ends it."))
        return 2;
    g_autofree char *outcome = resolve;
    JsonObject *body = NULL;
    if (outcome) {
        body = json_object_new();
        json_object_set_string_member(body, "outcome", outcome);
    }
    g_autoptr(JsonObject) motion =
        gw_client_call(argv[1],
                       outcome  ? "POST"
                       : cancel ? "DELETE"
                                : "GET",
                       outcome ? "/v1/motion/resolve" : "/v1/motion", body, &error);
    if (!motion)
        return gw_fail(error);
    if (gw_opt_json) {
        gw_client_print_json(motion);
    } else if (has_ended(motion)) {
        print_end(argv[1], motion);
    } else {
        print_progress(motion);
        putchar('\n');
    }
    return 0;
}
