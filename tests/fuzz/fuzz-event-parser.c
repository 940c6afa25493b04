/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any bytes as a stream of server-sent events, in chunks of any size. The input's first byte
 * chooses the chunk size. */
#include "error.h"
#include "event-parser.h"
#include "json.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
note(const char *id, const char *type, JsonObject *data, void *user_data)
{
    GString *all = user_data;
    g_autofree char *line = gw_json_object_to_line(data);
    g_assert_true(type && !strpbrk(type, "\r\n") && !(id && strpbrk(id, "\r\n")));
    g_string_append_printf(all, "%s %s %s\n", id ? id : "-", type, line);
    return strcmp(type, "stop") != 0;
}

static bool
feed(const uint8_t *data, size_t size, size_t chunk, GString *all)
{
    g_autoptr(GwEventParser) parser = gw_event_parser_new(note, all);
    for (size_t i = 0; i < size; i += chunk) {
        g_autoptr(GError) error = NULL;
        size_t n = MIN(chunk, size - i);
        g_autofree char *piece = g_memdup2(data + i, n); /* so that a sanitizer sees what reads behind it */
        if (gw_event_parser_feed(parser, piece, n, &error)) {
            g_assert_no_error(error);
            continue;
        }
        if (error)
            g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
        return false;
    }
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    g_autoptr(GString) in_chunks = g_string_new(NULL);
    g_autoptr(GString) at_once = g_string_new(NULL);
    bool chunks_ok = feed(data + 1, size - 1, 1 + data[0], in_chunks);
    bool once_ok = feed(data + 1, size - 1, size - 1, at_once);
    g_assert_true(chunks_ok == once_ok);
    g_assert_cmpstr(in_chunks->str, ==, at_once->str);
    return 0;
}
