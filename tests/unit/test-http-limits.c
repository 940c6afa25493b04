/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients that are many, slow, silent or endless, and somebody else who is served all the same. */
#include "error.h"
#include "http-rig.h"
#include "http-server-internal.h"
#include "json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000

typedef struct {
    HttpRig *rig;
    HttpTrust *trust;
    GwTlsFiles files;
    GwHttpLimits limits;
    unsigned port, tls_port;
    unsigned n_fds; /* before the server was there */
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    unsigned n_inside;
    bool may_leave;
} Fixture;

static unsigned
count_fds(void)
{
    unsigned n = 0;
    g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(directory))
        n++;
    return n;
}

static JsonObject *
work_hello(GwHttpRequest *request, void *data, GError **error)
{
    return json_object_new();
}

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
handle_large(GwHttpRequest *request, void *data)
{
    size_t size = 30 * 1000 * 1000;
    g_autoptr(GBytes) bytes = g_bytes_new_take(g_malloc0(size), size);
    gw_http_reply_bytes(request, 200, "application/octet-stream", bytes);
}

static void
set_up(HttpRig *rig, GwHttpServer *server, void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    if (f->limits.max_connections > 0)
        gw_http_server_set_limits(server, &f->limits);
    gw_http_server_add_work(server, "GET", "/v1/hello", work_hello, f);
    gw_http_server_add_work(server, "GET", "/v1/wait", work_wait, f);
    gw_http_server_add_route(server, "GET", "/v1/large", handle_large, f);
    f->port = gw_http_server_listen_tcp(server, "127.0.0.1", 0, &error);
    g_assert_no_error(error);
    f->tls_port = gw_http_server_listen_tls(server, "127.0.0.1", 0, &f->files, false, &error);
    g_assert_no_error(error);
}

/* Without limits: the server's own. */
static Fixture *
start(const GwHttpLimits *limits)
{
    Fixture *f = g_new0(Fixture, 1);
    g_mutex_init(&f->lock);
    g_cond_init(&f->changed);
    f->trust = http_trust_new();
    f->files = http_trust_issue(f->trust, "host1", "host", false);
    if (limits)
        f->limits = *limits;
    f->n_fds = count_fds();
    f->rig = http_rig_new(set_up, f);
    return f;
}

static void
finish(Fixture *f)
{
    if (f->rig)
        http_rig_free(f->rig);
    if (f->n_fds > 0)
        g_assert_cmpuint(count_fds(), ==, f->n_fds);
    http_trust_free(f->trust);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->changed);
    g_free(f);
}

static int
connect_to(unsigned port)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&where, sizeof where), ==, 0);
    return fd;
}

static void
say(int fd, const char *text)
{
    g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), ==, (gssize)strlen(text));
}

/* Reads until the server has closed; what it said before. */
static char *
await_end(int fd)
{
    GString *all = g_string_new(NULL);
    for (;;) {
        char piece[4096];
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        g_assert_cmpint(poll(&polled, 1, PATIENCE_MS), ==, 1); /* or it is never closed */
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            return g_string_free(all, FALSE);
        g_string_append_len(all, piece, n);
    }
}

static void
assert_served(const Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) plain = gw_http_client_new_tcp("127.0.0.1", f->port, 20);
    g_autoptr(JsonObject) reply = gw_http_call(plain, "GET", "/v1/hello", NULL, &error);
    g_assert_no_error(error);
    GwTlsFiles files = {.authority = f->files.authority};
    g_autoptr(GwHttpClient) tls =
        gw_http_client_new_tls("127.0.0.1", f->tls_port, &files, "host1", 20, &error);
    g_assert_no_error(error);
    g_autoptr(JsonObject) second = gw_http_call(tls, "GET", "/v1/hello", NULL, &error);
    g_assert_no_error(error);
}

static void
crowd(const void *data)
{
    enum { N = 1000 };
    bool is_tls = data != NULL;
    Fixture *f = start(NULL);
    g_autofree int *fds = g_new(int, N);
    for (unsigned i = 0; i < N; i++) {
        fds[i] = connect_to(is_tls ? f->tls_port : f->port);
        if (i % 2)
            say(fds[i], is_tls ? "\x16\x03\x01\x01" : "GET /v1/hel"); /* and no more */
        if (i % 250 == 249)
            assert_served(f);
    }
    /* Who came first went first. */
    g_autofree char *nothing = await_end(fds[0]);
    g_assert_cmpstr(nothing, ==, "");
    struct pollfd last = {.fd = fds[N - 1], .events = POLLIN};
    g_assert_cmpint(poll(&last, 1, 0), ==, 0);
    g_assert_cmpuint(count_fds() - f->n_fds, <, N + 512 + 100);
    for (unsigned i = 0; i < N; i++)
        close(fds[i]);
    assert_served(f);
    finish(f);
}

static const GwHttpLimits short_limits = {
    .max_connections = 512, .handshake_ms = 300, .request_ms = 300, .answer_ms = 300, .linger_ms = 300};

static void
test_slow(void)
{
    Fixture *f = start(&short_limits);
    int handshake = connect_to(f->tls_port);
    say(handshake, "\x16\x03\x01\x01");
    int nothing = connect_to(f->tls_port);
    int head = connect_to(f->port);
    say(head, "GET /v1/hello HTTP/1.1\r\nHost: x\r\nX-A");
    int body = connect_to(f->port);
    say(body, "POST /v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    assert_served(f);
    int fds[] = {handshake, nothing, head, body};
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        g_autofree char *said = await_end(fds[i]);
        g_assert_cmpstr(said, ==, "");
        close(fds[i]);
    }
    assert_served(f);
    finish(f);
}

/* Drop by drop, always before the time is up: the whole request counts. */
static void
test_slow_loris(void)
{
    Fixture *f = start(&short_limits);
    int fd = connect_to(f->port);
    say(fd, "GET /v1/hello HTTP/1.1\r\n");
    gint64 begin = g_get_monotonic_time();
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    while (poll(&polled, 1, 20) == 0) {
        g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_MS * 1000);
        send(fd, "A: b\r\n", 6, MSG_NOSIGNAL);
    }
    close(fd);
    assert_served(f);
    finish(f);
}

/* Sends zeros until the server will not have any more; returns how many. */
static size_t
flood(int fd)
{
    static const char zeros[65536];
    size_t total = 0;
    ssize_t n;
    while ((n = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL)) > 0)
        total += (size_t)n;
    return total;
}

typedef struct {
    int fd;
    size_t sent;
    GThread *thread;
} Flood;

static void *
flood_thread(void *data)
{
    Flood *self = data;
    self->sent = flood(self->fd);
    return NULL;
}

/* A body without end: refused at once, cut off soon, and nobody else waits for it. */
static void
test_endless_body(void)
{
    Fixture *f = start(&short_limits);
    Flood floods[3];
    for (unsigned i = 0; i < G_N_ELEMENTS(floods); i++) {
        floods[i].fd = connect_to(f->port);
        say(floods[i].fd, "POST /v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n");
        floods[i].thread = g_thread_new("flood", flood_thread, &floods[i]);
    }
    assert_served(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(floods); i++) {
        g_thread_join(floods[i].thread); /* or it is never cut off */
        g_test_message("%zu bytes were thrown away", floods[i].sent);
        close(floods[i].fd);
    }
    assert_served(f);
    finish(f);
}

/* Who stops when told so gets the whole answer, with TLS too. */
static void
test_large_body(void)
{
    Fixture *f = start(NULL);
    g_autoptr(GError) error = NULL;
    int fd = connect_to(f->port);
    say(fd, "POST /v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\nabc");
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    g_assert_cmpint(poll(&polled, 1, PATIENCE_MS), ==, 1);
    shutdown(fd, SHUT_WR);
    g_autofree char *answer = await_end(fd);
    g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 413 "));
    g_assert_nonnull(strstr(answer, "\"the body is larger than 1 MiB\"}}\n"));
    close(fd);

    GwTlsFiles files = {.authority = f->files.authority};
    g_autoptr(GwHttpClient) tls =
        gw_http_client_new_tls("127.0.0.1", f->tls_port, &files, "host1", 20, &error);
    g_autofree char *body = g_malloc0(20 * 1000 * 1000);
    g_assert_false(gw_http_post_bytes(tls, "/v1/hello", body, 20 * 1000 * 1000, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    finish(f);
}

static void *
call_wait(void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_tcp("127.0.0.1", f->port, 60);
    g_autoptr(JsonObject) reply = gw_http_call(client, "GET", "/v1/wait", NULL, &error);
    g_assert_no_error(error);
    return NULL;
}

/* Those who are being answered are not thrown out for newcomers. */
static void
test_work_is_safe(void)
{
    GwHttpLimits few = short_limits;
    few.max_connections = 2;
    Fixture *f = start(&few);
    GThread *callers[2];
    for (unsigned i = 0; i < 2; i++)
        callers[i] = g_thread_new("caller", call_wait, f);
    g_mutex_lock(&f->lock);
    while (f->n_inside < 2)
        g_cond_wait(&f->changed, &f->lock);
    g_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < 5; i++) {
        int fd = connect_to(f->port);
        g_autofree char *nothing = await_end(fd);
        g_assert_cmpstr(nothing, ==, "");
        close(fd);
    }
    g_mutex_lock(&f->lock);
    f->may_leave = true;
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < 2; i++)
        g_thread_join(callers[i]);
    assert_served(f);
    finish(f);
}

static void
do_nothing(HttpRig *rig, GwHttpServer *server, void *data)
{
}

/* Who asks for much and does not read it is given up after a while. */
static void
test_answer_not_taken(void)
{
    Fixture *f = start(&short_limits);
    http_rig_do(f->rig, do_nothing, NULL);
    unsigned n_before = count_fds();
    int fd = connect_to(f->port);
    say(fd, "GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n");
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    g_assert_cmpint(poll(&polled, 1, PATIENCE_MS), ==, 1);
    gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * 1000;
    while (count_fds() > n_before + 1 && g_get_monotonic_time() < deadline)
        http_rig_do(f->rig, do_nothing, NULL);
    g_assert_cmpuint(count_fds(), ==, n_before + 1); /* our own end */
    close(fd);
    assert_served(f);
    finish(f);
}

/* The server ends while its connections are in every state there is. */
static void
test_server_ends(void)
{
    Fixture *f = start(NULL);
    static const char *const said[] = {
        "", "GET /v1/hel", "POST /v1/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\nabc",
        "GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n"};
    int fds[G_N_ELEMENTS(said) + 2];
    for (unsigned i = 0; i < G_N_ELEMENTS(said); i++) {
        fds[i] = connect_to(f->port);
        say(fds[i], said[i]);
    }
    fds[G_N_ELEMENTS(said)] = connect_to(f->tls_port);
    fds[G_N_ELEMENTS(said) + 1] = connect_to(f->tls_port);
    say(fds[G_N_ELEMENTS(said)], "\x16\x03\x01\x01");
    for (unsigned i = 2; i < 4; i++) { /* they are being answered */
        struct pollfd polled = {.fd = fds[i], .events = POLLIN};
        g_assert_cmpint(poll(&polled, 1, PATIENCE_MS), ==, 1);
    }
    assert_served(f); /* so the others have been accepted too */
    http_rig_free(g_steal_pointer(&f->rig));
    g_assert_cmpuint(count_fds(), ==, f->n_fds + G_N_ELEMENTS(fds));
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        g_autofree char *rest = await_end(fds[i]);
        close(fds[i]);
    }
    finish(f);
}

/* What GLib and GnuTLS open once for the whole process is open before anybody counts. */
static void
warm_up(void)
{
    Fixture *f = start(NULL);
    assert_served(f);
    f->n_fds = 0;
    finish(f);
}

int
main(int argc, char **argv)
{
    struct rlimit limit;
    g_test_init(&argc, &argv, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096) {
        limit.rlim_cur = MIN(limit.rlim_max, 4096);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    warm_up();
    g_test_add_data_func("/http-limits/crowd/plain", NULL, crowd);
    g_test_add_data_func("/http-limits/crowd/tls", "", crowd);
    g_test_add_func("/http-limits/slow", test_slow);
    g_test_add_func("/http-limits/slow-loris", test_slow_loris);
    g_test_add_func("/http-limits/endless-body", test_endless_body);
    g_test_add_func("/http-limits/large-body", test_large_body);
    g_test_add_func("/http-limits/work-is-safe", test_work_is_safe);
    g_test_add_func("/http-limits/answer-not-taken", test_answer_not_taken);
    g_test_add_func("/http-limits/server-ends", test_server_ends);
    return g_test_run();
}
