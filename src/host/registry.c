/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of VMs, and inotify on their directories. A JsonObject is not for two threads at once: what
 * leaves the lock is a copy. */
#include "registry.h"

#include "error.h"
#include "json.h"
#include "load.h"
#include "registry-internal.h"
#include "vm-dir.h"

#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

void
gw_registry_entry_unref(GwRegistryEntry *entry)
{
    if (!entry || !g_atomic_ref_count_dec(&entry->refs))
        return;
    g_clear_pointer(&entry->status, json_object_unref);
    g_clear_pointer(&entry->motion, json_object_unref);
    g_free(entry->uuid);
    g_free(entry->trouble);
    g_free(entry->name);
    g_free(entry);
}

static GwRegistryEntry *
entry_ref(GwRegistryEntry *entry)
{
    g_atomic_ref_count_inc(&entry->refs);
    return entry;
}

JsonObject *
gw_registry_entry_to_json(GwRegistryEntry *entry)
{
    bool speaks = entry->supervised && entry->status;
    JsonObject *vm = speaks ? gw_json_object_copy(entry->status) : json_object_new();
    json_object_set_string_member(vm, "name", entry->name);
    if (!speaks) {
        json_object_set_string_member(vm, "uuid", entry->uuid);
        json_object_set_string_member(vm, "state", "unsupervised");
        json_object_set_string_member(vm, "trouble", entry->trouble);
    }
    json_object_set_boolean_member(vm, "supervised", speaks);
    json_object_set_int_member(vm, "memory_mib", entry->memory_mib);
    if (entry->motion)
        json_object_set_object_member(vm, "motion", gw_json_object_copy(entry->motion));
    else
        json_object_set_null_member(vm, "motion");
    return vm;
}

static int64_t
last_event_id(JsonObject *status)
{
    return gw_json_inner_int(status, "events", "last_id");
}

/* Another supervisor has a motion of its own, or none: it will be asked. One that is under way stays, since
 * that is what it has taken over. The lock is held. */
static void
forget_completed_motion(GwRegistryEntry *entry, JsonObject *status)
{
    bool is_same = entry->status && gw_json_inner_int(entry->status, "supervisor", "pid") ==
                                        gw_json_inner_int(status, "supervisor", "pid");
    if (!is_same && entry->motion && g_strcmp0(gw_json_get_string(entry->motion, "state"), "completed") == 0)
        g_clear_pointer(&entry->motion, json_object_unref);
}

bool
gw_registry_store_status(GwRegistryEntry *entry, JsonObject *status, GError **error)
{
    GwRegistry *self = entry->registry;
    JsonObject *memory = gw_json_get_object(status, "memory");
    const char *uuid = gw_json_get_string(status, "uuid");
    int64_t bytes = 0;
    if (!uuid || !gw_json_get_string(status, "state")) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the status of VM '%s' has no uuid or no state",
                    entry->name);
        return false;
    }
    g_mutex_lock(&self->lock);
    if (!entry->status || last_event_id(status) >= last_event_id(entry->status)) {
        forget_completed_motion(entry, status);
        g_clear_pointer(&entry->status, json_object_unref);
        entry->status = gw_json_object_copy(status);
        if (memory && gw_json_get_int(memory, "size_bytes", &bytes))
            entry->memory_mib = bytes >> 20;
        g_free(entry->uuid);
        entry->uuid = g_strdup(uuid);
    }
    g_mutex_unlock(&self->lock);
    return true;
}

void
gw_registry_tell_status(GwRegistryEntry *entry, bool gone)
{
    GwRegistry *self = entry->registry;
    JsonObject *event = json_object_new();
    json_object_set_string_member(event, "type", "vm.status");
    json_object_set_string_member(event, "vm", entry->name);
    g_mutex_lock(&self->lock);
    bool known = entry->known || gone;
    if (gone)
        json_object_set_null_member(event, "status");
    else
        json_object_set_object_member(event, "status", gw_registry_entry_to_json(entry));
    g_mutex_unlock(&self->lock);
    if (known)
        self->tell(event, self->user_data);
    else
        json_object_unref(event);
}

/* The lock is held. */
static void
notice_locked(GwRegistry *self, const char *name, bool is_old)
{
    g_autofree char *path = gw_vm_dir_path(self->runtime_dir, name, NULL);
    if (self->ending || !g_file_test(path, G_FILE_TEST_IS_DIR))
        return;
    int watch = inotify_add_watch(self->inotify, path, IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR);
    if (watch >= 0)
        g_hash_table_replace(self->watches, GINT_TO_POINTER(watch), g_strdup(name));
    else if (errno != ENOENT)
        g_warning("%s: inotify: %s, ignoring: changes are noticed late", path, g_strerror(errno));
    GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    if (entry) {
        entry->poked = true;
        g_cond_broadcast(&self->changed);
        return;
    }
    entry = g_new0(GwRegistryEntry, 1);
    g_atomic_ref_count_init(&entry->refs);
    entry->registry = self;
    entry->name = g_strdup(name);
    entry->is_old = is_old;
    g_hash_table_insert(self->entries, entry->name, entry);
    self->n_threads++;
    g_thread_unref(g_thread_new("vm-watch", gw_registry_watch, entry_ref(entry)));
}

void
gw_registry_notice(GwRegistry *self, const char *name)
{
    if (!gw_vm_name_is_valid(name))
        return;
    g_mutex_lock(&self->lock);
    notice_locked(self, name, false);
    g_mutex_unlock(&self->lock);
}

static void
scan(GwRegistry *self, bool is_old)
{
    g_autofree char *path = g_build_filename(self->runtime_dir, "vms", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    g_mutex_lock(&self->lock);
    for (const char *name; dir && (name = g_dir_read_name(dir));)
        if (gw_vm_name_is_valid(name))
            notice_locked(self, name, is_old);
    g_mutex_unlock(&self->lock);
}

static void
handle_inotify(GwRegistry *self, const struct inotify_event *event)
{
    const char *name = event->len ? event->name : "";
    g_mutex_lock(&self->lock);
    if (event->wd == self->vms_watch) {
        if (gw_vm_name_is_valid(name))
            notice_locked(self, name, false);
    } else if (event->mask & IN_IGNORED) {
        g_hash_table_remove(self->watches, GINT_TO_POINTER(event->wd));
    } else {
        const char *vm = g_hash_table_lookup(self->watches, GINT_TO_POINTER(event->wd));
        GwRegistryEntry *entry = vm ? g_hash_table_lookup(self->entries, vm) : NULL;
        if (entry && ((event->mask & IN_DELETE_SELF) || strcmp(name, "control.sock") == 0))
            entry->poked = true;
        g_cond_broadcast(&self->changed);
    }
    g_mutex_unlock(&self->lock);
    if (event->mask & IN_Q_OVERFLOW)
        scan(self, false);
}

static gboolean
on_inotify(gint fd, GIOCondition condition, gpointer user_data)
{
    GwRegistry *self = user_data;
    char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n = read(fd, buffer, sizeof buffer);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const struct inotify_event *)(void *)(buffer + at);
        handle_inotify(self, event);
        at += (ssize_t)sizeof *event + event->len;
    }
    return G_SOURCE_CONTINUE;
}

static bool
watch_directory(GwRegistry *self, GError **error)
{
    g_autofree char *path = g_build_filename(self->runtime_dir, "vms", NULL);
    if (g_mkdir_with_parents(path, 0755) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "making %s", path);
    self->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (self->inotify >= 0)
        self->vms_watch = inotify_add_watch(self->inotify, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    if (self->inotify < 0 || self->vms_watch < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "watching %s", path);
    self->inotify_source = g_unix_fd_source_new(self->inotify, G_IO_IN);
    g_source_set_callback(self->inotify_source, G_SOURCE_FUNC(on_inotify), self, NULL);
    g_source_attach(self->inotify_source, g_main_context_get_thread_default());
    return true;
}

GwRegistry *
gw_registry_new(const char *runtime_dir, const char *vm_program, GwRegistryTell tell, void *user_data,
                GError **error)
{
    GwRegistry *self = g_new0(GwRegistry, 1);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->runtime_dir = g_strdup(runtime_dir);
    self->vm_program = g_strdup(vm_program);
    self->log_level = g_strdup("info");
    self->tell = tell;
    self->user_data = user_data;
    self->inotify = -1;
    self->entries =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)gw_registry_entry_unref);
    self->reserved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->watches = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    if (!watch_directory(self, error)) {
        gw_registry_free(self);
        return NULL;
    }
    scan(self, true);
    return self;
}

void
gw_registry_free(GwRegistry *self)
{
    if (!self)
        return;
    GHashTableIter iter;
    void *value;
    g_mutex_lock(&self->lock);
    self->ending = true;
    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        GwRegistryEntry *entry = value;
        if (entry->following)
            gw_http_client_cancel(entry->following);
    }
    g_cond_broadcast(&self->changed);
    while (self->n_threads > 0)
        g_cond_wait(&self->changed, &self->lock);
    g_mutex_unlock(&self->lock);
    if (self->inotify_source) {
        g_source_destroy(self->inotify_source);
        g_source_unref(self->inotify_source);
    }
    if (self->inotify >= 0)
        close(self->inotify);
    g_hash_table_unref(self->entries);
    g_hash_table_unref(self->reserved);
    g_hash_table_unref(self->watches);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
    g_free(self->vm_program);
    g_free(self->log_level);
    g_free(self->runtime_dir);
    g_free(self);
}

void
gw_registry_set_program(GwRegistry *self, const char *vm_program, const char *log_level)
{
    g_mutex_lock(&self->lock);
    g_free(self->vm_program);
    g_free(self->log_level);
    self->vm_program = g_strdup(vm_program);
    self->log_level = g_strdup(log_level);
    g_mutex_unlock(&self->lock);
}

static int
compare_names(const void *a, const void *b)
{
    const GwRegistryEntry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The VMs by name, each with a reference. The lock is held. */
static GPtrArray *
known_entries(GwRegistry *self)
{
    GPtrArray *known = g_ptr_array_new_with_free_func((GDestroyNotify)gw_registry_entry_unref);
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (((GwRegistryEntry *)value)->known)
            g_ptr_array_add(known, entry_ref(value));
    g_ptr_array_sort(known, compare_names);
    return known;
}

JsonArray *
gw_registry_list(GwRegistry *self)
{
    JsonArray *list = json_array_new();
    g_mutex_lock(&self->lock);
    g_autoptr(GPtrArray) known = known_entries(self);
    for (guint i = 0; i < known->len; i++)
        json_array_add_object_element(list, gw_registry_entry_to_json(known->pdata[i]));
    g_mutex_unlock(&self->lock);
    return list;
}

/* The lock is held. */
static GwRegistryEntry *
find(GwRegistry *self, const char *name, GError **error)
{
    GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    if (entry && entry->known)
        return entry;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no VM '%s' on this host", name);
    return NULL;
}

JsonObject *
gw_registry_show(GwRegistry *self, const char *name, GError **error)
{
    g_mutex_lock(&self->lock);
    GwRegistryEntry *entry = find(self, name, error);
    JsonObject *vm = entry ? gw_registry_entry_to_json(entry) : NULL;
    g_mutex_unlock(&self->lock);
    return vm;
}

bool
gw_registry_is_other(GwRegistry *self, const char *name, const char *uuid)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    return entry && entry->known && entry->uuid && g_ascii_strcasecmp(entry->uuid, uuid) != 0;
}

GwHttpClient *
gw_registry_connect(GwRegistry *self, const char *name, unsigned timeout_s, GError **error)
{
    g_mutex_lock(&self->lock);
    GwRegistryEntry *entry = find(self, name, error);
    bool supervised = entry && entry->supervised;
    if (entry && !supervised)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "VM '%s' has no supervisor now (%s); the agent keeps trying to give it one", name,
                    entry->trouble ? entry->trouble : "it has ended");
    g_mutex_unlock(&self->lock);
    g_autofree char *path = gw_vm_dir_path(self->runtime_dir, name, "control.sock");
    return supervised ? gw_http_client_new_unix(path, timeout_s, error) : NULL;
}

JsonObject *
gw_registry_refresh(GwRegistry *self, const char *name, GError **error)
{
    g_autoptr(GwHttpClient) client = gw_registry_connect(self, name, GW_REGISTRY_CALL_TIMEOUT_S, error);
    g_autoptr(JsonObject) status = client ? gw_http_call(client, "GET", "/v1/status", NULL, error) : NULL;
    if (!status)
        return NULL;
    g_mutex_lock(&self->lock);
    GwRegistryEntry *found = find(self, name, error);
    g_autoptr(GwRegistryEntry) entry = found ? entry_ref(found) : NULL;
    g_mutex_unlock(&self->lock);
    if (!entry)
        return NULL;
    return gw_registry_store_status(entry, status, error) ? gw_registry_show(self, name, error) : NULL;
}

void
gw_registry_refresh_all(GwRegistry *self)
{
    g_mutex_lock(&self->lock);
    g_autoptr(GPtrArray) known = known_entries(self);
    g_mutex_unlock(&self->lock);
    for (guint i = 0; i < known->len; i++) {
        GwRegistryEntry *entry = known->pdata[i];
        g_mutex_lock(&self->lock);
        bool ask = entry->supervised && !self->ending;
        g_mutex_unlock(&self->lock);
        g_autoptr(JsonObject) vm = ask ? gw_registry_refresh(self, entry->name, NULL) : NULL;
    }
}

bool
gw_registry_reserve(GwRegistry *self, const char *name, GError **error)
{
    g_mutex_lock(&self->lock);
    GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    bool is_free = !(entry && entry->known) && !g_hash_table_contains(self->reserved, name);
    if (is_free)
        g_hash_table_add(self->reserved, g_strdup(name));
    g_mutex_unlock(&self->lock);
    if (!is_free)
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "there is a VM '%s' on this host already", name);
    return is_free;
}

void
gw_registry_release(GwRegistry *self, const char *name)
{
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->reserved, name);
    g_mutex_unlock(&self->lock);
}

typedef bool (*Condition)(GwRegistry *self, const char *name);

static bool
is_gone(GwRegistry *self, const char *name)
{
    return !g_hash_table_contains(self->entries, name);
}

static bool
is_supervised_or_gone(GwRegistry *self, const char *name)
{
    GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    return !entry || entry->supervised;
}

static bool
await(GwRegistry *self, const char *name, Condition condition, unsigned timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    g_mutex_lock(&self->lock);
    bool met;
    while (!(met = condition(self, name)))
        if (!g_cond_wait_until(&self->changed, &self->lock, deadline))
            break;
    g_mutex_unlock(&self->lock);
    return met;
}

static bool
is_known_or_gone(GwRegistry *self, const char *name)
{
    GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    return !entry || entry->known;
}

bool
gw_registry_await_supervised(GwRegistry *self, const char *name, unsigned timeout_ms)
{
    return await(self, name, is_supervised_or_gone, timeout_ms);
}

bool
gw_registry_await_gone(GwRegistry *self, const char *name, unsigned timeout_ms)
{
    return await(self, name, is_gone, timeout_ms);
}

void
gw_registry_look_for(GwRegistry *self, const char *name, unsigned timeout_ms)
{
    g_mutex_lock(&self->lock);
    const GwRegistryEntry *entry = g_hash_table_lookup(self->entries, name);
    bool known = entry && entry->known;
    if (!known)
        notice_locked(self, name, false);
    g_mutex_unlock(&self->lock);
    if (!known)
        await(self, name, is_known_or_gone, timeout_ms);
}

static void
clear_load_vm(void *data)
{
    GwLoadVm *vm = data;
    g_free((char *)vm->name);
}

GArray *
gw_registry_load_vms(GwRegistry *self)
{
    GArray *vms = g_array_new(FALSE, FALSE, sizeof(GwLoadVm));
    g_array_set_clear_func(vms, clear_load_vm);
    g_mutex_lock(&self->lock);
    g_autoptr(GPtrArray) known = known_entries(self);
    for (guint i = 0; i < known->len; i++) {
        const GwRegistryEntry *entry = known->pdata[i];
        GwLoadVm vm = {.name = g_strdup(entry->name)};
        if (entry->supervised && entry->status) {
            vm.qemu_pid = (pid_t)gw_json_inner_int(entry->status, "qemu", "pid");
            vm.supervisor_pid = (pid_t)gw_json_inner_int(entry->status, "supervisor", "pid");
            vm.guest_resident_bytes = (uint64_t)gw_json_inner_int(entry->status, "memory", "resident_bytes");
        }
        g_array_append_val(vms, vm);
    }
    g_mutex_unlock(&self->lock);
    return vms;
}
