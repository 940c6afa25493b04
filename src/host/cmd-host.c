/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-host run, status, reload, check, clean. */
#include "certificate.h"
#include "commands.h"
#include "daemon.h"
#include "error.h"
#include "host-commands.h"
#include "http-client.h"
#include "json.h"
#include "network.h"
#include "vm-dir.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_S 30

char *gw_host_opt_config;

const char *
gw_host_config_path(void)
{
    return gw_host_opt_config ? gw_host_opt_config : GW_HOST_CONFIG_PATH;
}

bool
gw_host_parse_options(int *argc, char ***argv, const GOptionEntry *entries, const char *usage,
                      int n_positional, const char *summary)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autoptr(GError) error = NULL;
    g_autofree char *program = g_strdup_printf("godwit-host %s", (*argv)[0]);
    g_set_prgname(program);
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        fprintf(stderr, "godwit-host: %s ('%s --help' explains)\n", error->message, program);
        return false;
    }
    if (*argc - 1 == n_positional)
        return true;
    fprintf(stderr, "godwit-host: usage: %s %s ('%s --help' explains)\n", program, usage, program);
    return false;
}

int
gw_host_fail(const GError *error)
{
    fprintf(stderr, "godwit-host: %s\n", error->message);
    return g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_CONFIG) ||
                   g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT)
               ? 2
               : 1;
}

static JsonObject *
ask_agent(const GwHostConfig *config, const char *method, const char *path, GError **error)
{
    g_autofree char *socket = g_build_filename(config->runtime_dir, GW_HOST_SOCKET, NULL);
    g_autoptr(GError) cause = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(socket, TIMEOUT_S, &cause);
    JsonObject *reply = client ? gw_http_call(client, method, path, NULL, &cause) : NULL;
    if (reply)
        return reply;
    if (strcmp(gw_error_name(cause), "peer-lost") == 0 || strcmp(gw_error_name(cause), "not-found") == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "no agent runs on this host (%s)", socket);
    else
        g_propagate_error(error, g_steal_pointer(&cause));
    return NULL;
}

bool
gw_host_ask_reload(const GwHostConfig *config, GError **error)
{
    g_autoptr(JsonObject) reply = ask_agent(config, "POST", "/v1/reload", error);
    return reply != NULL;
}

int
gw_host_cmd_run(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_HOST_CONFIG_ENTRY, {NULL}};
    if (!gw_host_parse_options(&argc, &argv, entries, "", 0,
                               "Runs the agent in the foreground. VMs do not end with it."))
        return 2;
    return gw_daemon_run(gw_host_config_path());
}

static void
print_vms(JsonArray *vms)
{
    guint n_vms = vms ? json_array_get_length(vms) : 0;
    if (n_vms > 0)
        printf("\n%-24s %-13s %10s  %s\n", "VM", "STATE", "MEMORY", "MOTION");
    for (guint i = 0; i < n_vms; i++) {
        JsonObject *vm = gw_json_array_object(vms, i);
        JsonObject *motion = vm ? gw_json_get_object(vm, "motion") : NULL;
        int64_t memory_mib = 0;
        if (!vm)
            continue;
        const char *name = gw_json_get_string(vm, "name"), *state = gw_json_get_string(vm, "state"),
                   *moving = motion ? gw_json_get_string(motion, "state") : NULL;
        gw_json_get_int(vm, "memory_mib", &memory_mib);
        printf("%-24s %-13s %6" G_GINT64_FORMAT " MiB  %s\n", name ? name : "?", state ? state : "?",
               memory_mib, moving ? moving : "-");
    }
}

static void
print_center(const GwHostConfig *config)
{
    g_autofree char *path = g_build_filename(config->tls_dir, "cert.pem", NULL);
    g_autofree char *pem = NULL, *name = NULL, *role = NULL;
    if (!g_file_get_contents(path, &pem, NULL, NULL))
        printf("center   none: 'godwit-host join' takes this host into one\n");
    else if (gw_certificate_holder(pem, &name, &role, NULL))
        printf("center   joined as %s, which reaches it at %s port %u\n", name ? name : "?", config->listen,
               config->port);
    else
        printf("center   joined, but %s is no certificate\n", path);
}

int
gw_host_cmd_status(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_HOST_CONFIG_ENTRY, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_host_parse_options(&argc, &argv, entries, "", 0, "Shows the agent of this host and its VMs."))
        return 2;
    g_autoptr(GwHostConfig) config = gw_host_config_load(gw_host_config_path(), &error);
    g_autoptr(JsonObject) host = config ? ask_agent(config, "GET", "/v1/host", &error) : NULL;
    g_autoptr(JsonObject) vms = host ? ask_agent(config, "GET", "/v1/vms", &error) : NULL;
    if (!vms)
        return gw_host_fail(error);
    const char *version = gw_json_get_string(host, "version"), *started = gw_json_get_string(host, "started");
    JsonArray *problems = gw_json_get_array(host, "problems");
    guint n_problems = problems ? json_array_get_length(problems) : 0;
    printf("host     %s\n", config->name);
    printf("agent    version %s, runs since %s\n", version ? version : "?", started ? started : "?");
    print_center(config);
    for (guint i = 0; i < n_problems; i++) {
        JsonObject *problem = gw_json_array_object(problems, i);
        const char *text = problem ? gw_json_get_string(problem, "text") : NULL;
        printf("problem  %s\n", text ? text : "?");
    }
    print_vms(gw_json_get_array(vms, "vms"));
    return 0;
}

int
gw_host_cmd_reload(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_HOST_CONFIG_ENTRY, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_host_parse_options(&argc, &argv, entries, "", 0,
                               "Makes the agent read its configuration and its certificates again."))
        return 2;
    g_autoptr(GwHostConfig) config = gw_host_config_load(gw_host_config_path(), &error);
    return config && gw_host_ask_reload(config, &error) ? 0 : gw_host_fail(error);
}

int
gw_host_cmd_check(int argc, char **argv)
{
    gboolean json = FALSE;
    const GOptionEntry entries[] = {
        GW_HOST_CONFIG_ENTRY, {"json", 0, 0, G_OPTION_ARG_NONE, &json, "print JSON", NULL}, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_host_parse_options(
            &argc, &argv, entries, "", 0,
            "Probes for what godwit needs of this host. Exit status 0 if nothing is missing."))
        return 2;
    g_autoptr(GwHostConfig) config = gw_host_config_load(gw_host_config_path(), &error);
    if (!config)
        return gw_host_fail(error);
    char command[] = "check-host", qemu[] = "--qemu", user[] = "--qemu-user", as_json[] = "--json";
    char *words[] = {command, qemu, config->qemu_binary, user, config->qemu_user, json ? as_json : NULL,
                     NULL};
    return gw_cmd_check_host(json ? 6 : 5, words);
}

static bool
has_no_vm(const GwHostConfig *config, GError **error)
{
    g_autofree char *path = g_build_filename(config->runtime_dir, "vms", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        if (!gw_vm_name_is_valid(name))
            continue;
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "there is a VM '%s' on this host: bridges stay until the last one is removed", name);
        return false;
    }
    return true;
}

int
gw_host_cmd_clean(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_HOST_CONFIG_ENTRY, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_host_parse_options(&argc, &argv, entries, "", 0,
                               "Removes the bridges that the agent made, once no VM is there."))
        return 2;
    g_autoptr(GwHostConfig) config = gw_host_config_load(gw_host_config_path(), &error);
    return config && has_no_vm(config, &error) && gw_network_clean(config, &error) ? 0 : gw_host_fail(error);
}
