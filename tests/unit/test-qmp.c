/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The QMP client against a peer that answers as it should, and against QEMU where there is one. */
#include "qmp-mock.h"

#include "json.h"
#include "unix-socket.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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
    g_test_add_func("/qmp/events", test_events);
    g_test_add_func("/qmp/single-bytes", test_single_bytes);
    g_test_add_func("/qmp/one-chunk", test_one_chunk);
    g_test_add_func("/qmp/fd", test_fd);
    g_test_add_func("/qmp/no-leaks", test_no_leaks);
    g_test_add_func("/qmp/qemu", test_qemu);
    return g_test_run();
}
