/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Everything about a host that the center decides by: GET /v1/host. */
#pragma once

#include "datastore.h"
#include "host-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct GwFactGatherer GwFactGatherer;

/* `watch` is borrowed. For any number of threads, which wait for each other. */
GwFactGatherer *gw_fact_gatherer_new(GwDatastoreWatch *watch);
void gw_fact_gatherer_free(GwFactGatherer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwFactGatherer, gw_fact_gatherer_free)

/* The object of GET /v1/host; the caller's, who alone holds it. Blocks: the first time until QEMU has told
 * what it can do, up to fifteen seconds; later some ten milliseconds, or two seconds if storage does not
 * answer. What QEMU said is kept until its file changes, what check-host found for a minute. What cannot be
 * found out is one of "problems", so this does not fail. */
JsonObject *gw_fact_gatherer_gather(GwFactGatherer *self, const GwHostConfig *config);

/* Pure, of the text of /proc/cpuinfo; texts are the caller's, NULL where it does not say. */
void gw_cpuinfo_parse(const char *text, char **ret_model, char **ret_vendor, unsigned *ret_count);

/* Whether two such objects differ in more than free memory and disk space. */
bool gw_host_facts_differ(JsonObject *a, JsonObject *b);
