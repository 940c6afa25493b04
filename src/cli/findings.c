/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings of checks, as people read them. */
#include "findings.h"

#include "fields.h"
#include "text.h"

#include <string.h>

#define INDENT 4

static bool
is_error(JsonObject *finding)
{
    return strcmp(gw_field_text(finding, "severity", "error"), "error") == 0;
}

unsigned
gw_findings_count(JsonObject *object, bool errors)
{
    unsigned n = 0;
    for (guint i = 0; i < gw_field_count(object, "findings"); i++)
        n += is_error(gw_field_element(object, "findings", i)) == errors;
    return n;
}

static void
append_line(GString *out, unsigned width, const char *name, const char *text)
{
    g_autofree char *line = g_strconcat(name, *name ? ": " : "", text, NULL);
    g_autofree char *wrapped = gw_text_wrap(line, width, INDENT);
    g_string_append_printf(out, "%*s%s\n", INDENT, "", wrapped);
}

static void
append_finding(GString *out, JsonObject *object, JsonObject *finding, unsigned width, bool colour)
{
    bool stops = is_error(finding);
    const char *severity = stops ? "error" : "warning", *id = gw_field_text(finding, "id", "?");
    const char *source = gw_field_text(finding, "source", NULL),
               *destination = gw_field_text(finding, "destination", NULL);
    const char *repair = gw_field_text(finding, "repair", NULL),
               *override = gw_field_text(finding, "override", "");
    if (colour)
        g_string_append_printf(out, "\033[%sm%s\033[0m %s\n", stops ? "31" : "33", severity, id);
    else
        g_string_append_printf(out, "%s %s\n", severity, id);
    append_line(out, width, "", gw_field_text(finding, "text", "?"));
    if (source)
        append_line(out, width, gw_field_text(object, "source", "source"), source);
    if (destination)
        append_line(out, width, gw_field_text(object, "destination", "destination"), destination);
    if (repair)
        append_line(out, width, "repair", repair);
    if (strcmp(override, "applied") == 0)
        append_line(out, width, "overridden", "it does not stop the motion");
    else if (stops && strcmp(override, "allowed") == 0) {
        g_autofree char *text = g_strdup_printf("--override %s moves it all the same", id);
        append_line(out, width, "or", text);
    }
}

char *
gw_findings_text(JsonObject *object, unsigned width, bool colour)
{
    GString *out = g_string_new(NULL);
    for (int errors = 1; errors >= 0; errors--)
        for (guint i = 0; i < gw_field_count(object, "findings"); i++) {
            JsonObject *finding = gw_field_element(object, "findings", i);
            if (is_error(finding) != errors)
                continue;
            append_finding(out, object, finding, width, colour);
            g_string_append_c(out, '\n');
        }
    return g_string_free(out, FALSE);
}

void
gw_findings_add_overrides(JsonObject *body, const char *const *ids)
{
    JsonArray *list = json_array_new();
    for (size_t i = 0; ids && ids[i]; i++)
        json_array_add_string_element(list, ids[i]);
    json_object_set_array_member(body, "overrides", list);
}
