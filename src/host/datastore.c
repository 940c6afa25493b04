/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look at a datastore, and looks that are not waited for longer than is good.
 *
 * The identity file gets its name only once its content is on the disk: another host that sees the storage in
 * this moment finds none or a whole one. Of two hosts that make it at once one finds the other's. */
#include "datastore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define TIMEOUT_MS 2000

void
gw_datastore_state_clear(GwDatastoreState *self)
{
    g_clear_pointer(&self->error, g_free);
    g_clear_pointer(&self->identity, g_free);
}

/* Returns false where there is no such file. One that is there and says nothing is an error: what it said
 * once is what other hosts go by. */
static bool
read_identity(int root, const char *path, GwDatastoreState *state)
{
    char text[64] = "";
    int fd = openat(root, GW_DATASTORE_IDENTITY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return false;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0)
        state->error = g_strdup_printf("%s/" GW_DATASTORE_IDENTITY_FILE ": %s", path, g_strerror(errno));
    else if (g_uuid_string_is_valid(g_strstrip(text)))
        state->identity = g_ascii_strdown(text, -1);
    else
        state->error =
            g_strdup_printf("%s/" GW_DATASTORE_IDENTITY_FILE " holds no UUID: remove it, then every "
                            "host that sees this storage takes the new one",
                            path);
    if (fd >= 0)
        close(fd);
    return true;
}

/* link(2) never replaces, but some file systems have none. */
static bool
publish(int root, const char *temporary)
{
    if (linkat(root, temporary, root, GW_DATASTORE_IDENTITY_FILE, 0) == 0)
        return true;
    return (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) &&
           renameat2(root, temporary, root, GW_DATASTORE_IDENTITY_FILE, RENAME_NOREPLACE) == 0;
}

static void
make_identity(int root)
{
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *line = g_strconcat(uuid, "\n", NULL);
    g_autofree char *temporary = g_strconcat(GW_DATASTORE_IDENTITY_FILE ".", uuid, NULL);
    int fd = openat(root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return;
    bool ok =
        write(fd, line, strlen(line)) == (ssize_t)strlen(line) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    close(fd);
    if (ok && publish(root, temporary))
        fsync(root);
    unlinkat(root, temporary, 0);
}

static bool
is_mount_point(int root)
{
    struct statx facts;
    return statx(root, "", AT_EMPTY_PATH, STATX_TYPE, &facts) == 0 &&
           (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static void
look_inside(int root, const GwHostDatastore *datastore, GwDatastoreState *state)
{
    struct statvfs facts;
    if (datastore->is_mount_point && !is_mount_point(root)) {
        state->error = g_strdup_printf("nothing is mounted at %s", datastore->path);
        return;
    }
    if (fstatvfs(root, &facts) < 0) {
        state->error = g_strdup_printf("%s: %s", datastore->path, g_strerror(errno));
        return;
    }
    state->capacity_bytes = (uint64_t)facts.f_blocks * facts.f_frsize;
    state->free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize;
    /* By the effective user, and by the server's word where that decides: a mount may be writable and its
     * export not. */
    state->is_read_only =
        (facts.f_flag & ST_RDONLY) || faccessat(root, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0;
    if (read_identity(root, datastore->path, state) || state->is_read_only)
        return;
    make_identity(root);
    read_identity(root, datastore->path, state);
}

GwDatastoreState
gw_datastore_look(const GwHostDatastore *datastore)
{
    GwDatastoreState state = {0};
    int root = open(datastore->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 && errno == ENOENT)
        state.error = g_strdup_printf("there is no directory %s", datastore->path);
    else if (root < 0)
        state.error = g_strdup_printf("%s: %s", datastore->path, g_strerror(errno));
    else
        look_inside(root, datastore, &state);
    if (root >= 0)
        close(root);
    if (state.error)
        state.capacity_bytes = state.free_bytes = 0;
    return state;
}

/* One look, shared by its thread and by who waits for it: the last one frees it. */
typedef struct {
    GwHostDatastore datastore; /* owned; set once */
    gint64 started_us;         /* set once */
    GMutex lock;
    GCond done;
    bool is_done; /* guarded by lock, as is: */
    GwDatastoreState state;
} Look;

struct GwDatastoreWatch {
    GMutex lock;
    GHashTable *looks; /* path → the last Look, guarded by lock */
};

static void
look_clear(void *data)
{
    Look *look = data;
    g_free(look->datastore.name);
    g_free(look->datastore.path);
    gw_datastore_state_clear(&look->state);
    g_mutex_clear(&look->lock);
    g_cond_clear(&look->done);
}

static void
look_unref(void *data)
{
    g_atomic_rc_box_release_full(data, look_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Look, look_unref)

static void
look_finish(Look *look, const GwDatastoreState *state)
{
    g_mutex_lock(&look->lock);
    look->state = *state;
    look->is_done = true;
    g_cond_broadcast(&look->done);
    g_mutex_unlock(&look->lock);
}

static void *
look_thread(void *data)
{
    g_autoptr(Look) look = data;
    GwDatastoreState state = gw_datastore_look(&look->datastore);
    look_finish(look, &state);
    return NULL;
}

static bool
look_is_under_way(Look *look, const GwHostDatastore *datastore)
{
    g_mutex_lock(&look->lock);
    bool is_done = look->is_done;
    g_mutex_unlock(&look->lock);
    return !is_done && look->datastore.is_mount_point == datastore->is_mount_point;
}

/* The look that is under way, or a new one. */
static Look *
look_begin(GwDatastoreWatch *self, const GwHostDatastore *datastore)
{
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&self->lock);
    Look *look = g_hash_table_lookup(self->looks, datastore->path);
    if (!look || !look_is_under_way(look, datastore)) {
        look = g_atomic_rc_box_new0(Look);
        look->datastore = (GwHostDatastore){g_strdup(datastore->name), g_strdup(datastore->path),
                                            datastore->is_mount_point};
        look->started_us = g_get_monotonic_time();
        g_mutex_init(&look->lock);
        g_cond_init(&look->done);
        GThread *thread = g_thread_try_new("datastore", look_thread, g_atomic_rc_box_acquire(look), &error);
        if (thread) {
            g_thread_unref(thread);
        } else {
            GwDatastoreState state = {.error = g_strdup(error->message)};
            look_finish(look, &state);
            look_unref(look);
        }
        g_hash_table_replace(self->looks, g_strdup(datastore->path), look);
    }
    g_atomic_rc_box_acquire(look);
    g_mutex_unlock(&self->lock);
    return look;
}

/* The text does not say for how long: it is not to be news each second. */
static GwDatastoreState
look_wait(Look *look, int timeout_ms)
{
    GwDatastoreState state = {0};
    gint64 until_us = look->started_us + timeout_ms * G_TIME_SPAN_MILLISECOND;
    g_mutex_lock(&look->lock);
    while (!look->is_done && g_cond_wait_until(&look->done, &look->lock, until_us))
        ;
    if (look->is_done) {
        state = look->state;
        state.error = g_strdup(state.error);
        state.identity = g_strdup(state.identity);
    } else {
        state.error = g_strdup_printf("the storage at %s does not answer", look->datastore.path);
    }
    g_mutex_unlock(&look->lock);
    return state;
}

GwDatastoreWatch *
gw_datastore_watch_new(void)
{
    GwDatastoreWatch *self = g_new0(GwDatastoreWatch, 1);
    g_mutex_init(&self->lock);
    self->looks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, look_unref);
    return self;
}

void
gw_datastore_watch_free(GwDatastoreWatch *self)
{
    if (!self)
        return;
    g_hash_table_unref(self->looks);
    g_mutex_clear(&self->lock);
    g_free(self);
}

GwDatastoreState
gw_datastore_watch_look(GwDatastoreWatch *self, const GwHostDatastore *datastore, int timeout_ms)
{
    g_autoptr(Look) look = look_begin(self, datastore);
    return look_wait(look, timeout_ms);
}

static void
set_text(JsonObject *object, const char *member, const char *text)
{
    if (text)
        json_object_set_string_member(object, member, text);
    else
        json_object_set_null_member(object, member);
}

static JsonObject *
facts_of(const GwHostDatastore *datastore, const GwDatastoreState *state)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", datastore->name);
    json_object_set_string_member(object, "path", datastore->path);
    set_text(object, "identity", state->identity);
    set_text(object, "error", state->error);
    json_object_set_boolean_member(object, "read_only", state->is_read_only);
    json_object_set_int_member(object, "capacity_bytes", (gint64)state->capacity_bytes);
    json_object_set_int_member(object, "free_bytes", (gint64)state->free_bytes);
    return object;
}

static JsonObject *
load_of(const GwHostDatastore *datastore, const GwDatastoreState *state)
{
    if (state->error)
        return NULL;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", datastore->name);
    json_object_set_int_member(object, "free_bytes", (gint64)state->free_bytes);
    return object;
}

/* Begins all looks before it waits for the first. */
static JsonArray *
look_at_all(GwDatastoreWatch *self, const GwHostConfig *config,
            JsonObject *(*describe)(const GwHostDatastore *datastore, const GwDatastoreState *state))
{
    JsonArray *array = json_array_new();
    g_autoptr(GPtrArray) looks = g_ptr_array_new_with_free_func(look_unref);
    for (guint i = 0; i < config->datastores->len; i++)
        g_ptr_array_add(looks, look_begin(self, &g_array_index(config->datastores, GwHostDatastore, i)));
    for (guint i = 0; i < looks->len; i++) {
        g_auto(GwDatastoreState) state = look_wait(g_ptr_array_index(looks, i), TIMEOUT_MS);
        JsonObject *object = describe(&g_array_index(config->datastores, GwHostDatastore, i), &state);
        if (object)
            json_array_add_object_element(array, object);
    }
    return array;
}

JsonArray *
gw_datastore_watch_facts(GwDatastoreWatch *self, const GwHostConfig *config)
{
    return look_at_all(self, config, facts_of);
}

JsonArray *
gw_datastore_watch_load(GwDatastoreWatch *self, const GwHostConfig *config)
{
    return look_at_all(self, config, load_of);
}
