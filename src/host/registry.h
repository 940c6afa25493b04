/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMs on this host: whichever supervisors there are in RUNTIME/vms, whoever started them.
 *
 * Nothing is kept on disk. Each VM has a thread that follows its supervisor's events and keeps what the
 * supervisor last said; a supervisor that has died while its VM's directory is still there is replaced by
 * `godwit-vm adopt`. inotify tells of directories and sockets that come.
 *
 * In the table "lock" is the VM's flock, which a living supervisor holds:
 *
 *   directory, socket answers                  supervised
 *   directory, lock held, no answer            it is starting, or hangs: asked again; nothing is adopted
 *   directory, config.json, lock free          "unsupervised": adopted at once, then 1, 2, 5, 10 and each
 *                                              30 s after a failure
 *   directory, no config.json, lock free       debris of a start that was cut short: removed after 10 s
 *   no directory                               the VM is gone
 *
 * What is stored is never older than the newest vm.status that was told: an event is told at once, behind it
 * the status is asked for anew and told; a status whose own "events.last_id" is smaller than the stored one's
 * is dropped. */
#pragma once

#include "http-client.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct GwRegistry GwRegistry;

/* Something has happened; `event` (taken) has "type" and "vm". Any thread, never under a lock. */
typedef void (*GwRegistryTell)(JsonObject *event, void *user_data);

/* Makes RUNTIME/vms if it is not there. In the main thread, in whose context inotify is read. */
GwRegistry *gw_registry_new(const char *runtime_dir, const char *vm_program, GwRegistryTell tell,
                            void *user_data, GError **error);

/* Ends and waits for every thread; supervisors and guests run on. */
void gw_registry_free(GwRegistry *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwRegistry, gw_registry_free)

/* What adopts VMs from now on. Any thread, as all below. */
void gw_registry_set_program(GwRegistry *self, const char *vm_program, const char *log_level);

/* "vms" of GET /v1/vms, by name. Never blocks. */
JsonArray *gw_registry_list(GwRegistry *self);

/* One of them as it is known, without blocking, or asked for anew. GW_ERROR_NOT_FOUND. */
JsonObject *gw_registry_show(GwRegistry *self, const char *name, GError **error);
JsonObject *gw_registry_refresh(GwRegistry *self, const char *name, GError **error);

/* Whether this host's VM of that name is another one than that of the UUID, as far as is known. */
bool gw_registry_is_other(GwRegistry *self, const char *name, const char *uuid);

/* A client of the VM's supervisor. GW_ERROR_NOT_FOUND: no such VM; GW_ERROR_WRONG_STATE: unsupervised, and
 * why. */
GwHttpClient *gw_registry_connect(GwRegistry *self, const char *name, unsigned timeout_s, GError **error);

/* Keeps a name for a VM that is about to be started; GW_ERROR_EXISTS. */
bool gw_registry_reserve(GwRegistry *self, const char *name, GError **error);
void gw_registry_release(GwRegistry *self, const char *name);

/* Looks after a VM at once: a directory that inotify has not told of yet, a supervisor to be replaced. */
void gw_registry_notice(GwRegistry *self, const char *name);

/* Who asks for a VM by its name is told of one that nobody has told us of yet, and that has a directory:
 * waits until it is known, or there is none after all. `name` has to be valid. Blocks only if there is a
 * directory. */
void gw_registry_look_for(GwRegistry *self, const char *name, unsigned timeout_ms);

/* Waits until the VM has a supervisor, or there is none of that name; false: the time is over. */
bool gw_registry_await_supervised(GwRegistry *self, const char *name, unsigned timeout_ms);
bool gw_registry_await_gone(GwRegistry *self, const char *name, unsigned timeout_ms);

/* For host.load: an array of GwLoadVm whose names are owned; free it with g_array_unref(). */
GArray *gw_registry_load_vms(GwRegistry *self);

/* Asks every supervisor for its status, in the order of names: what no event tells, such as resident memory.
 * Blocks. */
void gw_registry_refresh_all(GwRegistry *self);
