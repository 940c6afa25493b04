/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes from QEMU, in chunks of any size, to lines and messages.
 *
 * The input's first byte chooses the chunk size, the rest is the stream. test-qmp-message replays the corpus.
 */
#include "error.h"
#include "qmp-message.h"

#include <string.h>

/* Small, so that the fuzzer finds the limit; long lines of depth are still within. */
#define LIMIT_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_refusal(const GError *error)
{
    g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
    g_assert_cmpuint(strlen(error->message), >, 0);
    g_assert_null(strchr(error->message, '\n'));
    g_assert_cmpuint(strlen(error->message), <, 2048 * 6);
}

static void
check_message(const char *line, size_t length)
{
    g_auto(GwQmpMessage) message = {0};
    g_autoptr(GError) error = NULL;
    if (!gw_qmp_message_parse(line, length, &message, &error)) {
        check_refusal(error);
        g_assert_true(!message.value && !message.error_class && !message.root);
        return;
    }
    g_assert_no_error(error);
    g_assert_nonnull(gw_qmp_kind_name(message.kind));
    g_assert_true((message.kind == GW_QMP_RETURN) == (message.value != NULL));
    g_assert_true((message.kind == GW_QMP_FAILURE) == (message.error_class && message.error_description));
    g_assert_true((message.kind == GW_QMP_EVENT) == (message.event && *message.event));
    g_assert_true(message.kind != GW_QMP_RETURN || message.has_id);
    g_assert_true(message.kind == GW_QMP_GREETING || message.version == 0);
    if (message.kind == GW_QMP_EVENT && message.data)
        json_object_get_size(message.data);
}

/* Takes what is complete, appending it to `all` so that two ways of feeding can be compared. False at the
 * limit. */
static bool
drain(GwQmpLines *lines, GString *all, bool parse)
{
    const char *line = NULL;
    size_t length = 0;
    for (;;) {
        g_autoptr(GError) error = NULL;
        if (!gw_qmp_lines_next(lines, &line, &length, &error)) {
            check_refusal(error);
            return false;
        }
        if (!line)
            return true;
        g_assert_cmpuint(length, <=, LIMIT_BYTES);
        g_assert_null(memchr(line, '\n', length));
        g_string_append_len(all, line, (gssize)length);
        g_string_append_c(all, '\n');
        if (parse)
            check_message(line, length);
    }
}

static bool
feed(const uint8_t *data, size_t size, size_t chunk, bool parse, GString *all)
{
    g_autoptr(GwQmpLines) lines = gw_qmp_lines_new(LIMIT_BYTES);
    for (size_t i = 0; i < size; i += chunk) {
        gw_qmp_lines_feed(lines, data + i, MIN(chunk, size - i));
        if (!drain(lines, all, parse))
            return false;
        g_assert_cmpuint(gw_qmp_lines_n_pending(lines), <=, LIMIT_BYTES + 1);
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
    bool chunks_ok = feed(data + 1, size - 1, 1 + data[0], true, in_chunks);
    bool once_ok = feed(data + 1, size - 1, size, false, at_once);
    g_assert_true(chunks_ok == once_ok);
    g_assert_cmpstr(in_chunks->str, ==, at_once->str);
    g_assert_cmpuint(in_chunks->len, ==, at_once->len);
    return 0;
}
