/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A motion's single steps: calls to the two agents. */
#include "error.h"
#include "json.h"
#include "motion-internal.h"
#include "preflight.h"

#include <string.h>

#define SLOW_S        90 /* QEMU's start at the destination, probes */
#define QUICK_S       5
#define REMOVE_S      30
#define MAX_ADDRESSES 8 /* of a motion */
#define CLEAN_TRIES   50
#define CLEAN_WAIT_MS 200

enum { SOURCE, DESTINATION, REMOVER };

void
gw_motion_drop_agents(GwMotionStory *self)
{
    if (self->task) {
        gw_task_set_client(self->task, SOURCE, NULL);
        gw_task_set_client(self->task, DESTINATION, NULL);
    }
    g_clear_pointer(&self->source, gw_host_client_free);
    g_clear_pointer(&self->destination, gw_host_client_free);
}

bool
gw_motion_connect_agents(GwMotionStory *self, bool slow, GError **error)
{
    GwInventory *inventory = self->task->tasks->inventory;
    unsigned timeout_s = slow ? SLOW_S : QUICK_S;
    g_autoptr(GwHostClient) source =
        gw_inventory_vm_client(inventory, self->from, self->vm, timeout_s, error);
    g_autoptr(GwHostClient) there =
        source ? gw_inventory_vm_client(inventory, self->to, self->vm, timeout_s, error) : NULL;
    gw_motion_drop_agents(self);
    if (!there)
        return false;
    self->source = g_steal_pointer(&source);
    self->destination = g_steal_pointer(&there);
    gw_task_set_client(self->task, SOURCE, self->source);
    gw_task_set_client(self->task, DESTINATION, self->destination);
    return true;
}

bool
gw_motion_check(GwMotionStory *self, GError **error)
{
    const char *const *overrides = (const char *const *)self->task->overrides;
    g_autofree char *home = gw_inventory_vm_home(self->task->tasks->inventory, self->vm, error);
    if (!home)
        return false;
    if (strcmp(home, self->from) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "%s was on %s when this was asked for, and is on %s now", self->vm, self->from, home);
        return false;
    }
    g_autoptr(GArray) findings = NULL, paths = NULL;
    if (!gw_preflight_with(self->task->tasks->inventory, self->source, self->destination, self->vm, overrides,
                           true, &findings, &paths, error))
        return false;
    gw_task_set_findings(self->task, findings);
    if (!gw_check_verdict(findings, overrides, error))
        return false;
    g_clear_pointer(&self->paths, g_array_unref);
    self->paths = paths ? gw_check_choose_paths(paths) : gw_paths_new();
    if (self->paths->len > MAX_ADDRESSES)
        g_array_set_size(self->paths, MAX_ADDRESSES);
    if (self->paths->len == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_CHECK_FAILED,
                    "no motion interface of %s reaches one of %s: see 'godwit host probe %s %s'", self->from,
                    self->to, self->from, self->to);
    return self->paths->len > 0;
}

static JsonObject *
action_body(const char *action, bool tls)
{
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "action", action);
    json_object_set_boolean_member(body, "tls", tls);
    return body;
}

GwEnd
gw_motion_ask(GwMotionStory *self, GwHostClient *client)
{
    return gw_end_ask(client, self->vm, self->task->record.session);
}

bool
gw_motion_remove_destination(GwMotionStory *self)
{
    g_autoptr(GError) error = NULL;
    GwHostClient *client =
        gw_inventory_vm_client(self->task->tasks->inventory, self->to, self->vm, REMOVE_S, &error);
    g_autoptr(JsonObject) reply = NULL;
    if (client) {
        gw_task_set_client(self->task, REMOVER, client);
        reply = gw_host_client_vm(client, "DELETE", self->vm, "", NULL, &error);
        gw_task_set_client(self->task, REMOVER, NULL);
        gw_host_client_free(client);
    }
    bool is_gone = reply || g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    self->is_out_of_reach = !is_gone && !g_error_matches(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    if (!is_gone)
        g_message("%s: what was prepared is not removed yet: %s", self->task->record.id, error->message);
    return is_gone;
}

/* What an earlier motion, or this one under an earlier center, has left there. A guest never, nor anything of
 * another VM that only has the same name: that one is "absent", and then in the way. */
static bool
make_room(GwMotionStory *self, GError **error)
{
    GwEnd there = gw_motion_ask(self, self->destination);
    if (there.place == GW_PLACE_ABSENT)
        return true;
    if (there.place != GW_PLACE_RUNNING && there.place != GW_PLACE_PAUSED &&
        gw_motion_remove_destination(self))
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_EXISTS,
                "%s has a VM '%s' already (%s), which cannot be removed there", self->to, self->vm,
                gw_place_name(there.place));
    return false;
}

static bool
start_waiting(GwMotionStory *self, GError **error)
{
    JsonObject *config = gw_host_client_vm(self->source, "GET", self->vm, "/config", NULL, error);
    if (!config)
        return false;
    JsonObject *body = json_object_new();
    json_object_set_object_member(body, "config", config);
    json_object_set_string_member(body, "mode", "incoming");
    self->may_be_there = true;
    g_autoptr(JsonObject) status = gw_host_client_call(self->destination, "POST", "/v1/vms", body, error);
    return status != NULL;
}

static JsonObject *
receive_body(const GwMotionStory *self)
{
    JsonObject *body = action_body("receive", self->task->tls);
    JsonArray *listen = json_array_new();
    for (guint i = 0; i < self->paths->len; i++)
        json_array_add_string_element(listen, g_array_index(self->paths, GwPath, i).destination_address);
    json_object_set_array_member(body, "listen", listen);
    return body;
}

static const char *
local_address(const GwMotionStory *self, const char *destination)
{
    for (guint i = 0; i < self->paths->len; i++) {
        const GwPath *path = &g_array_index(self->paths, GwPath, i);
        if (g_strcmp0(path->destination_address, destination) == 0)
            return path->source_address;
    }
    return NULL;
}

/* Each address gets the interface that it was probed from. */
static bool
complete_ticket(GwMotionStory *self, GError **error)
{
    JsonArray *addresses = gw_json_get_array(self->ticket, "addresses");
    guint n = addresses ? json_array_get_length(addresses) : 0;
    for (guint i = 0; i < n; i++) {
        JsonObject *each = gw_json_array_object(addresses, i);
        const char *address = each ? gw_json_get_string(each, "address") : NULL;
        const char *local = address ? local_address(self, address) : NULL;
        if (local)
            json_object_set_string_member(each, "local", local);
    }
    bool is_whole =
        n > 0 && gw_json_get_string(self->ticket, "session") && gw_json_get_string(self->ticket, "secret");
    if (!is_whole)
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL,
                    "%s: its answer to \"receive\" is no ticket (session, secret, addresses)", self->to);
    return is_whole;
}

bool
gw_motion_prepare(GwMotionStory *self, GError **error)
{
    if (!make_room(self, error) || !start_waiting(self, error))
        return false;
    g_clear_pointer(&self->ticket, json_object_unref);
    self->ticket =
        gw_host_client_vm(self->destination, "POST", self->vm, "/motion", receive_body(self), error);
    return self->ticket && complete_ticket(self, error) &&
           gw_task_set_session(self->task, gw_json_get_string(self->ticket, "session"), error);
}

bool
gw_motion_send(GwMotionStory *self, GError **error)
{
    const GwTask *task = self->task;
    static const char *const members[] = {"session", "secret", "addresses"};
    JsonObject *body = action_body("send", task->tls);
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
        json_object_set_member(body, members[i],
                               json_node_copy(json_object_get_member(self->ticket, members[i])));
    if (task->streams)
        json_object_set_int_member(body, "streams", task->streams);
    if (task->switchover_goal_ms)
        json_object_set_int_member(body, "switchover_goal_ms", task->switchover_goal_ms);
    if (task->deadline_s)
        json_object_set_int_member(body, "deadline_s", task->deadline_s);
    g_autoptr(JsonObject) progress =
        gw_host_client_vm(self->source, "POST", self->vm, "/motion", body, error);
    g_clear_pointer(&self->ticket, json_object_unref);
    return progress != NULL;
}

bool
gw_motion_look(GwMotionStory *self)
{
    const char *session = self->task->record.session;
    if (!self->source)
        return false;
    g_autoptr(JsonObject) motion = gw_host_client_vm(self->source, "GET", self->vm, "/motion", NULL, NULL);
    if (!motion || !session || g_strcmp0(gw_json_get_string(motion, "session"), session) != 0)
        return false;
    gw_task_set_progress(self->task, motion);
    g_clear_pointer(&self->engine, json_object_unref);
    self->engine = g_steal_pointer(&motion);
    return true;
}

/* It knows only now that somebody else runs the VM, or will in a moment: its supervisor ends its QEMU first.
 */
static void
tell_source(GwMotionStory *self)
{
    GwEnd source = gw_motion_ask(self, self->source);
    if (source.motion != GW_END_MOTION_UNRESOLVED)
        return;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "outcome", "discard");
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply =
        gw_host_client_vm(self->source, "POST", self->vm, "/motion/resolve", body, &error);
    if (!reply)
        g_message("%s: %s, ignoring", self->task->record.id, error->message);
}

void
gw_motion_clean_source(GwMotionStory *self)
{
    g_autoptr(GError) error = NULL;
    if (!self->source && !gw_motion_connect_agents(self, false, &error)) {
        g_message("%s: what is left on %s is removed later: %s", self->task->record.id, self->from,
                  error->message);
        return;
    }
    tell_source(self);
    for (unsigned i = 0; i < CLEAN_TRIES && !gw_task_is_stopping(self->task); i++) {
        g_clear_error(&error);
        g_autoptr(JsonObject) reply = gw_host_client_vm(self->source, "DELETE", self->vm, "", NULL, &error);
        if (reply || g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND))
            return;
        if (!g_error_matches(error, GW_ERROR, GW_ERROR_WRONG_STATE))
            break;
        gw_task_wait(self->task, CLEAN_WAIT_MS);
    }
    g_message("%s: what is left on %s is removed later: %s", self->task->record.id, self->from,
              error ? error->message : "the center ends");
}
