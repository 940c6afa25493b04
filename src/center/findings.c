/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of findings, and their JSON. */
#include "findings.h"

#include "json.h"

#define MAX_FINDINGS 4096 /* more than any check makes; beyond is no agent of ours */

static const char *const severity_names[] = {
    [GW_SEVERITY_WARNING] = "warning",
    [GW_SEVERITY_ERROR] = "error",
};
static const char *const override_names[] = {
    [GW_OVERRIDE_REFUSED] = "refused",
    [GW_OVERRIDE_ALLOWED] = "allowed",
    [GW_OVERRIDE_APPLIED] = "applied",
};

static void
clear_finding(void *data)
{
    GwFinding *finding = data;
    g_free(finding->id);
    g_free(finding->text);
    g_free(finding->source);
    g_free(finding->destination);
    g_free(finding->repair);
}

GArray *
gw_findings_new(void)
{
    GArray *findings = g_array_new(FALSE, FALSE, sizeof(GwFinding));
    g_array_set_clear_func(findings, clear_finding);
    return findings;
}

void
gw_findings_append(GArray *findings, const GwFinding *finding)
{
    GwFinding copy = {
        .id = g_strdup(finding->id),
        .severity = finding->severity,
        .text = g_strdup(finding->text),
        .source = g_strdup(finding->source),
        .destination = g_strdup(finding->destination),
        .repair = g_strdup(finding->repair),
        .override = finding->override,
    };
    g_array_append_val(findings, copy);
}

static void
append_from_json(GArray *findings, JsonObject *object)
{
    const char *id = gw_json_get_string(object, "id");
    if (!id)
        return;
    const char *text = gw_json_get_string(object, "text");
    const char *override = gw_json_get_string(object, "override");
    gw_findings_append(findings,
                       &(GwFinding){
                           .id = (char *)id,
                           .severity = g_strcmp0(gw_json_get_string(object, "severity"), "warning") == 0
                                           ? GW_SEVERITY_WARNING
                                           : GW_SEVERITY_ERROR,
                           .text = (char *)(text ? text : id),
                           .source = (char *)gw_json_get_string(object, "source"),
                           .destination = (char *)gw_json_get_string(object, "destination"),
                           .repair = (char *)gw_json_get_string(object, "repair"),
                           .override = g_strcmp0(override, "applied") == 0   ? GW_OVERRIDE_APPLIED
                                       : g_strcmp0(override, "allowed") == 0 ? GW_OVERRIDE_ALLOWED
                                                                             : GW_OVERRIDE_REFUSED,
                       });
}

GArray *
gw_findings_from_json(JsonArray *array)
{
    GArray *findings = gw_findings_new();
    guint n = array ? MIN(json_array_get_length(array), MAX_FINDINGS) : 0;
    for (guint i = 0; i < n; i++) {
        JsonObject *object = gw_json_array_object(array, i);
        if (object)
            append_from_json(findings, object);
    }
    return findings;
}

JsonArray *
gw_findings_to_json(const GArray *findings)
{
    JsonArray *list = json_array_new();
    for (guint i = 0; findings && i < findings->len; i++) {
        const GwFinding *finding = &g_array_index(findings, GwFinding, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", finding->id);
        json_object_set_string_member(object, "severity", severity_names[finding->severity]);
        json_object_set_string_member(object, "text", finding->text);
        json_object_set_string_member(object, "source", finding->source);
        json_object_set_string_member(object, "destination", finding->destination);
        json_object_set_string_member(object, "repair", finding->repair);
        json_object_set_string_member(object, "override", override_names[finding->override]);
        json_array_add_object_element(list, object);
    }
    return list;
}
