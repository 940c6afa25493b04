/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event log: numbered in order, bounded, told in the main context whichever thread publishes. */
#include "event-log.h"

#include "json.h"

#include <string.h>

#define N_THREADS 4
#define N_EACH    250

typedef struct {
    guint64 id;
    char *type;
    JsonObject *event;
} Told;

/* What a listener was told, in the thread in which it has to be. */
typedef struct {
    GwEventLog *log;
    GArray *told; /* of Told */
    GThread *thread;
    unsigned to_publish; /* by the listener itself */
} Fixture;

static void
told_clear(void *data)
{
    Told *told = data;
    g_free(told->type);
    json_object_unref(told->event);
}

static void
listen(guint64 id, const char *type, const char *text, void *user_data)
{
    Fixture *f = user_data;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_thread_self() == f->thread);
    g_assert_null(strchr(text, '\n'));
    Told told = {id, g_strdup(type), gw_json_parse_object(text, -1, &error)};
    g_assert_no_error(error);
    int64_t written_id = 0;
    g_assert_true(gw_json_get_int(told.event, "id", &written_id));
    g_assert_cmpuint((guint64)written_id, ==, id);
    g_assert_cmpstr(gw_json_get_string(told.event, "type"), ==, type);
    g_array_append_val(f->told, told);
    if (f->to_publish > 0) {
        f->to_publish--;
        gw_event_log_publish(f->log, "from-the-listener", NULL, 0);
    }
}

static void
set_up(Fixture *f)
{
    *f = (Fixture){.thread = g_thread_self(), .told = g_array_new(FALSE, FALSE, sizeof(Told))};
    g_array_set_clear_func(f->told, told_clear);
    f->log = gw_event_log_new(1, listen, f);
}

static void
tear_down(Fixture *f)
{
    gw_event_log_free(f->log);
    g_array_unref(f->told);
}

static void
run_context(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static const Told *
told_at(const Fixture *f, guint i)
{
    g_assert_cmpuint(i, <, f->told->len);
    return &g_array_index(f->told, Told, i);
}

/* Told were the events `first` to `last`, each once, in order. */
static void
assert_told(const Fixture *f, guint64 first, guint64 last)
{
    g_assert_cmpuint(f->told->len, ==, last + 1 - first);
    for (guint i = 0; i < f->told->len; i++)
        g_assert_cmpuint(told_at(f, i)->id, ==, first + i);
}

static void
test_members(void)
{
    Fixture f;
    set_up(&f);
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "reason", "a \"quoted\"\nline");
    gw_event_log_publish(f.log, "vm.running", data, 123456789);
    gint64 before_us = g_get_monotonic_time();
    gw_event_log_publish(f.log, "vm.off", NULL, 0);
    gint64 after_us = g_get_monotonic_time();
    g_assert_cmpuint(f.told->len, ==, 0); /* not from inside publish */
    run_context();
    assert_told(&f, 1, 2);

    int64_t us = 0;
    JsonObject *running = told_at(&f, 0)->event, *off = told_at(&f, 1)->event;
    g_assert_cmpstr(told_at(&f, 0)->type, ==, "vm.running");
    g_assert_cmpstr(gw_json_get_string(running, "reason"), ==, "a \"quoted\"\nline");
    g_assert_true(gw_json_get_int(running, "monotonic_us", &us));
    g_assert_cmpint(us, ==, 123456789);
    g_assert_true(gw_json_get_int(off, "monotonic_us", &us));
    g_assert_cmpint(us, >=, before_us);
    g_assert_cmpint(us, <=, after_us);
    g_assert_cmpuint(json_object_get_size(off), ==, 4);

    const char *at = gw_json_get_string(off, "at");
    g_assert_true(g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$", at, 0, 0));
    g_autoptr(GDateTime) when = g_date_time_new_from_iso8601(at, NULL);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_assert_cmpint(ABS(g_date_time_difference(now, when)), <, 10 * G_TIME_SPAN_SECOND);
    tear_down(&f);
}

static void
test_told_once(void)
{
    Fixture f;
    set_up(&f);
    for (guint64 n = 1; n <= 5; n++) {
        gw_event_log_publish(f.log, "x", NULL, 0);
        run_context();
        assert_told(&f, 1, n);
    }
    run_context();
    assert_told(&f, 1, 5);
    tear_down(&f);
}

static void
test_listener_publishes(void)
{
    Fixture f;
    set_up(&f);
    f.to_publish = 3;
    gw_event_log_publish(f.log, "x", NULL, 0);
    gw_event_log_publish(f.log, "x", NULL, 0);
    run_context();
    assert_told(&f, 1, 5);
    g_assert_cmpstr(told_at(&f, 1)->type, ==, "x");
    for (guint i = 2; i < 5; i++)
        g_assert_cmpstr(told_at(&f, i)->type, ==, "from-the-listener");
    tear_down(&f);
}

static void
replay_into(const Fixture *f, guint64 after, Fixture *ret_replayed)
{
    *ret_replayed = (Fixture){.thread = g_thread_self(), .told = g_array_new(FALSE, FALSE, sizeof(Told))};
    g_array_set_clear_func(ret_replayed->told, told_clear);
    gw_event_log_replay(f->log, after, listen, ret_replayed);
}

static void
assert_replay(const Fixture *f, guint64 after, guint64 first, guint64 last)
{
    Fixture replayed;
    replay_into(f, after, &replayed);
    assert_told(&replayed, first, last);
    g_array_unref(replayed.told);
}

static void
test_replay(void)
{
    Fixture f;
    set_up(&f);
    assert_replay(&f, 0, 1, 0);
    g_assert_cmpuint(gw_event_log_last_id(f.log), ==, 0);
    for (unsigned i = 0; i < 5; i++)
        gw_event_log_publish(f.log, "x", NULL, 0);
    assert_replay(&f, 0, 1, 5); /* also what the listener was not told yet */
    g_assert_cmpuint(gw_event_log_last_id(f.log), ==, 5);
    assert_replay(&f, 3, 4, 5);
    assert_replay(&f, 5, 6, 5);
    assert_replay(&f, G_MAXUINT64, 1, 0);
    run_context();
    assert_told(&f, 1, 5); /* a replay takes nothing away */
    assert_replay(&f, 0, 1, 5);
    tear_down(&f);
}

static void
test_bound(void)
{
    Fixture f;
    set_up(&f);
    for (unsigned i = 0; i < GW_EVENT_LOG_KEPT; i++)
        gw_event_log_publish(f.log, "x", NULL, 0);
    assert_replay(&f, 0, 1, GW_EVENT_LOG_KEPT);
    gw_event_log_publish(f.log, "x", NULL, 0);
    assert_replay(&f, 0, 2, GW_EVENT_LOG_KEPT + 1);
    for (unsigned i = 0; i < 1000; i++)
        gw_event_log_publish(f.log, "x", NULL, 0);
    guint64 last = GW_EVENT_LOG_KEPT + 1 + 1000;
    assert_replay(&f, 0, last + 1 - GW_EVENT_LOG_KEPT, last);
    assert_replay(&f, last - 2, last - 1, last);
    run_context();
    assert_told(&f, last + 1 - GW_EVENT_LOG_KEPT, last);
    tear_down(&f);
}

static void *
publisher_main(void *data)
{
    Fixture *f = data;
    g_autofree char *type = g_strdup_printf("%p", (void *)g_thread_self());
    for (int i = 0; i < N_EACH; i++) {
        JsonObject *object = json_object_new();
        json_object_set_int_member(object, "n", i);
        gw_event_log_publish(f->log, type, object, 0);
    }
    return NULL;
}

/* Nothing is lost while the listener keeps up, and each thread's events keep their order. */
static void
test_threads(void)
{
    Fixture f;
    GThread *threads[N_THREADS];
    set_up(&f);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < N_THREADS; i++)
            threads[i] = g_thread_new("publisher", publisher_main, &f);
        /* In the second round the listener runs beside them, and may fall behind. */
        for (unsigned i = 0; round == 1 && i < 100; i++)
            run_context();
        for (unsigned i = 0; i < N_THREADS; i++)
            g_thread_join(threads[i]);
    }
    run_context();

    const guint64 total = 2 * N_THREADS * N_EACH;
    g_assert_cmpuint(told_at(&f, f.told->len - 1)->id, ==, total);
    g_autoptr(GHashTable) last = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < f.told->len; i++) {
        const Told *told = told_at(&f, i);
        int64_t n = -1;
        if (i > 0)
            g_assert_cmpuint(told->id, >, told_at(&f, i - 1)->id);
        if (told->id <= N_THREADS * N_EACH)
            continue; /* the first round's threads may have had the same addresses */
        g_assert_true(gw_json_get_int(told->event, "n", &n));
        void *before = g_hash_table_lookup(last, told->type);
        g_assert_cmpint(n + 1, >, GPOINTER_TO_INT(before));
        g_hash_table_insert(last, told->type, GINT_TO_POINTER((int)n + 1));
    }
    g_assert_cmpuint(g_hash_table_size(last), >, 0);
    tear_down(&f);
}

static void
test_free_with_pending(void)
{
    Fixture f;
    gw_event_log_free(NULL);
    set_up(&f);
    gw_event_log_publish(f.log, "x", NULL, 0);
    g_clear_pointer(&f.log, gw_event_log_free);
    run_context();
    g_assert_cmpuint(f.told->len, ==, 0);
    tear_down(&f);
}

/* The listener belongs to the context that is the thread's default when the log is made. */
static void
test_other_context(void)
{
    Fixture f;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_main_context_push_thread_default(context);
    set_up(&f);
    g_main_context_pop_thread_default(context);
    gw_event_log_publish(f.log, "x", NULL, 0);
    run_context();
    g_assert_cmpuint(f.told->len, ==, 0);
    while (g_main_context_iteration(context, FALSE))
        ;
    assert_told(&f, 1, 1);
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/event-log/members", test_members);
    g_test_add_func("/event-log/told-once", test_told_once);
    g_test_add_func("/event-log/listener-publishes", test_listener_publishes);
    g_test_add_func("/event-log/replay", test_replay);
    g_test_add_func("/event-log/bound", test_bound);
    g_test_add_func("/event-log/threads", test_threads);
    g_test_add_func("/event-log/free-with-pending", test_free_with_pending);
    g_test_add_func("/event-log/other-context", test_other_context);
    return g_test_run();
}
