/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several threads with one QMP client: replies in any order, full sockets, and ends while they wait. */
#include "qmp-mock.h"

#include "json.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define N_WAITING 8

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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp/out-of-order", test_out_of_order);
    g_test_add_func("/qmp/vanish/under-eight", test_vanish_under_eight);
    g_test_add_func("/qmp/full-socket/time-out", test_full_socket);
    g_test_add_func("/qmp/full-socket/other-writer", test_other_writer_times_out);
    g_test_add_func("/qmp/full-socket/free", test_free_under_writer);
    g_test_add_func("/qmp/free-while-waiting", test_free_while_waiting);
    g_test_add_func("/qmp/many-threads", test_many_threads);
    return g_test_run();
}
