/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host's supervisor is asked where its VM is. */
#include "error.h"
#include "json.h"
#include "settle.h"

GwEnd
gw_end_ask(GwHostClient *client, const char *vm, const char *session)
{
    static const GwEnd unknown = {GW_PLACE_UNKNOWN, GW_END_MOTION_NONE};
    static const GwEnd absent = {GW_PLACE_ABSENT, GW_END_MOTION_NONE};
    g_autoptr(GError) error = NULL;
    /* The same supervisor before and behind: else what one says of its motion, and another, which has not
     * read its journal yet, of its state would be taken together. */
    g_autoptr(JsonObject) before = gw_host_client_vm(client, "GET", vm, "", NULL, &error);
    if (!before)
        return g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND) ? absent : unknown;
    g_autoptr(JsonObject) motion = gw_host_client_vm(client, "GET", vm, "/motion", NULL, &error);
    if (!motion && !g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND))
        return unknown;
    g_autoptr(JsonObject) behind = gw_host_client_vm(client, "GET", vm, "", NULL, NULL);
    if (!behind)
        return unknown;
    JsonObject *was = gw_json_get_object(before, "supervisor"),
               *is = gw_json_get_object(behind, "supervisor");
    int64_t was_pid = 0, is_pid = 0;
    bool is_supervised = true;
    gw_json_get_bool(behind, "supervised", &is_supervised);
    if (!was || !is || !gw_json_get_int(was, "pid", &was_pid) || !gw_json_get_int(is, "pid", &is_pid) ||
        was_pid != is_pid || !is_supervised)
        return unknown;
    return (GwEnd){gw_place_from_state(gw_vm_state_told(behind, motion)),
                   gw_end_motion_from_json(motion, session)};
}
