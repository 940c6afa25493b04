/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts' facts turned around: from what a host has to who has it. */
#include "views.h"

#include "api-json.h"
#include "json.h"
#include "vm-config.h"

#include <string.h>

/* A network or datastore as it is gathered. */
typedef struct {
    JsonArray *hosts, *vms; /* owned */
} Entry;

static void
entry_free(void *data)
{
    Entry *entry = data;
    json_array_unref(entry->hosts);
    json_array_unref(entry->vms);
    g_free(entry);
}

static int
by_name(const void *a, const void *b, void *user_data)
{
    return strcmp(a, b);
}

static GTree *
entries_new(void)
{
    return g_tree_new_full(by_name, NULL, g_free, entry_free);
}

static Entry *
entry_of(GTree *entries, const char *name)
{
    Entry *entry = g_tree_lookup(entries, name);
    if (entry)
        return entry;
    entry = g_new0(Entry, 1);
    entry->hosts = json_array_new();
    entry->vms = json_array_new();
    g_tree_insert(entries, g_strdup(name), entry);
    return entry;
}

/* VMs come one after the other, so that a VM with two disks in a datastore is there as the last one. */
static void
add_vm(GTree *entries, const char *name, const char *vm)
{
    JsonArray *vms = entry_of(entries, name)->vms;
    guint n = json_array_get_length(vms);
    if (n == 0 || strcmp(json_array_get_string_element(vms, n - 1), vm) != 0)
        json_array_add_string_element(vms, vm);
}

typedef void (*AddFact)(GTree *entries, const char *host, JsonObject *facts, JsonObject *fact);

/* Each object of the list `member` in each host's facts that has a name. */
static void
add_facts(GTree *entries, JsonArray *hosts, const char *member, AddFact add)
{
    for (guint i = 0; i < json_array_get_length(hosts); i++) {
        JsonObject *host = gw_json_array_object(hosts, i);
        const char *name = host ? gw_json_get_string(host, "name") : NULL;
        JsonObject *facts = name ? gw_json_get_object(host, "facts") : NULL;
        JsonArray *list = facts ? gw_json_get_array(facts, member) : NULL;
        for (guint j = 0; list && j < json_array_get_length(list); j++) {
            JsonObject *fact = gw_json_array_object(list, j);
            if (fact && gw_json_get_string(fact, "name"))
                add(entries, name, facts, fact);
        }
    }
}

static JsonArray *
uplinks_of(JsonObject *facts, const char *switch_name)
{
    JsonArray *result = json_array_new();
    JsonArray *switches = gw_json_get_array(facts, "switches");
    for (guint i = 0; switches && switch_name && i < json_array_get_length(switches); i++) {
        JsonObject *each = gw_json_array_object(switches, i);
        JsonArray *uplinks = each && g_strcmp0(gw_json_get_string(each, "name"), switch_name) == 0
                                 ? gw_json_get_array(each, "uplinks")
                                 : NULL;
        for (guint j = 0; uplinks && j < json_array_get_length(uplinks); j++) {
            JsonNode *uplink = json_array_get_element(uplinks, j);
            if (JSON_NODE_HOLDS_VALUE(uplink) && json_node_get_value_type(uplink) == G_TYPE_STRING)
                json_array_add_string_element(result, json_node_get_string(uplink));
        }
    }
    return result;
}

static void
add_port_group(GTree *entries, const char *host, JsonObject *facts, JsonObject *fact)
{
    const char *switch_name = gw_json_get_string(fact, "switch");
    JsonObject *at = json_object_new();
    json_object_set_string_member(at, "host", host);
    gw_answer_set_text(at, "switch", switch_name);
    json_object_set_array_member(at, "uplinks", uplinks_of(facts, switch_name));
    json_array_add_object_element(entry_of(entries, gw_json_get_string(fact, "name"))->hosts, at);
}

static void
add_datastore(GTree *entries, const char *host, JsonObject *facts, JsonObject *fact)
{
    JsonObject *at = json_object_new();
    bool read_only = false;
    int64_t capacity = 0, available = 0;
    gw_json_get_bool(fact, "read_only", &read_only);
    gw_json_get_int(fact, "capacity_bytes", &capacity);
    gw_json_get_int(fact, "free_bytes", &available);
    json_object_set_string_member(at, "host", host);
    gw_answer_set_text(at, "path", gw_json_get_string(fact, "path"));
    gw_answer_set_text(at, "identity", gw_json_get_string(fact, "identity"));
    gw_answer_set_text(at, "error", gw_json_get_string(fact, "error"));
    json_object_set_boolean_member(at, "read_only", read_only);
    json_object_set_int_member(at, "capacity_bytes", MAX(capacity, 0));
    json_object_set_int_member(at, "free_bytes", MAX(available, 0));
    json_array_add_object_element(entry_of(entries, gw_json_get_string(fact, "name"))->hosts, at);
}

static bool
is_shared(JsonArray *hosts)
{
    guint n = json_array_get_length(hosts);
    const char *first = n >= 2 ? gw_json_get_string(gw_json_array_object(hosts, 0), "identity") : NULL;
    bool shared = first != NULL;
    for (guint i = 1; shared && i < n; i++)
        shared = g_strcmp0(gw_json_get_string(gw_json_array_object(hosts, i), "identity"), first) == 0;
    return shared;
}

typedef struct {
    JsonArray *list;
    bool tells_shared;
} Listing;

static gboolean
list_entry(void *key, void *value, void *user_data)
{
    Listing *listing = user_data;
    Entry *entry = value;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", key);
    json_object_set_array_member(object, "hosts", json_array_ref(entry->hosts));
    if (listing->tells_shared)
        json_object_set_boolean_member(object, "shared", is_shared(entry->hosts));
    json_object_set_array_member(object, "vms", json_array_ref(entry->vms));
    json_array_add_object_element(listing->list, object);
    return FALSE;
}

static JsonArray *
list_entries(GTree *entries, bool tells_shared)
{
    Listing listing = {json_array_new(), tells_shared};
    g_tree_foreach(entries, list_entry, &listing);
    return listing.list;
}

JsonArray *
gw_view_networks(JsonArray *hosts, const GPtrArray *configs)
{
    g_autoptr(GTree) entries = entries_new();
    add_facts(entries, hosts, "port_groups", add_port_group);
    for (guint i = 0; i < configs->len; i++) {
        const GwVmConfig *config = configs->pdata[i];
        for (guint j = 0; j < config->nics->len; j++)
            add_vm(entries, g_array_index(config->nics, GwNicConfig, j).port_group, config->name);
    }
    return list_entries(entries, false);
}

static void
add_file(GTree *entries, const GwFileRef *file, const char *vm)
{
    if (file->datastore)
        add_vm(entries, file->datastore, vm);
}

JsonArray *
gw_view_datastores(JsonArray *hosts, const GPtrArray *configs)
{
    g_autoptr(GTree) entries = entries_new();
    add_facts(entries, hosts, "datastores", add_datastore);
    for (guint i = 0; i < configs->len; i++) {
        const GwVmConfig *config = configs->pdata[i];
        for (guint j = 0; j < config->disks->len; j++)
            add_file(entries, &g_array_index(config->disks, GwDiskConfig, j).file, config->name);
        for (guint j = 0; j < config->cdroms->len; j++)
            add_file(entries, &g_array_index(config->cdroms, GwCdromConfig, j).file, config->name);
        add_file(entries, &config->boot.kernel, config->name);
        add_file(entries, &config->boot.initrd, config->name);
        add_file(entries, &config->boot.uefi_vars, config->name);
    }
    return list_entries(entries, true);
}
