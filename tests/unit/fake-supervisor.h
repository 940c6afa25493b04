/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Supervisors for tests of who follows them: real servers on real sockets in a runtime directory, with a VM
 * that is only told of. They answer as godwit-vm does, or as they are told to. A failure ends the test. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct FakeHost FakeHost;
typedef struct FakeVm FakeVm;

/* A runtime directory, and a thread in which all its supervisors answer. */
FakeHost *fake_host_new(void);
const char *fake_host_runtime_dir(FakeHost *self);
void fake_host_free(FakeHost *self); /* removes everything */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeHost, fake_host_free)

/* A stand-in for godwit-vm below the runtime directory: a shell script that appends its arguments to
 * "calls" and goes on with `script`. */
char *fake_host_program(FakeHost *self, const char *script);
char *fake_host_calls(FakeHost *self); /* what stands there, "" if nothing does */

/* A VM's directory with config.json, its lock held, and, unless it is `silent`, a socket that answers. */
FakeVm *fake_vm_new(FakeHost *host, const char *name, bool silent);
void fake_vm_listen(FakeVm *self);
void fake_vm_die(FakeVm *self);    /* socket and lock are let go, the directory stays */
void fake_vm_remove(FakeVm *self); /* the directory goes, then the supervisor */

/* What it says of itself from now on. */
void fake_vm_set_state(FakeVm *self, const char *state);
void fake_vm_set_status(FakeVm *self, const char *json); /* instead of all else; NULL: as before */
void fake_vm_set_motion(FakeVm *self, const char *json); /* NULL: there was none */
void fake_vm_tell(FakeVm *self, const char *type, const char *json);
void fake_vm_send_raw(FakeVm *self, const char *text); /* into every stream */

/* What it was asked: how often for a path, and behind which event its last stream began. */
unsigned fake_vm_n_asked(FakeVm *self, const char *path);
guint64 fake_vm_asked_after(FakeVm *self);
guint64 fake_vm_last_id(FakeVm *self);
char *fake_vm_last_body(FakeVm *self);
