/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: whatever a supervisor says of its VM is a status that the agent can keep, list and tell, or
 * none.
 *
 * The input is JSON documents, a line of "=" alone between them: statuses as they come. */
#include "error.h"
#include "json.h"
#include "registry-internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
told(JsonObject *event, void *user_data)
{
    g_assert_cmpstr(gw_json_get_string(event, "type"), ==, "vm.status");
    g_assert_cmpstr(gw_json_get_string(event, "vm"), ==, "web1");
    json_object_unref(event);
    (*(unsigned *)user_data)++;
}

static void
take(GwRegistryEntry *entry, JsonObject *status)
{
    g_autoptr(GError) error = NULL;
    if (!gw_registry_store_status(entry, status, &error)) {
        g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
        return;
    }
    entry->supervised = entry->known = true;
    g_assert_nonnull(entry->uuid);
}

/* As GET /v1/vms has it: text that our own parser reads, and the name is ours. */
static void
check_listed(GwRegistryEntry *entry)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) vm = gw_registry_entry_to_json(entry);
    g_autofree char *line = gw_json_object_to_line(vm);
    bool supervised = false;
    g_autoptr(JsonObject) again = gw_json_parse_object(line, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(gw_json_get_string(again, "name"), ==, "web1");
    g_assert_nonnull(gw_json_get_string(again, "state"));
    g_assert_true(gw_json_get_bool(again, "supervised", &supervised) && supervised == entry->supervised);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned n_told = 0;
    GwRegistry registry = {.tell = told, .user_data = &n_told};
    g_mutex_init(&registry.lock);
    GwRegistryEntry *entry = g_new0(GwRegistryEntry, 1);
    g_atomic_ref_count_init(&entry->refs);
    entry->registry = &registry;
    entry->name = g_strdup("web1");
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) parts = g_strsplit(text, "\n=\n", 8);
    for (guint i = 0; parts[i]; i++) {
        g_autoptr(JsonObject) status = gw_json_parse_object(parts[i], -1, NULL);
        if (status)
            take(entry, status);
        check_listed(entry);
        gw_registry_tell_status(entry, false);
    }
    g_assert_cmpuint(n_told, <=, 8);
    gw_registry_entry_unref(entry);
    g_mutex_clear(&registry.lock);
    return 0;
}
