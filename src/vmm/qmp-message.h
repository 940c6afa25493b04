/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What QEMU says over QMP, without a socket: bytes to lines, one line to one checked message. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Cuts a byte stream into lines. Owned by one thread. */
typedef struct GwQmpLines GwQmpLines;

/* Lines of more than `limit_bytes` (without their end) are refused. */
GwQmpLines *gw_qmp_lines_new(size_t limit_bytes);
void gw_qmp_lines_free(GwQmpLines *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwQmpLines, gw_qmp_lines_free)

/* Appends a chunk of any size; take all lines out before the next one, or memory is not bounded. */
void gw_qmp_lines_feed(GwQmpLines *self, const void *bytes, size_t n_bytes);

/* Takes out the next line, without its LF or CR LF; *ret_line is NULL when none is complete. It is borrowed,
 * not terminated, and valid until the next feed. False (GW_ERROR_PROTOCOL) once a line is too long; the
 * stream is of no use from there on. */
bool gw_qmp_lines_next(GwQmpLines *self, const char **ret_line, size_t *ret_length, GError **error);

/* Bytes of the line that has begun and not ended. */
size_t gw_qmp_lines_n_pending(const GwQmpLines *self);

typedef enum {
    GW_QMP_GREETING,
    GW_QMP_RETURN,
    GW_QMP_FAILURE, /* the spec's "error" */
    GW_QMP_EVENT,
    GW_N_QMP_KINDS,
} GwQmpKind;

typedef struct {
    GwQmpKind kind;

    unsigned version; /* greeting: see gw_qmp_version() */

    bool has_id; /* return: always; failure: false when QEMU cannot tell which command it speaks of */
    int64_t id;

    JsonNode *value;         /* return: owned; a node of its own with an immutable value */
    char *error_class;       /* failure: owned, on one line, of bounded length */
    char *error_description; /* failure: owned, the same */
    const char *event;       /* event: borrowed from root */
    JsonObject *data;        /* event: borrowed from root; NULL if there is none */
    int64_t sent_us;         /* event: QEMU's wall clock, microseconds since 1970; -1 if it does not tell */

    JsonObject *root; /* event: owned */
} GwQmpMessage;

/* The member's name in the protocol that makes a message one of this kind. */
const char *gw_qmp_kind_name(GwQmpKind kind);

/* Checks one line, every member that the protocol knows; unknown members are allowed, as the protocol asks of
 * clients. *ret_message needs gw_qmp_message_clear() and is all zero on failure (GW_ERROR_PROTOCOL). */
bool gw_qmp_message_parse(const char *line, size_t length, GwQmpMessage *ret_message, GError **error);

void gw_qmp_message_clear(GwQmpMessage *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwQmpMessage, gw_qmp_message_clear)

/* The line, with its LF, that asks for `command`. `arguments`: taken, may be NULL. Free with g_free(). */
char *gw_qmp_message_format_command(const char *command, JsonObject *arguments, int64_t id);
