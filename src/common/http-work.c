/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Works: handlers that may block, in threads; their answers are given in the server's thread.
 *
 * A worker leaves what it has done in a queue and makes a source of the server's main context ready, which
 * empties it. Work that cannot begin soon is refused instead of being kept: a client that is told so can try
 * elsewhere or again, one that waits in a long queue cannot. */
#include "error.h"
#include "http-server-internal.h"

#define MAX_THREADS 32
#define MAX_WAITING 256

struct GwHttpWorks {
    GThreadPool *pool;
    GSource *bell; /* attached to the server's context */
    /* guarded by lock */
    GMutex lock;
    GQueue done; /* of Job */
};

typedef struct {
    GwHttpRequest *request; /* ref */
    GwHttpWork work;
    void *user_data;
    JsonObject *reply;
    GError *error;
} Job;

/* The bell, and whose it is. */
typedef struct {
    GSource source;
    GwHttpWorks *works;
} Bell;

static void
hand_back(GwHttpWorks *self, Job *job)
{
    g_mutex_lock(&self->lock);
    g_queue_push_tail(&self->done, job);
    g_source_set_ready_time(self->bell, 0);
    g_mutex_unlock(&self->lock);
}

static void
do_job(void *data, void *user_data)
{
    Job *job = data;
    job->reply = job->work(job->request, job->user_data, &job->error);
    hand_back(user_data, job);
}

static void
answer(Job *job)
{
    if (job->reply)
        gw_http_reply(job->request, job->request->status, job->reply);
    else if (job->error)
        gw_http_reply_error(job->request, job->error);
    g_clear_error(&job->error);
    gw_http_request_unref(job->request); /* says so if there was neither */
    g_free(job);
}

static void
answer_all(GwHttpWorks *self)
{
    for (;;) {
        g_mutex_lock(&self->lock);
        Job *job = g_queue_pop_head(&self->done);
        g_mutex_unlock(&self->lock);
        if (!job)
            return;
        answer(job);
    }
}

static gboolean
bell_dispatch(GSource *source, GSourceFunc callback, void *user_data)
{
    g_source_set_ready_time(source, -1); /* before the queue is looked at */
    answer_all(((Bell *)source)->works);
    return G_SOURCE_CONTINUE;
}

/* Of a job that never began. */
static void
give_up(void *data)
{
    Job *job = data;
    job->error = g_error_new_literal(GW_ERROR, GW_ERROR_CANCELLED, "this server is ending");
    answer(job);
}

GwHttpWorks *
gw_http_works_new(void)
{
    static GSourceFuncs funcs = {.dispatch = bell_dispatch};
    GwHttpWorks *self = g_new0(GwHttpWorks, 1);
    g_mutex_init(&self->lock);
    g_queue_init(&self->done);
    self->bell = g_source_new(&funcs, sizeof(Bell));
    ((Bell *)self->bell)->works = self;
    g_source_set_static_name(self->bell, "http works");
    g_source_attach(self->bell, g_main_context_get_thread_default());
    self->pool = g_thread_pool_new_full(do_job, self, give_up, MAX_THREADS, FALSE, NULL);
    return self;
}

void
gw_http_works_free(GwHttpWorks *self)
{
    if (!self)
        return;
    g_thread_pool_free(self->pool, TRUE, TRUE);
    answer_all(self);
    g_source_destroy(self->bell);
    g_source_unref(self->bell);
    g_mutex_clear(&self->lock);
    g_free(self);
}

void
gw_http_works_start(GwHttpWorks *self, GwHttpRequest *request, GwHttpWork work, void *user_data)
{
    if (g_thread_pool_unprocessed(self->pool) >= MAX_WAITING) {
        g_autoptr(GError) error = g_error_new_literal(
            GW_ERROR, GW_ERROR_BUSY, "too many requests are waiting to be worked on; try again later");
        gw_http_reply_error(request, error);
        return;
    }
    Job *job = g_new(Job, 1);
    *job = (Job){.request = gw_http_request_ref(request), .work = work, .user_data = user_data};
    gw_http_request_pause(request);
    g_thread_pool_push(self->pool, job, NULL);
}
