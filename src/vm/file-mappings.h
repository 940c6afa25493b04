/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who has a file mapped: every shared mapping of it in any process of this host. */
#pragma once

#include "image.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    char command[16]; /* the process's name, for people; may be empty */
    bool writable;    /* as it is mapped now */
    GwMemRegion region;
} GwFileMapping;

typedef struct {
    GArray *mappings; /* of GwFileMapping, by process in no order, in a process by address; owned */
    /* Processes whose mappings we were not let see. */
    unsigned n_unseen;
    pid_t an_unseen; /* one of them */
    char an_unseen_command[16];
} GwFileMappings;

/* Looks at every process that /proc shows. Private mappings are left out: what is written there does not get
 * into the file. Takes 20 to 50 µs a process with Linux 6.11 or newer, five times that before (there the
 * kernel writes all mappings out as text). Fails only where /proc cannot be read. */
bool gw_file_mappings_find(int fd, GwFileMappings *ret_found, GError **error);

void gw_file_mappings_clear(GwFileMappings *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwFileMappings, gw_file_mappings_clear)

/* The same, and how: for tests. The kernel is asked for shared mappings only, or made to write all of them
 * out. */
typedef enum { GW_FILE_MAPPINGS_BEST, GW_FILE_MAPPINGS_BY_QUERY, GW_FILE_MAPPINGS_BY_TEXT } GwFileMappingsWay;
bool gw_file_mappings_find_by(GwFileMappingsWay way, int fd, GwFileMappings *ret_found, GError **error);
