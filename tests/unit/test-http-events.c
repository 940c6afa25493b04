/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events as a client follows them, from a server that sends what the test says byte by byte; and calls that
 * are given up from another thread. */
#include "error.h"
#include "event-parser.h"
#include "http-client.h"
#include "json.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

/* Takes a connection, reads the request's head, and sends the pieces with a pause between them. */
typedef struct {
    int listening;
    unsigned port;
    GThread *thread;
    const char *const *pieces;
    int pause_ms; /* between pieces */
    bool is_mute; /* afterwards the connection stays open until the client closes it */
    /* what the client saw */
    GString *seen;
    unsigned n_opened;
    const char *stop_at; /* the type at which it has had enough */
} Script;

static void
serve(Script *self, int fd)
{
    char head[4096];
    size_t length = 0;
    while (length < sizeof head - 1) {
        ssize_t n = recv(fd, head + length, sizeof head - 1 - length, 0);
        if (n <= 0)
            return;
        length += (size_t)n;
        head[length] = '\0';
        if (strstr(head, "\r\n\r\n"))
            break;
    }
    for (unsigned i = 0; self->pieces[i]; i++) {
        size_t size = strlen(self->pieces[i]), sent = 0;
        while (sent < size) {
            ssize_t n = send(fd, self->pieces[i] + sent, size - sent, MSG_NOSIGNAL);
            if (n < 0)
                return; /* the client has had enough */
            sent += (size_t)n;
        }
        poll(NULL, 0, self->pause_ms);
    }
    if (self->is_mute)
        while (recv(fd, head, sizeof head, 0) > 0)
            ;
}

static void *
script_thread(void *data)
{
    Script *self = data;
    int fd = accept4(self->listening, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) { /* else the test has shut it: its client gave up before it connected */
        serve(self, fd);
        close(fd);
    }
    return NULL;
}

static void
script_start(Script *self, const char *const *pieces)
{
    struct sockaddr_in where = {.sin_family = AF_INET};
    socklen_t length = sizeof where;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(self->listening, (struct sockaddr *)&where, sizeof where), ==, 0);
    g_assert_cmpint(listen(self->listening, 5), ==, 0);
    g_assert_cmpint(getsockname(self->listening, (struct sockaddr *)&where, &length), ==, 0);
    self->port = ntohs(where.sin_port);
    self->pieces = pieces;
    self->seen = g_string_new(NULL);
    self->thread = g_thread_new("script", script_thread, self);
}

static void
script_end(Script *self)
{
    g_thread_join(self->thread);
    close(self->listening);
    g_string_free(self->seen, TRUE);
}

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    Script *self = user_data;
    g_autofree char *line = gw_json_object_to_line(data);
    g_assert_cmpuint(self->n_opened, ==, 1);
    g_string_append_printf(self->seen, "%s %s %s\n", id ? id : "-", type, line);
    return g_strcmp0(type, self->stop_at) != 0;
}

static void
on_open(void *user_data)
{
    Script *self = user_data;
    self->n_opened++;
}

/* Follows to the end, which is an error whose name and text are these; NULL: it is the client's wish. */
static void
follow(Script *self, unsigned timeout_s, const char *error_name, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = gw_http_client_new_tcp("127.0.0.1", self->port, timeout_s);
    bool is_done = gw_http_follow(client, "/v1/events", on_open, on_event, self, &error);
    g_assert_cmpint(is_done, ==, error_name == NULL);
    g_assert_cmpint(error == NULL, ==, is_done);
    if (error) {
        g_test_message("%s: %s", gw_error_name(error), error->message);
        g_assert_true(error->domain == GW_ERROR);
        g_assert_cmpstr(gw_error_name(error), ==, error_name);
        g_assert_nonnull(strstr(error->message, part));
    }
}

static void
test_fields(void)
{
    static const char *const pieces[] = {
        HEAD,
        ": a comment\n\nid: 7\nevent: vm.state\ndata: {\"a\":1}\n\n",
        "data: {\"b\":\ndata:  2}\n\n",     /* over two lines; the id stays, the type does not */
        "id:8\r\nevent:x\r\ndata:{}\r\n\r", /* without blanks; a line end in two pieces */
        "\nda",
        "ta: {\"c\":",
        "\"\xc3",
        "\xa4\"}\r\r",                               /* a character in two pieces; CR alone */
        "data: {broken\n\ndata: [1]\n\ndata: 3\n\n", /* no object: left out */
        "event: nothing\n\n",                        /* no data: no event */
        "retry: 5\nfoo: bar\nfoo\ndata: {\"d\":4}\n\n",
        "data: {\"never\":1}\n",
        NULL /* the stream ends before the event does */
    };
    Script script = {0};
    script_start(&script, pieces);
    follow(&script, 10, "peer-lost", "ended");
    g_assert_cmpstr(script.seen->str, ==,
                    "7 vm.state {\"a\":1}\n7 message {\"b\":2}\n8 x {}\n8 message {\"c\":\"\xc3\xa4\"}\n"
                    "8 message {\"d\":4}\n");
    script_end(&script);
}

static void
test_enough(void)
{
    static const char *const pieces[] = {HEAD "event: a\ndata: {}\n\nevent: b\ndata: {}\n\n",
                                         "event: c\ndata: {}\n\n", NULL};
    Script script = {.stop_at = "b", .is_mute = true};
    script_start(&script, pieces);
    follow(&script, 10, NULL, NULL);
    g_assert_cmpstr(script.seen->str, ==, "- a {}\n- b {}\n");
    script_end(&script);
}

static void
test_too_long(void)
{
    g_autofree char *most = g_strnfill(1024 * 1024 - 8, 'x');
    g_autofree char *more = g_strnfill(GW_EVENT_MAX_LINE_BYTES, 'x');
    const char *right[] = {HEAD "data: {\"", more + 20, "\":1}\n\n", NULL};
    Script script = {0};
    script_start(&script, right);
    follow(&script, 10, "peer-lost", "ended");
    g_assert_cmpuint(script.seen->len, >, GW_EVENT_MAX_LINE_BYTES - 20);
    script_end(&script);

    const char *line[] = {HEAD "data: ", more, more, NULL};
    Script endless = {0};
    script_start(&endless, line);
    follow(&endless, 10, "protocol", "line");
    script_end(&endless);

    const char *lines[] = {HEAD,       "data: ", most,       "\ndata: ", most, "\ndata: ", most,
                           "\ndata: ", most,     "\ndata: ", most,       "\n", NULL};
    Script many = {0};
    script_start(&many, lines);
    follow(&many, 10, "protocol", "event");
    script_end(&many);
}

/* Comments are signs of life, silence is none. */
static void
test_silence(void)
{
    static const char *const alive[] = {HEAD, ":\n", ":\n", ":\n", ":\n", "data: {}\n\n", NULL};
    Script script = {.pause_ms = 300};
    script_start(&script, alive);
    follow(&script, 1, "peer-lost", "ended");
    g_assert_cmpstr(script.seen->str, ==, "- message {}\n");
    script_end(&script);

    static const char *const silent[] = {HEAD "data: {}\n\n", NULL};
    Script mute = {.is_mute = true};
    script_start(&mute, silent);
    follow(&mute, 1, "peer-lost", "said nothing for 1 s");
    g_assert_cmpstr(mute.seen->str, ==, "- message {}\n");
    script_end(&mute);
}

static void
test_refused(void)
{
    static const char *const absent[] = {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 48\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"code\":\"not-found\",\"message\":\"gone!\"}}",
        NULL};
    Script script = {0};
    script_start(&script, absent);
    follow(&script, 10, "not-found", "gone!");
    g_assert_cmpuint(script.n_opened, ==, 0);
    script_end(&script);

    static const char *const page[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        NULL};
    Script other = {0};
    script_start(&other, page);
    follow(&other, 10, "protocol", "text/html");
    g_assert_cmpuint(other.n_opened, ==, 0);
    script_end(&other);

    Script nobody = {0};
    follow(&nobody, 10, "peer-lost", "");
}

static void
test_redirect(void)
{
    static const char *const elsewhere[] = {
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        NULL};
    Script script = {0};
    script_start(&script, elsewhere);
    follow(&script, 10, "protocol", "302");
    script_end(&script);
}

/* The last of its kind that the test waits for before it cancels. */
typedef struct {
    GwHttpClient *client;
    GMutex lock;
    GCond changed;
    bool has_begun;
} Canceller;

static void
begin(void *data)
{
    Canceller *self = data;
    g_mutex_lock(&self->lock);
    self->has_begun = true;
    g_cond_signal(&self->changed);
    g_mutex_unlock(&self->lock);
}

static void *
cancel_thread(void *data)
{
    Canceller *self = data;
    g_mutex_lock(&self->lock);
    while (!self->has_begun)
        g_cond_wait(&self->changed, &self->lock);
    g_mutex_unlock(&self->lock);
    gw_http_client_cancel(self->client);
    return NULL;
}

static bool
never(const char *id, const char *type, JsonObject *data, void *user_data)
{
    g_assert_not_reached();
}

static void
test_cancel(void)
{
    static const char *const silent[] = {HEAD, NULL};
    static const char *const nothing[] = {NULL};
    for (unsigned i = 0; i < 3; i++) { /* in an event stream, a raw stream, a call */
        g_autoptr(GError) error = NULL;
        Script script = {.is_mute = true};
        script_start(&script, i < 2 ? silent : nothing);
        Canceller canceller = {.client = gw_http_client_new_tcp("127.0.0.1", script.port, 600)};
        g_mutex_init(&canceller.lock);
        g_cond_init(&canceller.changed);
        GThread *thread = g_thread_new("canceller", cancel_thread, &canceller);
        if (i == 0) {
            g_assert_false(gw_http_follow(canceller.client, "/", begin, never, &canceller, &error));
            g_assert_error(error, GW_ERROR, GW_ERROR_CANCELLED);
        } else if (i == 1) {
            char byte;
            g_autoptr(GInputStream) stream = gw_http_open(canceller.client, "/", &error);
            g_assert_no_error(error);
            begin(&canceller);
            g_assert_cmpint(g_input_stream_read(stream, &byte, 1, NULL, &error), ==, -1);
            g_assert_cmpstr(gw_error_name(error), ==, "cancelled");
        } else {
            begin(&canceller);
            g_assert_null(gw_http_call(canceller.client, "GET", "/", NULL, &error));
            g_assert_error(error, GW_ERROR, GW_ERROR_CANCELLED);
        }
        g_clear_error(&error);
        g_thread_join(thread);
        g_assert_null(gw_http_call(canceller.client, "GET", "/", NULL, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_CANCELLED);
        gw_http_client_free(canceller.client);
        g_mutex_clear(&canceller.lock);
        g_cond_clear(&canceller.changed);
        shutdown(script.listening, SHUT_RDWR);
        script_end(&script);
    }
}

static void
test_timeout(void)
{
    static const char *const nothing[] = {NULL};
    g_autoptr(GError) error = NULL;
    Script script = {.is_mute = true};
    script_start(&script, nothing);
    GwHttpClient *client = gw_http_client_new_tcp("127.0.0.1", script.port, 1);
    g_assert_null(gw_http_call(client, "GET", "/", NULL, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    gw_http_client_free(client);
    script_end(&script);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-events/fields", test_fields);
    g_test_add_func("/http-events/enough", test_enough);
    g_test_add_func("/http-events/too-long", test_too_long);
    g_test_add_func("/http-events/silence", test_silence);
    g_test_add_func("/http-events/refused", test_refused);
    g_test_add_func("/http-events/redirect", test_redirect);
    g_test_add_func("/http-events/cancel", test_cancel);
    g_test_add_func("/http-events/timeout", test_timeout);
    return g_test_run();
}
