/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's registry against supervisors that come, go, die, hang and lie. */
#include "error.h"
#include "fake-supervisor.h"
#include "json.h"
#include "registry.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MS 10000

typedef struct {
    FakeHost *host;
    char *program;
    GwRegistry *registry;
    GMainLoop *loop;
    GThread *thread; /* runs the main context: inotify is read there */
    /* guarded by lock */
    GMutex lock;
    GCond told;
    GPtrArray *events; /* of text, owned */
} Rig;

static void
on_told(JsonObject *event, void *user_data)
{
    Rig *rig = user_data;
    g_mutex_lock(&rig->lock);
    g_ptr_array_add(rig->events, gw_json_object_to_line(event));
    g_cond_broadcast(&rig->told);
    g_mutex_unlock(&rig->lock);
    json_object_unref(event);
}

static void *
run_loop(void *data)
{
    g_main_loop_run(data);
    return NULL;
}

static void
rig_open(Rig *rig)
{
    g_autoptr(GError) error = NULL;
    rig->registry = gw_registry_new(fake_host_runtime_dir(rig->host), rig->program, on_told, rig, &error);
    g_assert_no_error(error);
}

static void
rig_run(Rig *rig)
{
    rig->thread = g_thread_new("loop", run_loop, rig->loop);
}

static void
rig_begin(Rig *rig)
{
    rig_open(rig);
    rig_run(rig);
}

static void
rig_init(Rig *rig, const char *script)
{
    *rig = (Rig){.host = fake_host_new(), .loop = g_main_loop_new(NULL, FALSE)};
    rig->program = fake_host_program(rig->host, script);
    rig->events = g_ptr_array_new_with_free_func(g_free);
    g_mutex_init(&rig->lock);
    g_cond_init(&rig->told);
}

static gboolean
quit(void *loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void
rig_clear(Rig *rig)
{
    g_idle_add(quit, rig->loop);
    g_thread_join(rig->thread);
    gw_registry_free(rig->registry);
    fake_host_free(rig->host);
    g_main_loop_unref(rig->loop);
    g_ptr_array_unref(rig->events);
    g_mutex_clear(&rig->lock);
    g_cond_clear(&rig->told);
    g_free(rig->program);
}

/* Waits until an event is told that has both parts, from the `from`th on; its number. */
static guint
await_told(Rig *rig, guint from, const char *part, const char *other)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_MS * 1000;
    g_mutex_lock(&rig->lock);
    for (guint i = from;; i++) {
        while (i >= rig->events->len)
            if (!g_cond_wait_until(&rig->told, &rig->lock, deadline))
                g_error("nobody told of %s and %s", part, other);
        const char *text = rig->events->pdata[i];
        if (!strstr(text, part) || !strstr(text, other))
            continue;
        g_mutex_unlock(&rig->lock);
        return i;
    }
}

static guint
n_told(Rig *rig, const char *part)
{
    guint n = 0;
    g_mutex_lock(&rig->lock);
    for (guint i = 0; i < rig->events->len; i++)
        n += strstr(rig->events->pdata[i], part) != NULL;
    g_mutex_unlock(&rig->lock);
    return n;
}

static char *
shown(Rig *rig, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) vm = gw_registry_show(rig->registry, name, &error);
    g_assert_no_error(error);
    return gw_json_object_to_line(vm);
}

static void
assert_shows(Rig *rig, const char *name, const char *part)
{
    g_autofree char *text = shown(rig, name);
    if (!strstr(text, part))
        g_error("%s is not in %s", part, text);
}

static void
assert_absent(Rig *rig, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) vm = gw_registry_show(rig->registry, name, &error);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
}

static void
test_found(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    fake_vm_tell(vm, "vm.running", "{}");
    rig_begin(&rig);
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    assert_shows(&rig, "web1", "\"supervised\":true");
    assert_shows(&rig, "web1", "\"memory_mib\":256");
    assert_shows(&rig, "web1", "\"motion\":null");
    g_autoptr(JsonArray) list = gw_registry_list(rig.registry);
    g_assert_cmpuint(json_array_get_length(list), ==, 1);
    /* What was before us was told by who was before us. */
    await_told(&rig, 0, "vm.status", "uuid-of-web1");
    g_assert_cmpuint(fake_vm_asked_after(vm), ==, fake_vm_last_id(vm));
    g_assert_cmpuint(n_told(&rig, "vm.running"), ==, 0);
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_registry_reserve(rig.registry, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    rig_clear(&rig);
}

static void
test_comes_and_goes(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    rig_begin(&rig);
    assert_absent(&rig, "web1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", true);
    fake_vm_tell(vm, "vm.starting", "{\"was\":\"off\"}");
    fake_vm_listen(vm);
    guint at = await_told(&rig, 0, "\"type\":\"vm.status\"", "\"state\":\"running\"");
    await_told(&rig, at, "\"type\":\"vm.starting\"", "\"vm\":\"web1\""); /* from its beginning on */
    fake_vm_set_state(vm, "paused");
    fake_vm_tell(vm, "vm.paused", "{\"was\":\"running\"}");
    at = await_told(&rig, at, "\"type\":\"vm.paused\"", "\"vm\":\"web1\"");
    await_told(&rig, at + 1, "\"type\":\"vm.status\"", "\"state\":\"paused\"");
    assert_shows(&rig, "web1", "\"state\":\"paused\"");
    fake_vm_remove(vm);
    await_told(&rig, at, "\"type\":\"vm.status\"", "\"status\":null");
    g_assert_true(gw_registry_await_gone(rig.registry, "web1", WAIT_MS));
    assert_absent(&rig, "web1");
    fake_vm_new(rig.host, "web1", false); /* the same name again */
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    await_told(&rig, at, "\"type\":\"vm.status\"", "\"state\":\"running\"");
    rig_clear(&rig);
}

/* Found by a test that made a VM by hand and asked for a check at once: on a busy host it was not known yet.
 */
static void
test_is_looked_for(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    rig_open(&rig); /* nobody reads inotify */
    gint64 begin = g_get_monotonic_time();
    gw_registry_look_for(rig.registry, "web1", 10 * WAIT_MS);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, WAIT_MS * 1000);
    assert_absent(&rig, "web1");
    fake_vm_new(rig.host, "web1", false);
    assert_absent(&rig, "web1");
    gw_registry_look_for(rig.registry, "web1", WAIT_MS);
    assert_shows(&rig, "web1", "\"state\":\"running\"");

    FakeVm *web2 = fake_vm_new(rig.host, "web2", true); /* one that does not answer is waited for so long */
    gw_registry_look_for(rig.registry, "web2", 50);
    assert_absent(&rig, "web2");
    fake_vm_listen(web2);
    gw_registry_look_for(rig.registry, "web2", WAIT_MS);
    assert_shows(&rig, "web2", "\"state\":\"running\"");
    rig_run(&rig);
    rig_clear(&rig);
}

static void
test_dies(void)
{
    Rig rig;
    rig_init(&rig, "echo '2026-11-22T03:03:32.000Z godwit-vm[7] warning: so' >&2\n"
                   "echo 'godwit-vm: no QEMU holds its memory' >&2\nexit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    rig_begin(&rig);
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    fake_vm_die(vm);
    guint at = await_told(&rig, 0, "\"state\":\"unsupervised\"", "\"supervised\":false");
    at = await_told(&rig, at, "\"trouble\":\"no QEMU holds its memory\"", "\"memory_mib\":512");
    assert_shows(&rig, "web1", "\"uuid\":\"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\"");
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_registry_connect(rig.registry, "web1", 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_autofree char *calls = fake_host_calls(rig.host);
    g_autofree char *expected = g_strdup_printf("adopt --detach --runtime-dir %s --log-level info web1\n",
                                                fake_host_runtime_dir(rig.host));
    g_assert_cmpstr(calls, ==, expected);

    /* It is tried again; meanwhile somebody else has given it a supervisor. */
    fake_vm_listen(vm);
    await_told(&rig, at, "\"type\":\"vm.status\"", "\"supervised\":true");
    assert_shows(&rig, "web1", "\"state\":\"running\"");
    rig_clear(&rig);
}

static void
test_is_adopted(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", true);
    fake_vm_die(vm); /* nobody lives when the agent begins */
    rig_begin(&rig);
    await_told(&rig, 0, "\"state\":\"unsupervised\"", "\"vm\":\"web1\"");
    fake_vm_listen(vm);
    gw_registry_notice(rig.registry, "web1");
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    rig_clear(&rig);
}

static void
test_hangs(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", true); /* its lock is held: it lives */
    rig_begin(&rig);
    await_told(&rig, 0, "lives and does not answer", "\"state\":\"unsupervised\"");
    g_autofree char *calls = fake_host_calls(rig.host);
    g_assert_cmpstr(calls, ==, ""); /* two supervisors for one VM are what must never be */
    fake_vm_listen(vm);
    await_told(&rig, 0, "\"supervised\":true", "web1");
    rig_clear(&rig);
}

static void
test_lies(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    rig_begin(&rig);
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    fake_vm_send_raw(vm, "event: vm.status\ndata: {\"vm\":\"web2\",\"status\":null}\n\n"
                         "event: host.hello\ndata: {}\n\n"
                         "event: vm.paused\ndata: [1]\n\n"
                         "id: -7\nevent: vm.reset\ndata: {\"vm\":\"web2\",\"type\":\"host.load\"}\n\n");
    guint at = await_told(&rig, 0, "\"type\":\"vm.reset\"", "\"vm\":\"web1\"");
    g_assert_cmpuint(n_told(&rig, "web2"), ==, 0);
    g_assert_cmpuint(n_told(&rig, "host."), ==, 0);
    g_assert_cmpuint(n_told(&rig, "vm.paused"), ==, 0);

    /* Its name is what its directory is called; figures of the wrong kind are none. */
    fake_vm_set_status(vm, "{\"name\":\"web2\",\"uuid\":\"u\",\"state\":\"paused\",\"memory\":7,"
                           "\"qemu\":\"none\",\"events\":{\"last_id\":9223372036854775807}}");
    fake_vm_tell(vm, "vm.paused", "{}");
    await_told(&rig, at, "\"type\":\"vm.status\"", "\"state\":\"paused\"");
    assert_shows(&rig, "web1", "\"name\":\"web1\"");
    g_autoptr(GArray) load = gw_registry_load_vms(rig.registry);
    g_assert_cmpuint(load->len, ==, 1);
    /* A status without a state is none: what was known stays. */
    fake_vm_set_status(vm, "{\"uuid\":7,\"state\":[]}");
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_registry_refresh(rig.registry, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
    assert_shows(&rig, "web1", "\"state\":\"paused\"");
    rig_clear(&rig);
}

static void
test_older_status_is_dropped(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    rig_begin(&rig);
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    fake_vm_set_status(vm, "{\"uuid\":\"u\",\"state\":\"paused\",\"events\":{\"last_id\":3}}");
    g_autoptr(JsonObject) refreshed = gw_registry_refresh(rig.registry, "web1", NULL);
    g_assert_cmpstr(gw_json_get_string(refreshed, "state"), ==, "running");
    rig_clear(&rig);
}

static void
test_motion(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    rig_begin(&rig);
    g_assert_true(gw_registry_await_supervised(rig.registry, "web1", WAIT_MS));
    fake_vm_set_motion(vm, "{\"session\":\"6f0d\",\"role\":\"source\",\"state\":\"connecting\","
                           "\"step\":\"connect\",\"rounds\":[1,2]}");
    fake_vm_tell(vm, "motion.state", "{\"role\":\"source\",\"state\":\"connecting\"}");
    guint at = await_told(&rig, 0, "\"motion\":{\"session\":\"6f0d\"", "\"state\":\"connecting\"");
    unsigned n_asked = fake_vm_n_asked(vm, "/v1/motion");
    fake_vm_tell(vm, "motion.step", "{\"step\":\"stopped\"}");
    fake_vm_tell(vm, "motion.state", "{\"role\":\"source\",\"state\":\"switchover\"}");
    at = await_told(&rig, at, "vm.status", "\"state\":\"switchover\",\"step\":\"stopped\"");
    g_assert_cmpuint(fake_vm_n_asked(vm, "/v1/motion"), ==, n_asked); /* nobody is asked in the pause */
    fake_vm_set_motion(vm, "{\"session\":\"6f0d\",\"role\":\"source\",\"state\":\"completed\",\"step\":7}");
    fake_vm_set_state(vm, "moved");
    fake_vm_tell(vm, "motion.ended", "{\"outcome\":\"left\"}");
    at = await_told(&rig, at, "\"type\":\"motion.ended\"", "\"outcome\":\"left\"");
    await_told(&rig, at, "\"state\":\"completed\",\"step\":null", "\"state\":\"moved\"");
    rig_clear(&rig);
}

/* A directory without a configuration was never a VM's. */
static void
test_debris(void)
{
    Rig rig;
    rig_init(&rig, "exit 0");
    FakeVm *vm = fake_vm_new(rig.host, "web1", true);
    fake_vm_die(vm);
    g_autofree char *config =
        g_build_filename(fake_host_runtime_dir(rig.host), "vms", "web1", "config.json", NULL);
    g_assert_cmpint(remove(config), ==, 0);
    rig_begin(&rig);
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_registry_reserve(rig.registry, "web1", &error));
    g_assert_false(gw_registry_reserve(rig.registry, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    gw_registry_release(rig.registry, "web1");
    assert_absent(&rig, "web1");
    g_autofree char *calls = fake_host_calls(rig.host);
    g_assert_cmpstr(calls, ==, "");
    rig_clear(&rig);
}

static void
test_many(void)
{
    Rig rig;
    FakeVm *vms[200];
    rig_init(&rig, "exit 1");
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++) {
        g_autofree char *name = g_strdup_printf("vm%03u", i);
        vms[i] = fake_vm_new(rig.host, name, false);
    }
    rig_begin(&rig);
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++) {
        g_autofree char *name = g_strdup_printf("vm%03u", i);
        g_assert_true(gw_registry_await_supervised(rig.registry, name, 3 * WAIT_MS));
    }
    g_autoptr(JsonArray) list = gw_registry_list(rig.registry);
    g_assert_cmpuint(json_array_get_length(list), ==, G_N_ELEMENTS(vms));
    g_assert_cmpstr(gw_json_get_string(gw_json_array_object(list, 7), "name"), ==, "vm007");
    fake_vm_set_state(vms[7], "paused");
    fake_vm_tell(vms[7], "vm.paused", "{}");
    await_told(&rig, 0, "\"state\":\"paused\"", "vm007");
    gw_registry_refresh_all(rig.registry);
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++)
        fake_vm_remove(vms[i]);
    for (guint i = 0; i < G_N_ELEMENTS(vms); i++) {
        g_autofree char *name = g_strdup_printf("vm%03u", i);
        g_assert_true(gw_registry_await_gone(rig.registry, name, WAIT_MS));
    }
    rig_clear(&rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_FATAL_MASK); /* warnings are what is asked for here */
    g_test_add_func("/registry/found", test_found);
    g_test_add_func("/registry/comes-and-goes", test_comes_and_goes);
    g_test_add_func("/registry/is-looked-for", test_is_looked_for);
    g_test_add_func("/registry/dies", test_dies);
    g_test_add_func("/registry/is-adopted", test_is_adopted);
    g_test_add_func("/registry/hangs", test_hangs);
    g_test_add_func("/registry/lies", test_lies);
    g_test_add_func("/registry/older-status-is-dropped", test_older_status_is_dropped);
    g_test_add_func("/registry/motion", test_motion);
    g_test_add_func("/registry/debris", test_debris);
    g_test_add_func("/registry/many", test_many);
    return g_test_run();
}
