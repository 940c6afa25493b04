/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QMP client's peer that follows a script, and a client to it, for tests of the client.
 *
 * A Session is a client on one end of a socketpair and a script in a thread on the other. Scripts and tests
 * are ordered by what goes over the socket and by two eventfds, never by time. Locks are pthread's because
 * ThreadSanitizer does not see GLib's. */
#pragma once

#include "error.h"
#include "qmp.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LONG_MS  60000 /* never reached unless something is broken */
#define SHORT_MS 50    /* is to be reached */

#define GREETING                                                                                              \
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"mock\"}," \
    " \"capabilities\": [\"oob\"]}}\r\n"

/* What the callbacks were told. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    GPtrArray *events; /* "NAME {data}" */
    GPtrArray *lost;
    gint64 when_us;
} Log;

typedef struct Session Session;
typedef void (*Script)(Session *);

struct Session {
    /* set once before the script starts */
    int peer_fd;
    int to_test; /* eventfds: "you may go on" */
    int to_peer;
    Script script;
    const char *text;
    GThread *thread;
    Log log;

    /* the test's */
    GwQmp *qmp;
    GError *error;
};

/* Sessions. session_try() leaves in `error` why there is no client, if there is none; session_new() insists
 * on one that is connected. session_alloc() has neither peer nor client, only the callbacks' log. */
Session *session_alloc(void);
Session *session_try(Script script, const char *text, int timeout_ms);
Session *session_new(Script script);
void session_free(Session *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Session, session_free)

GwQmpCallbacks callbacks_of(Session *s, int timeout_ms);

/* Until `list` (of this log) has `n` entries. */
void log_wait(Log *self, GPtrArray *list, guint n);

void let_go(int event_fd);
void await(int event_fd);

/* The peer's words. A client that has gone is no failure of the script's. */
bool say_bytes(Session *s, const char *bytes, size_t n_bytes);
void say(Session *s, const char *format, ...) G_GNUC_PRINTF(2, 3);
void answer(Session *s, int64_t id, const char *value);

/* What the peer hears: a command, or NULL at the end. */
JsonObject *hear_any(Session *s);
int64_t id_of(JsonObject *command);

/* The id of the next command, which has to be this one. */
int64_t hear(Session *s, const char *name);
void hear_end(Session *s);

/* The peer's part of greeting and capabilities. */
void negotiate(Session *s);

/* A script: says its text, if any, and goes. */
void script_vanish(Session *s);

/* What the client gets. */
void assert_answer(GwQmp *qmp, const char *command, const char *expected);
void assert_fails(GwQmp *qmp, const char *command, int timeout_ms, GwError code, const char *text);

/* The owner is told of the end, once, and so is who comes later. Frees the client. */
void assert_lost(Session *s, const char *text);
