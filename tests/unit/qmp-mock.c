/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QMP client's peer that follows a script. */
#include "qmp-mock.h"

#include "json.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void
log_add(Log *self, GPtrArray *list, char *text)
{
    pthread_mutex_lock(&self->lock);
    g_ptr_array_add(list, text);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

void
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

void
let_go(int event_fd)
{
    g_assert_cmpint(eventfd_write(event_fd, 1), ==, 0);
}

void
await(int event_fd)
{
    eventfd_t value = 0;
    g_assert_cmpint(eventfd_read(event_fd, &value), ==, 0);
}

bool
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

void
say(Session *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    say_bytes(s, text, strlen(text));
}

JsonObject *
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

int64_t
id_of(JsonObject *command)
{
    int64_t id = -1;
    g_assert_true(gw_json_get_int(command, "id", &id));
    return id;
}

int64_t
hear(Session *s, const char *name)
{
    g_autoptr(JsonObject) command = hear_any(s);
    g_assert_nonnull(command);
    g_assert_cmpstr(gw_json_get_string(command, "execute"), ==, name);
    return id_of(command);
}

void
answer(Session *s, int64_t id, const char *value)
{
    say(s, "{\"return\": %s, \"id\": %" G_GINT64_FORMAT "}\r\n", value, id);
}

void
negotiate(Session *s)
{
    say(s, "%s", GREETING);
    answer(s, hear(s, "qmp_capabilities"), "{}");
}

void
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

GwQmpCallbacks
callbacks_of(Session *s, int timeout_ms)
{
    return (GwQmpCallbacks){.event = on_event, .lost = on_lost, .user_data = s, .timeout_ms = timeout_ms};
}

Session *
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

Session *
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

Session *
session_new(Script script)
{
    Session *s = session_try(script, NULL, LONG_MS);
    g_assert_no_error(s->error);
    g_assert_true(gw_qmp_is_connected(s->qmp));
    return s;
}

void
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
void
assert_answer(GwQmp *qmp, const char *command, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = gw_qmp_execute(qmp, command, NULL, LONG_MS, &error);
    g_assert_no_error(error);
    g_autofree char *text = gw_json_node_to_line(node);
    g_assert_cmpstr(text, ==, expected);
}

void
assert_fails(GwQmp *qmp, const char *command, int timeout_ms, GwError code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_qmp_command(qmp, command, NULL, timeout_ms, &error));
    g_assert_error(error, GW_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, text);
}

void
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

void
script_vanish(Session *s)
{
    if (s->text)
        say(s, "%s", s->text);
}
