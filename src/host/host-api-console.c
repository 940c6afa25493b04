/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's console, passed on from its supervisor: a thread reads, the main thread sends. The thread goes on
 * only when its piece has been taken, so that it never runs ahead by more than one; how far the reader of the
 * stream lags is the server's to bound. */
#include "error.h"
#include "host-api-internal.h"

#include <string.h>

#define PIECE_BYTES 32768

/* What the reader hands over: that the supervisor answers, what it says, the end. */
typedef enum { CONSOLE_OPEN, CONSOLE_PIECE, CONSOLE_END } ConsoleStep;

typedef struct {
    GwHostApi *api;
    GwHttpRequest *request; /* ref */
    GwHttpClient *client;   /* owned; ended by the main thread, used by the reader */
    char *vm, *path;
    GThread *reader;
    /* the main thread's */
    bool begun, closed;
    /* set by the reader before it hands over, or guarded by lock */
    GMutex lock;
    GCond taken;
    bool handed; /* what follows is the main thread's now */
    ConsoleStep step;
    GError *error; /* with the end, if it never opened */
    char piece[PIECE_BYTES];
    size_t length;
} Console;

static void
console_free(Console *console)
{
    g_thread_join(console->reader);
    gw_http_client_free(console->client);
    gw_http_request_unref(console->request);
    g_clear_error(&console->error);
    g_mutex_clear(&console->lock);
    g_cond_clear(&console->taken);
    g_free(console->vm);
    g_free(console->path);
    g_free(console);
}

static void
on_closed(GwHttpRequest *request, void *user_data)
{
    Console *console = user_data;
    console->closed = true;
    gw_http_client_cancel(console->client);
}

static void
finish(Console *console)
{
    if (console->begun && !console->closed)
        gw_http_stream_end(console->request);
    if (!console->begun) {
        g_autoptr(GError) error = NULL;
        gw_host_api_take_vm_error(console->vm, g_steal_pointer(&console->error), &error);
        gw_http_reply_error(console->request, error);
    }
    g_ptr_array_remove_fast(console->api->consoles, console);
    console_free(console);
}

static gboolean
take(void *data)
{
    Console *console = data;
    if (console->step == CONSOLE_END) {
        finish(console);
        return G_SOURCE_REMOVE;
    }
    if (console->step == CONSOLE_OPEN) {
        console->begun = true;
        gw_http_stream_begin(console->request, "application/octet-stream", on_closed, console);
    } else if (!console->closed) {
        gw_http_stream_send(console->request, console->piece, console->length);
    }
    g_mutex_lock(&console->lock);
    console->handed = false;
    g_cond_signal(&console->taken);
    g_mutex_unlock(&console->lock);
    return G_SOURCE_REMOVE;
}

/* The end is not waited for: it ends us. */
static void
hand_over(Console *console, ConsoleStep step, size_t length)
{
    console->step = step;
    console->length = length;
    console->handed = true;
    gw_host_api_in_main_thread(console->api, take, console);
    g_mutex_lock(&console->lock);
    while (step != CONSOLE_END && console->handed)
        g_cond_wait(&console->taken, &console->lock);
    g_mutex_unlock(&console->lock);
}

static void *
read_console(void *data)
{
    Console *console = data;
    g_autoptr(GInputStream) stream = gw_http_open(console->client, console->path, &console->error);
    if (stream)
        hand_over(console, CONSOLE_OPEN, 0);
    for (;;) {
        gssize n = stream ? g_input_stream_read(stream, console->piece, PIECE_BYTES, NULL, NULL) : 0;
        if (n <= 0)
            break;
        hand_over(console, CONSOLE_PIECE, (size_t)n);
    }
    g_clear_object(&stream);
    hand_over(console, CONSOLE_END, 0);
    return NULL;
}

static char *
supervisors_path(GwHttpRequest *request)
{
    g_autofree char *port = g_uri_escape_string(gw_http_request_param(request, "port"), NULL, FALSE);
    const char *from = gw_http_request_query(request, "from"),
               *follow = gw_http_request_query(request, "follow");
    g_autofree char *from_text = from ? g_uri_escape_string(from, NULL, FALSE) : g_strdup("0");
    return g_strdup_printf("/v1/console/%s?from=%s%s", port, from_text,
                           g_strcmp0(follow, "1") == 0 ? "&follow=1" : "");
}

void
gw_host_api_console_read(GwHttpRequest *request, void *api)
{
    GwHostApi *self = api;
    const char *vm = gw_http_request_param(request, "vm");
    g_autoptr(GError) error = NULL;
    /* A guest may say nothing for days: no timeout. */
    GwHttpClient *client = gw_registry_connect(gw_agent_registry(self->agent), vm, 0, &error);
    if (!client) {
        gw_http_reply_error(request, error);
        return;
    }
    Console *console = g_new0(Console, 1);
    console->api = self;
    console->request = gw_http_request_ref(request);
    console->client = client;
    console->vm = g_strdup(vm);
    console->path = supervisors_path(request);
    g_mutex_init(&console->lock);
    g_cond_init(&console->taken);
    g_ptr_array_add(self->consoles, console);
    console->reader = g_thread_new("console", read_console, console);
}

void
gw_host_api_close_consoles(GwHostApi *self)
{
    for (guint i = 0; i < self->consoles->len; i++)
        gw_http_client_cancel(((Console *)self->consoles->pdata[i])->client);
    while (self->consoles->len > 0)
        g_main_context_iteration(self->context, TRUE);
}
