/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's runtime directory, RUNTIME/vms/NAME: its lock, and where its files are.
 *
 *   lock           held (flock) by the living supervisor, and by a child of it until that has become QEMU
 *   config.json    the VM's configuration
 *   setup.json     how this host provides for it (vm-setup.h)
 *   journal        see journal.h
 *   control.sock   the supervisor's API
 *   qmp.sock, serialN.sock    QEMU's sockets
 *   qemu.log       what QEMU printed since its last start
 *   consoleN.log   the end of what the guest wrote to serial port N
 *   supervisor.log the log of a supervisor that was started with --detach
 *
 * The directory is root's alone (0700). It stands on a tmpfs: what it tells does not outlive the host, and
 * neither does the guest. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    char *path;
    int lock_fd; /* -1: not held */
} GwVmDir;

/* Makes and locks the directory. GW_ERROR_EXISTS if there is one; the message says how to get rid of it. One
 * that was never a VM's (see gw_vm_dir_has_vm()) and that nobody holds is taken. */
GwVmDir *gw_vm_dir_create(const char *runtime_dir, const char *name, GError **error);

/* Locks the directory of a VM whose supervisor is gone. GW_ERROR_NOT_FOUND, or GW_ERROR_EXISTS while its
 * supervisor lives. */
GwVmDir *gw_vm_dir_take_over(const char *runtime_dir, const char *name, GError **error);

/* Whether it was ever a VM's: its configuration, which is written before anything is started, is there. */
bool gw_vm_dir_has_vm(const GwVmDir *self);

/* The path of a file in it. */
char *gw_vm_dir_file(const GwVmDir *self, const char *file);

/* The path of a VM's file for who does not hold the lock (clients). */
char *gw_vm_dir_path(const char *runtime_dir, const char *name, const char *file);

/* Whether a name can be a VM's, and so a directory's. */
bool gw_vm_name_is_valid(const char *name);

/* Writes a file in one piece: whole or not at all. */
bool gw_vm_dir_write(const GwVmDir *self, const char *file, const char *text, GError **error);
char *gw_vm_dir_read(const GwVmDir *self, const char *file, GError **error);

/* Removes the directory with everything that may be in it. */
bool gw_vm_dir_remove(GwVmDir *self, GError **error);

/* Lets go of the lock and leaves the directory. */
void gw_vm_dir_free(GwVmDir *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmDir, gw_vm_dir_free)
