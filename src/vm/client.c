/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to supervisors on this host. */
#include "client.h"

#include "error.h"
#include "json.h"
#include "vm-dir.h"

#include <stdio.h>

char *gw_opt_runtime_dir;
gboolean gw_opt_json;

const char *
gw_client_runtime_dir(void)
{
    return gw_opt_runtime_dir ? gw_opt_runtime_dir : gw_default_runtime_dir();
}

GwHttpClient *
gw_client_connect(const char *name, unsigned timeout_s, GError **error)
{
    if (!gw_vm_name_is_valid(name)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' cannot be a VM's name", name);
        return NULL;
    }
    g_autofree char *directory = gw_vm_dir_path(gw_client_runtime_dir(), name, NULL);
    if (!g_file_test(directory, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no VM '%s' on this host (%s)", name,
                    directory);
        return NULL;
    }
    g_autofree char *path = gw_vm_dir_path(gw_client_runtime_dir(), name, "control.sock");
    return gw_http_client_new_unix(path, timeout_s, error);
}

JsonObject *
gw_client_call(const char *name, const char *method, const char *path, JsonObject *body, GError **error)
{
    g_autoptr(GwHttpClient) client = gw_client_connect(name, GW_CLIENT_TIMEOUT_S, error);
    if (!client) {
        g_clear_pointer(&body, json_object_unref);
        return NULL;
    }
    g_autoptr(GError) cause = NULL;
    JsonObject *reply = gw_http_call(client, method, path, body, &cause);
    if (reply)
        return reply;
    if (g_error_matches(cause, GW_ERROR, GW_ERROR_PEER_LOST))
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST,
                    "VM '%s' has no supervisor (it died or was ended); 'godwit-vm adopt %s' takes it over",
                    name, name);
    else
        g_propagate_prefixed_error(error, g_steal_pointer(&cause), "VM '%s': ", name);
    return NULL;
}

void
gw_client_print_json(JsonObject *object)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    json_node_set_object(node, object);
    g_autofree char *text = json_to_string(node, TRUE);
    puts(text);
}

const char *
gw_client_string(JsonObject *object, const char *member, const char *otherwise)
{
    const char *value = object ? gw_json_get_string(object, member) : NULL;
    return value ? value : otherwise;
}

int64_t
gw_client_int(JsonObject *object, const char *member)
{
    int64_t value = 0;
    if (object)
        gw_json_get_int(object, member, &value);
    return value;
}
