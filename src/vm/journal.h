/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's journal: a line of JSON for each step, written before the step is taken.
 *
 * It is what a new supervisor knows of the old one. A line that was cut short by a crash was never acted
 * upon: it is ignored when read and fenced off when the journal is opened again. Steps:
 *
 *   start       QEMU is about to be started (accel, qemu, paused)
 *   spawned     written by the child itself, with its pid, before it becomes QEMU
 *   run, pause, reset, power-button, kill     QEMU is about to be told so
 *   ended       QEMU has ended (how, expected)
 *   motion-out  a motion to another host begins (its ticket; runs: the guest is to run there)
 *   motion-in   the VM waits for one from another host (its ticket)
 *   handed-over, owns, released     the source's right to run the VM: see motion/handover.h
 *   ready, go, refused              the destination's
 *   motion-end  the motion is over, and both ends know how (outcome)
 *   adopt       a new supervisor takes over
 *   remove      everything of the VM is about to be removed */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct GwJournal GwJournal;

/* What the steps so far amount to. */
typedef struct {
    pid_t qemu_pid;      /* the last one spawned that has not ended as far as the journal knows; 0: none */
    bool start_paused;   /* the last start was asked to leave the guest paused */
    bool incoming;       /* the last start was of a QEMU that waits for a motion */
    bool ran;            /* "run" was written since that start */
    bool kill_intended;  /* "kill" was written since that start */
    bool power_intended; /* "power-button" was written since that start */
    char accel[8];       /* of the last start; "" if there was none */
} GwJournalSummary;

typedef enum { GW_JOURNAL_NO_MOTION, GW_JOURNAL_MOTION_OUT, GW_JOURNAL_MOTION_IN } GwJournalMotionKind;

/* The motion that was under way when the last line was written. */
typedef struct {
    GwJournalMotionKind kind;
    JsonObject *ticket; /* owned; the "motion-out" or "motion-in" line itself */
    bool runs;          /* the guest is to run at the destination */
    bool handed_over, owns, released;
    bool ready, go, refused;
} GwJournalMotion;

void gw_journal_motion_clear(GwJournalMotion *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwJournalMotion, gw_journal_motion_clear)

GwJournal *gw_journal_open(const char *path, GError **error);

/* Appends a step and puts it on stable storage. `fields`: taken, may be NULL; not changed. A step that is not
 * written must not be taken. Any thread. */
bool gw_journal_write(GwJournal *self, const char *step, JsonObject *fields, GError **error);

/* Takes off a line that a child died in, once no child is about any more that could be writing. Opening does
 * it, too. */
bool gw_journal_mend(GwJournal *self, GError **error);

/* For GwSpawn: descriptor, and what stands before and behind the pid in the "spawned" line. */
int gw_journal_fd(const GwJournal *self);
char *gw_journal_spawn_prefix(GwJournal *self);
#define GW_JOURNAL_SPAWN_SUFFIX "}\n"

/* Pure: summary of a journal's text. Lines that are no steps are skipped. */
GwJournalSummary gw_journal_summarize(const char *text, size_t length);

/* Pure: the motion that has not ended, if any; to be cleared. */
GwJournalMotion gw_journal_find_motion(const char *text, size_t length);

void gw_journal_free(GwJournal *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwJournal, gw_journal_free)
