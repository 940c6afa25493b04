/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What qemu.c, qemu-start.c, qemu-migration.c and qemu-facts.c share. */
#pragma once

#include "qemu.h"
#include "qmp.h"

#define GW_QEMU_COMMAND_TIMEOUT_MS 10000

/* How far a source has come, by what QEMU was told; what became of it is in migration_status. */
typedef enum {
    GW_QEMU_SAVE_NONE,     /* prepare_save is allowed */
    GW_QEMU_SAVE_PREPARED, /* getfd: stop is allowed, and take_back as from all that follow */
    GW_QEMU_SAVE_STARTED,  /* migrate: save is allowed */
    GW_QEMU_SAVE_WRITING,  /* migrate-continue: await_saved is allowed */
} GwQemuSave;

struct GwQemu {
    GwVmm vmm;
    /* set before the first event, then constant */
    GwProcess process; /* owned */
    GwQmp *qmp;        /* owned */
    int uffd;          /* owned */
    char *image_link;
    ino_t image_inode;
    GwQemuHooks hooks;          /* its strings are not kept */
    const char *cannot_migrate; /* the capability that this QEMU lacks; NULL: has all */
    /* of the thread that calls GwVmmOps, one at a time */
    GwQemuSave save;
    bool ran_before; /* when prepare_save was called */
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    char *migration_status;        /* of the last MIGRATION event; NULL: none yet */
    int state_fd;                  /* owned; a copy of the source's end of the state's socket; -1: none */
    gint64 stopped_us, resumed_us; /* of the last STOP and RESUME event; 0: none yet */
    bool qmp_lost;                 /* the connection has ended, all events before that are told */
};

extern const GwVmmOps gw_qemu_ops;

/* A command whose answer does not matter, within the usual time. `arguments` is taken. */
bool gw_qemu_command(GwQemu *self, const char *name, JsonObject *arguments, GError **error);

/* A query's answer, which is an object; to be freed with the node that `ret_reply` holds. */
JsonObject *gw_qemu_query(GwQemu *self, const char *name, JsonNode **ret_reply, GError **error);

/* Tells QEMU the settings of its migration: qemu-capabilities.c. */
bool gw_qemu_set_capabilities(GwQemu *self, GError **error);

/* At adoption: whether a supervisor that died left a migration under way, for take_back. */
bool gw_qemu_find_left_over(GwQemu *self, GError **error);

/* From the QMP reader's thread. */
void gw_qemu_migration_on_event(GwQemu *self, const char *event, JsonObject *data, gint64 when_us);
void gw_qemu_migration_on_lost(GwQemu *self);

/* Of GwVmmOps. */
bool gw_qemu_prepare_save(GwVmm *vmm, int fd, GError **error);
bool gw_qemu_begin_save(GwVmm *vmm, GError **error);
bool gw_qemu_stop(GwVmm *vmm, gint64 *ret_stopped_us, GError **error);
bool gw_qemu_save(GwVmm *vmm, GError **error);
bool gw_qemu_await_saved(GwVmm *vmm, GError **error);
bool gw_qemu_take_back(GwVmm *vmm, GError **error);
bool gw_qemu_prepare_load(GwVmm *vmm, int fd, GError **error);
bool gw_qemu_await_loaded(GwVmm *vmm, GError **error);
