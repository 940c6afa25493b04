/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Works: in threads of their own, several at once, with errors, too many, and a server that ends meanwhile.
 */
#include "error.h"
#include "http-rig.h"
#include "json.h"

#include <string.h>

typedef struct {
    unsigned port;
    GThread *server_thread;
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    unsigned n_inside, n_refused;
    bool may_leave;
} Fixture;

static JsonObject *
work_echo(GwHttpRequest *request, void *data, GError **error)
{
    Fixture *f = data;
    g_assert_true(g_thread_self() != f->server_thread);
    JsonObject *body = gw_http_request_json(request, error);
    if (!body)
        return NULL;
    JsonObject *reply = json_object_new();
    json_object_set_string_member(reply, "method", gw_http_request_method(request));
    json_object_set_string_member(reply, "path", gw_http_request_path(request));
    json_object_set_string_member(reply, "name", gw_http_request_param(request, "name"));
    json_object_set_string_member(reply, "query", gw_http_request_query(request, "q"));
    json_object_set_string_member(reply, "text", gw_json_get_string(body, "text"));
    json_object_set_string_member(reply, "bearer", gw_http_request_bearer(request));
    json_object_set_string_member(reply, "address", gw_http_request_address(request));
    json_object_set_string_member(reply, "peer", gw_http_request_peer_name(request));
    json_object_set_boolean_member(reply, "local", gw_http_request_is_local(request));
    gw_http_set_header(request, "X-Test", "yes");
    gw_http_set_status(request, 201);
    return reply;
}

static JsonObject *
work_fail(GwHttpRequest *request, void *data, GError **error)
{
    g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "not now");
    return NULL;
}

static JsonObject *
work_nothing(GwHttpRequest *request, void *data, GError **error)
{
    return NULL;
}

/* Does not end until the test allows it. */
static JsonObject *
work_wait(GwHttpRequest *request, void *data, GError **error)
{
    Fixture *f = data;
    g_mutex_lock(&f->lock);
    f->n_inside++;
    g_cond_broadcast(&f->changed);
    while (!f->may_leave)
        g_cond_wait(&f->changed, &f->lock);
    g_mutex_unlock(&f->lock);
    return json_object_new();
}

static void
set_up(HttpRig *rig, GwHttpServer *server, void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    f->server_thread = g_thread_self();
    gw_http_server_add_work(server, "POST", "/v1/echo/{name}", work_echo, f);
    gw_http_server_add_work(server, "GET", "/v1/fail", work_fail, f);
    gw_http_server_add_work(server, "GET", "/v1/nothing", work_nothing, f);
    gw_http_server_add_work(server, "GET", "/v1/wait", work_wait, f);
    f->port = gw_http_server_listen_tcp(server, "127.0.0.1", 0, &error);
    g_assert_no_error(error);
}

static HttpRig *
start(Fixture *f)
{
    *f = (Fixture){0};
    g_mutex_init(&f->lock);
    g_cond_init(&f->changed);
    return http_rig_new(set_up, f);
}

static void
allow(Fixture *f)
{
    g_mutex_lock(&f->lock);
    f->may_leave = true;
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
}

static void
await_inside(Fixture *f, unsigned n)
{
    g_mutex_lock(&f->lock);
    while (f->n_inside < n)
        g_cond_wait(&f->changed, &f->lock);
    g_mutex_unlock(&f->lock);
}

static void
finish(Fixture *f, HttpRig *rig)
{
    if (rig)
        http_rig_free(rig);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->changed);
}

static void
test_answers(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    HttpRig *rig = start(&f);
    g_autoptr(GwHttpClient) client = gw_http_client_new_tcp("127.0.0.1", f.port, 10);
    gw_http_client_set_bearer(client, "s3cret");
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "text", "hello");
    g_autoptr(JsonObject) reply = gw_http_call(client, "POST", "/v1/echo/web1?q=a%20b", body, &error);
    g_assert_no_error(error);
    g_autofree char *line = gw_json_object_to_line(reply);
    g_assert_cmpstr(line, ==,
                    "{\"method\":\"POST\",\"path\":\"/v1/echo/web1\",\"name\":\"web1\",\"query\":\"a b\","
                    "\"text\":\"hello\",\"bearer\":\"s3cret\",\"address\":\"127.0.0.1\",\"peer\":null,"
                    "\"local\":false}");
    gw_http_client_set_bearer(client, NULL);
    g_autoptr(JsonObject) second = gw_http_call(client, "POST", "/v1/echo/web1", NULL, &error);
    g_assert_no_error(error);
    g_assert_null(gw_json_get_string(second, "bearer"));

    http_assert_fails(client, "GET", "/v1/fail", "wrong-state", "not now");
    http_assert_fails(client, "GET", "/v1/nothing", "failed", "without an answer");
    g_assert_false(gw_http_post_bytes(client, "/v1/echo/x", "{", 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    finish(&f, rig);
}

/* `n` clients that each make one call in a thread. */
typedef struct {
    Fixture *fixture;
    GThread *thread;
    GError *error;
} Caller;

static void *
call_thread(void *data)
{
    Caller *caller = data;
    g_autoptr(GwHttpClient) client = gw_http_client_new_tcp("127.0.0.1", caller->fixture->port, 60);
    g_autoptr(JsonObject) reply = gw_http_call(client, "GET", "/v1/wait", NULL, &caller->error);
    if (caller->error) {
        g_mutex_lock(&caller->fixture->lock);
        caller->fixture->n_refused++;
        g_cond_broadcast(&caller->fixture->changed);
        g_mutex_unlock(&caller->fixture->lock);
    }
    return NULL;
}

static Caller *
start_callers(Fixture *f, unsigned n)
{
    Caller *callers = g_new0(Caller, n);
    for (unsigned i = 0; i < n; i++) {
        callers[i].fixture = f;
        callers[i].thread = g_thread_new("caller", call_thread, &callers[i]);
    }
    return callers;
}

static void
test_at_once(void)
{
    Fixture f;
    HttpRig *rig = start(&f);
    g_autofree Caller *callers = start_callers(&f, 16);
    await_inside(&f, 16); /* or the test never ends */
    allow(&f);
    for (unsigned i = 0; i < 16; i++) {
        g_thread_join(callers[i].thread);
        g_assert_no_error(callers[i].error);
    }
    finish(&f, rig);
}

/* More than the threads and the queue hold: those too many are told so while all others wait. */
static void
test_too_many(void)
{
    enum { N = 340, N_HELD = 32 + 256 };
    Fixture f;
    HttpRig *rig = start(&f);
    g_autofree Caller *callers = start_callers(&f, N);
    g_mutex_lock(&f.lock);
    while (f.n_refused < N - N_HELD) /* or the test never ends */
        g_cond_wait(&f.changed, &f.lock);
    g_assert_cmpuint(f.n_inside, <=, 32);
    g_mutex_unlock(&f.lock);
    /* What is no work is answered as ever. */
    g_autoptr(GwHttpClient) client = gw_http_client_new_tcp("127.0.0.1", f.port, 60);
    http_assert_fails(client, "GET", "/v1/nowhere", "not-found", "nowhere");
    allow(&f);
    for (unsigned i = 0; i < N; i++) {
        g_thread_join(callers[i].thread);
        if (callers[i].error)
            g_assert_error(callers[i].error, GW_ERROR, GW_ERROR_BUSY);
        g_clear_error(&callers[i].error);
    }
    finish(&f, rig);
}

static void *
allow_thread(void *data)
{
    allow(data);
    return NULL;
}

/* The server's end waits for the works, and those who asked get their answers or a broken connection. */
static void
test_server_ends(void)
{
    Fixture f;
    HttpRig *rig = start(&f);
    g_autofree Caller *callers = start_callers(&f, 40);
    await_inside(&f, 32);
    GThread *later = g_thread_new("later", allow_thread, &f);
    http_rig_free(rig);
    g_assert_true(f.may_leave);
    for (unsigned i = 0; i < 40; i++) {
        g_thread_join(callers[i].thread);
        g_clear_error(&callers[i].error);
    }
    g_thread_join(later);
    finish(&f, NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-work/answers", test_answers);
    g_test_add_func("/http-work/at-once", test_at_once);
    g_test_add_func("/http-work/too-many", test_too_many);
    g_test_add_func("/http-work/server-ends", test_server_ends);
    return g_test_run();
}
