/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the server's files and its tests share: a request's insides, the pool of works, the limits. */
#pragma once

#include "http-connection.h"
#include "http-server.h"

#include <libsoup/soup.h>

struct GwHttpRequest {
    gatomicrefcount refs;
    /* set once, before anybody else sees it; all a work may read of what libsoup owns is copied here */
    char *method, *path;
    char *address, *peer_name, *peer_role; /* the last two NULL without a certificate */
    char *bearer;                          /* a secret; may be NULL */
    char *last_event_id;                   /* may be NULL */
    bool is_local;
    GHashTable *query;  /* ref, may be NULL */
    GHashTable *params; /* owned */
    GBytes *body;       /* owned */
    /* of whoever has the request in hand: the handler, or the work */
    JsonObject *json;    /* ref, parsed on demand */
    GHashTable *headers; /* owned, of the answer; may be NULL */
    unsigned status;     /* of a work's answer */
    /* the server's thread alone */
    SoupServerMessage *message; /* ref */
    gulong finished_handler, disconnected_handler;
    bool finished; /* libsoup has done with the message: nothing can be sent any more */
    bool answered;
    bool paused;
    /* of a stream */
    bool streaming;
    size_t backlog; /* bytes appended and not yet written */
    GwHttpStreamClosed closed;
    void *closed_data;
    gulong wrote_handler;
};

/* `params` are filled in by the router. */
GwHttpRequest *gw_http_request_new(SoupServerMessage *message, const char *path, GHashTable *query);

/* Its handler or work has begun and the answer is to come. */
void gw_http_request_pause(GwHttpRequest *self);

/* {"error": {"code", "message"}}. */
JsonObject *gw_http_error_body(const char *code, const char *message);

/* Threads for works, and the way back of what they return. */
typedef struct GwHttpWorks GwHttpWorks;
GwHttpWorks *gw_http_works_new(void);

/* Waits for the works that have begun and answers them; those still in the queue are answered "cancelled". */
void gw_http_works_free(GwHttpWorks *self);

/* Answers at once if there is too much work already. */
void gw_http_works_start(GwHttpWorks *self, GwHttpRequest *request, GwHttpWork work, void *user_data);

/* For tests, which have less time than a server has. Before listening. */
void gw_http_server_set_limits(GwHttpServer *self, const GwHttpLimits *limits);
