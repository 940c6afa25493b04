/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that asks for each open stream's session in rounds.
 *
 * It asks the store, which may be waiting for its disk: that is why it has a thread. What it finds is told in
 * the owner's main context, where streams live. */
#include "session-watch.h"

#include "certificate.h"
#include "error.h"

#define ROUND_US (5 * G_TIME_SPAN_SECOND)

typedef struct {
    char *token; /* gw_secret_free() */
    GwRole least;
    GwSessionEnded ended;
    void *user_data;
} Watched;

struct GwSessionWatch {
    GwAuth *auth; /* borrowed */
    GMainContext *context;
    GThread *thread;
    GMutex lock; /* guards the rest */
    GCond wake;
    GHashTable *watched; /* number → owned Watched */
    guint64 last_number;
    bool must_look, must_end;
    GSource *telling; /* owned; tells of `over` */
    GArray *over;     /* of guint64: whose session has ended */
};

static void
watched_free(void *data)
{
    Watched *watched = data;
    gw_secret_free(watched->token);
    g_free(watched);
}

/* In the owner's thread. */
static gboolean
tell(void *user_data)
{
    GwSessionWatch *self = user_data;
    g_mutex_lock(&self->lock);
    g_autoptr(GArray) over = g_steal_pointer(&self->over);
    g_clear_pointer(&self->telling, g_source_unref);
    g_mutex_unlock(&self->lock);
    for (guint i = 0; over && i < over->len; i++) {
        guint64 number = g_array_index(over, guint64, i);
        g_mutex_lock(&self->lock);
        Watched *watched = g_hash_table_lookup(self->watched, &number);
        void *key = NULL;
        if (watched)
            g_hash_table_steal_extended(self->watched, &number, &key, NULL);
        g_free(key);
        g_mutex_unlock(&self->lock);
        if (!watched)
            continue;
        watched->ended(watched->user_data);
        watched_free(watched);
    }
    return G_SOURCE_REMOVE;
}

static void
find_over_locked(GwSessionWatch *self, guint64 number)
{
    if (!self->over)
        self->over = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_array_append_val(self->over, number);
    if (self->telling)
        return;
    self->telling = g_idle_source_new();
    g_source_set_callback(self->telling, tell, self, NULL);
    g_source_attach(self->telling, self->context);
}

/* A store that cannot be read ends no session: only its word does. */
static bool
is_over(GwSessionWatch *self, const char *token, GwRole least)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *user = NULL;
    GwRole role = GW_ROLE_READ_ONLY;
    if (gw_auth_check(self->auth, token, &user, &role, &error))
        return role < least;
    return g_error_matches(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED);
}

typedef struct {
    guint64 number;
    char *token;
    GwRole least;
} Question;

static void
question_clear(void *data)
{
    Question *question = data;
    gw_secret_free(question->token);
}

static GArray *
questions_locked(GwSessionWatch *self)
{
    GArray *questions = g_array_new(FALSE, FALSE, sizeof(Question));
    g_array_set_clear_func(questions, question_clear);
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, self->watched);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Watched *watched = value;
        Question question = {*(guint64 *)key, g_strdup(watched->token), watched->least};
        g_array_append_val(questions, question);
    }
    return questions;
}

static void *
run(void *user_data)
{
    GwSessionWatch *self = user_data;
    g_mutex_lock(&self->lock);
    while (!self->must_end) {
        gint64 until = g_get_monotonic_time() + ROUND_US;
        while (!self->must_end && !self->must_look)
            if (!g_cond_wait_until(&self->wake, &self->lock, until))
                break;
        self->must_look = false;
        g_autoptr(GArray) questions = questions_locked(self);
        for (guint i = 0; i < questions->len && !self->must_end; i++) {
            const Question *question = &g_array_index(questions, Question, i);
            g_mutex_unlock(&self->lock);
            bool over = is_over(self, question->token, question->least);
            g_mutex_lock(&self->lock);
            if (over)
                find_over_locked(self, question->number);
        }
    }
    g_mutex_unlock(&self->lock);
    return NULL;
}

GwSessionWatch *
gw_session_watch_new(GwAuth *auth)
{
    GwSessionWatch *self = g_new0(GwSessionWatch, 1);
    self->auth = auth;
    self->context = g_main_context_ref_thread_default();
    self->watched = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, watched_free);
    g_mutex_init(&self->lock);
    g_cond_init(&self->wake);
    self->thread = g_thread_new("session-watch", run, self);
    return self;
}

guint64
gw_session_watch_add(GwSessionWatch *self, const char *token, GwRole least, GwSessionEnded ended,
                     void *user_data)
{
    if (!token)
        return 0;
    Watched *watched = g_new(Watched, 1);
    *watched = (Watched){g_strdup(token), least, ended, user_data};
    g_mutex_lock(&self->lock);
    guint64 number = ++self->last_number;
    g_hash_table_insert(self->watched, g_memdup2(&number, sizeof(number)), watched);
    g_mutex_unlock(&self->lock);
    return number;
}

void
gw_session_watch_remove(GwSessionWatch *self, guint64 number)
{
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->watched, &number);
    g_mutex_unlock(&self->lock);
}

void
gw_session_watch_look(GwSessionWatch *self)
{
    g_mutex_lock(&self->lock);
    self->must_look = true;
    g_cond_signal(&self->wake);
    g_mutex_unlock(&self->lock);
}

void
gw_session_watch_free(GwSessionWatch *self)
{
    if (!self)
        return;
    g_mutex_lock(&self->lock);
    self->must_end = true;
    g_cond_signal(&self->wake);
    g_mutex_unlock(&self->lock);
    g_thread_join(self->thread);
    if (self->telling)
        g_source_destroy(self->telling);
    g_clear_pointer(&self->telling, g_source_unref);
    g_clear_pointer(&self->over, g_array_unref);
    g_hash_table_unref(self->watched);
    g_main_context_unref(self->context);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->wake);
    g_free(self);
}
