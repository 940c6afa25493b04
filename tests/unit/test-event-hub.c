/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events: told from any thread, kept, delivered in order in the hub's own context. */
#include "event-hub.h"

#include "json.h"
#include "store-rig.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    GwStoreRig store;
    GwEventHub *hub; /* owned; NULL once freed */
    GThread *thread; /* that made it */
    GPtrArray *told; /* owned text: "id type data" */
    guint until;     /* frees the hub at this event; 0: never */
} Rig;

static void
on_event(int64_t id, const char *type, JsonObject *data, void *user_data)
{
    Rig *rig = user_data;
    g_assert_true(g_thread_self() == rig->thread);
    g_assert_nonnull(gw_json_get_string(data, "at"));
    g_assert_cmpstr(gw_json_get_string(data, "type"), ==, type);
    json_object_remove_member(data, "at");
    json_object_remove_member(data, "type");
    g_autofree char *text = gw_json_object_to_line(data);
    g_ptr_array_add(rig->told, g_strdup_printf("%d %s %s", (int)id, type, text));
    if (rig->told->len == rig->until)
        g_clear_pointer(&rig->hub, gw_event_hub_free);
}

static void
set_up(Rig *rig, const void *data)
{
    gw_store_rig_set_up(&rig->store, NULL);
    rig->hub = gw_event_hub_new(rig->store.store);
    rig->thread = g_thread_self();
    rig->told = g_ptr_array_new_with_free_func(g_free);
    gw_event_hub_listen(rig->hub, on_event, rig);
}

static void
tear_down(Rig *rig, const void *data)
{
    gw_event_hub_free(rig->hub);
    gw_store_rig_tear_down(&rig->store, NULL);
    g_ptr_array_unref(rig->told);
}

static void
run(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static void
assert_told(Rig *rig, guint i, const char *expected)
{
    g_assert_cmpuint(i, <, rig->told->len);
    g_assert_cmpstr(rig->told->pdata[i], ==, expected);
}

static JsonObject *
object(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *parsed = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return parsed;
}

static void
test_tell(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    gw_event_hub_tell(rig->hub, "host.up", "host1", NULL, NULL, NULL);
    gw_event_hub_tell_passing(rig->hub, "host.load", "host1", NULL, NULL, object("{\"cpu\":3}"));
    gw_event_hub_tell(rig->hub, "vm.state", "host1", "web1", "t1", object("{\"state\":\"off\"}"));
    /* what the data has itself stays; type and time are the hub's */
    gw_event_hub_tell(rig->hub, "task.state", NULL, NULL, "t1",
                      object("{\"task\":{\"id\":\"t1\"},\"type\":7,\"at\":1}"));
    g_assert_cmpuint(rig->told->len, ==, 0); /* never within tell */
    run();
    g_assert_cmpuint(rig->told->len, ==, 4);
    assert_told(rig, 0, "1 host.up {\"host\":\"host1\"}");
    assert_told(rig, 1, "0 host.load {\"cpu\":3,\"host\":\"host1\"}");
    assert_told(rig, 2, "2 vm.state {\"state\":\"off\",\"host\":\"host1\",\"vm\":\"web1\",\"task\":\"t1\"}");
    assert_told(rig, 3, "3 task.state {\"task\":{\"id\":\"t1\"}}");
    g_autoptr(GArray) kept = gw_store_events(rig->store.store, 0, 10, &error);
    g_assert_cmpuint(kept->len, ==, 3);
    GwEventRecord *event = &g_array_index(kept, GwEventRecord, 1);
    g_assert_cmpstr(event->type, ==, "vm.state");
    g_assert_cmpstr(event->host, ==, "host1");
    g_assert_cmpstr(event->vm, ==, "web1");
    g_assert_cmpstr(event->task, ==, "t1");
    g_assert_cmpint(ABS(event->at_us - g_get_real_time()), <, 60 * G_USEC_PER_SEC);
    g_autoptr(JsonObject) whole = object(event->data);
    g_assert_cmpstr(gw_json_get_string(whole, "type"), ==, "vm.state");
    g_assert_cmpstr(gw_json_get_string(whole, "state"), ==, "off");
    g_autoptr(GDateTime) at = g_date_time_new_from_iso8601(gw_json_get_string(whole, "at"), NULL);
    g_assert_cmpint(g_date_time_to_unix(at), ==, event->at_us / G_USEC_PER_SEC);
    g_assert_cmpint(g_date_time_get_microsecond(at), ==, event->at_us % G_USEC_PER_SEC);
}

#define N_THREADS 8
#define N_EACH    20

static void *
tell_many(void *data)
{
    Rig *rig = data;
    for (int i = 0; i < N_EACH; i++) {
        gw_event_hub_tell(rig->hub, "kept", NULL, NULL, NULL, NULL);
        gw_event_hub_tell_passing(rig->hub, "passing", NULL, NULL, NULL, NULL);
    }
    return NULL;
}

/* A listener that is as fast as the tellers: neither may meet the other in the counts of references of what
 * is told, which have no lock. */
static void
test_threads(Rig *rig, const void *data)
{
    GThread *threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("teller", tell_many, rig);
    while (rig->told->len < 2 * N_THREADS * N_EACH)
        g_main_context_iteration(NULL, FALSE);
    for (int i = 0; i < N_THREADS; i++)
        g_thread_join(threads[i]);
    int next = 1;
    for (guint i = 0; i < rig->told->len; i++)
        if (g_str_has_suffix(rig->told->pdata[i], "kept {}"))
            g_assert_cmpint(atoi(rig->told->pdata[i]), ==, next++);
    g_assert_cmpint(next, ==, N_THREADS * N_EACH + 1);
}

static void
test_freed(Rig *rig, const void *data)
{
    gw_event_hub_tell(rig->hub, "kept", NULL, NULL, NULL, NULL);
    g_clear_pointer(&rig->hub, gw_event_hub_free);
    run();
    g_assert_cmpuint(rig->told->len, ==, 0);
}

static void
test_freed_by_listener(Rig *rig, const void *data)
{
    rig->until = 2;
    for (int i = 0; i < 4; i++)
        gw_event_hub_tell_passing(rig->hub, "passing", NULL, NULL, NULL, NULL);
    run();
    g_assert_cmpuint(rig->told->len, ==, 2);
    g_assert_null(rig->hub);
}

static void
test_passing_bound(Rig *rig, const void *data)
{
    for (int i = 0; i < 1500; i++)
        gw_event_hub_tell_passing(rig->hub, "passing", NULL, NULL, NULL, NULL);
    gw_event_hub_tell(rig->hub, "kept", NULL, NULL, NULL, NULL); /* never lost */
    run();
    g_assert_cmpuint(rig->told->len, ==, 1001);
    assert_told(rig, 1000, "1 kept {}");
    gw_event_hub_tell_passing(rig->hub, "passing", NULL, NULL, NULL, NULL);
    run();
    g_assert_cmpuint(rig->told->len, ==, 1002);
}

static char last_warning[256];

static GLogWriterOutput
write_log(GLogLevelFlags level, const GLogField *fields, gsize n, void *data)
{
    if (level != G_LOG_LEVEL_WARNING)
        return g_log_writer_default(level, fields, n, data);
    for (gsize i = 0; i < n; i++)
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            g_strlcpy(last_warning, fields[i].value, sizeof last_warning);
    return G_LOG_WRITER_HANDLED;
}

/* A store that fails, which a program that took the table away makes it. */
static void
test_store_fails(Rig *rig, const void *data)
{
    g_clear_pointer(&rig->hub, gw_event_hub_free);
    gw_store_rig_close(&rig->store);
    gw_store_rig_execute(&rig->store, "DROP TABLE events");
    gw_store_rig_open(&rig->store);
    rig->hub = gw_event_hub_new(rig->store.store);
    gw_event_hub_listen(rig->hub, on_event, rig);
    gw_event_hub_tell(rig->hub, "vm.state", NULL, "web1", NULL, NULL);
    g_assert_nonnull(strstr(last_warning, "vm.state is not kept"));
    run();
    assert_told(rig, 0, "0 vm.state {\"vm\":\"web1\"}");
}

/* Of a thread with a context of its own. */
static void *
live_elsewhere(void *data)
{
    Rig rig = {0};
    g_autoptr(GMainContext) context = g_main_context_new();
    g_main_context_push_thread_default(context);
    set_up(&rig, NULL);
    GThread *teller = g_thread_new("teller", tell_many, &rig);
    while (rig.told->len < 2 * N_EACH)
        g_main_context_iteration(context, TRUE);
    g_thread_join(teller);
    tear_down(&rig, NULL);
    g_main_context_pop_thread_default(context);
    return NULL;
}

static void
test_own_context(void)
{
    g_thread_join(g_thread_new("elsewhere", live_elsewhere, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_writer_func(write_log, NULL, NULL);
#define ADD(path, function) g_test_add(path, Rig, NULL, set_up, function, tear_down)
    ADD("/event-hub/tell", test_tell);
    ADD("/event-hub/threads", test_threads);
    ADD("/event-hub/freed", test_freed);
    ADD("/event-hub/freed-by-listener", test_freed_by_listener);
    ADD("/event-hub/passing-bound", test_passing_bound);
    ADD("/event-hub/store-fails", test_store_fails);
    g_test_add_func("/event-hub/own-context", test_own_context);
    return g_test_run();
}
