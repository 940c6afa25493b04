/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit vm: the inventory and the power of VMs. */
#include "cmd-vm.h"

#include "error.h"
#include "format.h"
#include "json-text.h"
#include "json.h"
#include "progress.h"
#include "task-id.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DOCUMENT_LIMIT (512 * 1024) /* docs/vm-config.md */

static char *
memory_of(JsonObject *vm)
{
    double mib = 0;
    return gw_field_number(vm, "memory_mib", &mib) ? gw_format_memory(mib * 1024 * 1024) : g_strdup("-");
}

static char *
vcpus_of(JsonObject *vm)
{
    double n = 0;
    return gw_field_number(vm, "vcpus", &n) ? g_strdup_printf("%.0f", n) : g_strdup("-");
}

static char *
task_of(JsonObject *vm)
{
    return gw_task_id_short(gw_field_text(vm, "task", ""));
}

static bool
run_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"VM", .may_shrink = true},
        {"STATE", .colour = gw_cli_state_colour},
        {"HOST", .may_shrink = true},
        {"VCPUS", true},
        {"MEMORY", true},
        {"TASK"},
    };
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/vms", NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    const char *host = gw_args_text(cli->args, "host");
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "vms"); i++) {
        JsonObject *vm = gw_field_element(reply, "vms", i);
        if (host && strcmp(host, gw_field_text(vm, "host", "")) != 0)
            continue;
        gw_table_take(table, g_strdup(gw_field_text(vm, "name", "?")),
                      g_strdup(gw_field_text(vm, "state", "?")), g_strdup(gw_field_text(vm, "host", NULL)),
                      vcpus_of(vm), memory_of(vm), task_of(vm));
    }
    gw_cli_print_table(cli, table);
    return true;
}

static void
print_status(GwCli *cli, JsonObject *status)
{
    JsonObject *qemu = gw_field_object(status, "qemu"), *supervisor = gw_field_object(status, "supervisor");
    JsonObject *end = gw_field_object(status, "last_exit");
    double resident = 0;
    if (gw_field_number(gw_field_object(status, "memory"), "resident_bytes", &resident)) {
        g_autofree char *text = gw_format_memory(resident);
        gw_cli_print_line(cli, "in use", "%s of its memory", text);
    }
    gw_cli_print_line(cli, "machine", "%s", gw_field_text(status, "machine", "?"));
    if (qemu)
        gw_cli_print_line(cli, "QEMU", "%s, pid %.0f; %s", gw_field_text(qemu, "version", "?"),
                          gw_field_number_or(qemu, "pid", 0), gw_field_text(qemu, "accel_why", "?"));
    for (guint i = 0; i < gw_field_count(status, "nics"); i++) {
        JsonObject *nic = gw_field_element(status, "nics", i);
        gw_cli_print_line(cli, i == 0 ? "NICs" : "", "%s %s in port group %s", gw_field_text(nic, "id", "?"),
                          gw_field_text(nic, "mac", "?"), gw_field_text(nic, "port_group", "?"));
    }
    if (supervisor)
        gw_cli_print_line(cli, "supervisor", "godwit %s, pid %.0f%s",
                          gw_field_text(supervisor, "version", "?"), gw_field_number_or(supervisor, "pid", 0),
                          gw_field_bool(supervisor, "adopted") ? ", adopted the running guest" : "");
    if (end)
        gw_cli_print_line(cli, "last end", "%s%s%s", gw_field_text(end, "how", "?"),
                          gw_field_text(end, "last_words", NULL) ? ": " : "",
                          gw_field_text(end, "last_words", ""));
}

static void
print_open_task(GwCli *cli, const char *id)
{
    g_autofree char *path = gw_cli_path("tasks", id, NULL);
    g_autoptr(JsonObject) task = gw_cli_call(cli, "GET", path, NULL, NULL);
    g_autofree char *line = task ? gw_progress_line(task, 0) : NULL, *short_id = gw_task_id_short(id);
    gw_cli_print_line(cli, "task", "%s%s%s", short_id, line ? ", " : "", line ? line : "");
}

static bool
run_show(GwCli *cli, GError **error)
{
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", NULL);
    g_autoptr(JsonObject) vm = gw_cli_call(cli, "GET", path, NULL, error);
    if (!vm)
        return false;
    if (cli->json) {
        gw_cli_print_json(vm);
        return true;
    }
    JsonObject *status = gw_field_object(vm, "status");
    const char *state = gw_field_text(vm, "state", "?"), *task = gw_field_text(vm, "task", NULL);
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autofree char *painted = gw_cli_paint(cli, gw_cli_state_colour(state), state), *memory = memory_of(vm),
                    *vcpus = vcpus_of(vm),
                    *created = gw_format_time(gw_field_text(vm, "created", NULL), zone),
                    *since = gw_format_time(gw_field_text(status, "since", NULL), zone);
    gw_cli_print_line(cli, "VM", "%s (%s)", gw_field_text(vm, "name", "?"), gw_field_text(vm, "uuid", "?"));
    gw_cli_print_line(cli, "state", "%s%s%s", painted, status ? " since " : "", status ? since : "");
    gw_cli_print_line(cli, "host", "%s", gw_field_text(vm, "host", "?"));
    gw_cli_print_line(cli, "size", "%s vCPU%s, %s", vcpus, strcmp(vcpus, "1") == 0 ? "" : "s", memory);
    gw_cli_print_line(cli, "created", "%s", created);
    if (task)
        print_open_task(cli, task);
    if (status)
        print_status(cli, status);
    return true;
}

/* The document as it is kept, which is what `create` takes: JSON in any case. */
static bool
run_config(GwCli *cli, GError **error)
{
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", "config");
    cli->json = true;
    g_autoptr(JsonObject) config = gw_cli_call(cli, "GET", path, NULL, error);
    if (config)
        gw_cli_print_json(config);
    return config != NULL;
}

static JsonObject *
read_document(const char *path, GError **error)
{
    g_autofree char *text = g_malloc(DOCUMENT_LIMIT + 1);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", path);
        return NULL;
    }
    size_t n = fread(text, 1, DOCUMENT_LIMIT + 1, file);
    bool failed = ferror(file);
    if (failed)
        gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
    if (file != stdin)
        fclose(file);
    if (failed)
        return NULL;
    if (n > DOCUMENT_LIMIT) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s is longer than 512 KiB", path);
        return NULL;
    }
    JsonObject *document = gw_json_parse_object(text, (gssize)n, error);
    if (!document)
        g_prefix_error(error, "%s: ", path);
    return document;
}

static bool
run_create(GwCli *cli, GError **error)
{
    const char *host = gw_args_text(cli->args, "host");
    if (!host) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "--host HOST is missing");
        return false;
    }
    JsonObject *document = read_document(gw_args_positional(cli->args, 0), error);
    if (!document)
        return false;
    JsonObject *body = gw_cli_body(cli);
    json_object_set_object_member(body, "config", document);
    json_object_set_string_member(body, "host", host);
    json_object_set_boolean_member(body, "start", gw_args_flag(cli->args, "start"));
    g_autoptr(JsonObject) vm = gw_cli_call(cli, "POST", "/v1/vms", body, error);
    if (!vm)
        return false;
    gw_cli_print_done(cli, vm, "%s: created on %s, %s", gw_field_text(vm, "name", "?"),
                      gw_field_text(vm, "host", host), gw_field_text(vm, "state", "?"));
    return true;
}

static bool
power(GwCli *cli, const char *action, GError **error)
{
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", "power");
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "action", action);
    g_autoptr(JsonObject) vm = gw_cli_call(cli, "POST", path, body, error);
    if (!vm)
        return false;
    gw_cli_print_done(cli, vm, "%s: %s", gw_args_positional(cli->args, 0),
                      strcmp(action, "shutdown") == 0 ? "the power button was pressed; the guest decides"
                                                      : gw_field_text(vm, "state", "done"));
    return true;
}

static bool
run_start(GwCli *cli, GError **error)
{
    return power(cli, "start", error);
}

static bool
run_shutdown(GwCli *cli, GError **error)
{
    return power(cli, "shutdown", error);
}

static bool
run_stop(GwCli *cli, GError **error)
{
    return gw_cli_confirm(cli, error, "Pull the plug of %s? What its guest has not written is lost.",
                          gw_args_positional(cli->args, 0)) &&
           power(cli, "stop", error);
}

static bool
run_reset(GwCli *cli, GError **error)
{
    return gw_cli_confirm(cli, error, "Reset %s? What its guest has not written is lost.",
                          gw_args_positional(cli->args, 0)) &&
           power(cli, "reset", error);
}

static bool
run_pause(GwCli *cli, GError **error)
{
    return power(cli, "pause", error);
}

static bool
run_resume(GwCli *cli, GError **error)
{
    return power(cli, "resume", error);
}

static bool
run_rm(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0);
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", NULL);
    if (!gw_cli_confirm(cli, error, "Remove %s from the inventory? Its disks stay where they are.", name))
        return false;
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "DELETE", path, gw_cli_body(cli), error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "%s is removed; its disks stay where they are", name);
    return true;
}

static bool
run_adopt(GwCli *cli, GError **error)
{
    const char *host = gw_args_text(cli->args, "host");
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", "adopt");
    if (!host) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "--host HOST is missing");
        return false;
    }
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "host", host);
    g_autoptr(JsonObject) vm = gw_cli_call(cli, "POST", path, body, error);
    if (!vm)
        return false;
    gw_cli_print_done(cli, vm, "%s: taken into the inventory, %s on %s", gw_field_text(vm, "name", "?"),
                      gw_field_text(vm, "state", "?"), gw_field_text(vm, "host", host));
    return true;
}

static bool
run_resolve(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0), *host = gw_args_text(cli->args, "host");
    const char *outcome = gw_args_text(cli->args, "outcome");
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", "resolve");
    if (!host || !outcome) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "--outcome run|discard and --host HOST are both needed");
        return false;
    }
    bool runs = strcmp(outcome, "run") == 0;
    if (!gw_cli_confirm(
            cli, error,
            runs ? "Let %s run on %s? If it runs elsewhere too, there are two of it and its disks are "
                   "lost."
                 : "End %s on %s for ever? If it runs nowhere else, what its guest has not written is "
                   "lost.",
            name, host))
        return false;
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "outcome", outcome);
    json_object_set_string_member(body, "host", host);
    g_autoptr(JsonObject) vm = gw_cli_call(cli, "POST", path, body, error);
    if (!vm)
        return false;
    gw_cli_print_done(cli, vm, "%s: %s on %s", name, gw_field_text(vm, "state", "?"),
                      gw_field_text(vm, "host", host));
    return true;
}

static const GwOption ls_options[] = {
    {"host", GW_OPTION_TEXT, "HOST", "only those of this host (JSON always lists all)"},
    GW_JSON_OPTION,
    {NULL}};
static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};
static const GwOption change_options[] = {GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption destroy_options[] = {GW_YES_OPTION, GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption create_options[] = {{"host", GW_OPTION_TEXT, "HOST", "where it is made"},
                                          {"start", GW_OPTION_FLAG, NULL, "start it at once"},
                                          GW_REASON_OPTION,
                                          GW_JSON_OPTION,
                                          {NULL}};
static const GwOption adopt_options[] = {
    {"host", GW_OPTION_TEXT, "HOST", "where it runs"}, GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption resolve_options[] = {
    {"outcome", GW_OPTION_TEXT, "run|discard", "let it run there, or end it there for ever"},
    {"host", GW_OPTION_TEXT, "HOST", "which of the two ends is meant"},
    GW_YES_OPTION,
    GW_REASON_OPTION,
    GW_JSON_OPTION,
    {NULL}};

const GwCommand gw_vm_commands[] = {
    {"ls", NULL, ls_options, "list the VMs",
     "Lists the VMs of the inventory: their state, and the host that is their "
     "home.",
     "godwit vm ls --host host1\n", run_ls},
    {"show", "VM", json_options, "show a VM", "Shows a VM, and the task that is under way for it.",
     "godwit vm show web1\n", run_show},
    {"config", "VM", json_options, "print a VM's configuration",
     "Prints the VM's configuration, every default written out, as JSON: what 'godwit vm create' takes.",
     "godwit vm config web1 >web1.json\n", run_config},
    {"create", "FILE", create_options, "create a VM",
     "Creates a VM from its configuration, a JSON document (godwit's docs/vm-config.md), - for standard input. Its "
     "name is the document's. Its disks have to be there.",
     "godwit vm create web1.json --host host1 --start\n", run_create},
    {"start", "VM", change_options, "switch a VM on", "Starts the VM on its host, with fresh memory.",
     "godwit vm start web1\n", run_start},
    {"shutdown", "VM", change_options, "press a VM's power button",
     "Presses the power button. The guest decides what it does with it; this does not wait.",
     "godwit vm shutdown web1\n", run_shutdown},
    {"stop", "VM", destroy_options, "pull a VM's plug",
     "Ends the VM at once: what its guest has not written to its disks is lost.",
     "godwit vm stop web1 --yes\n", run_stop},
    {"reset", "VM", destroy_options, "press a VM's reset button",
     "Resets the VM: what its guest has not written to its disks is lost.", "godwit vm reset web1\n",
     run_reset},
    {"pause", "VM", change_options, "let a VM stand still",
     "Stops the VM's vCPUs. Its memory stays as it is.", "godwit vm pause web1\n", run_pause},
    {"resume", "VM", change_options, "let a paused VM go on", "Lets a paused VM go on.",
     "godwit vm resume web1\n", run_resume},
    {"console", "VM", gw_vm_console_options, "what the guest wrote to a serial port, or type into it",
     "Prints what the guest wrote to its serial port, or types a line into it. On a terminal, characters that the "
     "terminal would obey are left out unless --raw is given.",
     "godwit vm console web1 --follow\ngodwit vm console web1 --type 'uname -r'\n", gw_vm_console},
    {"check", "VM", gw_vm_check_options, "may a VM move to a host?",
     "Makes every check that a motion begins with, and prints what stands in its way: errors first, each with its id, "
     "what was seen at both ends, and the repair. Exit status 5 if there is an error. With --all-hosts, a line for each "
     "host.",
     "godwit vm check web1 --to host2\ngodwit vm check web1 --all-hosts\n", gw_vm_check},
    {"migrate", "VM", gw_vm_migrate_options, "move a running VM to another host",
     "Moves the VM while its guest runs, waits for the end, and shows how far it is. Whatever fails before the "
     "handover leaves the VM running where it was. Ctrl-C asks whether to cancel; without a terminal it leaves the "
     "motion to go on at the center, as does --no-wait.",
     "godwit vm migrate web1 --to host2\n"
     "godwit vm migrate web1 --to host2 --priority high --reason 'host1 gets new memory'\n"
     "godwit vm migrate web1 --to host2 --override motion.network.internal\n"
     "godwit vm migrate web1 --to host2 --json | jq .downtime_ms\n",
     gw_vm_migrate},
    {"resolve", "VM", resolve_options, "decide where a VM runs that hangs between two hosts",
     "For a VM whose motion lost its other end after the handover had begun, and whose other host will not come back. "
     "Make sure of the other end first: 'run' at both ends makes two copies of one VM.",
     "godwit vm resolve web1 --outcome run --host host1\n", run_resolve},
    {"adopt", "VM", adopt_options, "take a VM into the inventory that runs already",
     "Takes a VM into the inventory that runs on a host and that the center does not know (event vm.unknown).",
     "godwit vm adopt web1 --host host1\n", run_adopt},
    {"rm", "VM", destroy_options, "remove a VM",
     "Removes a VM that is off from the inventory and from its host. Its disks stay where they are.",
     "godwit vm rm web1 --yes\n", run_rm},
    {NULL}};
