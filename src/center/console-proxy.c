/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Console readers: a thread each that waits for the agent, the answer in the server's thread. */
#include "console-proxy.h"

#include "error.h"

#include <string.h>

#define PIECE 65536

typedef struct {
    GwConsoleProxies *owner; /* set once, like the next three */
    GMainContext *context;   /* ref */
    GThread *thread;
    GwHostClient *client;   /* owned; the server's thread only cancels it */
    GInputStream *input;    /* owned, the thread's */
    GwHttpRequest *request; /* ref, the server's thread's */
    guint64 watch;          /* likewise */
    GMutex lock;            /* guards the rest */
    GCond taken;
    GSource *delivery; /* owned; pending in the server's thread */
    GBytes *piece;     /* read and not taken yet */
    bool has_ended, must_end;
} Proxy;

struct GwConsoleProxies {
    GwSessionWatch *sessions; /* borrowed */
    GPtrArray *proxies;       /* owned Proxy */
};

/* Waits for the thread, whose read is cancelled. */
static void
proxy_free(void *data)
{
    Proxy *self = data;
    g_mutex_lock(&self->lock);
    self->must_end = true;
    g_cond_signal(&self->taken);
    g_mutex_unlock(&self->lock);
    gw_host_client_cancel(self->client);
    g_thread_join(self->thread);
    if (self->delivery)
        g_source_destroy(self->delivery);
    g_clear_pointer(&self->delivery, g_source_unref);
    g_clear_pointer(&self->piece, g_bytes_unref);
    gw_session_watch_remove(self->owner->sessions, self->watch);
    g_object_unref(self->input);
    gw_host_client_free(self->client);
    gw_http_request_unref(self->request);
    g_main_context_unref(self->context);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->taken);
    g_free(self);
}

static void
on_closed(GwHttpRequest *request, void *user_data)
{
    Proxy *self = user_data;
    g_ptr_array_remove_fast(self->owner->proxies, self);
}

static void
end(Proxy *self)
{
    gw_http_stream_end(self->request);
    g_ptr_array_remove_fast(self->owner->proxies, self);
}

static void
on_session_ended(void *user_data)
{
    end(user_data);
}

/* In the server's thread. */
static gboolean
deliver(void *user_data)
{
    Proxy *self = user_data;
    GPtrArray *proxies = self->owner->proxies;
    g_mutex_lock(&self->lock);
    g_autoptr(GBytes) piece = g_steal_pointer(&self->piece);
    bool has_ended = self->has_ended;
    g_clear_pointer(&self->delivery, g_source_unref);
    g_cond_signal(&self->taken);
    g_mutex_unlock(&self->lock);
    if (piece)
        gw_http_stream_send(self->request, g_bytes_get_data(piece, NULL), g_bytes_get_size(piece));
    /* Sending may have found the reader gone. */
    if (has_ended && g_ptr_array_find(proxies, self, NULL))
        end(self);
    return G_SOURCE_REMOVE;
}

/* Hands over what was read (taken; NULL: the end), once the piece before was taken. */
static bool
hand_over(Proxy *self, GBytes *piece)
{
    g_mutex_lock(&self->lock);
    while (self->piece && !self->must_end)
        g_cond_wait(&self->taken, &self->lock);
    self->has_ended = !piece;
    if (piece && !self->must_end)
        self->piece = g_steal_pointer(&piece);
    if (!self->must_end && !self->delivery) {
        self->delivery = g_idle_source_new();
        g_source_set_callback(self->delivery, deliver, self, NULL);
        g_source_attach(self->delivery, self->context);
    }
    bool goes_on = !self->must_end;
    g_mutex_unlock(&self->lock);
    g_clear_pointer(&piece, g_bytes_unref);
    return goes_on;
}

static void *
run(void *user_data)
{
    Proxy *self = user_data;
    g_autofree char *buffer = g_malloc(PIECE);
    for (;;) {
        g_autoptr(GError) error = NULL;
        gssize n = g_input_stream_read(self->input, buffer, PIECE, NULL, &error);
        if (n < 0)
            g_debug("a console's stream from %s ended: %s", gw_host_client_host(self->client),
                    error->message);
        if (!hand_over(self, n > 0 ? g_bytes_new(buffer, (gsize)n) : NULL) || n <= 0)
            return NULL;
    }
}

void
gw_console_proxies_begin(GwConsoleProxies *self, GwHttpRequest *request, const char *token,
                         GwHostClient *client, GInputStream *input)
{
    if (self->proxies->len >= GW_CONSOLE_READERS) {
        g_autoptr(GError) error =
            g_error_new(GW_ERROR, GW_ERROR_BUSY, "%u consoles are followed already", self->proxies->len);
        gw_http_reply_error(request, error);
        g_object_unref(input);
        gw_host_client_free(client);
        return;
    }
    Proxy *proxy = g_new0(Proxy, 1);
    proxy->owner = self;
    proxy->context = g_main_context_ref_thread_default();
    proxy->client = client;
    proxy->input = input;
    proxy->request = gw_http_request_ref(request);
    g_mutex_init(&proxy->lock);
    g_cond_init(&proxy->taken);
    g_ptr_array_add(self->proxies, proxy);
    proxy->watch = gw_session_watch_add(self->sessions, token, GW_ROLE_OPERATOR, on_session_ended, proxy);
    gw_http_stream_begin(request, "application/octet-stream", on_closed, proxy);
    proxy->thread = g_thread_new("console", run, proxy);
}

GwConsoleProxies *
gw_console_proxies_new(GwSessionWatch *sessions)
{
    GwConsoleProxies *self = g_new0(GwConsoleProxies, 1);
    self->sessions = sessions;
    self->proxies = g_ptr_array_new_with_free_func(proxy_free);
    return self;
}

void
gw_console_proxies_free(GwConsoleProxies *self)
{
    if (!self)
        return;
    while (self->proxies->len > 0)
        end(self->proxies->pdata[self->proxies->len - 1]);
    g_ptr_array_unref(self->proxies);
    g_free(self);
}
