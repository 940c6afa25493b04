/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Failures counted by key. */
#include "login-throttle.h"

typedef struct {
    int64_t failed_us[GW_THROTTLE_FAILURES]; /* the last ones, a ring */
    unsigned n;                              /* failures ever */
    int64_t last_us;
    int64_t refused_until_us;
} Failures;

struct GwLoginThrottle {
    GHashTable *keys; /* owned string -> owned Failures */
    guint max_keys;
};

GwLoginThrottle *
gw_login_throttle_new(guint max_keys)
{
    GwLoginThrottle *self = g_new0(GwLoginThrottle, 1);
    self->keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->max_keys = max_keys;
    return self;
}

void
gw_login_throttle_free(GwLoginThrottle *self)
{
    if (!self)
        return;
    g_hash_table_destroy(self->keys);
    g_free(self);
}

int64_t
gw_login_throttle_wait_us(GwLoginThrottle *self, const char *key, int64_t now_us)
{
    const Failures *failures = g_hash_table_lookup(self->keys, key);
    return failures && failures->refused_until_us > now_us ? failures->refused_until_us - now_us : 0;
}

static gboolean
is_over(void *key, void *value, void *user_data)
{
    const Failures *failures = value;
    int64_t now_us = *(int64_t *)user_data;
    return failures->refused_until_us <= now_us && failures->last_us + GW_THROTTLE_WINDOW_US <= now_us;
}

static void
make_room(GwLoginThrottle *self, int64_t now_us)
{
    if (g_hash_table_size(self->keys) < self->max_keys ||
        g_hash_table_foreach_remove(self->keys, is_over, &now_us) > 0)
        return;
    GHashTableIter iter;
    void *key, *value, *oldest = NULL;
    int64_t oldest_us = G_MAXINT64;
    g_hash_table_iter_init(&iter, self->keys);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (((Failures *)value)->last_us < oldest_us) {
            oldest = key;
            oldest_us = ((Failures *)value)->last_us;
        }
    if (oldest)
        g_hash_table_remove(self->keys, oldest);
}

void
gw_login_throttle_failed(GwLoginThrottle *self, const char *key, int64_t now_us)
{
    Failures *failures = g_hash_table_lookup(self->keys, key);
    if (!failures) {
        make_room(self, now_us);
        failures = g_new0(Failures, 1);
        g_hash_table_insert(self->keys, g_strdup(key), failures);
    }
    failures->failed_us[failures->n % GW_THROTTLE_FAILURES] = now_us;
    failures->last_us = now_us;
    failures->n++;
    /* the oldest of the last five is where the next one would go */
    int64_t first_us = failures->failed_us[failures->n % GW_THROTTLE_FAILURES];
    if (failures->n >= GW_THROTTLE_FAILURES && now_us - first_us < GW_THROTTLE_WINDOW_US)
        failures->refused_until_us = now_us + GW_THROTTLE_REFUSE_US;
}

guint
gw_login_throttle_n_keys(const GwLoginThrottle *self)
{
    return g_hash_table_size(self->keys);
}
