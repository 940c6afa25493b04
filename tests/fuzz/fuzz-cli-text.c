/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: whatever a center answers, what the command prints of it is UTF-8 that a terminal obeys in
 * nothing.
 *
 * The input's first byte is the terminal's width, the rest the answer. */
#include "event-text.h"
#include "fields.h"
#include "findings.h"
#include "format.h"
#include "json-text.h"
#include "json.h"
#include "progress.h"
#include "table.h"
#include "task-id.h"
#include "text.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the text. `breaks`: it may have more than a line. */
static void
check_plain(char *text, bool breaks)
{
    g_assert_true(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        bool is_obeyed = g_unichar_iscntrl(c) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        g_assert_true(!is_obeyed || (breaks && (c == '\n' || c == '\t')));
    }
    g_free(text);
}

static void
check_strings(JsonObject *plain, unsigned width)
{
    static const GwColumn columns[] = {
        {"NAME", false, true, NULL}, {"STATE", false, false, NULL}, {"MEMORY", true, true, NULL}};
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    double bytes = gw_field_number_or(plain, "bytes", 0);
    gw_table_add(table, gw_field_text(plain, "vm", NULL), gw_field_text(plain, "state", "?"), "-");
    gw_table_take(table, gw_field_join(plain, "names", NULL), gw_field_join(plain, "findings", "id"),
                  gw_format_memory(bytes));
    check_plain(gw_table_to_text(table, width, false), true);
    check_plain(gw_format_bytes(bytes), false);
    check_plain(gw_format_bits_per_s(bytes), false);
    check_plain(gw_format_ms(bytes), false);
    check_plain(gw_text_wrap(gw_field_text(plain, "text", ""), width, 4), true);
}

static void
check_times(JsonObject *plain, GTimeZone *zone)
{
    g_autoptr(GDateTime) now = g_date_time_new_from_unix_utc(1790000000);
    check_plain(gw_format_time(gw_field_text(plain, "at", NULL), zone), true);
    check_plain(gw_format_ago(gw_field_text(plain, "at", NULL), now), true);
}

static void
check_task(JsonObject *task, unsigned width)
{
    g_autofree char *explanation = gw_progress_explanation(task);
    g_autoptr(JsonObject) result = gw_progress_result(task);
    char *line = gw_progress_line(task, width);
    g_assert_true(width < 2 || gw_text_width(line) <= width);
    check_plain(line, false);
    check_plain(gw_progress_step(task), false);
    check_plain(gw_progress_summary(task), false);
    if (explanation)
        check_plain(g_steal_pointer(&explanation), false);
    gw_progress_has_ended(task);
    check_plain(gw_json_object_text(result, true), true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    unsigned width = data[0];
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    g_autoptr(JsonObject) answer = gw_json_parse_object((const char *)data + 1, (gssize)size - 1, NULL);
    check_plain(gw_text_plain(text), true);
    check_plain(gw_text_cut(text, width), false);
    if (!answer)
        return 0;
    g_autoptr(JsonObject) plain = gw_text_plain_object(answer);
    g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
    check_plain(gw_json_object_text(answer, true), true); /* --json prints it as it came */
    check_plain(gw_json_object_text(answer, false), false);
    check_task(answer, width);
    check_task(plain, width);
    check_strings(plain, width);
    check_times(plain, zone);
    check_plain(gw_findings_text(plain, width, false), true);
    check_plain(gw_event_text(plain, zone), false);
    check_plain(gw_event_members(plain), true);
    g_autofree char *id = gw_task_id_match(plain, "task-3f", NULL);
    return 0;
}
