/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Supervisors for tests. */
#include "fake-supervisor.h"

#include "error.h"
#include "event-log.h"
#include "http-server.h"
#include "json.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct FakeHost {
    char *runtime_dir;
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    GPtrArray *vms; /* owned FakeVm */
};

struct FakeVm {
    FakeHost *host;
    char *name, *directory;
    int lock_fd; /* -1: nobody lives */
    /* the host thread's */
    GwHttpServer *server; /* NULL: it does not answer */
    GwEventLog *events;
    GPtrArray *streams; /* of GwHttpRequest, ref */
    /* guarded by lock */
    GMutex lock;
    char *state, *status, *motion, *last_body;
    GHashTable *n_asked; /* path -> number */
    guint64 asked_after;
};

/* Runs a function in the host's thread and waits for it. */
typedef struct {
    void (*function)(FakeVm *vm, const char *a, const char *b);
    FakeVm *vm;
    const char *a, *b;
    GMutex lock;
    GCond done_changed;
    bool done;
} Order;

static gboolean
carry_out(void *data)
{
    Order *order = data;
    order->function(order->vm, order->a, order->b);
    g_mutex_lock(&order->lock);
    order->done = true;
    g_cond_signal(&order->done_changed);
    g_mutex_unlock(&order->lock);
    return G_SOURCE_REMOVE;
}

static void
in_thread(FakeVm *vm, void (*function)(FakeVm *, const char *, const char *), const char *a, const char *b)
{
    Order order = {.function = function, .vm = vm, .a = a, .b = b};
    g_mutex_init(&order.lock);
    g_cond_init(&order.done_changed);
    g_main_context_invoke(vm->host->context, carry_out, &order);
    g_mutex_lock(&order.lock);
    while (!order.done)
        g_cond_wait(&order.done_changed, &order.lock);
    g_mutex_unlock(&order.lock);
    g_mutex_clear(&order.lock);
    g_cond_clear(&order.done_changed);
}

static void *
run(void *data)
{
    FakeHost *self = data;
    g_main_context_push_thread_default(self->context);
    g_main_loop_run(self->loop);
    while (g_main_context_iteration(self->context, FALSE))
        ;
    g_main_context_pop_thread_default(self->context);
    return NULL;
}

FakeHost *
fake_host_new(void)
{
    FakeHost *self = g_new0(FakeHost, 1);
    g_autoptr(GError) error = NULL;
    self->runtime_dir = g_dir_make_tmp("godwit-host-XXXXXX", &error);
    g_assert_no_error(error);
    self->context = g_main_context_new();
    self->loop = g_main_loop_new(self->context, FALSE);
    self->vms = g_ptr_array_new();
    self->thread = g_thread_new("fake-host", run, self);
    return self;
}

const char *
fake_host_runtime_dir(FakeHost *self)
{
    return self->runtime_dir;
}

char *
fake_host_program(FakeHost *self, const char *script)
{
    g_autoptr(GError) error = NULL;
    char *path = g_build_filename(self->runtime_dir, "godwit-vm", NULL);
    g_autofree char *text =
        g_strdup_printf("#!/bin/sh\necho \"$@\" >>%s/calls\n%s\n", self->runtime_dir, script);
    g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0755, &error);
    g_assert_no_error(error);
    return path;
}

char *
fake_host_calls(FakeHost *self)
{
    g_autofree char *path = g_build_filename(self->runtime_dir, "calls", NULL);
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, NULL);
    return text ? text : g_strdup("");
}

static void
note_asked(FakeVm *self, GwHttpRequest *request)
{
    const char *path = gw_http_request_path(request);
    size_t length = 0;
    const char *body = g_bytes_get_data(gw_http_request_body(request), &length);
    g_mutex_lock(&self->lock);
    unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(self->n_asked, path));
    g_hash_table_replace(self->n_asked, g_strdup(path), GUINT_TO_POINTER(n + 1));
    if (length > 0) {
        g_free(self->last_body);
        self->last_body = g_strndup(body, length);
    }
    g_mutex_unlock(&self->lock);
}

static char *
status_text(FakeVm *self)
{
    if (self->status)
        return g_strdup(self->status);
    return g_strdup_printf("{\"name\":\"%s\",\"uuid\":\"uuid-of-%s\",\"state\":\"%s\",\"vcpus\":1,"
                           "\"memory\":{\"size_bytes\":268435456,\"resident_bytes\":4096},"
                           "\"supervisor\":{\"pid\":17},\"qemu\":{\"pid\":18},"
                           "\"events\":{\"last_id\":%" G_GUINT64_FORMAT "}}",
                           self->name, self->name, self->state, gw_event_log_last_id(self->events));
}

static void
reply_text(GwHttpRequest *request, const char *text)
{
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
    gw_http_reply_bytes(request, 200, "application/json", bytes);
}

static void
handle_status(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    g_mutex_lock(&self->lock);
    g_autofree char *text = status_text(self);
    g_mutex_unlock(&self->lock);
    reply_text(request, text);
}

static void
handle_motion(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    g_mutex_lock(&self->lock);
    g_autofree char *text = g_strdup(self->motion);
    g_mutex_unlock(&self->lock);
    g_autoptr(GError) error = g_error_new_literal(GW_ERROR, GW_ERROR_NOT_FOUND, "no motion");
    if (text)
        reply_text(request, text);
    else
        gw_http_reply_error(request, error);
}

static void
handle_other(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    reply_text(request, "{\"answer\":\"yours\"}");
}

static void
handle_console(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    g_autoptr(GBytes) bytes = g_bytes_new("login: ", 7);
    gw_http_reply_bytes(request, 200, "application/octet-stream", bytes);
}

static void
handle_power(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    const char *action = body ? gw_json_get_string(body, "action") : NULL;
    if (g_strcmp0(action, "hop") == 0)
        g_set_error_literal(&error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "action: got 'hop'");
    else if (g_strcmp0(action, "slow") == 0)
        g_set_error_literal(&error, GW_ERROR, GW_ERROR_TIMED_OUT, "QEMU does not answer");
    if (error)
        gw_http_reply_error(request, error);
    else if (g_strcmp0(action, "stop") == 0)
        fake_vm_set_state(self, "off");
    if (!error)
        reply_text(request, "{\"state\":\"off\"}");
}

static void do_die(FakeVm *self, const char *a, const char *b);
static void remove_directory(const char *path);

static gboolean
end(void *data)
{
    FakeVm *self = data;
    do_die(self, NULL, NULL);
    return G_SOURCE_REMOVE;
}

static void
handle_remove(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&self->lock);
    if (strcmp(self->state, "off") != 0)
        g_set_error(&error, GW_ERROR, GW_ERROR_WRONG_STATE, "the VM is %s: power it off first", self->state);
    g_mutex_unlock(&self->lock);
    if (error) {
        gw_http_reply_error(request, error);
        return;
    }
    remove_directory(self->directory);
    reply_text(request, "{}");
    g_autoptr(GSource) source = g_timeout_source_new(50); /* as godwit-vm does: the answer goes first */
    g_source_set_callback(source, end, self, NULL);
    g_source_attach(source, self->host->context);
}

static void
on_stream_closed(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    if (g_ptr_array_remove_fast(self->streams, request))
        gw_http_request_unref(request);
}

static void
send_event(guint64 id, const char *type, const char *text, void *user_data)
{
    g_autofree char *message =
        g_strdup_printf("id: %" G_GUINT64_FORMAT "\nevent: %s\ndata: %s\n\n", id, type, text);
    gw_http_stream_send(user_data, message, strlen(message));
}

static void
handle_events(GwHttpRequest *request, void *user_data)
{
    FakeVm *self = user_data;
    note_asked(self, request);
    const char *after = gw_http_request_query(request, "after");
    g_mutex_lock(&self->lock);
    self->asked_after = after ? g_ascii_strtoull(after, NULL, 10) : 0;
    guint64 id = self->asked_after;
    g_mutex_unlock(&self->lock);
    g_ptr_array_add(self->streams, gw_http_request_ref(request));
    gw_http_stream_begin(request, "text/event-stream", on_stream_closed, self);
    gw_http_stream_send(request, ":\n\n", 3);
    gw_event_log_replay(self->events, id, send_event, request);
}

static void
on_event(guint64 id, const char *type, const char *text, void *user_data)
{
    FakeVm *self = user_data;
    for (guint i = 0; i < self->streams->len; i++)
        send_event(id, type, text, self->streams->pdata[i]);
}

static void
do_listen(FakeVm *self, const char *a, const char *b)
{
    g_autofree char *socket = g_build_filename(self->directory, "control.sock", NULL);
    g_autoptr(GError) error = NULL;
    self->server = gw_http_server_new("fake");
    gw_http_server_add_route(self->server, "GET", "/v1/status", handle_status, self);
    gw_http_server_add_route(self->server, "GET", "/v1/config", handle_other, self);
    gw_http_server_add_route(self->server, "GET", "/v1/events", handle_events, self);
    gw_http_server_add_route(self->server, "POST", "/v1/power", handle_power, self);
    gw_http_server_add_route(self->server, "GET", "/v1/motion", handle_motion, self);
    gw_http_server_add_route(self->server, "GET", "/v1/motion/check", handle_other, self);
    gw_http_server_add_route(self->server, "GET", "/v1/console/{port}", handle_console, self);
    gw_http_server_add_route(self->server, "POST", "/v1/console/{port}", handle_other, self);
    gw_http_server_add_route(self->server, "DELETE", "/v1/vm", handle_remove, self);
    gw_http_server_listen_unix(self->server, socket, 0600, &error);
    g_assert_no_error(error);
}

void
fake_vm_listen(FakeVm *self)
{
    in_thread(self, do_listen, NULL, NULL);
}

static void
do_make(FakeVm *self, const char *a, const char *b)
{
    self->events = gw_event_log_new((guint64)g_get_real_time(), on_event, self);
}

FakeVm *
fake_vm_new(FakeHost *host, const char *name, bool silent)
{
    static const char config[] =
        "{\"name\": \"%s\", \"uuid\": \"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\", \"vcpus\": 1, "
        "\"memory_mib\": 512, \"cpu_model\": \"qemu64\", \"machine\": \"pc-q35-7.2\", \"boot\": {\"kind\": \"bios\"}}";
    FakeVm *self = g_new0(FakeVm, 1);
    g_autoptr(GError) error = NULL;
    self->host = host;
    self->name = g_strdup(name);
    self->directory = g_build_filename(host->runtime_dir, "vms", name, NULL);
    self->state = g_strdup("running");
    self->streams = g_ptr_array_new();
    self->n_asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_init(&self->lock);
    g_assert_cmpint(g_mkdir_with_parents(self->directory, 0700), ==, 0);
    g_autofree char *lock_path = g_build_filename(self->directory, "lock", NULL);
    self->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(flock(self->lock_fd, LOCK_EX | LOCK_NB), ==, 0);
    g_autofree char *path = g_build_filename(self->directory, "config.json", NULL);
    g_autofree char *text = g_strdup_printf(config, name);
    g_file_set_contents(path, text, -1, &error);
    g_assert_no_error(error);
    g_ptr_array_add(host->vms, self);
    in_thread(self, do_make, NULL, NULL);
    if (!silent)
        fake_vm_listen(self);
    return self;
}

static void
do_die(FakeVm *self, const char *a, const char *b)
{
    for (guint i = self->streams->len; i-- > 0;) {
        gw_http_stream_end(self->streams->pdata[i]);
        gw_http_request_unref(self->streams->pdata[i]);
    }
    g_ptr_array_set_size(self->streams, 0);
    g_clear_pointer(&self->server, gw_http_server_free);
}

void
fake_vm_die(FakeVm *self)
{
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    self->lock_fd = -1;
    in_thread(self, do_die, NULL, NULL);
}

static void
remove_directory(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        if (unlink(file) < 0)
            remove_directory(file);
    }
    rmdir(path);
}

void
fake_vm_remove(FakeVm *self)
{
    remove_directory(self->directory);
    fake_vm_die(self);
}

static void
replace(FakeVm *self, char **where, const char *text)
{
    g_mutex_lock(&self->lock);
    g_free(*where);
    *where = g_strdup(text);
    g_mutex_unlock(&self->lock);
}

void
fake_vm_set_state(FakeVm *self, const char *state)
{
    replace(self, &self->state, state);
}

void
fake_vm_set_status(FakeVm *self, const char *json)
{
    replace(self, &self->status, json);
}

void
fake_vm_set_motion(FakeVm *self, const char *json)
{
    replace(self, &self->motion, json);
}

void
fake_vm_tell(FakeVm *self, const char *type, const char *json)
{
    g_autoptr(GError) error = NULL;
    JsonObject *data = gw_json_parse_object(json, -1, &error);
    g_assert_no_error(error);
    gw_event_log_publish(self->events, type, data, 0);
}

static void
do_send_raw(FakeVm *self, const char *text, const char *b)
{
    for (guint i = 0; i < self->streams->len; i++)
        gw_http_stream_send(self->streams->pdata[i], text, strlen(text));
}

void
fake_vm_send_raw(FakeVm *self, const char *text)
{
    in_thread(self, do_send_raw, text, NULL);
}

unsigned
fake_vm_n_asked(FakeVm *self, const char *path)
{
    g_mutex_lock(&self->lock);
    unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(self->n_asked, path));
    g_mutex_unlock(&self->lock);
    return n;
}

guint64
fake_vm_asked_after(FakeVm *self)
{
    g_mutex_lock(&self->lock);
    guint64 after = self->asked_after;
    g_mutex_unlock(&self->lock);
    return after;
}

guint64
fake_vm_last_id(FakeVm *self)
{
    return gw_event_log_last_id(self->events);
}

char *
fake_vm_last_body(FakeVm *self)
{
    g_mutex_lock(&self->lock);
    char *body = g_strdup(self->last_body);
    g_mutex_unlock(&self->lock);
    return body;
}

static void
do_free(FakeVm *self, const char *a, const char *b)
{
    do_die(self, NULL, NULL);
    gw_event_log_free(self->events);
}

static void
vm_free(FakeVm *self)
{
    in_thread(self, do_free, NULL, NULL);
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    g_ptr_array_unref(self->streams);
    g_hash_table_unref(self->n_asked);
    g_mutex_clear(&self->lock);
    g_free(self->state);
    g_free(self->status);
    g_free(self->motion);
    g_free(self->last_body);
    g_free(self->name);
    g_free(self->directory);
    g_free(self);
}

void
fake_host_free(FakeHost *self)
{
    for (guint i = 0; i < self->vms->len; i++)
        vm_free(self->vms->pdata[i]);
    g_ptr_array_unref(self->vms);
    g_main_loop_quit(self->loop);
    g_thread_join(self->thread);
    g_main_loop_unref(self->loop);
    g_main_context_unref(self->context);
    remove_directory(self->runtime_dir);
    g_free(self->runtime_dir);
    g_free(self);
}
