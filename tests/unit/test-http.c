/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP server and client against each other: on a Unix socket and on TCP, well and badly behaved clients. */
#include "error.h"
#include "http-client.h"
#include "http-server.h"
#include "json.h"
#include "unix-socket.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *directory, *path;
    GwHttpServer *server;
    unsigned port;
    GMainLoop *loop;
    GwHttpRequest *stream;
    int stream_closed; /* atomic */
    /* the client's side, run in a thread of its own */
    void (*client)(void *fixture);
} Fixture;

static void
handle_echo(GwHttpRequest *request, void *data)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    if (!body) {
        gw_http_reply_error(request, error);
        return;
    }
    JsonObject *reply = json_object_new();
    json_object_set_string_member(reply, "name", gw_http_request_param(request, "name"));
    json_object_set_string_member(reply, "query", gw_http_request_query(request, "q"));
    json_object_set_string_member(reply, "text", gw_json_get_string(body, "text"));
    gw_http_reply(request, 200, reply);
}

static void
handle_busy(GwHttpRequest *request, void *data)
{
    g_autoptr(GError) error = g_error_new_literal(GW_ERROR, GW_ERROR_WRONG_STATE, "web1 is in motion");
    gw_http_reply_error(request, error);
}

static gboolean
answer_later(void *data)
{
    g_autoptr(GwHttpRequest) request = data;
    gw_http_reply(request, 200, json_object_new());
    return G_SOURCE_REMOVE;
}

static void
handle_later(GwHttpRequest *request, void *data)
{
    g_timeout_add(20, answer_later, gw_http_request_ref(request));
}

static void
handle_close(GwHttpRequest *request, void *data)
{
    const Fixture *f = data;
    gw_http_server_close(f->server);
    handle_later(request, data);
}

static void
handle_dropped(GwHttpRequest *request, void *data)
{
}

static void
on_stream_closed(GwHttpRequest *request, void *data)
{
    Fixture *f = data;
    g_atomic_int_set(&f->stream_closed, true);
    g_clear_pointer(&f->stream, gw_http_request_unref);
}

static gboolean
send_piece(void *data)
{
    Fixture *f = data;
    static const char piece[4096] = "x";
    if (f->stream)
        gw_http_stream_send(f->stream, piece, sizeof piece);
    return f->stream != NULL;
}

static void
handle_stream(GwHttpRequest *request, void *data)
{
    Fixture *f = data;
    f->stream = gw_http_request_ref(request);
    gw_http_stream_begin(request, "text/plain", on_stream_closed, f);
    gw_http_stream_send(request, "hello ", 6);
    g_idle_add_full(G_PRIORITY_DEFAULT, send_piece, f, NULL);
}

static void *
client_main(void *data)
{
    Fixture *f = data;
    f->client(f);
    g_main_loop_quit(f->loop);
    return NULL;
}

static void
run(void (*client)(void *))
{
    g_autoptr(GError) error = NULL;
    Fixture f = {.client = client, .loop = g_main_loop_new(NULL, FALSE)};
    f.directory = g_dir_make_tmp("godwit-http-XXXXXX", &error);
    g_assert_no_error(error);
    /* Deeper than a sockaddr_un is long. */
    g_autofree char *deep = g_strdup_printf("%s/%0100d", f.directory, 0);
    g_assert_cmpint(g_mkdir(deep, 0700), ==, 0);
    f.path = g_build_filename(deep, "control.sock", NULL);

    f.server = gw_http_server_new("test");
    gw_http_server_add_route(f.server, "POST", "/v1/echo/{name}", handle_echo, &f);
    gw_http_server_add_route(f.server, "GET", "/v1/busy", handle_busy, &f);
    gw_http_server_add_route(f.server, "DELETE", "/v1/busy", handle_busy, &f);
    gw_http_server_add_route(f.server, "GET", "/v1/later", handle_later, &f);
    gw_http_server_add_route(f.server, "GET", "/v1/close", handle_close, &f);
    gw_http_server_add_route(f.server, "GET", "/v1/dropped", handle_dropped, &f);
    gw_http_server_add_route(f.server, "GET", "/v1/stream", handle_stream, &f);
    gw_http_server_listen_unix(f.server, f.path, 0600, &error);
    g_assert_no_error(error);
    f.port = gw_http_server_listen_tcp(f.server, "127.0.0.1", 0, &error);
    g_assert_no_error(error);

    GThread *thread = g_thread_new("client", client_main, &f);
    g_main_loop_run(f.loop);
    g_thread_join(thread);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    gw_http_server_free(f.server);
    g_clear_pointer(&f.stream, gw_http_request_unref);
    g_assert_false(g_file_test(f.path, G_FILE_TEST_EXISTS));
    g_rmdir(deep);
    g_rmdir(f.directory);
    g_main_loop_unref(f.loop);
    g_free(f.path);
    g_free(f.directory);
}

static void
assert_echo(GwHttpClient *client)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "text", "grüße");
    g_autoptr(JsonObject) reply = gw_http_call(client, "POST", "/v1/echo/web1?q=a%20b", body, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(gw_json_get_string(reply, "name"), ==, "web1");
    g_assert_cmpstr(gw_json_get_string(reply, "query"), ==, "a b");
    g_assert_cmpstr(gw_json_get_string(reply, "text"), ==, "grüße");
}

static void
client_calls(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) on_unix = gw_http_client_new_unix(f->path, 5, &error);
    g_assert_no_error(error);
    assert_echo(on_unix);
    assert_echo(on_unix); /* on the connection that is there */
    g_autoptr(GwHttpClient) on_tcp = gw_http_client_new_tcp("127.0.0.1", f->port, 5);
    assert_echo(on_tcp);

    struct stat st;
    g_assert_cmpint(stat(f->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);

    g_autoptr(JsonObject) later = gw_http_call(on_unix, "GET", "/v1/later", NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(later);
}

static void
assert_call_fails(GwHttpClient *client, const char *method, const char *path, GwError code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = gw_http_call(client, method, path, NULL, &error);
    g_assert_null(reply);
    g_assert_error(error, GW_ERROR, (int)code);
    if (!strstr(error->message, part))
        g_error("'%s' does not say '%s'", error->message, part);
}

static void
client_errors(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(f->path, 5, &error);
    assert_call_fails(client, "GET", "/v1/busy", GW_ERROR_WRONG_STATE, "web1 is in motion");
    assert_call_fails(client, "GET", "/v1/absent", GW_ERROR_NOT_FOUND, "/v1/absent");
    assert_call_fails(client, "GET", "/v1/echo/a/b", GW_ERROR_NOT_FOUND, "/v1/echo/a/b");
    assert_call_fails(client, "PUT", "/v1/busy", GW_ERROR_INVALID_ARGUMENT, "only GET, DELETE");

    gw_http_post_bytes(client, "/v1/echo/x", "{\"text\":", 8, &error);
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    /* No socket, and one that nobody listens on. */
    g_autoptr(GwHttpClient) nobody = gw_http_client_new_unix("/proc/self/absent.sock", 5, &error);
    g_assert_no_error(error);
    assert_call_fails(nobody, "GET", "/", GW_ERROR_PEER_LOST, "No such file");
    g_autofree char *left = g_strconcat(f->path, "-left", NULL);
    int fd = gw_unix_socket_listen(left, 0600, &error);
    g_assert_no_error(error);
    close(fd);
    g_autoptr(GwHttpClient) orphan = gw_http_client_new_unix(left, 5, &error);
    assert_call_fails(orphan, "GET", "/", GW_ERROR_PEER_LOST, "refused");
    g_unlink(left);
}

static bool
is_answered(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 0) == 1;
}

/* Sends `request` and `body_length` zeros raw, or as many as the server waits for before it answers, and
 * returns the answer's first line. */
static char *
raw(Fixture *f, const char *request, size_t body_length)
{
    g_autoptr(GError) error = NULL;
    int fd = gw_unix_socket_connect(f->path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(send(fd, request, strlen(request), MSG_NOSIGNAL), ==, (gssize)strlen(request));
    g_autofree char *body = g_malloc0(body_length);
    for (size_t sent = 0; sent < body_length && !is_answered(fd);) {
        ssize_t n_sent = send(fd, body + sent, body_length - sent, MSG_NOSIGNAL);
        g_assert_cmpint(n_sent, >, 0);
        sent += (size_t)n_sent;
    }
    char answer[4096];
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    close(fd);
    g_assert_cmpint(n, >, 0);
    answer[n] = '\0';
    return g_strndup(answer, strcspn(answer, "\r\n"));
}

static void
client_limits(void *data)
{
    Fixture *f = data;
    g_autofree char *large =
        raw(f, "POST /v1/echo/x HTTP/1.1\r\nHost: vm\r\nContent-Length: 104857600\r\n\r\n", 104857600);
    g_assert_cmpstr(large, ==, "HTTP/1.1 413 Request Entity Too Large");
    g_autofree char *chunked =
        raw(f, "POST /v1/echo/x HTTP/1.1\r\nHost: vm\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0);
    g_assert_cmpstr(chunked, ==, "HTTP/1.1 411 Length Required");
    g_autofree char *garbage = raw(f, "\x01\x02 garbage\r\n\r\n", 0);
    g_assert_true(strstr(garbage, " 400 ") != NULL);

    /* A client that says nothing keeps nobody else waiting. */
    g_autoptr(GError) error = NULL;
    int silent = gw_unix_socket_connect(f->path, &error);
    g_assert_no_error(error);
    client_calls(f);
    close(silent);
}

static void
client_slow_reader(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(f->path, 5, &error);
    g_autoptr(GInputStream) stream = gw_http_open(client, "/v1/stream", &error);
    g_assert_no_error(error);
    char hello[6];
    g_assert_cmpint(g_input_stream_read(stream, hello, 6, NULL, &error), ==, 6);
    g_assert_cmpint(memcmp(hello, "hello ", 6), ==, 0);
    /* We read no more; the server sends as fast as it can and has to cut us off at its limit. */
    gint64 deadline = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (!g_atomic_int_get(&f->stream_closed) && g_get_monotonic_time() < deadline)
        g_thread_yield();
    g_assert_true(g_atomic_int_get(&f->stream_closed));
    client_calls(f);
}

/* An answer that is due is given; nobody else reaches a route, be he in already. */
static void
client_closes(void *data)
{
    Fixture *f = data;
    static const char question[] = "GET /v1/later HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[1024] = "";
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(f->path, 5, &error);
    int early = gw_unix_socket_connect(f->path, &error);
    g_assert_no_error(error);
    client_calls(f); /* so it has been let in */
    g_autoptr(JsonObject) due = gw_http_call(client, "GET", "/v1/close", NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(due);

    g_assert_cmpint((int)write(early, question, strlen(question)), ==, strlen(question));
    size_t n = 0;
    ssize_t got;
    while ((got = read(early, answer + n, sizeof answer - 1 - n)) > 0)
        n += (size_t)got;
    g_assert_nonnull(strstr(answer, " 409 "));
    g_assert_nonnull(strstr(answer, "about to end"));
    close(early);
    g_autoptr(JsonObject) late = gw_http_call(client, "GET", "/v1/later", NULL, &error);
    g_assert_null(late);
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
}

static void
test_socket_in_use(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = g_dir_make_tmp("godwit-sock-XXXXXX", &error);
    g_autofree char *path = g_build_filename(directory, "s", NULL);
    int first = gw_unix_socket_listen(path, 0600, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_unix_socket_listen(path, 0600, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    g_clear_error(&error);
    close(first); /* the file stays, as after a crash */
    int second = gw_unix_socket_listen(path, 0600, &error);
    g_assert_no_error(error);
    close(second);
    g_unlink(path);
    g_assert_cmpint(gw_unix_socket_connect(path, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_rmdir(directory);
}

static void
test_calls(void)
{
    run(client_calls);
}

static void
test_errors(void)
{
    run(client_errors);
}

static void
test_limits(void)
{
    run(client_limits);
}

static void
test_slow_reader(void)
{
    run(client_slow_reader);
}

static void
test_close(void)
{
    run(client_closes);
}

/* --- the end -------------------------------------------------------------------------------------------- */

#define LAST_BYTES (2 << 20) /* more than any socket takes at once */

static void
handle_last(GwHttpRequest *request, void *data)
{
    g_autofree char *text = g_strnfill(LAST_BYTES, 'x');
    JsonObject *last = json_object_new();
    json_object_set_string_member(last, "text", text);
    gw_http_reply(request, 200, last);
    g_main_loop_quit(((Fixture *)data)->loop);
}

static void *
ask_for_last(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(f->path, 5, &error);
    g_autoptr(JsonObject) reply = gw_http_call(client, "GET", "/v1/last", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(gw_json_get_string(reply, "text")), ==, LAST_BYTES);
    return NULL;
}

/* A server whose loop ends with its answer. */
static void
last_set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    *f = (Fixture){.loop = g_main_loop_new(NULL, FALSE)};
    f->directory = g_dir_make_tmp("godwit-http-XXXXXX", &error);
    f->path = g_build_filename(f->directory, "control.sock", NULL);
    f->server = gw_http_server_new("test");
    gw_http_server_add_route(f->server, "GET", "/v1/last", handle_last, f);
    gw_http_server_listen_unix(f->server, f->path, 0600, &error);
    g_assert_no_error(error);
}

static void
last_tear_down(Fixture *f)
{
    g_assert_cmpint(g_rmdir(f->directory), ==, 0);
    g_main_loop_unref(f->loop);
    g_free(f->path);
    g_free(f->directory);
}

static void
test_last_answer(void)
{
    Fixture f;
    last_set_up(&f);
    GThread *thread = g_thread_new("client", ask_for_last, &f);
    g_main_loop_run(f.loop);
    gw_http_server_free(f.server);
    g_thread_join(thread);
    last_tear_down(&f);
}

/* One that does not take it is not waited for longer than a moment. */
static void
test_last_answer_not_taken(void)
{
    g_autoptr(GError) error = NULL;
    static const char request[] = "GET /v1/last HTTP/1.1\r\nHost: x\r\n\r\n";
    Fixture f;
    last_set_up(&f);
    int fd = gw_unix_socket_connect(f.path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(write(fd, request, strlen(request)), ==, (int)strlen(request));
    g_main_loop_run(f.loop);
    gint64 began_us = g_get_monotonic_time();
    gw_http_server_free(f.server);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 10 * G_TIME_SPAN_SECOND);
    close(fd);
    last_tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http/calls", test_calls);
    g_test_add_func("/http/errors", test_errors);
    g_test_add_func("/http/limits", test_limits);
    g_test_add_func("/http/slow-reader", test_slow_reader);
    g_test_add_func("/http/close", test_close);
    g_test_add_func("/http/socket-in-use", test_socket_in_use);
    g_test_add_func("/http/last-answer", test_last_answer);
    g_test_add_func("/http/last-answer/not-taken", test_last_answer_not_taken);
    return g_test_run();
}
