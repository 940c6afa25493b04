/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Serial consoles, through the agent of the host that the VM is on. */
#include "api-internal.h"
#include "error.h"
#include "vm-config.h"

#define CALL_TIMEOUT_S 10
#define OUTPUT_MAX     (4 * 1024 * 1024) /* an agent keeps 1 MiB of a port's output */

/* Below the VM's path at the agent; NULL: there cannot be such a port. */
static char *
console_path(GwCall *call, GError **error)
{
    const char *port = gw_call_param(call, "port");
    if (!g_ascii_string_to_unsigned(port, 10, 0, GW_VM_MAX_SERIALS - 1, NULL, NULL)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "'%.40s' is no serial port, they are 0 to %d", port,
                    GW_VM_MAX_SERIALS - 1);
        return NULL;
    }
    return g_strconcat("/console/", port, NULL);
}

static GwHostClient *
client_of_vm(GwCall *call, unsigned timeout_s, GError **error)
{
    GwInventory *inventory = call->api->parts.inventory;
    g_autofree char *host = gw_inventory_vm_home(inventory, gw_call_param(call, "vm"), error);
    return host ? gw_inventory_vm_client(inventory, host, gw_call_param(call, "vm"), timeout_s, error) : NULL;
}

/* What is prepared for the stream, or read whole. */
typedef struct {
    GwHostClient *client;
    GInputStream *input;
    GBytes *output; /* NULL: follow */
} Console;

static void
console_free(void *data)
{
    Console *console = data;
    g_clear_object(&console->input);
    gw_host_client_free(console->client);
    g_clear_pointer(&console->output, g_bytes_unref);
    g_free(console);
}

static bool
read_output(Console *console, GError **error)
{
    g_autoptr(GOutputStream) memory = g_memory_output_stream_new_resizable();
    g_autofree char *piece = g_malloc(65536);
    gssize n;
    while ((n = g_input_stream_read(console->input, piece, 65536, NULL, error)) > 0) {
        if (g_memory_output_stream_get_data_size(G_MEMORY_OUTPUT_STREAM(memory)) > OUTPUT_MAX) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: the console's output has no end",
                        gw_host_client_host(console->client));
            return false;
        }
        g_output_stream_write_all(memory, piece, (gsize)n, NULL, NULL, NULL);
    }
    if (n < 0 || !g_output_stream_close(memory, NULL, error))
        return false;
    console->output = g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(memory));
    return true;
}

JsonObject *
gw_api_console_prepare(GwCall *call, GError **error)
{
    bool follow = false;
    int64_t from = 0;
    if (!gw_call_query_flag(call, "follow", &follow, error) ||
        !gw_call_query_int(call, "from", 0, G_MAXINT64, 0, &from, error))
        return NULL;
    g_autofree char *path = console_path(call, error);
    if (!path)
        return NULL;
    g_autofree char *query =
        g_strdup_printf("%s?from=%" G_GINT64_FORMAT "%s", path, from, follow ? "&follow=1" : "");
    /* A guest may say nothing for days: who follows waits without a limit. */
    Console *console = g_new0(Console, 1);
    call->prepared = console;
    call->free_prepared = console_free;
    console->client = client_of_vm(call, follow ? 0 : CALL_TIMEOUT_S, error);
    if (console->client)
        console->input = gw_host_client_open(console->client, gw_call_param(call, "vm"), query, error);
    if (console->input && !follow)
        read_output(console, error);
    return NULL;
}

void
gw_api_console_begin(GwCall *call)
{
    Console *console = call->prepared;
    const char *token =
        gw_http_request_is_local(call->request) ? NULL : gw_http_request_bearer(call->request);
    if (console->output)
        gw_http_reply_bytes(call->request, 200, "application/octet-stream", console->output);
    else
        gw_console_proxies_begin(call->api->consoles, call->request, token, g_steal_pointer(&console->client),
                                 g_steal_pointer(&console->input));
}

/* What is typed is not recorded: it may be a password. That something was, is. */
JsonObject *
gw_api_console_write(GwCall *call, GError **error)
{
    size_t length = 0;
    const char *data = g_bytes_get_data(gw_http_request_body(call->request), &length);
    g_autofree char *path = console_path(call, error);
    g_autoptr(GwHostClient) client = path ? client_of_vm(call, CALL_TIMEOUT_S, error) : NULL;
    if (!client || !gw_host_client_post_bytes(client, gw_call_param(call, "vm"), path, data, length, error))
        return NULL;
    return json_object_new();
}
