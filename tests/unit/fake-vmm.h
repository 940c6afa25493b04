/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VMM behind GwVmmOps for both ends of a motion in one process, and the world that the two share, which
 * watches what must never be: two guests that run, a guest that goes on at both ends one after the other, a
 * state that is loaded before its memory is there, memory that differs when the guest takes its first step.
 *
 * Any op fails, takes its time or finds its VMM dead when the test says so. */
#pragma once

#include "fake-trace.h"
#include "vmm.h"

typedef enum {
    FAKE_OP_NONE,
    FAKE_OP_PREPARE_SAVE,
    FAKE_OP_STOP,
    FAKE_OP_SAVE,
    FAKE_OP_AWAIT_SAVED,
    FAKE_OP_TAKE_BACK,
    FAKE_OP_PREPARE_LOAD,
    FAKE_OP_AWAIT_LOADED,
    FAKE_OP_RESUME,
    FAKE_N_OPS
} FakeOp;

const char *fake_op_name(FakeOp op);

typedef enum {
    FAKE_FAILS,      /* says no, and has done nothing */
    FAKE_DIES,       /* the VMM is dead from here on: every op fails, the guest runs no more */
    FAKE_DIES_AFTER, /* does it, says yes, and is dead then */
    FAKE_IS_SLOW,    /* takes `slow_us` */
} FakeHow;

typedef struct {
    FakeOp op;
    FakeHow how;
    unsigned n_times; /* 0: always */
    gint64 slow_us;
} FakeFault;

typedef struct FakeWorld FakeWorld;
typedef struct FakeVmm FakeVmm;

/* Two images of `size_bytes`, the source's with content. `name`: what a failure names; outlives it. `writes`:
 * the guest writes while it runs. `state_bytes`: of the devices. */
FakeWorld *
fake_world_new(const char *name, uint64_t size_bytes, bool guest_runs, bool writes, size_t state_bytes);
void fake_world_free(FakeWorld *self);

GwVmm *fake_vmm(FakeWorld *self, bool at_source);
GwImage *fake_image(FakeWorld *self, bool at_source);
GwTrace *fake_world_trace(FakeWorld *self);

void fake_world_set_fault(FakeWorld *self, bool at_source, FakeFault fault);
/* A device that writes memory although the guest stands still, while its state is saved. */
void fake_world_set_late_write(FakeWorld *self);
/* The guest gives memory back now and then, behind the trace's back. */
void fake_world_set_punches(FakeWorld *self);

/* What a supervisor does with a VM that is to end. */
void fake_vmm_kill(FakeWorld *self, bool at_source);

bool fake_vmm_runs(FakeWorld *self, bool at_source);
bool fake_vmm_is_dead(FakeWorld *self, bool at_source);
/* Whether the guest has ever taken a step at the destination. */
bool fake_world_has_arrived(FakeWorld *self);
/* Whether memory is the same at both ends. */
bool fake_world_is_equal(FakeWorld *self);
bool fake_world_is_stopped(FakeWorld *self); /* the guest stands still, for the motion's sake */
/* The longest time that the guest stood still before it went on, at either end; 0: it never did. */
gint64 fake_world_pause_us(FakeWorld *self);
/* A person has sworn something that the world cannot know: both may have run, though not at once. */
void fake_world_allow_both(FakeWorld *self);
