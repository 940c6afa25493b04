/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the client commands share: a call to a VM's supervisor on this host, and JSON printed. */
#pragma once

#include "http-client.h"
#include "options.h"

#include <json-glib/json-glib.h>

#define GW_CLIENT_TIMEOUT_S 60

/* Options that every client command has; set by parsing the entries. */
extern char *gw_opt_runtime_dir;
extern gboolean gw_opt_json;

#define GW_RUNTIME_DIR_ENTRY                                                                                 \
    {                                                                                                        \
        "runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &gw_opt_runtime_dir,                                     \
            "default $GODWIT_RUNTIME_DIR or /run/godwit", "DIR"                                              \
    }
#define GW_JSON_ENTRY                                                                                        \
    {                                                                                                        \
        "json", 0, 0, G_OPTION_ARG_NONE, &gw_opt_json, "print JSON", NULL                                    \
    }

const char *gw_client_runtime_dir(void);

/* A client of the VM's supervisor; says what to do where none answers. */
GwHttpClient *gw_client_connect(const char *name, unsigned timeout_s, GError **error);

/* One call; "nobody listens" becomes what that means for a VM. `body`: taken, may be NULL. */
JsonObject *
gw_client_call(const char *name, const char *method, const char *path, JsonObject *body, GError **error);

void gw_client_print_json(JsonObject *object);

/* Members for people: what is missing reads `otherwise`, or 0. */
const char *gw_client_string(JsonObject *object, const char *member, const char *otherwise);
int64_t gw_client_int(JsonObject *object, const char *member);
