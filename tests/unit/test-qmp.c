/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP client against peers that answer, lie, stall and vanish, and against QEMU where there is one.
 *
 * A Session is a client on one end of a socketpair and a script in a thread on the other. Scripts and tests
 * are ordered by what goes over the socket and by two eventfds, never by time. Locks are pthread's because
 * ThreadSanitizer does not see GLib's. */
#include "qmp.h"

#include "error.h"
#include "json.h"
#include "unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_MS  60000 /* never reached unless something is broken */
#define SHORT_MS 50    /* is to be reached */

#define GREETING                                                                                              \
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"mock\"}," \
    " \"capabilities\": [\"oob\"]}}\r\n"

/* What the callbacks were told. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    GPtrArray *events; /* "NAME {data}" */
    GPtrArray *lost;
    gint64 when_us;
} Log;

typedef struct Session Session;
typedef void (*Script)(Session *);

struct Session {
    /* set once before the script starts */
    int peer_fd;
    int to_test; /* eventfds: "you may go on" */
    int to_peer;
    Script script;
    const char *text;
    GThread *thread;
    Log log;

    /* the test's */
    GwQmp *qmp;
    GError *error;
};

static void
log_add(Log *self, GPtrArray *list, char *text)
{
    pthread_mutex_lock(&self->lock);
    g_ptr_array_add(list, text);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void
log_wait(Log *self, GPtrArray *list, guint n)
{
    pthread_mutex_lock(&self->lock);
    while (list->len < n)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static void
on_event(const char *event, JsonObject *data, gint64 when_us, void *user_data)
{
    Session *s = user_data;
    g_autofree char *text = data ? gw_json_object_to_line(data) : g_strdup("none");
    s->log.when_us = when_us;
    log_add(&s->log, s->log.events, g_strdup_printf("%s %s", event, text));
}

static void
on_lost(const GError *why, void *user_data)
{
    Session *s = user_data;
    log_add(&s->log, s->log.lost, g_strdup(why->message));
}

static void
let_go(int event_fd)
{
    g_assert_cmpint(eventfd_write(event_fd, 1), ==, 0);
}

static void
await(int event_fd)
{
    eventfd_t value = 0;
    g_assert_cmpint(eventfd_read(event_fd, &value), ==, 0);
}

/* The peer's words. A client that has gone is no failure of the script's. */

static bool
say_bytes(Session *s, const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = send(s->peer_fd, bytes, n_bytes, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

static void G_GNUC_PRINTF(2, 3) say(Session *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    say_bytes(s, text, strlen(text));
}

static JsonObject *
hear_any(Session *s)
{
    g_autoptr(GString) line = g_string_new(NULL);
    for (;;) {
        char chunk[4096];
        ssize_t n = recv(s->peer_fd, chunk, sizeof(chunk), MSG_PEEK);
        if (n <= 0)
            return NULL;
        char *end = memchr(chunk, '\n', (size_t)n);
        size_t take = end ? (size_t)(end - chunk) + 1 : (size_t)n;
        g_assert_cmpint(recv(s->peer_fd, chunk, take, 0), ==, (ssize_t)take);
        g_string_append_len(line, chunk, (gssize)take);
        if (!end)
            continue;
        g_autoptr(GError) error = NULL;
        JsonObject *command = gw_json_parse_object(line->str, (gssize)line->len, &error);
        g_assert_no_error(error);
        return command;
    }
}

static int64_t
id_of(JsonObject *command)
{
    int64_t id = -1;
    g_assert_true(gw_json_get_int(command, "id", &id));
    return id;
}

/* The id of the next command, which has to be this one. */
static int64_t
hear(Session *s, const char *name)
{
    g_autoptr(JsonObject) command = hear_any(s);
    g_assert_nonnull(command);
    g_assert_cmpstr(gw_json_get_string(command, "execute"), ==, name);
    return id_of(command);
}

static void
answer(Session *s, int64_t id, const char *value)
{
    say(s, "{\"return\": %s, \"id\": %" G_GINT64_FORMAT "}\r\n", value, id);
}

static void
negotiate(Session *s)
{
    say(s, "%s", GREETING);
    answer(s, hear(s, "qmp_capabilities"), "{}");
}

static void
hear_end(Session *s)
{
    g_autoptr(JsonObject) command = hear_any(s);
    g_assert_null(command);
}

static gpointer
script_thread(gpointer data)
{
    Session *s = data;
    s->script(s);
    close(s->peer_fd);
    return NULL;
}

static GwQmpCallbacks
callbacks_of(Session *s, int timeout_ms)
{
    return (GwQmpCallbacks){.event = on_event, .lost = on_lost, .user_data = s, .timeout_ms = timeout_ms};
}

static Session *
session_alloc(void)
{
    Session *s = g_new0(Session, 1);
    s->to_test = eventfd(0, EFD_CLOEXEC);
    s->to_peer = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&s->log.lock, NULL);
    pthread_cond_init(&s->log.changed, NULL);
    s->log.events = g_ptr_array_new_with_free_func(g_free);
    s->log.lost = g_ptr_array_new_with_free_func(g_free);
    return s;
}

static Session *
session_try(Script script, const char *text, int timeout_ms)
{
    int fds[2];
    Session *s = session_alloc();
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    s->peer_fd = fds[0];
    s->script = script;
    s->text = text;
    s->thread = g_thread_new("peer", script_thread, s);
    GwQmpCallbacks callbacks = callbacks_of(s, timeout_ms);
    s->qmp = gw_qmp_new(fds[1], &callbacks, &s->error);
    return s;
}

static Session *
session_new(Script script)
{
    Session *s = session_try(script, NULL, LONG_MS);
    g_assert_no_error(s->error);
    g_assert_true(gw_qmp_is_connected(s->qmp));
    return s;
}

static void
session_free(Session *s)
{
    gw_qmp_free(s->qmp);
    if (s->thread)
        g_thread_join(s->thread);
    g_clear_error(&s->error);
    g_ptr_array_unref(s->log.events);
    g_ptr_array_unref(s->log.lost);
    pthread_mutex_destroy(&s->log.lock);
    pthread_cond_destroy(&s->log.changed);
    close(s->to_test);
    close(s->to_peer);
    g_free(s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_free)

static void
assert_answer(GwQmp *qmp, const char *command, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = gw_qmp_execute(qmp, command, NULL, LONG_MS, &error);
    g_assert_no_error(error);
    g_autofree char *text = gw_json_node_to_line(node);
    g_assert_cmpstr(text, ==, expected);
}

static void
assert_fails(GwQmp *qmp, const char *command, int timeout_ms, GwError code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_qmp_command(qmp, command, NULL, timeout_ms, &error));
    g_assert_error(error, GW_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, text);
}

static void
assert_lost(Session *s, const char *text)
{
    log_wait(&s->log, s->log.lost, 1);
    g_assert_cmpstr(s->log.lost->pdata[0], ==, text);
    g_assert_false(gw_qmp_is_connected(s->qmp));
    g_autofree char *later = g_strdup_printf("qmp: later: %s", text + strlen("qmp: "));
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_qmp_command(s->qmp, "later", NULL, LONG_MS, &error));
    g_assert_cmpstr(error->message, ==, later);
    g_clear_pointer(&s->qmp, gw_qmp_free);
    g_assert_cmpuint(s->log.lost->len, ==, 1);
}

static void
script_normal(Session *s)
{
    negotiate(s);
    g_autoptr(JsonObject) command = hear_any(s);
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(command, "arguments"), "name"), ==, "x");
    answer(s, id_of(command), "[1, {\"a\": null}]");
    say(s,
        "{\"id\": %" G_GINT64_FORMAT
        ", \"error\": {\"class\": \"GenericError\", \"desc\": \"no such device\"}}\r\n",
        hear(s, "device_del"));
    hear_end(s);
}

static void
test_normal(void)
{
    g_autoptr(Session) s = session_new(script_normal);
    g_assert_cmpuint(gw_qmp_version(s->qmp), ==, 70222);
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "name", "x");
    g_autoptr(JsonNode) node = gw_qmp_execute(s->qmp, "query-x", arguments, LONG_MS, &s->error);
    g_assert_no_error(s->error);
    g_autofree char *text = gw_json_node_to_line(node);
    g_assert_cmpstr(text, ==, "[1,{\"a\":null}]");
    assert_fails(s->qmp, "device_del", LONG_MS, GW_ERROR_VMM_FAILED,
                 "qmp: QEMU answered device_del with GenericError: no such device");
    g_clear_pointer(&s->qmp, gw_qmp_free);
    g_assert_cmpuint(s->log.lost->len, ==, 0);
}

static void
script_out_of_order(Session *s)
{
    negotiate(s);
    int64_t slow = hear(s, "slow");
    let_go(s->to_test);
    answer(s, hear(s, "fast"), "2");
    answer(s, hear(s, "after-fast"), "3"); /* comes only once fast has its reply */
    answer(s, slow, "1");
    hear_end(s);
}

static gpointer
thread_slow(gpointer data)
{
    assert_answer(data, "slow", "1");
    return NULL;
}

static void
test_out_of_order(void)
{
    g_autoptr(Session) s = session_new(script_out_of_order);
    GThread *slow = g_thread_new("slow", thread_slow, s->qmp);
    await(s->to_test);
    assert_answer(s->qmp, "fast", "2");
    assert_answer(s->qmp, "after-fast", "3");
    g_thread_join(slow);
}

static void
script_events(Session *s)
{
    negotiate(s);
    int64_t id = hear(s, "stop");
    say(s, "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 5}, \"event\": \"STOP\"}\r\n");
    answer(s, id, "{}");
    say(s, "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"setup\"}, "
           "\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}}\r\n");
    hear_end(s);
}

static void
test_events(void)
{
    gint64 start_us = g_get_monotonic_time();
    g_autoptr(Session) s = session_new(script_events);
    assert_answer(s->qmp, "stop", "{}");
    log_wait(&s->log, s->log.events, 2);
    g_assert_cmpstr(s->log.events->pdata[0], ==, "STOP none");
    g_assert_cmpstr(s->log.events->pdata[1], ==, "MIGRATION {\"status\":\"setup\"}");
    g_assert_cmpint(s->log.when_us, >=, start_us);
    g_assert_cmpint(s->log.when_us, <=, g_get_monotonic_time());
}

#define BIG_BYTES 40000

static void
script_single_bytes(Session *s)
{
    negotiate(s);
    g_autoptr(GString) line = g_string_new("{\"return\": \"");
    int64_t id = hear(s, "query-big");
    for (int i = 0; i < BIG_BYTES; i++)
        g_string_append_c(line, 'x');
    g_string_append_printf(line, "\", \"id\": %" G_GINT64_FORMAT "}\r\n", id);
    for (size_t i = 0; i < line->len; i++)
        say_bytes(s, line->str + i, 1);
    hear_end(s);
}

static void
test_single_bytes(void)
{
    g_autoptr(Session) s = session_new(script_single_bytes);
    g_autoptr(JsonNode) node = gw_qmp_execute(s->qmp, "query-big", NULL, LONG_MS, &s->error);
    g_assert_no_error(s->error);
    g_assert_cmpuint(strlen(json_node_get_string(node)), ==, BIG_BYTES);
}

static void
script_one_chunk(Session *s)
{
    negotiate(s);
    int64_t id = hear(s, "a");
    say(s,
        "{\"event\": \"ONE\"}\r\n{\"event\": \"TWO\"}\n{\"return\": 1, \"id\": %" G_GINT64_FORMAT "}\r\n"
        "{\"event\": \"THREE\"}\r\n{\"event\":",
        id);
    say(s, " \"FOUR\"}\r\n");
    hear_end(s);
}

static void
test_one_chunk(void)
{
    g_autoptr(Session) s = session_new(script_one_chunk);
    assert_answer(s->qmp, "a", "1");
    log_wait(&s->log, s->log.events, 4);
    g_assert_cmpstr(s->log.events->pdata[0], ==, "ONE none");
    g_assert_cmpstr(s->log.events->pdata[3], ==, "FOUR none");
}

static void
script_late(Session *s)
{
    negotiate(s);
    int64_t late = hear(s, "query-status");
    int64_t next = hear(s, "next");
    answer(s, late, "\"late\"");
    answer(s, next, "\"in time\"");
    answer(s, late, "\"again\""); /* nobody is owed this one any more */
    hear_end(s);
}

static void
test_late_reply(void)
{
    g_autoptr(Session) s = session_new(script_late);
    assert_fails(s->qmp, "query-status", SHORT_MS, GW_ERROR_TIMED_OUT,
                 "qmp: query-status: no answer within 50 ms");
    assert_answer(s->qmp, "next", "\"in time\"");
    assert_lost(s, "qmp: \"return\" for id 2, which no command waits for");
}

#define MAX_ABANDONED 1024 /* qmp.c's */

static void
script_owes(Session *s)
{
    int64_t ids[MAX_ABANDONED];
    negotiate(s);
    for (int i = 0; i < MAX_ABANDONED; i++)
        ids[i] = hear(s, "query-status");
    await(s->to_peer);
    for (int i = 0; i < MAX_ABANDONED; i++)
        answer(s, ids[i], "0");
    say(s, "{\"event\": \"DRAINED\"}\r\n");
    answer(s, hear(s, "next"), "1");
    hear_end(s);
}

static void
test_owes_too_many(void)
{
    g_autoptr(Session) s = session_new(script_owes);
    bool refused = false;
    while (!refused) {
        g_autoptr(GError) error = NULL;
        g_assert_false(gw_qmp_command(s->qmp, "query-status", NULL, 0, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
        refused = strcmp(error->message,
                         "qmp: query-status: not sent, QEMU owes replies to 1024 earlier commands") == 0;
    }
    let_go(s->to_peer);
    log_wait(&s->log, s->log.events, 1);
    assert_answer(s->qmp, "next", "1");
}

/* Handshakes that fail: nobody is "lost", gw_qmp_new() says it. */

static void
script_say_text(Session *s)
{
    say(s, "%s", s->text);
    hear_end(s);
}

static void
script_silent(Session *s)
{
    hear_end(s);
}

static void
script_vanish(Session *s)
{
    if (s->text)
        say(s, "%s", s->text);
}

static void
assert_no_session(Script script, const char *text, int timeout_ms, GwError code, const char *expected)
{
    g_autoptr(Session) s = session_try(script, text, timeout_ms);
    g_assert_null(s->qmp);
    g_assert_error(s->error, GW_ERROR, (int)code);
    g_assert_cmpstr(s->error->message, ==, expected);
    g_assert_cmpuint(s->log.lost->len, ==, 0);
    g_assert_cmpuint(s->log.events->len, ==, 0);
}

static void
test_bad_handshake(void)
{
    static const char *const cases[][2] = {
        {"{\"event\": \"RESET\"}\n", "qmp: no greeting: \"event\" before the greeting"},
        {"{\"return\": {}, \"id\": 1}\n", "qmp: no greeting: \"return\" before the greeting"},
        {"{\"error\": {\"class\": \"C\", \"desc\": \"d\"}}\n",
         "qmp: no greeting: \"error\" before the greeting"},
        {"SSH-2.0\r\n", "qmp: no greeting: line is not one JSON object: byte 0x53 at offset 0"},
        {"{\"QMP\": {\"capabilities\": [], \"version\": {\"qemu\": {\"major\": -1}}}}\n",
         "qmp: no greeting: greeting with a bad version: \"major\" is -1, expected an integer from 0 to 9999"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_no_session(script_say_text, cases[i][0], LONG_MS, GW_ERROR_PROTOCOL, cases[i][1]);
    assert_no_session(script_silent, NULL, SHORT_MS, GW_ERROR_TIMED_OUT, "qmp: no greeting within 50 ms");
    assert_no_session(script_vanish, NULL, LONG_MS, GW_ERROR_PEER_LOST,
                      "qmp: no greeting: QEMU closed the connection");
    assert_no_session(script_vanish, "{\"QMP\":", LONG_MS, GW_ERROR_PEER_LOST,
                      "qmp: no greeting: QEMU closed the connection after 7 bytes of a line");
}

static void
script_refuse_capabilities(Session *s)
{
    say(s, "%s", GREETING);
    say(s, "{\"id\": %" G_GINT64_FORMAT ", \"error\": {\"class\": \"C\", \"desc\": \"d\"}}\n",
        hear(s, "qmp_capabilities"));
    hear_end(s);
}

static void
script_vanish_greeted(Session *s)
{
    say(s, "%s", GREETING);
    hear(s, "qmp_capabilities");
}

static void
script_mute_greeted(Session *s)
{
    say(s, "%s", GREETING);
    hear(s, "qmp_capabilities");
    hear_end(s);
}

static void
test_bad_negotiation(void)
{
    assert_no_session(script_refuse_capabilities, NULL, LONG_MS, GW_ERROR_VMM_FAILED,
                      "qmp: QEMU answered qmp_capabilities with C: d");
    assert_no_session(script_vanish_greeted, NULL, LONG_MS, GW_ERROR_PEER_LOST,
                      "qmp: qmp_capabilities: QEMU closed the connection");
    g_autoptr(Session) s = session_try(script_mute_greeted, NULL, SHORT_MS);
    g_assert_null(s->qmp);
    g_assert_error(s->error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_true(g_str_has_prefix(s->error->message, "qmp: qmp_capabilities: no answer within "));
}

/* What a peer says that must not be said: who waits and the owner both hear of it. */

static void
script_lie(Session *s)
{
    negotiate(s);
    hear(s, "query-x");
    say(s, "%s\r\n", s->text);
    hear_end(s);
}

static void
assert_lie(const char *line, const char *why)
{
    g_autoptr(Session) s = session_try(script_lie, line, LONG_MS);
    g_assert_no_error(s->error);
    g_autofree char *to_caller = g_strconcat("qmp: query-x: ", why, NULL);
    g_autofree char *to_owner = g_strconcat("qmp: ", why, NULL);
    assert_fails(s->qmp, "query-x", LONG_MS, GW_ERROR_PROTOCOL, to_caller);
    assert_lost(s, to_owner);
}

static void
test_lies(void)
{
    static const char *const cases[][2] = {
        {"nonsense", "line is not one JSON object: byte 0x6e at offset 0"},
        {"[{\"return\": {}, \"id\": 2}]", "line is not one JSON object: byte 0x5b at offset 0"},
        {"{\"event\": \"\xc3\x28\"}", "line of 15 bytes: no JSON: byte 11 is not UTF-8"},
        {"{\"return\": {}, \"id\": 3}", "\"return\" for id 3, which no command waits for"},
        {"{\"return\": {}, \"id\": -2}", "\"return\" for id -2, which no command waits for"},
        {"{\"return\": {}, \"id\": 1}", "\"return\" for id 1, which no command waits for"},
        {"{\"error\": {\"class\": \"C\", \"desc\": \"d\"}, \"id\": 0}",
         "\"error\" for id 0, which no command waits for"},
        {"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}",
         "QEMU could not read a command: GenericError: JSON parse error"},
        {"{\"return\": {}, \"error\": {}, \"id\": 2}", "message with both \"return\" and \"error\""},
        {"{\"error\": {\"desc\": \"d\"}, \"id\": 2}",
         "error without a class: \"class\" is nothing, expected a string"},
        {"{\"error\": {\"class\": \"C\"}, \"id\": 2}",
         "error without a description: \"desc\" is nothing, expected a string"},
        {"{\"event\": \"E\", \"data\": 1}", "event with bad data: \"data\" is 1, expected an object"},
        {"{\"event\": {}}", "event without a name: \"event\" is {}, expected a string"},
        {GREETING, "a second greeting"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_lie(cases[i][0], cases[i][1]);
}

static void
test_deep_nesting(void)
{
    g_autoptr(GString) line = g_string_new("{\"id\": 2, \"return\": ");
    for (int i = 0; i < 1000000; i++)
        g_string_append_c(line, '[');
    assert_lie(
        line->str,
        "line of 1000020 bytes: no JSON at line 1, column 84: 64 levels of objects and arrays are the most");
}

static void
script_long_line(Session *s)
{
    static char chunk[64 * 1024];
    negotiate(s);
    memset(chunk, ' ', sizeof(chunk));
    say(s, "{");
    for (int i = 0; i < 9 * 16 && say_bytes(s, chunk, sizeof(chunk)); i++)
        ;
    hear_end(s);
}

static void
test_long_line(void)
{
    g_autoptr(Session) s = session_new(script_long_line);
    assert_lost(s, "qmp: line longer than 8388608 bytes");
}

static void
script_vanish_in_line(Session *s)
{
    negotiate(s);
    hear(s, "query-x");
    say(s, "{\"return\": {\"a");
}

static void
test_vanish_in_line(void)
{
    g_autoptr(Session) s = session_new(script_vanish_in_line);
    assert_fails(s->qmp, "query-x", LONG_MS, GW_ERROR_PEER_LOST,
                 "qmp: query-x: QEMU closed the connection after 14 bytes of a line");
    assert_lost(s, "qmp: QEMU closed the connection after 14 bytes of a line");
}

static void
script_vanish_ready(Session *s)
{
    negotiate(s);
    await(s->to_peer);
}

/* The caller may hear it from its own write or from the reader; it is told the same. */
static void
test_vanish_idle(void)
{
    g_autoptr(Session) s = session_new(script_vanish_ready);
    let_go(s->to_peer);
    assert_fails(s->qmp, "a", LONG_MS, GW_ERROR_PEER_LOST, "qmp: a: QEMU closed the connection");
    assert_lost(s, "qmp: QEMU closed the connection");
}

static void
script_vanish_when_ready(Session *s)
{
    negotiate(s);
}

/* The end at the seam between "gw_qmp_new() says it" and "lost() says it": one of the two does. */
static void
test_vanish_when_ready(void)
{
    for (int i = 0; i < 200; i++) {
        g_autoptr(Session) s = session_try(script_vanish_when_ready, NULL, LONG_MS);
        if (s->qmp) {
            g_assert_no_error(s->error);
            assert_lost(s, "qmp: QEMU closed the connection");
        } else {
            g_assert_error(s->error, GW_ERROR, GW_ERROR_PEER_LOST);
            g_assert_cmpstr(s->error->message, ==, "qmp: QEMU closed the connection");
            g_assert_cmpuint(s->log.lost->len, ==, 0);
        }
    }
}

static void
script_deaf(Session *s)
{
    negotiate(s);
    shutdown(s->peer_fd, SHUT_RD);
    let_go(s->to_test);
    await(s->to_peer);
}

/* Only a writer can find this out. */
static void
test_deaf(void)
{
    g_autoptr(Session) s = session_new(script_deaf);
    await(s->to_test);
    assert_fails(s->qmp, "a", LONG_MS, GW_ERROR_PEER_LOST, "qmp: a: QEMU closed the connection");
    assert_lost(s, "qmp: QEMU closed the connection");
    let_go(s->to_peer);
}

#define N_WAITING 8

static void
script_vanish_under_eight(Session *s)
{
    negotiate(s);
    for (int i = 0; i < N_WAITING; i++)
        hear(s, "wait");
}

static gpointer
thread_wait_lost(gpointer data)
{
    assert_fails(data, "wait", LONG_MS, GW_ERROR_PEER_LOST, "qmp: wait: QEMU closed the connection");
    return NULL;
}

static void
test_vanish_under_eight(void)
{
    GThread *threads[N_WAITING];
    g_autoptr(Session) s = session_new(script_vanish_under_eight);
    for (int i = 0; i < N_WAITING; i++)
        threads[i] = g_thread_new("wait", thread_wait_lost, s->qmp);
    for (int i = 0; i < N_WAITING; i++)
        g_thread_join(threads[i]);
    assert_lost(s, "qmp: QEMU closed the connection");
}

/* A peer that reads nothing. */

static JsonObject *
big_arguments(void)
{
    g_autofree char *text = g_strnfill(4 * 1024 * 1024, 'x');
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "text", text);
    return arguments;
}

static void
script_read_later(Session *s)
{
    negotiate(s);
    await(s->to_peer);
    answer(s, hear(s, "big"), "0");
    answer(s, hear(s, "third"), "3");
    hear_end(s);
}

static void
test_full_socket(void)
{
    g_autoptr(Session) s = session_new(script_read_later);
    g_assert_false(gw_qmp_command(s->qmp, "big", big_arguments(), SHORT_MS, &s->error));
    g_assert_error(s->error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpstr(s->error->message, ==, "qmp: big: not wholly sent within 50 ms, QEMU does not read");
    assert_fails(s->qmp, "second", SHORT_MS, GW_ERROR_TIMED_OUT,
                 "qmp: second: not sent within 50 ms, QEMU does not read");
    let_go(s->to_peer);
    assert_answer(s->qmp, "third", "3");
}

static void
script_read_slowly(Session *s)
{
    char byte = 0;
    negotiate(s);
    g_assert_cmpint(recv(s->peer_fd, &byte, 1, MSG_PEEK), ==, 1);
    let_go(s->to_test);
    await(s->to_peer);
    answer(s, hear(s, "big"), "0");
    hear_end(s);
}

static gpointer
thread_big(gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_qmp_command(data, "big", big_arguments(), LONG_MS, &error));
    g_assert_no_error(error);
    return NULL;
}

static void
test_other_writer_times_out(void)
{
    g_autoptr(Session) s = session_new(script_read_slowly);
    GThread *big = g_thread_new("big", thread_big, s->qmp);
    await(s->to_test);
    assert_fails(s->qmp, "small", SHORT_MS, GW_ERROR_TIMED_OUT,
                 "qmp: small: not sent within 50 ms, an earlier command is still on its way");
    let_go(s->to_peer);
    g_thread_join(big);
}

static void
script_read_nothing(Session *s)
{
    char byte = 0;
    negotiate(s);
    g_assert_cmpint(recv(s->peer_fd, &byte, 1, MSG_PEEK), ==, 1);
    let_go(s->to_test);
    struct pollfd gone = {.fd = s->peer_fd, .events = POLLRDHUP};
    g_assert_cmpint(poll(&gone, 1, -1), ==, 1);
}

static gpointer
thread_big_lost(gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_qmp_command(data, "big", big_arguments(), LONG_MS, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    return NULL;
}

static void
test_free_under_writer(void)
{
    g_autoptr(Session) s = session_new(script_read_nothing);
    GThread *big = g_thread_new("big", thread_big_lost, s->qmp);
    await(s->to_test);
    g_clear_pointer(&s->qmp, gw_qmp_free);
    g_thread_join(big);
    g_assert_cmpuint(s->log.lost->len, ==, 0);
}

static int
receive_fd(Session *s)
{
    char byte = 0;
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof(control.space),
    };
    int fd = -1;
    g_assert_cmpint(recvmsg(s->peer_fd, &msg, MSG_CMSG_CLOEXEC), ==, 1);
    g_assert_cmpint(byte, ==, '{');
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    g_assert(cmsg);
    memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
    return fd;
}

static void
script_fd(Session *s)
{
    negotiate(s);
    int fd = receive_fd(s);
    char line[200] = "{";
    char content[5] = "";
    ssize_t n = 1;
    while (line[n - 1] != '\n')
        n += recv(s->peer_fd, line + n, sizeof(line) - (size_t)n, 0);
    g_autoptr(JsonObject) command = gw_json_parse_object(line, n, NULL);
    g_assert_cmpstr(gw_json_get_string(command, "execute"), ==, "getfd");
    g_assert_cmpint(pread(fd, content, sizeof(content), 0), ==, 5);
    g_assert_cmpmem(content, 5, "hello", 5);
    close(fd);
    answer(s, id_of(command), "{}");
    hear_end(s);
}

static void
test_fd(void)
{
    g_autoptr(Session) s = session_new(script_fd);
    int fd = memfd_create("test", MFD_CLOEXEC);
    int closed_fd = fcntl(fd, F_DUPFD_CLOEXEC, 500); /* far from what other threads open meanwhile */
    g_assert_cmpint(write(fd, "hello", 5), ==, 5);
    close(closed_fd);

    /* what cannot be sent costs its command only */
    g_assert_null(gw_qmp_execute_with_fd(s->qmp, "getfd", NULL, closed_fd, LONG_MS, &s->error));
    g_assert_error(s->error, GW_ERROR, GW_ERROR_IO);
    g_assert_true(g_str_has_prefix(s->error->message, "qmp: getfd: sending: "));
    g_clear_error(&s->error);

    g_autoptr(JsonNode) node = gw_qmp_execute_with_fd(s->qmp, "getfd", NULL, fd, LONG_MS, &s->error);
    g_assert_no_error(s->error);
    g_assert_nonnull(node);
    g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
    close(fd);
}

static void
script_answer_while_freed(Session *s)
{
    int64_t ids[4];
    negotiate(s);
    for (int i = 0; i < 4; i++)
        ids[i] = hear(s, "wait");
    let_go(s->to_test);
    for (int i = 0; i < 4 && s->text; i++)
        answer(s, ids[i], "{}");
    hear_end(s);
}

static gpointer
thread_wait_freed(gpointer data)
{
    g_autoptr(GError) error = NULL;
    bool ok = gw_qmp_command(data, "wait", NULL, LONG_MS, &error);
    if (!ok) {
        g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
        g_assert_cmpstr(error->message, ==, "qmp: wait: the connection is being closed");
    }
    return GINT_TO_POINTER(ok);
}

/* Returns how many of the four got an answer. */
static int
free_while_waiting(const char *answers)
{
    GThread *threads[4];
    int n_ok = 0;
    g_autoptr(Session) s = session_try(script_answer_while_freed, answers, LONG_MS);
    g_assert_no_error(s->error);
    for (int i = 0; i < 4; i++)
        threads[i] = g_thread_new("wait", thread_wait_freed, s->qmp);
    await(s->to_test);
    g_clear_pointer(&s->qmp, gw_qmp_free);
    for (int i = 0; i < 4; i++)
        n_ok += GPOINTER_TO_INT(g_thread_join(threads[i]));
    g_assert_cmpuint(s->log.lost->len, ==, 0);
    return n_ok;
}

static void
test_free_while_waiting(void)
{
    g_assert_cmpint(free_while_waiting(NULL), ==, 0);
    for (int i = 0; i < 50; i++)
        free_while_waiting("yes");
}

/* Eight threads against a peer that answers what it has heard so far in reverse, with events between. */

#define N_COMMANDS 250

static void
script_reverse(Session *s)
{
    negotiate(s);
    for (;;) {
        g_autoptr(GPtrArray) heard = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
        struct pollfd more = {.fd = s->peer_fd, .events = POLLIN};
        do {
            JsonObject *command = hear_any(s);
            if (!command)
                return;
            g_ptr_array_add(heard, command);
        } while (heard->len < N_WAITING && poll(&more, 1, 0) == 1);
        for (guint i = heard->len; i-- > 0;) {
            say(s, "{\"event\": \"BETWEEN\"}\r\n");
            g_autofree char *echo = g_strdup_printf("\"%s\"", gw_json_get_string(heard->pdata[i], "execute"));
            answer(s, id_of(heard->pdata[i]), echo);
        }
    }
}

static gpointer
thread_many(gpointer data)
{
    for (int i = 0; i < N_COMMANDS; i++) {
        g_autofree char *command = g_strdup_printf("%p-%d", (void *)g_thread_self(), i);
        g_autoptr(GError) error = NULL;
        bool hurried = i % 5 == 0;
        g_autoptr(JsonNode) node = gw_qmp_execute(data, command, NULL, hurried ? 0 : LONG_MS, &error);
        if (node)
            g_assert_cmpstr(json_node_get_string(node), ==, command);
        else
            g_assert_true(hurried && g_error_matches(error, GW_ERROR, GW_ERROR_TIMED_OUT));
    }
    return NULL;
}

static void
test_many_threads(void)
{
    GThread *threads[N_WAITING];
    g_autoptr(Session) s = session_new(script_reverse);
    for (int i = 0; i < N_WAITING; i++)
        threads[i] = g_thread_new("many", thread_many, s->qmp);
    for (int i = 0; i < N_WAITING; i++)
        g_thread_join(threads[i]);
    g_assert_true(gw_qmp_is_connected(s->qmp));
}

static int
count_entries(const char *path)
{
    int n = 0;
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
script_until_end(Session *s)
{
    negotiate(s);
    hear_end(s);
}

static void
test_no_leaks(void)
{
    int n_fds = count_entries("/proc/self/fd");
    int n_threads = count_entries("/proc/self/task");
    for (int i = 0; i < 200; i++) {
        bool vanishes = i % 4 == 3;
        g_autoptr(Session) s = session_try(vanishes ? script_vanish : script_until_end, NULL, LONG_MS);
        g_assert_true((s->qmp == NULL) == vanishes);
    }
    g_assert_cmpint(count_entries("/proc/self/fd"), ==, n_fds);
    /* /proc may show the last ones for a moment after they have been joined */
    g_assert_cmpint(count_entries("/proc/self/task"), <=, n_threads + 2);
}

/* Connecting by path. */

/* The real thing. */

/* A failed assertion of ours must not leave a QEMU behind. */
static void
die_with_parent(gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static GPid
spawn_qemu(const char *program, const char *socket_path)
{
    g_autofree char *qmp = g_strdup_printf("unix:%s,server=on,wait=off", socket_path);
    const char *argv[] = {program, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", qmp, NULL};
    g_autoptr(GError) error = NULL;
    GPid pid = 0;
    g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, die_with_parent, NULL, &pid, &error);
    g_assert_no_error(error);
    return pid;
}

static int
compare_us(gconstpointer a, gconstpointer b)
{
    gint64 x = *(const gint64 *)a;
    gint64 y = *(const gint64 *)b;
    return x < y ? -1 : x > y;
}

static void
measure_latency(GwQmp *qmp)
{
    gint64 us[1000];
    for (size_t i = 0; i < G_N_ELEMENTS(us); i++) {
        gint64 start_us = g_get_monotonic_time();
        assert_answer(qmp, "query-name", "{}");
        us[i] = g_get_monotonic_time() - start_us;
    }
    qsort(us, G_N_ELEMENTS(us), sizeof(us[0]), compare_us);
    g_test_message("round trip of query-name in us: median %" G_GINT64_FORMAT ", 99 %% %" G_GINT64_FORMAT
                   ", worst %" G_GINT64_FORMAT " of 1000",
                   us[500], us[990], us[999]);
}

static gpointer
thread_query(gpointer data)
{
    for (int i = 0; i < 100; i++)
        assert_answer(data, "query-name", "{}");
    return NULL;
}

static void
talk_to_qemu(GwQmp *qmp)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(gw_qmp_version(qmp), >=, 50000);
    g_autoptr(JsonNode) status = gw_qmp_execute(qmp, "query-status", NULL, LONG_MS, &error);
    g_assert_no_error(error);
    g_assert_nonnull(gw_json_get_string(json_node_get_object(status), "status"));
    assert_fails(
        qmp, "no-such-command", LONG_MS, GW_ERROR_VMM_FAILED,
        "qmp: QEMU answered no-such-command with CommandNotFound: The command no-such-command has not "
        "been found");

    g_autoptr(JsonNode) schema = gw_qmp_execute(qmp, "query-qmp-schema", NULL, LONG_MS, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(json_array_get_length(json_node_get_array(schema)), >, 500);

    int fd = memfd_create("test", MFD_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        JsonObject *arguments = json_object_new();
        json_object_set_string_member(arguments, "fdname", "x");
        g_autoptr(JsonNode) done = i == 0
                                       ? gw_qmp_execute_with_fd(qmp, "getfd", arguments, fd, LONG_MS, &error)
                                       : gw_qmp_execute(qmp, "closefd", arguments, LONG_MS, &error);
        g_assert_no_error(error);
        g_assert_nonnull(done);
    }
    close(fd);

    GThread *threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = g_thread_new("query", thread_query, qmp);
    for (int i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    measure_latency(qmp);
}

/* QEMU takes its time to listen; nothing tells when it does. */
static int
connect_when_there(const char *path)
{
    gint64 deadline_us = g_get_monotonic_time() + LONG_MS * 1000;
    int fd = -1;
    while (fd < 0 && g_get_monotonic_time() < deadline_us)
        fd = gw_unix_socket_connect(path, NULL);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void
test_qemu(void)
{
    g_autofree char *program = g_find_program_in_path("qemu-system-x86_64");
    if (!program) {
        g_test_skip("qemu-system-x86_64 is not installed");
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-qmp-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(dir, "qmp", NULL);
    GPid pid = spawn_qemu(program, path);

    g_autoptr(Session) s = session_alloc();
    GwQmpCallbacks callbacks = callbacks_of(s, LONG_MS);
    s->qmp = gw_qmp_new(connect_when_there(path), &callbacks, &s->error);
    g_assert_no_error(s->error);
    talk_to_qemu(s->qmp);
    assert_answer(s->qmp, "quit", "{}");
    assert_lost(s, "qmp: QEMU closed the connection");
    g_assert_cmpstr(s->log.events->pdata[0], ==, "SHUTDOWN {\"guest\":false,\"reason\":\"host-qmp-quit\"}");

    int status = -1;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    g_unlink(path);
    g_rmdir(dir);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/normal", test_normal);
    g_test_add_func("/qmp/out-of-order", test_out_of_order);
    g_test_add_func("/qmp/events", test_events);
    g_test_add_func("/qmp/single-bytes", test_single_bytes);
    g_test_add_func("/qmp/one-chunk", test_one_chunk);
    g_test_add_func("/qmp/late-reply", test_late_reply);
    g_test_add_func("/qmp/owes-too-many", test_owes_too_many);
    g_test_add_func("/qmp/bad-handshake", test_bad_handshake);
    g_test_add_func("/qmp/bad-negotiation", test_bad_negotiation);
    g_test_add_func("/qmp/lies", test_lies);
    g_test_add_func("/qmp/deep-nesting", test_deep_nesting);
    g_test_add_func("/qmp/long-line", test_long_line);
    g_test_add_func("/qmp/vanish/in-line", test_vanish_in_line);
    g_test_add_func("/qmp/vanish/idle", test_vanish_idle);
    g_test_add_func("/qmp/vanish/when-ready", test_vanish_when_ready);
    g_test_add_func("/qmp/vanish/deaf", test_deaf);
    g_test_add_func("/qmp/vanish/under-eight", test_vanish_under_eight);
    g_test_add_func("/qmp/full-socket/time-out", test_full_socket);
    g_test_add_func("/qmp/full-socket/other-writer", test_other_writer_times_out);
    g_test_add_func("/qmp/full-socket/free", test_free_under_writer);
    g_test_add_func("/qmp/fd", test_fd);
    g_test_add_func("/qmp/free-while-waiting", test_free_while_waiting);
    g_test_add_func("/qmp/many-threads", test_many_threads);
    g_test_add_func("/qmp/no-leaks", test_no_leaks);
    g_test_add_func("/qmp/qemu", test_qemu);
    return g_test_run();
}
