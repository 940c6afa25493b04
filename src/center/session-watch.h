/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams stay open behind the request that was authenticated: here is noticed when their session ends. */
#pragma once

#include "auth.h"

typedef struct GwSessionWatch GwSessionWatch;

/* The session is over: logged out, expired, its user removed, or with a role below the one asked for. Called
 * in the main context of the thread that made the watch. */
typedef void (*GwSessionEnded)(void *user_data);

GwSessionWatch *gw_session_watch_new(GwAuth *auth /* borrowed */);
void gw_session_watch_free(GwSessionWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwSessionWatch, gw_session_watch_free)

/* From the thread that made it. `token` NULL (the Unix socket) is never over. Returns a number to remove it
 * by, after which `ended` is not called; it is removed by itself before `ended` is called. */
guint64 gw_session_watch_add(GwSessionWatch *self, const char *token, GwRole least, GwSessionEnded ended,
                             void *user_data);
void gw_session_watch_remove(GwSessionWatch *self, guint64 number);

/* Looks now and not at the next of its rounds, which are some seconds apart. Any thread. */
void gw_session_watch_look(GwSessionWatch *self);
