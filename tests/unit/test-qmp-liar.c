/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP client against a peer that is late, lies, says nothing, or vanishes. */
#include "qmp-mock.h"

#include <string.h>
#include <sys/socket.h>

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

#define MAX_ABANDONED 1024 /* qmp-calls.c's */

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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
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
    return g_test_run();
}
