/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: whatever two agents say of their hosts, a VM and the ways between them is facts that can be
 * checked, and findings that survive their round trip.
 *
 * The input is JSON documents, a line of "=" alone between them: source, destination, the VM's configuration,
 * its status, an object with "paths", "findings" (the supervisor's) and "overrides". Those behind the last
 * are missing. */
#include "check.h"
#include "error.h"
#include "json.h"

#include <string.h>

#define N_DOCUMENTS 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
free_document(void *document)
{
    if (document)
        json_object_unref(document);
}

static GwHostFacts *
read_host(JsonObject *document)
{
    g_autoptr(GError) error = NULL;
    GwHostFacts *facts = document ? gw_host_facts_from_json(document, &error) : NULL;
    if (!facts)
        return NULL;
    g_assert_true(facts->name && *facts->name && facts->machines && facts->cpu_features &&
                  facts->cpu_models && facts->switches && facts->port_groups && facts->datastores &&
                  facts->problems);
    g_assert_cmpuint(facts->interfaces->len, <=, GW_FACTS_MAX_INTERFACES);
    return facts;
}

static void
check_findings(GArray *findings)
{
    bool warned = false;
    g_autoptr(JsonArray) first = gw_findings_to_json(findings);
    g_autoptr(GArray) again = gw_findings_from_json(first);
    g_autoptr(JsonArray) second = gw_findings_to_json(again);
    g_assert_cmpuint(json_array_get_length(first), ==, findings->len);
    g_assert_cmpuint(json_array_get_length(second), ==, findings->len);
    for (guint i = 0; i < findings->len; i++) {
        const GwFinding *finding = &g_array_index(findings, GwFinding, i);
        g_assert_true(finding->id && *finding->id && finding->text && *finding->text);
        g_assert_true(finding->severity == GW_SEVERITY_WARNING || !warned); /* errors first */
        warned = warned || finding->severity == GW_SEVERITY_WARNING;
        g_assert_true(finding->override != GW_OVERRIDE_APPLIED || finding->severity == GW_SEVERITY_WARNING);
        g_autofree char *text = gw_json_node_to_line(json_array_get_element(first, i));
        g_autofree char *text_again = gw_json_node_to_line(json_array_get_element(second, i));
        g_assert_cmpstr(text, ==, text_again);
    }
}

static void
check_ways(const GwHostFacts *source, const GwHostFacts *destination, const GArray *probed)
{
    g_autoptr(GArray) pairs = gw_check_pair_interfaces(source, destination);
    for (guint i = 0; i < pairs->len; i++) {
        const GwPath *path = &g_array_index(pairs, GwPath, i);
        g_assert_true(path->source_address && path->destination_address && !path->is_reachable);
    }
    if (!probed)
        return;
    g_autoptr(GArray) chosen = gw_check_choose_paths(probed);
    g_assert_cmpuint(chosen->len, <=, probed->len);
    g_autoptr(JsonArray) array = gw_paths_to_json(chosen);
    g_assert_cmpuint(json_array_get_length(array), ==, chosen->len);
}

static char **
strings(JsonArray *array)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    for (guint i = 0; array && i < json_array_get_length(array); i++)
        if (json_node_get_value_type(json_array_get_element(array, i)) == G_TYPE_STRING)
            g_strv_builder_add(builder, json_array_get_string_element(array, i));
    return g_strv_builder_end(builder);
}

static void
check(const GwHostFacts *source, const GwHostFacts *destination, GwVmFacts *vm, JsonObject *more)
{
    g_autoptr(GArray) paths = NULL;
    g_auto(GStrv) overrides = strings(more ? gw_json_get_array(more, "overrides") : NULL);
    if (more && gw_json_get_array(more, "paths"))
        paths = gw_paths_from_json(gw_json_get_array(more, "paths"));
    if (more) {
        g_array_unref(vm->findings);
        vm->findings = gw_findings_from_json(gw_json_get_array(more, "findings"));
    }
    check_ways(source, destination, paths);
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        const GwCheckInput input = {.vm = vm,
                                    .source = source,
                                    .destination = destination,
                                    .paths = paths,
                                    .overrides = i ? (const char *const *)overrides : NULL};
        g_autoptr(GArray) findings = gw_check_motion(&input);
        check_findings(findings);
        bool passed = gw_check_motion_verdict(&input, findings, &error);
        g_assert_true(passed == (error == NULL));
        for (guint k = 0; passed && k < findings->len; k++)
            g_assert_cmpint(g_array_index(findings, GwFinding, k).severity, ==, GW_SEVERITY_WARNING);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) parts = g_strsplit(text, "\n=\n", N_DOCUMENTS);
    g_autoptr(GPtrArray) documents = g_ptr_array_new_with_free_func(free_document);
    for (guint i = 0; parts[i]; i++) {
        JsonObject *document = gw_json_parse_object(parts[i], -1, NULL);
        if (!document)
            return 0;
        g_ptr_array_add(documents, document);
    }
    g_ptr_array_set_size(documents, N_DOCUMENTS);
    g_autoptr(GwHostFacts) source = read_host(documents->pdata[0]),
                           destination = read_host(documents->pdata[1]);
    g_autoptr(GwVmFacts) vm =
        documents->pdata[2] ? gw_vm_facts_from_json(documents->pdata[2], documents->pdata[3], NULL) : NULL;
    if (source && destination && vm)
        check(source, destination, vm, documents->pdata[4]);
    return 0;
}
