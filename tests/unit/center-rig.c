/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A center without its API. */
#include "center-rig.h"

#include "http-types.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define AWAIT_US (20 * G_TIME_SPAN_SECOND)

typedef struct {
    CenterRig *rig;
    const char *name, *other, *member, *value;
} Question;
typedef bool (*Ask)(const Question *question);

static void
await(const char *what, Ask ask, const Question *question)
{
    gint64 until_us = g_get_monotonic_time() + AWAIT_US;
    while (!ask(question)) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        if (g_get_monotonic_time() > until_us)
            g_error("%s: %s of %s did not become %s", what, question->member ? question->member : "",
                    question->name, question->value ? question->value : "true");
        g_usleep(2000);
    }
}

void
center_rig_begin(CenterRig *self)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(self->directory, "center.db", NULL);
    self->store = gw_store_open(path, &error);
    g_assert_no_error(error);
    self->hub = gw_event_hub_new(self->store);
    self->inventory = gw_inventory_new(self->store, self->hub, self->authority, &error);
    g_assert_no_error(error);
    self->tasks = gw_tasks_new(self->store, self->hub, self->inventory);
    self->links = gw_host_links_new(self->inventory, self->tasks, self->hub);
    g_assert_true(gw_tasks_resume(self->tasks, &error));
}

void
center_rig_end(CenterRig *self)
{
    g_clear_pointer(&self->links, gw_host_links_free);
    g_clear_pointer(&self->tasks, gw_tasks_free);
    g_clear_pointer(&self->inventory, gw_inventory_free);
    g_clear_pointer(&self->hub, gw_event_hub_free);
    g_clear_pointer(&self->store, gw_store_close);
}

void
center_rig_init(void)
{
    g_autofree char *path = g_strdup_printf("%s/godwit-center-hold.%d", g_get_tmp_dir(), getpid());
    g_setenv("GODWIT_CENTER_HOLD_FILE", path, TRUE);
    gw_http_load_types();
}

CenterRig *
center_rig_new(unsigned n_hosts)
{
    CenterRig *self = g_new0(CenterRig, 1);
    static const char *const names[] = {"center", NULL}, *const addresses[] = {"127.0.0.1", NULL};
    g_autoptr(GError) error = NULL;
    self->directory = g_dir_make_tmp("godwit-center-XXXXXX", &error);
    g_autofree char *ca = g_build_filename(self->directory, "ca", NULL);
    self->authority = gw_authority_open(ca, names, addresses, &error);
    g_assert_no_error(error);
    self->hold_file = g_strdup(g_getenv("GODWIT_CENTER_HOLD_FILE"));
    g_assert_nonnull(self->hold_file);
    self->agents = fake_cluster_new(self->authority, self->directory);
    center_rig_begin(self);
    for (unsigned n = 1; n <= n_hosts; n++) {
        g_autofree char *name = g_strdup_printf("host%u", n);
        GwHostRecord record = {.name = name,
                               .cluster = (char *)"default",
                               .address = (char *)"127.0.0.1",
                               .port = fake_cluster_add_host(self->agents, n),
                               .joined_us = 1};
        gw_inventory_add_host(self->inventory, &record, &error);
        g_assert_no_error(error);
    }
    for (unsigned n = 1; n <= n_hosts; n++) {
        g_autofree char *name = g_strdup_printf("host%u", n);
        center_rig_await_host(self, name, "up");
    }
    return self;
}

static void
remove_all(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *each = g_build_filename(path, name, NULL);
        if (g_file_test(each, G_FILE_TEST_IS_DIR))
            remove_all(each);
        else
            g_unlink(each);
    }
    g_rmdir(path);
}

void
center_rig_free(CenterRig *self)
{
    g_unlink(self->hold_file);
    center_rig_end(self);
    fake_cluster_free(self->agents);
    gw_authority_free(self->authority);
    remove_all(self->directory);
    g_free(self->directory);
    g_free(self->hold_file);
    g_free(self);
}

void
center_rig_hold_at(CenterRig *self, const char *step)
{
    g_autoptr(GError) error = NULL;
    if (!step) {
        g_unlink(self->hold_file);
        return;
    }
    g_assert_true(g_file_set_contents(self->hold_file, step, -1, &error));
}

static bool
is_held(const Question *question)
{
    g_autofree char *reached = g_strconcat(question->rig->hold_file, ".reached", NULL);
    return access(reached, F_OK) == 0;
}

void
center_rig_await_hold(CenterRig *self)
{
    await("hold", is_held, &(Question){.rig = self, .name = "step"});
}

static bool
host_is(const Question *question)
{
    g_autoptr(JsonObject) host = gw_inventory_host_json(question->rig->inventory, question->name, NULL);
    return host && g_strcmp0(gw_json_get_string(host, "state"), question->value) == 0;
}

void
center_rig_await_host(CenterRig *self, const char *host, const char *state)
{
    await("host", host_is, &(Question){.rig = self, .name = host, .value = state});
}

static bool
vm_is(const Question *question)
{
    g_autoptr(JsonObject) vm = gw_inventory_vm_json(question->rig->inventory, question->name, NULL);
    return vm && g_strcmp0(gw_json_get_string(vm, question->member), question->value) == 0;
}

void
center_rig_await_vm(CenterRig *self, const char *vm, const char *member, const char *value)
{
    await("VM", vm_is, &(Question){.rig = self, .name = vm, .member = member, .value = value});
}

static bool
place_is(const Question *question)
{
    g_autofree char *state = fake_state(question->rig->agents, question->other, question->name);
    return strcmp(state, question->value) == 0;
}

void
center_rig_await_place(CenterRig *self, const char *host, const char *vm, const char *state)
{
    await(host, place_is, &(Question){.rig = self, .name = vm, .other = host, .value = state});
}

static bool
task_is(const Question *question)
{
    g_autoptr(JsonObject) task = gw_tasks_json(question->rig->tasks, question->name, NULL);
    const char *value = task ? gw_json_get_string(task, question->member) : NULL;
    return value && strstr(value, question->value);
}

void
center_rig_await_task(CenterRig *self, const char *id, const char *member, const char *value)
{
    await("task", task_is, &(Question){.rig = self, .name = id, .member = member, .value = value});
}

static bool
task_has_ended(const Question *question)
{
    g_autoptr(JsonObject) task = gw_tasks_json(question->rig->tasks, question->name, NULL);
    g_autofree char *open = gw_tasks_of_vm(question->rig->tasks, gw_json_get_string(task, "vm"));
    return gw_json_get_string(task, "ended") && g_strcmp0(open, question->name) != 0;
}

JsonObject *
center_rig_await_end(CenterRig *self, const char *id)
{
    await("task", task_has_ended, &(Question){.rig = self, .name = id, .member = "end", .value = "known"});
    return gw_tasks_json(self->tasks, id, NULL);
}

void
center_rig_add_vm(CenterRig *self, const char *vm, const char *host)
{
    g_autoptr(GError) error = NULL;
    fake_add_vm(self->agents, host, vm, "running");
    gw_order_adopt(self->tasks, vm, host, &error);
    g_assert_no_error(error);
    center_rig_await_vm(self, vm, "state", "running");
}

char *
center_rig_migrate(CenterRig *self, const char *vm, const char *to)
{
    g_autoptr(GError) error = NULL;
    GwMigrateRequest request = {.vm = vm, .destination = to, .user = "alice", .reason = "why not"};
    char *id = gw_tasks_migrate(self->tasks, &request, &error);
    g_assert_no_error(error);
    return id;
}

void
center_rig_assert_state(JsonObject *task, const char *state)
{
    JsonObject *error = gw_json_get_object(task, "error");
    if (g_strcmp0(gw_json_get_string(task, "state"), state) != 0)
        g_error("%s, expected %s: %s", gw_json_get_string(task, "state"), state,
                error ? gw_json_get_string(error, "message") : "no error");
}

void
center_rig_assert_at(CenterRig *self, const char *vm, const char *home, const char *state)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *kept = gw_inventory_vm_home(self->inventory, vm, &error);
    g_autofree char *there = fake_state(self->agents, home, vm);
    g_auto(GwVmRecord) record = {0};
    g_assert_cmpstr(kept, ==, home);
    g_assert_cmpstr(there, ==, state);
    g_assert_true(gw_store_get_vm(self->store, vm, &record, &error));
    g_assert_cmpstr(record.host, ==, home);
}

unsigned
center_rig_n_events(CenterRig *self, const char *type, const char *vm)
{
    unsigned n = 0;
    g_autoptr(GArray) events = gw_store_events(self->store, 0, 10000, NULL);
    for (guint i = 0; i < events->len; i++) {
        const GwEventRecord *event = &g_array_index(events, GwEventRecord, i);
        n += strcmp(event->type, type) == 0 && (!vm || g_strcmp0(event->vm, vm) == 0);
    }
    return n;
}
