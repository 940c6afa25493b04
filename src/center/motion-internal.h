/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of a motion's story share. All of it is of the story's thread. */
#pragma once

#include "motion.h"
#include "settle.h"
#include "task-internal.h"

typedef struct {
    GwTask *task;
    const char *vm, *from, *to;         /* borrowed from the task */
    GwHostClient *source, *destination; /* owned; known to the task too */
    GArray *paths;                      /* of GwPath: those that the streams use */
    JsonObject *ticket;                 /* owned, secret; gone once the source has it */
    JsonObject *engine;                 /* the source's last word of this motion; NULL: none */
    GError *why;                        /* the first that went wrong, with its step */
    bool is_withdrawn;    /* the destination was removed while it was incoming, see gw_settle() */
    bool may_be_there;    /* something may have been prepared at the destination */
    bool is_out_of_reach; /* and it could not be asked to remove it */
    JsonArray *steps;     /* of {"step", "ms"} */
    int64_t step_us;      /* since when the last of them */
} GwMotionStory;

/* Clients for the next calls; slow ones wait for QEMU and probes, quick ones find out who does not answer. */
bool gw_motion_connect_agents(GwMotionStory *self, bool slow, GError **error);
void gw_motion_drop_agents(GwMotionStory *self);

bool gw_motion_check(GwMotionStory *self, GError **error);
/* A supervisor that waits, and the ticket. What is left there of an earlier motion goes first. */
bool gw_motion_prepare(GwMotionStory *self, GError **error);
bool gw_motion_send(GwMotionStory *self, GError **error);

/* What is at the destination goes, if it is no guest's. False: there is a guest, or it cannot be known. */
bool gw_motion_remove_destination(GwMotionStory *self);
/* What is left at the source goes; if it cannot be asked, reconciliation does it later. */
void gw_motion_clean_source(GwMotionStory *self);

/* Asks the source how far its engine is: true if that is this motion, told in `engine`. */
bool gw_motion_look(GwMotionStory *self);
/* What a host's supervisor says of itself and this motion, nothing in between. */
GwEnd gw_motion_ask(GwMotionStory *self, GwHostClient *client);

void gw_motion_note_step(GwMotionStory *self, const char *step); /* for the account of times */
/* The task's result, from the engine's words and ours. */
void gw_motion_note_result(GwMotionStory *self);

/* What the task's error says. */
GError *gw_motion_error_stayed(GwMotionStory *self);
GError *gw_motion_error_ended(GwMotionStory *self);
