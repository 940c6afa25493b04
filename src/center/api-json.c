/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times, absent values and lists in answers. */
#include "api-json.h"

char *
gw_time_text(int64_t at_us)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(at_us / G_TIME_SPAN_SECOND);
    g_autofree char *text = seconds ? g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S") : g_strdup("");
    return g_strdup_printf("%s.%06dZ", text, (int)(at_us % G_TIME_SPAN_SECOND));
}

void
gw_answer_set_time(JsonObject *object, const char *member, int64_t at_us)
{
    g_autofree char *text = at_us ? gw_time_text(at_us) : NULL;
    gw_answer_set_text(object, member, text);
}

void
gw_answer_set_text(JsonObject *object, const char *member, const char *text)
{
    if (text)
        json_object_set_string_member(object, member, text);
    else
        json_object_set_null_member(object, member);
}

JsonObject *
gw_answer_list(const char *member, JsonArray *array)
{
    JsonObject *object = json_object_new();
    json_object_set_array_member(object, member, array);
    return object;
}
