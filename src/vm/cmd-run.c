/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm run, adopt, check-config: becoming a VM's supervisor. */
#include "commands.h"
#include "error.h"
#include "log.h"
#include "options.h"
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *runtime_dir, *qemu, *qemu_user, *uffd_library, *uefi_code, *tls_dir, *log_level;
    char **datastores, **port_groups;
    gboolean detach, paused, incoming, exit_when_off;
} RunOptions;

static void
run_options_clear(RunOptions *self)
{
    g_free(self->runtime_dir);
    g_free(self->qemu);
    g_free(self->qemu_user);
    g_free(self->uffd_library);
    g_free(self->uefi_code);
    g_free(self->tls_dir);
    g_free(self->log_level);
    g_strfreev(self->datastores);
    g_strfreev(self->port_groups);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunOptions, run_options_clear)

static void
replace(char **value, const char *with)
{
    if (!with)
        return;
    g_free(*value);
    *value = g_strdup(with);
}

/* Paths are kept for whoever adopts the VM, from wherever that is done. */
static void
replace_path(char **value, const char *with)
{
    g_autofree char *absolute = with ? g_canonicalize_filename(with, NULL) : NULL;
    replace(value, absolute);
}

static void
make_absolute(GHashTable *table)
{
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_hash_table_iter_replace(&iter, g_canonicalize_filename(value, NULL));
}

static bool
add_all(GHashTable *table, const char *option, char **assignments, GError **error)
{
    for (char **each = assignments; each && *each; each++)
        if (!gw_vm_setup_add(table, option, *each, error))
            return false;
    return true;
}

static GwVmSetup *
setup_from(const RunOptions *options, GError **error)
{
    g_autoptr(GwVmSetup) setup = gw_default_setup();
    replace_path(&setup->runtime_dir, options->runtime_dir);
    replace_path(&setup->qemu_binary, options->qemu);
    replace(&setup->qemu_user, options->qemu_user);
    replace_path(&setup->preload_library, options->uffd_library);
    replace_path(&setup->uefi_code, options->uefi_code);
    replace_path(&setup->tls_dir, options->tls_dir);
    if (!add_all(setup->datastores, "--datastore", options->datastores, error) ||
        !add_all(setup->port_groups, "--port-group", options->port_groups, error))
        return NULL;
    make_absolute(setup->datastores);
    return g_steal_pointer(&setup);
}

static GwVmConfig *
read_config(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    gsize length = 0;
    if (!g_file_get_contents(path, &text, &length, error))
        return NULL;
    GwVmConfig *config = gw_vm_config_parse(text, (gssize)length, error);
    if (!config)
        g_prefix_error(error, "%s: ", path);
    return config;
}

/* Forks; the child goes on as the supervisor, the parent waits until the VM is up and exits. Before any
 * thread. */
static bool
detach(int *ret_ready_fd, int *ret_status)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        setsid();
        *ret_ready_fd = ready[1];
        return true;
    }
    close(ready[1]);
    char byte;
    bool up = child > 0 && read(ready[0], &byte, 1) == 1;
    int status = 0;
    *ret_status = 0;
    if (!up) {
        *ret_status = 1;
        if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status))
            *ret_status = WEXITSTATUS(status);
    }
    close(ready[0]);
    return false;
}

static int
become_supervisor(GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, const GwSuperviseOptions *options)
{
    gw_log_set_field("vm", config->name);
    return gw_supervise(dir, setup, config, options);
}

static bool
write_files(const GwVmDir *dir, const GwVmSetup *setup, const GwVmConfig *config, GError **error)
{
    g_autofree char *setup_text = gw_vm_setup_to_text(setup);
    g_autofree char *config_text = gw_vm_config_to_text(config);
    return gw_vm_dir_write(dir, "setup.json", setup_text, error) &&
           gw_vm_dir_write(dir, "config.json", config_text, error);
}

int
gw_cmd_run(int argc, char **argv)
{
    g_auto(RunOptions) o = {0};
    const GOptionEntry entries[] = {
        {"datastore", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.datastores, "where a datastore is on this host",
         "NAME=DIR"},
        {"port-group", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.port_groups, "which bridge is a port group",
         "NAME=BRIDGE"},
        {"detach", 'd', 0, G_OPTION_ARG_NONE, &o.detach, "go to the background once the guest runs", NULL},
        {"paused", 0, 0, G_OPTION_ARG_NONE, &o.paused, "leave the guest before its first instruction", NULL},
        {"incoming", 0, 0, G_OPTION_ARG_NONE, &o.incoming,
         "do not start the guest: wait for a motion to bring it", NULL},
        {"exit-when-off", 0, 0, G_OPTION_ARG_NONE, &o.exit_when_off,
         "end and remove everything when the guest is off", NULL},
        {"runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &o.runtime_dir,
         "default $GODWIT_RUNTIME_DIR or /run/godwit", "DIR"},
        {"qemu", 0, 0, G_OPTION_ARG_FILENAME, &o.qemu, "QEMU's program", "FILE"},
        {"qemu-user", 0, 0, G_OPTION_ARG_STRING, &o.qemu_user, "the user that QEMU runs as (godwit-qemu)",
         "USER"},
        {"uffd-library", 0, 0, G_OPTION_ARG_FILENAME, &o.uffd_library, "the library preloaded into QEMU",
         "FILE"},
        {"uefi-code", 0, 0, G_OPTION_ARG_FILENAME, &o.uefi_code, "OVMF's code file", "FILE"},
        {"tls-dir", 0, 0, G_OPTION_ARG_FILENAME, &o.tls_dir,
         "this host's ca.pem, cert.pem and key.pem for motions (/etc/godwit/tls)", "DIR"},
        {"log-level", 0, 0, G_OPTION_ARG_STRING, &o.log_level, "error, warning, info (default) or debug",
         "LEVEL"},
        {NULL}};
    g_autoptr(GError) error = NULL;
    GwSuperviseOptions options = {.ready_fd = -1};
    int status = 0;

    if (!gw_parse_options(
            &argc, &argv, entries, "CONFIG", 1,
            "Starts the VM that the file CONFIG describes and supervises it until it is removed."))
        return 2;
    if (!gw_log_init("godwit-vm", o.log_level ? o.log_level : "info", &error))
        return gw_fail(error);
    g_autoptr(GwVmSetup) setup = setup_from(&o, &error);
    g_autoptr(GwVmConfig) config = setup ? read_config(argv[1], &error) : NULL;
    if (!config)
        return gw_fail(error);
    options.paused = o.paused;
    options.incoming = o.incoming;
    options.exit_when_off = o.exit_when_off;
    if (o.detach && !detach(&options.ready_fd, &status))
        return status;

    g_autoptr(GwVmDir) dir = gw_vm_dir_create(setup->runtime_dir, config->name, &error);
    if (!dir)
        return gw_fail(error);
    if (!write_files(dir, setup, config, &error)) {
        gw_vm_dir_remove(dir, NULL);
        return gw_fail(error);
    }
    return become_supervisor(g_steal_pointer(&dir), g_steal_pointer(&setup), g_steal_pointer(&config),
                             &options);
}

int
gw_cmd_adopt(int argc, char **argv)
{
    g_auto(RunOptions) o = {0};
    const GOptionEntry entries[] = {{"detach", 'd', 0, G_OPTION_ARG_NONE, &o.detach,
                                     "go to the background once the guest is adopted", NULL},
                                    {"exit-when-off", 0, 0, G_OPTION_ARG_NONE, &o.exit_when_off,
                                     "end and remove everything when the guest is off", NULL},
                                    {"runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &o.runtime_dir,
                                     "default $GODWIT_RUNTIME_DIR or /run/godwit", "DIR"},
                                    {"log-level", 0, 0, G_OPTION_ARG_STRING, &o.log_level,
                                     "error, warning, info (default) or debug", "LEVEL"},
                                    {NULL}};
    g_autoptr(GError) error = NULL;
    GwSuperviseOptions options = {.adopt = true, .ready_fd = -1};
    int status = 0;

    if (!gw_parse_options(&argc, &argv, entries, "NAME", 1,
                          "Takes over a VM whose supervisor has died while the guest runs on."))
        return 2;
    if (!gw_log_init("godwit-vm", o.log_level ? o.log_level : "info", &error))
        return gw_fail(error);
    options.exit_when_off = o.exit_when_off;
    if (o.detach && !detach(&options.ready_fd, &status))
        return status;

    const char *runtime_dir = o.runtime_dir ? o.runtime_dir : gw_default_runtime_dir();
    g_autoptr(GwVmDir) dir = gw_vm_dir_take_over(runtime_dir, argv[1], &error);
    if (dir && !gw_vm_dir_has_vm(dir)) {
        g_set_error(&error, GW_ERROR, GW_ERROR_NOT_FOUND,
                    "'%s' was never started; 'godwit-vm rm %s' removes what is left of it", argv[1], argv[1]);
        return gw_fail(error);
    }
    g_autofree char *setup_text = dir ? gw_vm_dir_read(dir, "setup.json", &error) : NULL;
    g_autofree char *config_text = setup_text ? gw_vm_dir_read(dir, "config.json", &error) : NULL;
    g_autoptr(GwVmSetup) setup = config_text ? gw_vm_setup_parse(setup_text, &error) : NULL;
    g_autoptr(GwVmConfig) config = setup ? gw_vm_config_parse(config_text, -1, &error) : NULL;
    if (!config)
        return gw_fail(error);
    return become_supervisor(g_steal_pointer(&dir), g_steal_pointer(&setup), g_steal_pointer(&config),
                             &options);
}

int
gw_cmd_check_config(int argc, char **argv)
{
    const GOptionEntry entries[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_parse_options(&argc, &argv, entries, "CONFIG", 1,
                          "Checks a VM's configuration and names every error."))
        return 2;
    g_autoptr(GwVmConfig) config = read_config(argv[1], &error);
    if (!config)
        return gw_fail(error);
    printf("%s: VM '%s' is configured correctly\n", argv[1], config->name);
    return 0;
}
