/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at a task.
 *
 * Why not the center's event stream: a stream that broke has to be begun anew and the task asked for all the
 * same, so asking is needed in any case; and five small requests a second cost a center nothing. A request
 * that hangs must not keep a Ctrl-C from being heard, hence the thread.
 *
 * The thread ends by itself after the task's end and after a final error. */
#include "task-watch.h"

#include "cli.h"
#include "error.h"
#include "exit-status.h"
#include "progress.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define PERIOD_US (G_TIME_SPAN_SECOND / 5)
#define TIMEOUT_S 10 /* of one request */

struct GwTaskWatch {
    /* set before the thread starts */
    const GwSession *session; /* borrowed */
    char *path;
    gint64 patience_us;
    int fd; /* eventfd */
    GThread *thread;
    /* guarded by lock */
    GMutex lock;
    GCond wake;
    bool stops;
    GwHttpClient *client; /* the thread's; others only cancel it */
    GwTaskNews news;
};

void
gw_task_news_clear(GwTaskNews *self)
{
    g_clear_pointer(&self->task, json_object_unref);
    g_clear_error(&self->trouble);
    g_clear_error(&self->error);
}

static void
tell_locked(GwTaskWatch *self, GwTaskNews news)
{
    uint64_t one = 1;
    gw_task_news_clear(&self->news);
    self->news = news;
    if (write(self->fd, &one, sizeof one) != sizeof one)
        g_debug("an eventfd is full"); /* and so readable */
}

/* A client for each run of good luck: after a failure a new one begins with nothing of the old. */
static bool
connect_anew(GwTaskWatch *self, GError **error)
{
    GwHttpClient *client = gw_session_connect(self->session, TIMEOUT_S, error), *old = NULL;
    g_mutex_lock(&self->lock);
    old = self->client;
    self->client = client;
    bool stops = self->stops;
    g_mutex_unlock(&self->lock);
    gw_http_client_free(old);
    return client && !stops;
}

static JsonObject *
look(GwTaskWatch *self, GError **error)
{
    if (!self->client && !connect_anew(self, error))
        return NULL;
    JsonObject *task = gw_http_call(self->client, "GET", self->path, NULL, error);
    if (!task) { /* so that the next look begins anew */
        g_mutex_lock(&self->lock);
        GwHttpClient *client = g_steal_pointer(&self->client);
        g_mutex_unlock(&self->lock);
        gw_http_client_free(client);
    }
    return task;
}

/* False: there is nothing more to look for. */
static bool
look_and_tell(GwTaskWatch *self, gint64 *seen_us)
{
    GwTaskNews news = {0};
    g_autoptr(GError) cause = NULL;
    news.task = look(self, &cause);
    bool goes_on = news.task ? !gw_progress_has_ended(news.task) : cause && gw_error_is_passing(cause);
    gint64 now_us = g_get_monotonic_time();
    if (news.task)
        *seen_us = now_us;
    else if (goes_on && now_us - *seen_us < self->patience_us)
        news.trouble = g_steal_pointer(&cause);
    else if (cause)
        news.error = g_steal_pointer(&cause);
    goes_on = goes_on && !news.error;
    g_mutex_lock(&self->lock);
    tell_locked(self, news);
    g_mutex_unlock(&self->lock);
    return goes_on;
}

static void *
watch_main(void *data)
{
    GwTaskWatch *self = data;
    gint64 seen_us = g_get_monotonic_time();
    bool goes_on = true;
    while (goes_on) {
        gint64 next_us = g_get_monotonic_time() + PERIOD_US;
        goes_on = look_and_tell(self, &seen_us);
        g_mutex_lock(&self->lock);
        while (goes_on && !self->stops && g_cond_wait_until(&self->wake, &self->lock, next_us))
            ;
        goes_on = goes_on && !self->stops;
        g_mutex_unlock(&self->lock);
    }
    return NULL;
}

GwTaskWatch *
gw_task_watch_new(const GwSession *session, const char *task, unsigned patience_s)
{
    GwTaskWatch *self = g_new0(GwTaskWatch, 1);
    self->session = session;
    self->path = gw_cli_path("tasks", task, NULL);
    self->patience_us = (gint64)patience_s * G_TIME_SPAN_SECOND;
    self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_mutex_init(&self->lock);
    g_cond_init(&self->wake);
    self->thread = g_thread_new("task-watch", watch_main, self);
    return self;
}

void
gw_task_watch_free(GwTaskWatch *self)
{
    if (!self)
        return;
    g_mutex_lock(&self->lock);
    self->stops = true;
    if (self->client)
        gw_http_client_cancel(self->client);
    g_cond_signal(&self->wake);
    g_mutex_unlock(&self->lock);
    g_thread_join(self->thread);
    gw_http_client_free(self->client);
    gw_task_news_clear(&self->news);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->wake);
    close(self->fd);
    g_free(self->path);
    g_free(self);
}

int
gw_task_watch_fd(const GwTaskWatch *self)
{
    return self->fd;
}

void
gw_task_watch_take(GwTaskWatch *self, GwTaskNews *ret_news)
{
    uint64_t count = 0;
    if (read(self->fd, &count, sizeof count) != sizeof count)
        count = 0; /* asked without news: there is none */
    g_mutex_lock(&self->lock);
    *ret_news = self->news;
    self->news = (GwTaskNews){0};
    g_mutex_unlock(&self->lock);
}
