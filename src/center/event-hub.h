/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens, told: kept in the store, and handed to whoever follows. Any thread may tell. */
#pragma once

#include "store.h"

#include <json-glib/json-glib.h>

typedef struct GwEventHub GwEventHub;

GwEventHub *gw_event_hub_new(GwStore *store /* borrowed */);
void gw_event_hub_free(GwEventHub *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventHub, gw_event_hub_free)

/* Called in the main context of the thread that made the hub, in order. `id` 0: told but not kept. The data
 * has "type", "at", and "host", "vm", "task" where it has them, unless the teller's own data has a member of
 * such a name (other than "type" and "at"): that stays. A listener may free the hub; nothing is told any more
 * then. */
typedef void (*GwEventListener)(int64_t id, const char *type, JsonObject *data, void *user_data);
void gw_event_hub_listen(GwEventHub *self, GwEventListener listener, void *user_data); /* once */

/* `data` is taken, may be NULL. Strings may be NULL. A store that fails is logged; the event is told all the
 * same. */
void gw_event_hub_tell(GwEventHub *self, const char *type, const char *host, const char *vm, const char *task,
                       JsonObject *data);
/* The same for what changes several times a second (progress, load): told, not kept, and lost while a
 * thousand of these wait for the main loop. */
void gw_event_hub_tell_passing(GwEventHub *self, const char *type, const char *host, const char *vm,
                               const char *task, JsonObject *data);
