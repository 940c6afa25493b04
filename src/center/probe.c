/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ways between motion interfaces, measured by the two agents; the center carries the token between them. */
#include "error.h"
#include "host-client.h"
#include "json.h"

#include <string.h>

static void
set_path_error(GwPath *path, const char *text)
{
    path->is_reachable = false;
    g_free(path->error);
    path->error = g_strdup(text);
}

/* An agent that answers, but that it cannot, has been asked: that is what is known of these ways. */
static bool
note_refusal(GArray *paths, GError *cause, GError **error)
{
    switch (cause->code) {
    case GW_ERROR_PEER_LOST:
    case GW_ERROR_TIMED_OUT:
    case GW_ERROR_CANCELLED:
    case GW_ERROR_NOT_PERMITTED:
        g_propagate_error(error, cause);
        return false;
    default:
        for (guint i = 0; i < paths->len; i++)
            set_path_error(&g_array_index(paths, GwPath, i), cause->message);
        g_error_free(cause);
        return true;
    }
}

static JsonObject *
listen_body(const GArray *paths)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    JsonArray *addresses = json_array_new();
    for (guint i = 0; i < paths->len; i++) {
        char *address = g_array_index(paths, GwPath, i).destination_address;
        if (g_hash_table_add(seen, address))
            json_array_add_string_element(addresses, address);
    }
    JsonObject *body = json_object_new();
    json_object_set_array_member(body, "addresses", addresses);
    return body;
}

static int64_t
port_of(JsonArray *listening, const char *address)
{
    for (guint i = 0; listening && i < json_array_get_length(listening); i++) {
        JsonObject *each = gw_json_array_object(listening, i);
        int64_t port = 0;
        if (each && g_strcmp0(gw_json_get_string(each, "address"), address) == 0 &&
            gw_json_get_int(each, "port", &port) && port >= 1 && port <= 65535)
            return port;
    }
    return 0;
}

static JsonObject *
probe_body(JsonObject *listening, const GArray *paths, unsigned duration_ms)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < paths->len; i++) {
        const GwPath *path = &g_array_index(paths, GwPath, i);
        int64_t port = port_of(gw_json_get_array(listening, "listening"), path->destination_address);
        if (!port)
            continue;
        JsonObject *each = json_object_new();
        json_object_set_string_member(each, "source_address", path->source_address);
        json_object_set_string_member(each, "destination_address", path->destination_address);
        json_object_set_int_member(each, "port", port);
        json_array_add_object_element(array, each);
    }
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "token", gw_json_get_string(listening, "token"));
    json_object_set_int_member(body, "duration_ms", duration_ms);
    json_object_set_array_member(body, "paths", array);
    return body;
}

static const GwPath *
find(const GArray *measured, const GwPath *path)
{
    for (guint i = 0; i < measured->len; i++) {
        const GwPath *each = &g_array_index(measured, GwPath, i);
        if (g_strcmp0(each->source_address, path->source_address) == 0 &&
            g_strcmp0(each->destination_address, path->destination_address) == 0)
            return each;
    }
    return NULL;
}

static void
fill_in(GArray *paths, JsonArray *answer)
{
    g_autoptr(GArray) measured = answer ? gw_paths_from_json(answer) : gw_paths_new();
    for (guint i = 0; i < paths->len; i++) {
        GwPath *path = &g_array_index(paths, GwPath, i);
        const GwPath *seen = find(measured, path);
        if (!seen) {
            set_path_error(path, "the agents did not measure it");
            continue;
        }
        set_path_error(path, seen->error);
        path->is_reachable = seen->is_reachable;
        path->rtt_us = seen->rtt_us;
        path->bits_per_s = seen->bits_per_s;
    }
}

bool
gw_probe_paths(GwHostClient *source, GwHostClient *destination, GArray *paths, unsigned duration_ms,
               GError **error)
{
    if (paths->len == 0)
        return true;
    GError *cause = NULL;
    g_autoptr(JsonObject) listening =
        gw_host_client_call(destination, "POST", "/v1/probe/listen", listen_body(paths), &cause);
    if (!listening)
        return note_refusal(paths, cause, error);
    if (!gw_json_get_string(listening, "token")) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: POST /v1/probe/listen gave no token",
                    gw_host_client_host(destination));
        return false;
    }
    g_autoptr(JsonObject) answer =
        gw_host_client_call(source, "POST", "/v1/probe", probe_body(listening, paths, duration_ms), &cause);
    if (!answer)
        return note_refusal(paths, cause, error);
    fill_in(paths, gw_json_get_array(answer, "paths"));
    return true;
}
