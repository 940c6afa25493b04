/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared options and defaults. */
#include "options.h"

#include "error.h"
#include "paths.h"

#include <stdio.h>

const char *
gw_default_runtime_dir(void)
{
    const char *dir = g_getenv("GODWIT_RUNTIME_DIR");
    return dir && *dir ? dir : "/run/godwit";
}

/* The installed library; from a build tree, which nobody installed, the one that was built beside this
 * program. */
static char *
find_preload_library(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *here = g_path_get_dirname(self ? self : "/");
    g_autofree char *built = g_build_filename(here, "..", "vmm", "godwit-uffd-handover.so", NULL);
    if (g_file_test(built, G_FILE_TEST_EXISTS))
        return g_canonicalize_filename(built, NULL);
    return g_build_filename(GW_LIBDIR, "godwit", "godwit-uffd-handover.so", NULL);
}

GwVmSetup *
gw_default_setup(void)
{
    GwVmSetup *setup = gw_vm_setup_new();
    setup->runtime_dir = g_strdup(gw_default_runtime_dir());
    setup->qemu_binary = g_strdup("/usr/bin/qemu-system-x86_64");
    setup->qemu_user = g_strdup("godwit-qemu");
    setup->preload_library = find_preload_library();
    setup->uefi_code = g_strdup("/usr/share/OVMF/OVMF_CODE_4M.fd");
    setup->tls_dir = g_strdup(GW_DEFAULT_TLS_DIR);
    return setup;
}

bool
gw_parse_options(int *argc, char ***argv, const GOptionEntry *entries, const char *usage, int n_positional,
                 const char *summary)
{
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autoptr(GError) error = NULL;
    g_autofree char *program = g_strdup_printf("godwit-vm %s", (*argv)[0]);
    g_set_prgname(program);
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        fprintf(stderr, "godwit-vm: %s ('%s --help' explains)\n", error->message, program);
        return false;
    }
    if (*argc - 1 == n_positional)
        return true;
    fprintf(stderr, "godwit-vm: usage: %s %s ('%s --help' explains)\n", program, usage, program);
    return false;
}

int
gw_fail(const GError *error)
{
    fprintf(stderr, "godwit-vm: %s\n", error->message);
    return g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_CONFIG) ||
                   g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT)
               ? 2
               : 1;
}
