/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm list, status, power, console, events, rm: clients of the supervisors on this host. */
#include "client.h"
#include "commands.h"
#include "error.h"
#include "json.h"
#include "vm-dir.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static GPtrArray *
vm_names(void)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *path = g_build_filename(gw_client_runtime_dir(), "vms", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL); /* no directory: no VM was ever here */
    for (const char *name; dir && (name = g_dir_read_name(dir));)
        if (gw_vm_name_is_valid(name))
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return names;
}

int
gw_cmd_list(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_RUNTIME_DIR_ENTRY, GW_JSON_ENTRY, {NULL}};
    if (!gw_parse_options(&argc, &argv, entries, "", 0, "Lists the VMs on this host."))
        return 2;
    g_autoptr(GPtrArray) names = vm_names();
    g_autoptr(JsonObject) all = json_object_new();
    JsonArray *vms = json_array_new();
    json_object_set_array_member(all, "vms", vms);
    if (!gw_opt_json && names->len > 0)
        printf("%-24s %-13s %-5s %10s %10s %8s\n", "NAME", "STATE", "ACCEL", "MEMORY", "RESIDENT", "QEMU");
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        g_autoptr(GError) error = NULL;
        JsonObject *status = gw_client_call(name, "GET", "/v1/status", NULL, &error);
        if (!status) {
            bool nobody = g_error_matches(error, GW_ERROR, GW_ERROR_PEER_LOST);
            status = json_object_new();
            json_object_set_string_member(status, "name", name);
            json_object_set_string_member(status, "state", nobody ? "unsupervised" : "unreachable");
        }
        JsonObject *memory = gw_json_get_object(status, "memory"), *qemu = gw_json_get_object(status, "qemu");
        if (!gw_opt_json)
            printf("%-24s %-13s %-5s %6" G_GINT64_FORMAT " MiB %6" G_GINT64_FORMAT " MiB %8" G_GINT64_FORMAT
                   "\n",
                   name, gw_client_string(status, "state", "?"), gw_client_string(qemu, "accel", "-"),
                   gw_client_int(memory, "size_bytes") >> 20, gw_client_int(memory, "resident_bytes") >> 20,
                   gw_client_int(qemu, "pid"));
        json_array_add_object_element(vms, status);
    }
    if (gw_opt_json)
        gw_client_print_json(all);
    return 0;
}

static void
print_status(JsonObject *status)
{
    JsonObject *qemu = gw_json_get_object(status, "qemu"), *memory = gw_json_get_object(status, "memory");
    JsonObject *supervisor = gw_json_get_object(status, "supervisor"),
               *exit = gw_json_get_object(status, "last_exit");
    JsonArray *nics = gw_json_get_array(status, "nics");
    printf("VM          %s (%s)\n", gw_client_string(status, "name", "?"),
           gw_client_string(status, "uuid", "?"));
    printf("state       %s since %s\n", gw_client_string(status, "state", "?"),
           gw_client_string(status, "since", "?"));
    printf("machine     %s, %" G_GINT64_FORMAT " vCPUs\n", gw_client_string(status, "machine", "?"),
           gw_client_int(status, "vcpus"));
    printf("memory      %" G_GINT64_FORMAT " MiB, %" G_GINT64_FORMAT " MiB of it in use\n",
           gw_client_int(memory, "size_bytes") >> 20, gw_client_int(memory, "resident_bytes") >> 20);
    if (qemu) {
        printf("QEMU        %s, pid %" G_GINT64_FORMAT ", user %s\n", gw_client_string(qemu, "version", "?"),
               gw_client_int(qemu, "pid"), gw_client_string(qemu, "user", "?"));
        printf("accelerator %s\n", gw_client_string(qemu, "accel_why", "?"));
    }
    for (guint i = 0; nics && i < json_array_get_length(nics); i++) {
        JsonObject *nic = gw_json_array_object(nics, i);
        printf("NIC         %s %s in port group %s (%s)\n", gw_client_string(nic, "id", "?"),
               gw_client_string(nic, "mac", "?"), gw_client_string(nic, "port_group", "?"),
               gw_client_string(nic, "tap", "?"));
    }
    bool adopted = false;
    gw_json_get_bool(supervisor, "adopted", &adopted);
    printf("supervisor  pid %" G_GINT64_FORMAT ", version %s%s\n", gw_client_int(supervisor, "pid"),
           gw_client_string(supervisor, "version", "?"), adopted ? ", adopted the running guest" : "");
    if (exit)
        printf("last end    %s: %s\n", gw_client_string(exit, "how", "?"),
               gw_client_string(exit, "last_words", "it said nothing"));
}

int
gw_cmd_status(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_RUNTIME_DIR_ENTRY, GW_JSON_ENTRY, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1, "Shows a VM."))
        return 2;
    g_autoptr(JsonObject) status = gw_client_call(argv[1], "GET", "/v1/status", NULL, &error);
    if (!status)
        return gw_fail(error);
    if (gw_opt_json)
        gw_client_print_json(status);
    else
        print_status(status);
    return 0;
}

static bool
is_off(const char *name)
{
    g_autoptr(JsonObject) status = gw_client_call(name, "GET", "/v1/status", NULL, NULL);
    const char *state = status ? gw_json_get_string(status, "state") : NULL;
    g_autofree char *directory = gw_vm_dir_path(gw_client_runtime_dir(), name, NULL);
    return g_strcmp0(state, "off") == 0 || g_strcmp0(state, "crashed") == 0 ||
           !g_file_test(directory, G_FILE_TEST_EXISTS); /* gone with its VM: --exit-when-off */
}

/* Waits on the event stream (which says something every quarter of a minute) until the VM is off. */
static bool
await_off(const char *name, int timeout_s, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + timeout_s * G_TIME_SPAN_SECOND;
    g_autoptr(GwHttpClient) client = gw_client_connect(name, (unsigned)timeout_s, NULL);
    g_autoptr(GInputStream) stream = client ? gw_http_open(client, "/v1/events", NULL) : NULL;
    g_autoptr(GDataInputStream) lines = stream ? g_data_input_stream_new(stream) : NULL;
    while (!is_off(name)) {
        g_autofree char *line = NULL;
        do {
            g_free(line);
            line = lines ? g_data_input_stream_read_line(lines, NULL, NULL, NULL) : NULL;
        } while (line && !g_str_has_prefix(line, "event: vm.") && g_get_monotonic_time() < deadline);
        if (line && g_get_monotonic_time() < deadline)
            continue;
        if (is_off(name))
            break;
        g_set_error(
            error, GW_ERROR, GW_ERROR_TIMED_OUT,
            "the guest of '%s' has not powered off within %d s; 'godwit-vm power %s stop' ends it at once",
            name, timeout_s, name);
        return false;
    }
    return true;
}

int
gw_cmd_power(int argc, char **argv)
{
    int wait_s = 0;
    const GOptionEntry entries[] = {
        GW_RUNTIME_DIR_ENTRY,
        GW_JSON_ENTRY,
        {"wait", 0, 0, G_OPTION_ARG_INT, &wait_s, "with shutdown: wait until the guest is off", "SECONDS"},
        {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(
            &argc, &argv, entries, "NAME start|shutdown|stop|reset|pause|resume", 2,
            "Changes a VM's power state. shutdown presses the guest's power button; stop pulls the plug."))
        return 2;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "action", argv[2]);
    g_autoptr(JsonObject) reply = gw_client_call(argv[1], "POST", "/v1/power", body, &error);
    if (!reply || (wait_s > 0 && strcmp(argv[2], "shutdown") == 0 && !await_off(argv[1], wait_s, &error)))
        return gw_fail(error);
    if (gw_opt_json)
        gw_client_print_json(reply);
    return 0;
}

/* Copies a stream to standard output until its end. */
static bool
copy_out(GInputStream *stream, GError **error)
{
    char piece[65536];
    for (;;) {
        gssize n = g_input_stream_read(stream, piece, sizeof piece, NULL, error);
        if (n <= 0)
            return n == 0;
        if (fwrite(piece, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0)
            return true; /* who read us is gone */
    }
}

static int
show_stream(const char *name, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_client_connect(name, 0, &error);
    g_autoptr(GInputStream) stream = client ? gw_http_open(client, path, &error) : NULL;
    if (!stream || !copy_out(stream, &error))
        return gw_fail(error);
    return 0;
}

int
gw_cmd_console(int argc, char **argv)
{
    int port = 0;
    gboolean follow = FALSE;
    char *type = NULL;
    const GOptionEntry entries[] = {
        GW_RUNTIME_DIR_ENTRY,
        {"port", 0, 0, G_OPTION_ARG_INT, &port, "serial port (0)", "N"},
        {"follow", 'f', 0, G_OPTION_ARG_NONE, &follow, "go on with what comes", NULL},
        {"type", 0, 0, G_OPTION_ARG_STRING, &type, "type this line into the console instead of showing it",
         "TEXT"},
        {NULL}};
    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1, "Shows what the guest wrote to a serial port."))
        return 2;
    g_autofree char *typed = type;
    g_autofree char *path = g_strdup_printf("/v1/console/%d%s", port, follow ? "?follow=1" : "");
    if (!typed)
        return show_stream(argv[1], path);
    g_autoptr(GError) error = NULL;
    g_autofree char *line = g_strconcat(typed, "\n", NULL);
    g_autoptr(GwHttpClient) client = gw_client_connect(argv[1], GW_CLIENT_TIMEOUT_S, &error);
    if (!client || !gw_http_post_bytes(client, path, line, strlen(line), &error))
        return gw_fail(error);
    return 0;
}

int
gw_cmd_events(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_RUNTIME_DIR_ENTRY, {NULL}};
    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1, "Follows a VM's events (server-sent events)."))
        return 2;
    return show_stream(argv[1], "/v1/events");
}

/* What a supervisor leaves that was killed before it had written down what to start: nothing runs, nothing is
 * lost. */
static bool
remove_debris(const char *name)
{
    g_autoptr(GwVmDir) dir = gw_vm_dir_take_over(gw_client_runtime_dir(), name, NULL);
    return dir && !gw_vm_dir_has_vm(dir) && gw_vm_dir_remove(dir, NULL);
}

int
gw_cmd_rm(int argc, char **argv)
{
    const GOptionEntry entries[] = {GW_RUNTIME_DIR_ENTRY, {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1,
                          "Removes a VM that is off from this host; its disks stay where they are."))
        return 2;
    g_autoptr(JsonObject) reply = gw_client_call(argv[1], "DELETE", "/v1/vm", NULL, &error);
    if (reply || (g_error_matches(error, GW_ERROR, GW_ERROR_PEER_LOST) && remove_debris(argv[1])))
        return 0;
    return gw_fail(error);
}
