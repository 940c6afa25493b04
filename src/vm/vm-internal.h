/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a VM's life share: vm.c (state, status, threads), vm-ops.c (what the worker does). */
#pragma once

#include "accel.h"
#include "cgroup.h"
#include "journal.h"
#include "qemu.h"
#include "trace.h"
#include "vm.h"

typedef struct GwVmMotion GwVmMotion;

typedef struct {
    GwVm *vm;
    unsigned port;
    GwConsole *console; /* owned */
} GwVmConsole;

struct GwVm {
    /* set once */
    GwVmDir *dir;       /* owned */
    GwVmSetup *setup;   /* owned */
    GwVmConfig *config; /* owned */
    GwEventLog *events; /* borrowed */
    GwJournal *journal; /* owned */
    GThreadPool *worker;
    GMainContext *context;
    char *qmp_path, *log_path;

    /* the main thread's */
    guint log_trimmer;
    GwVmConsole consoles[GW_VM_MAX_SERIALS];
    void (*follower)(unsigned port, const char *data, size_t length, void *);
    void *follower_data;
    void (*settled)(GwVm *self, void *);
    void *settled_data;

    /* the worker's; `qemu` and `image` are changed under lock and may be read by others under it */
    GwQemu *qemu;   /* owned; NULL: off or crashed */
    GwImage *image; /* owned, with qemu */
    GwTrace *trace; /* owned; NULL: not armed; changed under lock */
    bool has_cgroup;
    GwVmMotion *motion; /* owned; the one under way or the last; NULL: none yet; changed under lock */

    /* guarded by lock */
    GMutex lock;
    unsigned n_pending; /* submitted and not yet answered */
    unsigned n_orders;  /* of them those that somebody outside waits for */
    GwVmState state;
    char *since;         /* when it came to this state */
    GwAccelChoice accel; /* of the QEMU that runs */
    bool adopted;        /* by this supervisor */
    bool end_expected;   /* somebody asked for the end: us or the guest */
    GwVmState end_state; /* what an expected end leads to */
    GCond motion_decided;
    char *guest_end;       /* why the guest ended, QEMU's word: "guest-shutdown" …; NULL: it did not */
    JsonObject *last_exit; /* how the last QEMU ended; NULL: none has */
    unsigned qemu_version;
    guint exit_watch; /* on a copy of QEMU's pidfd, in the main context */
    int exit_fd;      /* that copy */
};

/* In the worker: does one operation. NULL with an error, or what the caller is told. */
JsonObject *gw_vm_run_op(GwVm *self, GwVmOp op, JsonObject *arguments, GError **error);

/* In the worker: QEMU has ended; tells and cleans up. Nothing if that is done already. */
void gw_vm_note_end(GwVm *self);

/* Any thread. Publishes "vm.STATE" if the state is another than before. `monotonic_us`: when it happened, 0:
 * now. */
void gw_vm_set_state(GwVm *self, GwVmState state, gint64 monotonic_us);

/* Worker to main thread. */
void gw_vm_watch_end(GwVm *self, int pidfd);
void gw_vm_attach_console(GwVm *self, unsigned port, int fd);

/* QEMU's events; in the QMP reader's thread. */
void gw_vm_on_qemu_event(const char *event, JsonObject *data, gint64 when_us, void *user_data);
