/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An HTTP server in a thread of its own, so that a test can be its client, and certificates for both. A
 * failure ends the test. */
#pragma once

#include "http-client.h"
#include "http-server.h"

typedef struct HttpRig HttpRig;

/* Adds routes and listens; runs in the server's thread, as all that touches the server has to. */
typedef void (*HttpRigFunc)(HttpRig *rig, GwHttpServer *server, void *user_data);

HttpRig *http_rig_new(HttpRigFunc set_up, void *user_data);
void http_rig_do(HttpRig *self, HttpRigFunc func, void *user_data);
void http_rig_free(HttpRig *self); /* the server is freed in its thread */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpRig, http_rig_free)

/* An authority, and files under a directory that goes with it. */
typedef struct {
    char *directory, *key, *authority, *authority_path;
} HttpTrust;

HttpTrust *http_trust_new(void);
void http_trust_free(HttpTrust *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HttpTrust, http_trust_free)

/* A holder's certificate and key, of this authority; the paths stay the trust's. `is_expired`: since a
 * minute. */
GwTlsFiles http_trust_issue(HttpTrust *self, const char *name, const char *role, bool is_expired);

/* Calls, and asserts that the error is this one and says so. */
void http_assert_fails(GwHttpClient *client, const char *method, const char *path, const char *error_name,
                       const char *part);
