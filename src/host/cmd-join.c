/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-host join. */
#include "certificate.h"
#include "error.h"
#include "host-commands.h"
#include "join.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_LIMIT 4096

/* From a file, "-" for standard input; gw_secret_free(). */
static char *
read_token(const char *path, GError **error)
{
    char text[TOKEN_LIMIT] = "";
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        gw_set_errno(error, GW_ERROR_NOT_FOUND, errno, "%s", path);
        return NULL;
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    if (file != stdin)
        fclose(file);
    char *token = g_strdup(g_strstrip(text));
    explicit_bzero(text, sizeof text);
    return token;
}

static bool
is_any_address(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static int
join(GwJoin *request, const GwHostConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    if (is_any_address(request->address)) {
        g_set_error(&error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "the agent listens on %s, which is nowhere to call: say --address", request->address);
        return gw_host_fail(error);
    }
    if (!gw_join(request, &name, &error))
        return gw_host_fail(error);
    printf("This host has joined %s as %s.\n", request->center, name);
    if (strcmp(name, config->name) != 0)
        fprintf(stderr, "godwit-host: its configuration calls it %s ([host] name): let both be the same\n",
                config->name);
    if (gw_host_ask_reload(config, &error))
        return 0;
    if (!g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND))
        return gw_host_fail(error);
    printf("Its agent does not run yet: 'systemctl start godwit-host', or 'godwit-host run'.\n");
    return 0;
}

int
gw_host_cmd_join(int argc, char **argv)
{
    g_autofree char *given = NULL, *file = NULL, *name = NULL, *address = NULL;
    gboolean again = FALSE;
    const GOptionEntry entries[] = {
        GW_HOST_CONFIG_ENTRY,
        {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &file, "the token stands there; - is standard input",
         "FILE"},
        {"token", 0, 0, G_OPTION_ARG_STRING, &given,
         "the token; every user of this host can read it meanwhile: --token-file is better", "TOKEN"},
        {"name", 0, 0, G_OPTION_ARG_STRING, &name, "what the host is to be called ([host] name)", "NAME"},
        {"address", 0, 0, G_OPTION_ARG_STRING, &address, "where the center reaches it ([host] listen)",
         "ADDRESS"},
        {"again", 0, 0, G_OPTION_ARG_NONE, &again, "also if it has joined a center already", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    if (!gw_host_parse_options(
            &argc, &argv, entries, "https://CENTER:PORT", 1,
            "Makes a key, has the center sign its certificate, and lets the agent listen to that center."))
        return 2;
    if (!given == !file) {
        fprintf(stderr, "godwit-host: say either --token-file or --token\n");
        return 2;
    }
    g_autoptr(GwHostConfig) config = gw_host_config_load(gw_host_config_path(), &error);
    char *token = config ? (file ? read_token(file, &error) : g_strdup(given)) : NULL;
    if (!token)
        return gw_host_fail(error);
    GwJoin request = {
        .center = argv[1],
        .token = token,
        .name = name ? name : config->name,
        .address = address ? address : config->listen,
        .port = config->port,
        .tls_dir = config->tls_dir,
        .again = again,
    };
    int status = join(&request, config);
    gw_secret_free(token);
    return status;
}
