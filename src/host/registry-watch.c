/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread of one VM: follows its supervisor, and sees that it has one. */
#include "error.h"
#include "json.h"
#include "registry-internal.h"
#include "supervisor.h"
#include "vm-config.h"
#include "vm-dir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SILENCE_S     40 /* a supervisor's stream says something each 15 s */
#define DEBRIS_S      10
#define MAX_ADOPTIONS 8  /* at once: after a crash of all of them the host has other things to do, too */
#define LIVED_S       30 /* a supervisor that dies sooner was no success */

/* A supervisor that starts is not listed until it answers, one that hangs is. */
#define SILENCES_TO_LISTED 6

/* Pauses before another adoption, and before a supervisor that lives is called again: one that has just been
 * killed may still hold its lock for some milliseconds. */
static const unsigned adopt_ms[] = {0, 1000, 2000, 5000, 10000, 30000};
static const unsigned call_ms[] = {100, 200, 500, 1000, 2000, 5000};

typedef struct {
    GwRegistryEntry *entry;
    GwHttpClient *client;
    bool up; /* it has answered, and what it is like is stored */
    gint64 up_since;
    GError *error; /* why it is not */
} Following;

static char *
entry_path(const GwRegistryEntry *entry, const char *file)
{
    return gw_vm_dir_path(entry->registry->runtime_dir, entry->name, file);
}

static bool
file_exists(const GwRegistryEntry *entry, const char *file)
{
    g_autofree char *path = entry_path(entry, file);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* Whether no supervisor lives. Shared, so that two who ask at once do not take each other for one. */
static bool
lock_is_free(const GwRegistryEntry *entry)
{
    g_autofree char *path = entry_path(entry, "lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    bool is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;
    close(fd);
    return is_free;
}

static JsonObject *
ask(const GwRegistryEntry *entry, const char *path, GError **error)
{
    g_autofree char *socket = entry_path(entry, "control.sock");
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(socket, GW_REGISTRY_CALL_TIMEOUT_S, error);
    return client ? gw_http_call(client, "GET", path, NULL, error) : NULL;
}

static bool
refresh_status(GwRegistryEntry *entry, GError **error)
{
    g_autoptr(JsonObject) status = ask(entry, "/v1/status", error);
    return status && gw_registry_store_status(entry, status, error);
}

/* Takes `motion`. */
static void
store_motion(GwRegistryEntry *entry, JsonObject *motion)
{
    g_mutex_lock(&entry->registry->lock);
    g_clear_pointer(&entry->motion, json_object_unref);
    entry->motion = motion;
    g_mutex_unlock(&entry->registry->lock);
}

static void
refresh_motion(GwRegistryEntry *entry)
{
    static const char *const members[] = {"session", "role", "state", "step"};
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) motion = ask(entry, "/v1/motion", &error);
    if (!motion && !g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_info("VM '%s': %s", entry->name, error->message);
        return;
    }
    JsonObject *kept = motion ? json_object_new() : NULL;
    for (size_t i = 0; kept && i < G_N_ELEMENTS(members); i++)
        json_object_set_string_member(kept, members[i], gw_json_get_string(motion, members[i]));
    store_motion(entry, kept);
}

/* What the event itself tells needs no question: in a motion's pause everybody has better things to do. False
 * if it does not tell enough. */
static bool
update_motion(GwRegistryEntry *entry, const char *member, JsonObject *event)
{
    const char *value = gw_json_get_string(event, member), *role = gw_json_get_string(event, "role");
    bool begins = g_strcmp0(value, "waiting") == 0 || g_strcmp0(value, "connecting") == 0;
    g_mutex_lock(&entry->registry->lock);
    bool same = entry->motion && value && !begins &&
                (!role || g_strcmp0(role, gw_json_get_string(entry->motion, "role")) == 0);
    if (same)
        json_object_set_string_member(entry->motion, member, value);
    g_mutex_unlock(&entry->registry->lock);
    return same;
}

static void
on_open(void *user_data)
{
    Following *self = user_data;
    GwRegistryEntry *entry = self->entry;
    if (!refresh_status(entry, &self->error)) {
        gw_http_client_cancel(self->client);
        return;
    }
    refresh_motion(entry);
    g_mutex_lock(&entry->registry->lock);
    entry->supervised = entry->known = true;
    g_clear_pointer(&entry->trouble, g_free);
    g_cond_broadcast(&entry->registry->changed);
    g_mutex_unlock(&entry->registry->lock);
    entry->n_silences = 0;
    self->up = true;
    self->up_since = g_get_monotonic_time();
    gw_registry_tell_status(entry, false);
}

static void
tell_event(GwRegistryEntry *entry, const char *type, JsonObject *data)
{
    JsonObject *event = gw_json_object_copy(data);
    json_object_set_string_member(event, "type", type);
    json_object_set_string_member(event, "vm", entry->name);
    entry->registry->tell(event, entry->registry->user_data);
}

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    Following *self = user_data;
    GwRegistryEntry *entry = self->entry;
    bool of_vm = g_str_has_prefix(type, "vm.") && strcmp(type, "vm.status") != 0;
    guint64 number = id ? g_ascii_strtoull(id, NULL, 10) : 0;
    if (!self->up)
        return false;
    if (number > entry->last_id)
        entry->last_id = number;
    if (!of_vm && !g_str_has_prefix(type, "motion."))
        return true;
    tell_event(entry, type, data);
    if (strcmp(type, "motion.step") == 0) {
        update_motion(entry, "step", data);
    } else if (strcmp(type, "motion.state") == 0) {
        if (!update_motion(entry, "state", data))
            refresh_motion(entry);
        gw_registry_tell_status(entry, false);
    } else if (of_vm || strcmp(type, "motion.ended") == 0) {
        if (!of_vm)
            refresh_motion(entry);
        g_autoptr(GError) error = NULL;
        if (refresh_status(entry, &error))
            gw_registry_tell_status(entry, false);
        else
            g_info("VM '%s': %s", entry->name, error->message);
    }
    return true;
}

static bool
set_following(GwRegistryEntry *entry, GwHttpClient *client)
{
    g_mutex_lock(&entry->registry->lock);
    bool go = !entry->registry->ending;
    entry->following = go ? client : NULL;
    g_mutex_unlock(&entry->registry->lock);
    return go;
}

/* Until the supervisor is lost; false if there was none to be had. `error` says why in both cases. */
static bool
follow(GwRegistryEntry *entry, GError **error)
{
    g_autofree char *socket = entry_path(entry, "control.sock");
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(socket, SILENCE_S, error);
    if (!client)
        return false;
    if (entry->is_old && !entry->last_id) {
        g_autoptr(JsonObject) status = ask(entry, "/v1/status", error);
        if (!status)
            return false;
        entry->last_id = (guint64)MAX(gw_json_inner_int(status, "events", "last_id"), 0);
    }
    Following following = {.entry = entry, .client = client};
    g_autofree char *path = g_strdup_printf("/v1/events?after=%" G_GUINT64_FORMAT, entry->last_id);
    g_autoptr(GError) cause = NULL;
    if (!set_following(entry, client))
        return false;
    gw_http_follow(client, path, on_open, on_event, &following, &cause);
    set_following(entry, NULL);
    if (following.error)
        g_propagate_error(error, following.error);
    else if (cause)
        g_propagate_error(error, g_steal_pointer(&cause));
    else
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PEER_LOST, "its supervisor has ended");
    if (following.up && g_get_monotonic_time() - following.up_since >= LIVED_S * G_TIME_SPAN_SECOND)
        entry->n_failures = 0;
    return following.up;
}

static void
set_unsupervised(GwRegistryEntry *entry, const char *trouble, bool known)
{
    g_mutex_lock(&entry->registry->lock);
    bool changed = entry->supervised || (known && !entry->known) || g_strcmp0(entry->trouble, trouble) != 0;
    entry->supervised = false;
    entry->known = entry->known || known;
    g_free(entry->trouble);
    entry->trouble = g_strdup(trouble);
    g_cond_broadcast(&entry->registry->changed);
    g_mutex_unlock(&entry->registry->lock);
    if (changed && file_exists(entry, NULL))
        gw_registry_tell_status(entry, false);
}

/* What the directory itself tells of a VM that nobody else speaks for. */
static void
read_config(GwRegistryEntry *entry)
{
    g_autofree char *path = entry_path(entry, "config.json");
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(text, -1, NULL);
    g_mutex_lock(&entry->registry->lock);
    if (config) {
        g_free(entry->uuid);
        entry->uuid = g_strdup(config->uuid);
        entry->memory_mib = (int64_t)(config->memory_bytes >> 20);
    }
    g_mutex_unlock(&entry->registry->lock);
}

/* Until it is poked or the time is over. */
static void
rest(GwRegistryEntry *entry, unsigned ms)
{
    GwRegistry *registry = entry->registry;
    gint64 until = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
    g_mutex_lock(&registry->lock);
    while (!entry->poked && !registry->ending)
        if (!g_cond_wait_until(&registry->changed, &registry->lock, until))
            break;
    entry->poked = false;
    g_mutex_unlock(&registry->lock);
}

static bool
adopt(GwRegistryEntry *entry, GError **error)
{
    GwRegistry *registry = entry->registry;
    g_mutex_lock(&registry->lock);
    while (registry->n_adoptions >= MAX_ADOPTIONS && !registry->ending)
        g_cond_wait(&registry->changed, &registry->lock);
    bool go = !registry->ending;
    registry->n_adoptions++;
    g_autofree char *program = g_strdup(registry->vm_program);
    g_autofree char *level = g_strdup(registry->log_level);
    g_mutex_unlock(&registry->lock);
    bool done = go && gw_supervisor_adopt(program, registry->runtime_dir, level, entry->name, error);
    g_mutex_lock(&registry->lock);
    registry->n_adoptions--;
    g_cond_broadcast(&registry->changed);
    g_mutex_unlock(&registry->lock);
    return done;
}

static void
remove_debris(GwRegistryEntry *entry)
{
    gint64 now = g_get_monotonic_time();
    if (!entry->debris_since)
        entry->debris_since = now;
    if (now - entry->debris_since < DEBRIS_S * G_TIME_SPAN_SECOND)
        return;
    g_autoptr(GwVmDir) dir = gw_vm_dir_take_over(entry->registry->runtime_dir, entry->name, NULL);
    if (dir && !gw_vm_dir_has_vm(dir) && gw_vm_dir_remove(dir, NULL))
        g_message("removed what was left of the start of a VM '%s' that had been cut short", entry->name);
}

/* There is a directory and nobody speaks for it. `why`: what came of calling. */
static void
provide(GwRegistryEntry *entry, const char *why)
{
    bool has_vm = file_exists(entry, "config.json");
    if (!lock_is_free(entry)) {
        g_autofree char *trouble = g_strdup_printf("its supervisor lives and does not answer: %s", why);
        unsigned ms = call_ms[MIN(entry->n_silences, G_N_ELEMENTS(call_ms) - 1)];
        entry->n_silences++;
        set_unsupervised(entry, trouble, has_vm && entry->n_silences >= SILENCES_TO_LISTED);
        rest(entry, ms);
        return;
    }
    if (!has_vm) {
        remove_debris(entry);
        rest(entry, DEBRIS_S * 1000);
        return;
    }
    entry->debris_since = 0;
    read_config(entry);
    set_unsupervised(entry, why, true);
    rest(entry, adopt_ms[MIN(entry->n_failures, G_N_ELEMENTS(adopt_ms) - 1)]);
    g_autoptr(GError) error = NULL;
    if (!file_exists(entry, "config.json") || !lock_is_free(entry))
        return; /* somebody else was at work */
    entry->n_failures++;
    if (adopt(entry, &error)) {
        g_message("VM '%s' has a new supervisor", entry->name);
        return;
    }
    if (!error)
        return; /* the agent ends */
    g_warning("VM '%s' cannot be adopted: %s", entry->name, error->message);
    set_unsupervised(entry, error->message, true);
}

/* Whether the thread has nothing left to look after. The VM is not listed any more when that is told, and the
 * entry stays until then: should the directory come again, what is told of it comes behind. */
static bool
is_over(GwRegistryEntry *entry)
{
    GwRegistry *registry = entry->registry;
    g_mutex_lock(&registry->lock);
    bool gone = !file_exists(entry, NULL), was_known = entry->known;
    if (gone) {
        entry->known = entry->supervised = false;
        g_clear_pointer(&entry->status, json_object_unref);
        g_clear_pointer(&entry->motion, json_object_unref);
        g_clear_pointer(&entry->trouble, g_free);
    }
    bool ending = registry->ending;
    g_mutex_unlock(&registry->lock);
    if (gone && was_known)
        gw_registry_tell_status(entry, true);
    if (!gone && !ending)
        return false;

    g_mutex_lock(&registry->lock);
    bool over = registry->ending || !file_exists(entry, NULL);
    if (over && !registry->ending)
        g_hash_table_remove(registry->entries, entry->name);
    g_cond_broadcast(&registry->changed);
    g_mutex_unlock(&registry->lock);
    return over;
}

void *
gw_registry_watch(void *data)
{
    GwRegistryEntry *entry = data;
    GwRegistry *registry = entry->registry;
    while (!is_over(entry)) {
        g_autoptr(GError) error = NULL;
        bool was_up = follow(entry, &error);
        const char *why = error ? error->message : "the agent ends";
        g_mutex_lock(&registry->lock);
        bool ending = registry->ending;
        g_mutex_unlock(&registry->lock);
        if (ending || !file_exists(entry, NULL))
            continue;
        if (was_up)
            g_warning("VM '%s' has lost its supervisor: %s", entry->name, why);
        provide(entry, why);
    }
    gw_registry_entry_unref(entry);
    g_mutex_lock(&registry->lock);
    registry->n_threads--;
    g_cond_broadcast(&registry->changed);
    g_mutex_unlock(&registry->lock);
    return NULL;
}
