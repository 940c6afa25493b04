/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Followers of events: what they missed, what comes, and the end of their session. A real server on a Unix
 * socket, and a real client in a thread. */
#include "event-stream.h"

#include "auth.h"
#include "certificate.h"
#include "http-client.h"
#include "json.h"
#include "store-rig.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    GwStoreRig store;
    GwAuth *auth;
    GwEventHub *hub;
    GwSessionWatch *sessions;
    GwEventStreams *streams;
    GwHttpServer *server;
    char *socket;
    int64_t after; /* of the next stream */
    char *token;   /* of its session; NULL: none */
    /* guarded by lock: what the follower got */
    GMutex lock;
    GPtrArray *got; /* owned "id type"; "open", "end" */
    GThread *follower;
} Rig;

static void
on_request(GwHttpRequest *request, void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwEventReplay) replay = gw_event_replay_read(rig->store.store, rig->after, &error);
    g_assert_no_error(error);
    gw_event_streams_begin(rig->streams, request, rig->token, replay);
}

static void
set_up(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    gw_store_rig_set_up(&rig->store, NULL);
    g_mutex_init(&rig->lock);
    rig->got = g_ptr_array_new_with_free_func(g_free);
    rig->auth = gw_auth_new(rig->store.store);
    rig->hub = gw_event_hub_new(rig->store.store);
    rig->sessions = gw_session_watch_new(rig->auth);
    rig->streams = gw_event_streams_new(rig->hub, rig->sessions);
    rig->server = gw_http_server_new("test");
    rig->socket = g_build_filename(rig->store.directory, "s", NULL);
    gw_http_server_add_route(rig->server, "GET", "/v1/events", on_request, rig);
    g_assert_true(gw_http_server_listen_unix(rig->server, rig->socket, 0600, &error));
    rig->after = -1;
}

static void
tear_down(Rig *rig, const void *data)
{
    gw_http_server_free(rig->server);
    gw_event_streams_free(rig->streams);
    gw_session_watch_free(rig->sessions);
    gw_event_hub_free(rig->hub);
    gw_auth_free(rig->auth);
    g_clear_pointer(&rig->follower, g_thread_join);
    gw_store_rig_tear_down(&rig->store, NULL);
    g_ptr_array_unref(rig->got);
    g_mutex_clear(&rig->lock);
    gw_secret_free(rig->token);
    g_free(rig->socket);
}

static void
note(Rig *rig, char *text)
{
    g_mutex_lock(&rig->lock);
    g_ptr_array_add(rig->got, text);
    g_mutex_unlock(&rig->lock);
    g_main_context_wakeup(NULL);
}

static void
on_open(void *user_data)
{
    note(user_data, g_strdup("open"));
}

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    int64_t first = 0, after = 0;
    if (gw_json_get_int(data, "first", &first) && gw_json_get_int(data, "after", &after))
        note(user_data, g_strdup_printf("%s %d-%d", type, (int)after, (int)first));
    else
        note(user_data, g_strdup_printf("%s %s", id ? id : "-", type));
    return true;
}

static void *
follow(void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(rig->socket, 30, &error);
    g_assert_no_error(error);
    gw_http_follow(client, "/v1/events", on_open, on_event, rig, &error);
    note(rig, g_strdup("end"));
    return NULL;
}

static guint
n_got(Rig *rig)
{
    g_mutex_lock(&rig->lock);
    guint n = rig->got->len;
    g_mutex_unlock(&rig->lock);
    return n;
}

/* Waits for the i-th thing. */
static void
expect(Rig *rig, guint i, const char *expected)
{
    gint64 until = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;
    while (n_got(rig) <= i && g_get_monotonic_time() < until)
        g_main_context_iteration(NULL, TRUE); /* the heartbeat turns it at the latest */
    g_assert_cmpuint(n_got(rig), >, i);
    g_mutex_lock(&rig->lock);
    g_assert_cmpstr(rig->got->pdata[i], ==, expected);
    g_mutex_unlock(&rig->lock);
}

static void
start(Rig *rig, int64_t after)
{
    rig->after = after;
    rig->follower = g_thread_new("follower", follow, rig);
    expect(rig, 0, "open");
}

static void
tell(Rig *rig, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        gw_event_hub_tell(rig->hub, "vm.state", "host1", "web1", NULL, NULL);
}

static void
test_live(Rig *rig, const void *data)
{
    tell(rig, 3);
    start(rig, -1);
    tell(rig, 1);
    gw_event_hub_tell_passing(rig->hub, "host.load", "host1", NULL, NULL, NULL);
    tell(rig, 1);
    expect(rig, 1, "4 vm.state");
    expect(rig, 2, "4 host.load"); /* an event without an id leaves the last one */
    expect(rig, 3, "5 vm.state");
    g_assert_cmpuint(n_got(rig), ==, 4);
}

/* Each once, whether it comes out of the store, the ring, or the hub. The hub has told nothing yet when the
 * store is read: its events are still in its queue. */
static void
test_replay(Rig *rig, const void *data)
{
    tell(rig, 5);
    start(rig, 2);
    tell(rig, 1);
    expect(rig, 1, "3 vm.state");
    expect(rig, 2, "4 vm.state");
    expect(rig, 3, "5 vm.state");
    expect(rig, 4, "6 vm.state");
    g_assert_cmpuint(n_got(rig), ==, 5);
}

/* What came between the reading of the store and the beginning. */
static void
on_late_request(GwHttpRequest *request, void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwEventReplay) replay = gw_event_replay_read(rig->store.store, rig->after, &error);
    g_assert_no_error(error);
    tell(rig, 2);
    while (g_main_context_iteration(NULL, FALSE))
        ; /* the hub tells all */
    gw_event_streams_begin(rig->streams, request, NULL, replay);
}

static void
test_between(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *late = g_build_filename(rig->store.directory, "late", NULL);
    GwHttpServer *server = gw_http_server_new("test");
    gw_http_server_add_route(server, "GET", "/v1/events", on_late_request, rig);
    g_assert_true(gw_http_server_listen_unix(server, late, 0600, &error));
    g_free(rig->socket);
    rig->socket = g_steal_pointer(&late);
    tell(rig, 2);
    start(rig, 1);
    tell(rig, 1);
    expect(rig, 1, "2 vm.state");
    expect(rig, 2, "3 vm.state");
    expect(rig, 3, "4 vm.state");
    expect(rig, 4, "5 vm.state");
    gw_http_server_free(server);
}

static void
test_missed(Rig *rig, const void *data)
{
    tell(rig, GW_EVENT_REPLAY_MAX + 10);
    start(rig, 4);
    expect(rig, 1, "events.missed 4-11");
    expect(rig, 2, "11 vm.state");
    expect(rig, GW_EVENT_REPLAY_MAX + 1, "1010 vm.state");
}

/* Events may be large: a stream is not cut off for what it is sent at its beginning. */
static void
test_large(Rig *rig, const void *data)
{
    g_autofree char *filler = g_strnfill(20000, 'x');
    for (unsigned i = 0; i < 100; i++) {
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "filler", filler);
        gw_event_hub_tell(rig->hub, "vm.state", NULL, "web1", NULL, object);
    }
    start(rig, 0);
    expect(rig, 1, "events.missed 0-75");
    expect(rig, 2, "75 vm.state");
    expect(rig, 27, "100 vm.state");
    tell(rig, 1);
    expect(rig, 28, "101 vm.state");
}

/* A number from another store must not keep a follower from what is told now. */
static void
test_after_beyond(Rig *rig, const void *data)
{
    tell(rig, 1);
    start(rig, 5000);
    tell(rig, 1);
    expect(rig, 1, "2 vm.state");
}

static void
test_logout(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_us;
    GwRole role;
    g_assert_true(gw_auth_add_user(rig->auth, "bob", GW_ROLE_READ_ONLY, "correct horse", &error));
    rig->token = gw_auth_login(rig->auth, "bob", "correct horse", "", &expires_us, &role, &error);
    g_assert_no_error(error);
    start(rig, -1);
    gw_session_watch_look(rig->sessions);
    tell(rig, 1);
    expect(rig, 1, "1 vm.state");
    g_assert_true(gw_auth_logout(rig->auth, rig->token, &error));
    gw_session_watch_look(rig->sessions);
    expect(rig, 2, "end");
}

static void
test_empty_store(Rig *rig, const void *data)
{
    g_autoptr(GwEventReplay) replay = NULL;
    g_autoptr(GError) error = NULL;
    replay = gw_event_replay_read(rig->store.store, 0, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(replay->messages->len, ==, 0);
    g_assert_cmpint(replay->last_id, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add("/event-stream/" path, Rig, NULL, set_up, test, tear_down)
    ADD("live", test_live);
    ADD("replay", test_replay);
    ADD("between", test_between);
    ADD("missed", test_missed);
    ADD("large", test_large);
    ADD("after-beyond", test_after_beyond);
    ADD("logout", test_logout);
    ADD("empty-store", test_empty_store);
    return g_test_run();
}
