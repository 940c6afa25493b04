/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Routes of the control socket. */
#include "vm-api.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define HEARTBEAT_S 15 /* an open stream says something, or a lost reader would never be noticed */

/* An open event stream or console. */
typedef struct {
    GwVmApi *api;
    GwHttpRequest *request; /* ref */
    guint64 last_id;        /* of events */
    int port;               /* of a console; -1: events */
} Stream;

struct GwVmApi {
    GwVm *vm;           /* borrowed */
    GwEventLog *events; /* borrowed */
    GPtrArray *streams; /* owned Stream */
    guint heartbeat;
    GwVmApiRemoved removed;
    void *user_data;
};

static void
stream_free(void *data)
{
    Stream *stream = data;
    gw_http_request_unref(stream->request);
    g_free(stream);
}

static void
on_stream_closed(GwHttpRequest *request, void *user_data)
{
    Stream *stream = user_data;
    g_ptr_array_remove_fast(stream->api->streams, stream);
}

static Stream *
open_stream(GwVmApi *self, GwHttpRequest *request, const char *content_type, int port)
{
    Stream *stream = g_new0(Stream, 1);
    *stream = (Stream){.api = self, .request = gw_http_request_ref(request), .port = port};
    g_ptr_array_add(self->streams, stream);
    gw_http_stream_begin(request, content_type, on_stream_closed, stream);
    return stream;
}

/* Sending to a stream may close it, which takes it off the list: walk from the end. */
#define FOR_EACH_STREAM(self, stream)                                                                        \
    for (guint i_ = (self)->streams->len; i_-- > 0;)                                                         \
        for (Stream *stream = i_ < (self)->streams->len ? (self)->streams->pdata[i_] : NULL; stream;         \
             stream = NULL)

static void
send_event(guint64 id, const char *type, const char *text, void *user_data)
{
    Stream *stream = user_data;
    if (id <= stream->last_id)
        return;
    stream->last_id = id;
    /* Server-sent events: HTML standard, section 9.2. */
    g_autofree char *message =
        g_strdup_printf("id: %" G_GUINT64_FORMAT "\nevent: %s\ndata: %s\n\n", id, type, text);
    gw_http_stream_send(stream->request, message, strlen(message));
}

void
gw_vm_api_on_event(guint64 id, const char *type, const char *text, void *user_data)
{
    GwVmApi *self = user_data;
    FOR_EACH_STREAM(self, stream)
    if (stream->port < 0)
        send_event(id, type, text, stream);
}

static void
on_console_output(unsigned port, const char *data, size_t length, void *user_data)
{
    GwVmApi *self = user_data;
    FOR_EACH_STREAM(self, stream)
    if (stream->port == (int)port)
        gw_http_stream_send(stream->request, data, length);
}

static gboolean
on_heartbeat(void *user_data)
{
    GwVmApi *self = user_data;
    /* An empty comment; a console's stream has no such thing and is noticed at the guest's next word. */
    FOR_EACH_STREAM(self, stream)
    if (stream->port < 0)
        gw_http_stream_send(stream->request, ":\n\n", 3);
    return G_SOURCE_CONTINUE;
}

static void
handle_events(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    const char *after = gw_http_request_query(request, "after");
    guint64 id = after ? g_ascii_strtoull(after, NULL, 10) : 0;
    Stream *stream = open_stream(self, request, "text/event-stream", -1);
    stream->last_id = id;
    gw_http_stream_send(request, ":\n\n", 3); /* so that a client knows at once that it listens */
    gw_event_log_replay(self->events, id, send_event, stream);
}

static void
handle_status(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    gw_http_reply(request, 200, gw_vm_status(self->vm));
}

static void
handle_config(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    g_autofree char *text = gw_vm_config_to_text(gw_vm_config(self->vm));
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
    gw_http_reply_bytes(request, 200, "application/json", bytes);
}

static void
answer_done(JsonObject *result, const GError *error, void *user_data)
{
    g_autoptr(GwHttpRequest) request = user_data;
    if (error)
        gw_http_reply_error(request, error);
    else
        gw_http_reply(request, 200, json_object_ref(result));
}

static const struct {
    const char *name;
    GwVmOp op;
} power_actions[] = {
    {"start", GW_VM_OP_START}, {"shutdown", GW_VM_OP_SHUTDOWN}, {"stop", GW_VM_OP_KILL},
    {"reset", GW_VM_OP_RESET}, {"pause", GW_VM_OP_PAUSE},       {"resume", GW_VM_OP_RESUME},
};

static void
handle_power(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    if (!body) {
        gw_http_reply_error(request, error);
        return;
    }
    const char *action = gw_json_get_string(body, "action");
    for (size_t i = 0; action && i < G_N_ELEMENTS(power_actions); i++) {
        if (strcmp(power_actions[i].name, action) != 0)
            continue;
        gw_vm_submit(self->vm, power_actions[i].op, body, answer_done, gw_http_request_ref(request));
        return;
    }
    g_set_error(&error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "action: got '%s', expected start, shutdown, stop, reset, pause or resume",
                action ? action : "nothing");
    gw_http_reply_error(request, error);
}

static void
submit_from_request(GwVmApi *self, GwHttpRequest *request, GwVmOp op)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    if (body)
        gw_vm_submit(self->vm, op, body, answer_done, gw_http_request_ref(request));
    else
        gw_http_reply_error(request, error);
}

static void
handle_trace_arm(GwHttpRequest *request, void *user_data)
{
    submit_from_request(user_data, request, GW_VM_OP_TRACE_ARM);
}

static void
handle_trace_scan(GwHttpRequest *request, void *user_data)
{
    submit_from_request(user_data, request, GW_VM_OP_TRACE_SCAN);
}

static void
handle_trace_disarm(GwHttpRequest *request, void *user_data)
{
    submit_from_request(user_data, request, GW_VM_OP_TRACE_DISARM);
}

static void
handle_motion_begin(GwHttpRequest *request, void *user_data)
{
    submit_from_request(user_data, request, GW_VM_OP_MOTION);
}

static void
handle_motion_check(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    gw_vm_submit(self->vm, GW_VM_OP_MOTION_CHECK, NULL, answer_done, gw_http_request_ref(request));
}

static void
handle_motion_show(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    JsonObject *motion = gw_vm_motion(self->vm);
    if (motion) {
        gw_http_reply(request, 200, motion);
        return;
    }
    g_autoptr(GError) error = g_error_new_literal(GW_ERROR, GW_ERROR_NOT_FOUND,
                                                  "the VM has not been in a motion under this supervisor");
    gw_http_reply_error(request, error);
}

static void
handle_motion_cancel(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    g_autoptr(GError) error = NULL;
    if (gw_vm_motion_cancel(self->vm, &error))
        gw_http_reply(request, 200, gw_vm_motion(self->vm));
    else
        gw_http_reply_error(request, error);
}

static void
handle_motion_resolve(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    const char *outcome = body ? gw_json_get_string(body, "outcome") : NULL;
    bool run = g_strcmp0(outcome, "run") == 0;
    if (body && !run && g_strcmp0(outcome, "discard") != 0)
        g_set_error(&error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "outcome: got '%s', expected run or discard",
                    outcome ? outcome : "nothing");
    if (!error && gw_vm_motion_resolve(self->vm, run, &error))
        gw_http_reply(request, 200, gw_vm_motion(self->vm));
    else
        gw_http_reply_error(request, error);
}

static GwConsole *
requested_console(GwVmApi *self, GwHttpRequest *request, unsigned *ret_port)
{
    const char *text = gw_http_request_param(request, "port");
    guint64 port = 0;
    GwConsole *console = NULL;
    if (g_ascii_string_to_unsigned(text, 10, 0, GW_VM_MAX_SERIALS - 1, &port, NULL))
        console = gw_vm_console(self->vm, (unsigned)port);
    if (!console) {
        g_autoptr(GError) error =
            g_error_new(GW_ERROR, GW_ERROR_NOT_FOUND, "the VM has no serial port %s (it has %u)", text,
                        gw_vm_config(self->vm)->n_serials);
        gw_http_reply_error(request, error);
    }
    *ret_port = (unsigned)port;
    return console;
}

static void
handle_console_read(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    unsigned port;
    GwConsole *console = requested_console(self, request, &port);
    if (!console)
        return;
    g_autoptr(GError) error = NULL;
    const char *from_text = gw_http_request_query(request, "from");
    const char *follow = gw_http_request_query(request, "follow");
    guint64 from = from_text ? g_ascii_strtoull(from_text, NULL, 10) : 0;
    g_autoptr(GBytes) output = gw_console_read(console, &from, &error);
    if (!output) {
        gw_http_reply_error(request, error);
        return;
    }
    g_autofree char *first = g_strdup_printf("%" G_GUINT64_FORMAT, from);
    gw_http_set_header(request, "Godwit-From", first);
    if (g_strcmp0(follow, "1") == 0) {
        open_stream(self, request, "application/octet-stream", (int)port);
        gw_http_stream_send(request, g_bytes_get_data(output, NULL), g_bytes_get_size(output));
    } else {
        gw_http_reply_bytes(request, 200, "application/octet-stream", output);
    }
}

static void
handle_console_write(GwHttpRequest *request, void *user_data)
{
    GwVmApi *self = user_data;
    unsigned port;
    GwConsole *console = requested_console(self, request, &port);
    if (!console)
        return;
    g_autoptr(GError) error = NULL;
    GBytes *input = gw_http_request_body(request);
    if (gw_console_write(console, g_bytes_get_data(input, NULL), g_bytes_get_size(input), &error))
        gw_http_reply(request, 200, json_object_new());
    else
        gw_http_reply_error(request, error);
}

typedef struct {
    GwVmApi *api;
    GwHttpRequest *request; /* ref */
} Removal;

static void
remove_settled(JsonObject *result, const GError *ignored, void *user_data)
{
    g_autofree Removal *removal = user_data;
    g_autoptr(GwHttpRequest) request = removal->request;
    GwVmApi *self = removal->api;
    g_autoptr(GError) error = NULL;
    if (!gw_vm_remove(self->vm, &error)) {
        gw_http_reply_error(request, error);
        return;
    }
    gw_http_reply(request, 200, json_object_new());
    self->removed(self->user_data);
}

/* What led to a state that allows it may still have its last lines to write: a client that removes the VM as
 * soon as it sees "moved" or "off" is right to do so, and waits for them. */
static void
handle_remove(GwHttpRequest *request, void *user_data)
{
    Removal *removal = g_new(Removal, 1);
    *removal = (Removal){user_data, gw_http_request_ref(request)};
    gw_vm_submit(removal->api->vm, GW_VM_OP_SETTLE, NULL, remove_settled, removal);
}

GwVmApi *
gw_vm_api_new(GwHttpServer *server, GwEventLog *events, GwVmApiRemoved removed, void *user_data)
{
    GwVmApi *self = g_new0(GwVmApi, 1);
    self->events = events;
    self->removed = removed;
    self->user_data = user_data;
    self->streams = g_ptr_array_new_with_free_func(stream_free);
    self->heartbeat = g_timeout_add_seconds(HEARTBEAT_S, on_heartbeat, self);

    static const struct {
        const char *method, *pattern;
        GwHttpHandler handler;
    } routes[] = {
        {"GET", "/v1/status", handle_status},
        {"GET", "/v1/config", handle_config},
        {"GET", "/v1/events", handle_events},
        {"POST", "/v1/power", handle_power},
        {"GET", "/v1/console/{port}", handle_console_read},
        {"POST", "/v1/console/{port}", handle_console_write},
        {"POST", "/v1/trace", handle_trace_arm},
        {"POST", "/v1/trace/scan", handle_trace_scan},
        {"DELETE", "/v1/trace", handle_trace_disarm},
        {"POST", "/v1/motion", handle_motion_begin},
        {"GET", "/v1/motion", handle_motion_show},
        {"DELETE", "/v1/motion", handle_motion_cancel},
        {"GET", "/v1/motion/check", handle_motion_check},
        {"POST", "/v1/motion/resolve", handle_motion_resolve},
        {"DELETE", "/v1/vm", handle_remove},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
        gw_http_server_add_route(server, routes[i].method, routes[i].pattern, routes[i].handler, self);
    return self;
}

void
gw_vm_api_set_vm(GwVmApi *self, GwVm *vm)
{
    self->vm = vm;
    gw_vm_set_console_follower(vm, on_console_output, self);
}

void
gw_vm_api_close(GwVmApi *self)
{
    g_clear_handle_id(&self->heartbeat, g_source_remove);
    while (self->streams->len > 0) {
        Stream *stream = self->streams->pdata[self->streams->len - 1];
        gw_http_stream_end(stream->request);
        g_ptr_array_remove_index(self->streams, self->streams->len - 1);
    }
}

void
gw_vm_api_free(GwVmApi *self)
{
    if (!self)
        return;
    gw_vm_api_close(self);
    g_ptr_array_unref(self->streams);
    g_free(self);
}
