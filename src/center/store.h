/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the center keeps: the inventory, tasks, events, users, audit. The interface behind which a database
 * stands; no SQL is written anywhere else.
 *
 * Any thread may call; each call is one transaction, on disk when it returns true (SQLite: WAL, synchronous
 * FULL). Records are plain structs, filled for the caller, who clears them. Look-ups return
 * GW_ERROR_NOT_FOUND; what exists already is GW_ERROR_EXISTS; a full disk or a broken file is GW_ERROR_IO
 * with the path. Times are UTC microseconds since 1970. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct GwStore GwStore;

/* "sqlite:/path/to/file", or a path. Makes it (mode 0600), or brings an older schema up to date; a newer one
 * is GW_ERROR_NOT_SUPPORTED and left alone. One program at a time: GW_ERROR_EXISTS if another has it open. */
GwStore *gw_store_open(const char *url, GError **error);
void gw_store_close(GwStore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwStore, gw_store_close)

/* -- Hosts */
typedef struct {
    char *name, *cluster;
    char *address; /* numeric */
    unsigned port;
    bool in_maintenance;
    int64_t joined_us;
} GwHostRecord;
bool gw_store_add_host(GwStore *self, const GwHostRecord *host,
                       GError **error); /* replaces address and port of one that joins again */
bool gw_store_remove_host(GwStore *self, const char *name, GError **error);
bool gw_store_set_maintenance(GwStore *self, const char *name, bool in_maintenance, GError **error);
GArray *gw_store_hosts(GwStore *self, GError **error); /* of GwHostRecord, by name */

/* One-time tokens with which hosts join; only their SHA-256 is kept. */
bool gw_store_add_join_token(GwStore *self, const char *hash, const char *created_by, int64_t expires_us,
                             GError **error);
/* One that only a host of that name may use (NULL: any). */
bool gw_store_add_join_token_for(GwStore *self, const char *hash, const char *for_host,
                                 const char *created_by, int64_t expires_us, GError **error);
/* The host that a token is for, owned; NULL if for any, or if there is no such token. */
bool gw_store_join_token_host(GwStore *self, const char *hash, char **ret_host, GError **error);
/* Uses it up: GW_ERROR_NOT_PERMITTED if there is none such, if it was used or has expired (the text says
 * which). */
bool
gw_store_use_join_token(GwStore *self, const char *hash, const char *host, int64_t now_us, GError **error);

/* -- VMs. `config` is the canonical document. */
typedef struct {
    char *name, *uuid, *host, *config;
    int64_t created_us;
} GwVmRecord;
bool gw_store_add_vm(GwStore *self, const GwVmRecord *vm, GError **error);
bool gw_store_remove_vm(GwStore *self, const char *name, GError **error);
bool gw_store_set_vm_host(GwStore *self, const char *name, const char *host, GError **error);
bool gw_store_get_vm(GwStore *self, const char *name, GwVmRecord *ret_vm, GError **error);
GArray *gw_store_vms(GwStore *self, GError **error); /* of GwVmRecord, by name */

/* -- Tasks */
typedef struct {
    char *id;
    char *kind;                      /* "vm.migrate", "vm.start", … */
    char *vm, *source, *destination; /* NULL where it has none */
    char *state;                     /* "queued", "running", "completed", "failed", "cancelled" */
    char *step;
    char *user, *reason;
    char *request;                            /* JSON of what was asked */
    char *session;                            /* the motion's id in the engine; NULL until prepared */
    char *result;                             /* JSON; NULL until there is one */
    char *error_code, *error_message;         /* NULL: none */
    int64_t created_us, started_us, ended_us; /* 0: not yet */
} GwTaskRecord;
bool gw_store_put_task(GwStore *self, const GwTaskRecord *task, GError **error); /* adds or replaces by id */
/* The end of a motion and the VM's new home, in one transaction. */
bool gw_store_record_home(GwStore *self, const GwTaskRecord *task, const char *vm, const char *host,
                          GError **error);
bool gw_store_get_task(GwStore *self, const char *id, GwTaskRecord *ret_task, GError **error);
typedef struct {
    const char *vm, *host, *state; /* NULL: any */
    bool open_only;                /* queued or running */
    unsigned limit;                /* 0: 100 */
    int64_t before_us;             /* created before; 0: now */
} GwTaskFilter;
GArray *gw_store_tasks(GwStore *self, const GwTaskFilter *filter, GError **error); /* newest first */

/* -- Events. Ids grow by one and are never used again. */
typedef struct {
    int64_t id, at_us;
    char *type, *host, *vm, *task; /* NULL where it has none */
    char *data;                    /* JSON */
} GwEventRecord;
bool gw_store_add_event(GwStore *self, GwEventRecord *event, GError **error); /* sets id */
GArray *
gw_store_events(GwStore *self, int64_t after_id, unsigned limit,
                GError **error); /* of GwEventRecord, oldest first; the last `limit` if after_id < 0 */

/* -- Users and sessions. Roles: "administrator", "operator", "read-only". */
typedef struct {
    char *name, *role, *password_hash;
    int64_t created_us;
} GwUserRecord;
bool gw_store_add_user(GwStore *self, const GwUserRecord *user, GError **error);
bool gw_store_set_password(GwStore *self, const char *name, const char *password_hash,
                           GError **error); /* and ends the user's sessions */
bool gw_store_set_role(GwStore *self, const char *name, const char *role, GError **error);
bool gw_store_remove_user(
    GwStore *self, const char *name,
    GError **error); /* and the user's sessions; the last administrator is GW_ERROR_WRONG_STATE */
bool gw_store_get_user(GwStore *self, const char *name, GwUserRecord *ret_user, GError **error);
GArray *gw_store_users(GwStore *self, GError **error);
bool gw_store_add_session(GwStore *self, const char *token_hash, const char *user, const char *address,
                          int64_t expires_us, GError **error);
/* The user behind a token's hash; GW_ERROR_NOT_AUTHENTICATED if there is none or it has expired (the text
 * says which). */
bool gw_store_find_session(GwStore *self, const char *token_hash, int64_t now_us, GwUserRecord *ret_user,
                           GError **error);
bool gw_store_remove_session(GwStore *self, const char *token_hash, GError **error);
bool gw_store_remove_expired(GwStore *self, int64_t now_us, GError **error); /* sessions and join tokens */

/* -- Audit: who, when, from where, what, why, with which result. Never changed, never removed. */
typedef struct {
    int64_t id, at_us;
    char *user, *address; /* address "" on the Unix socket */
    char *action;         /* such as "vm.migrate" */
    char *object;         /* such as "vm/web1"; NULL: none */
    char *details;        /* JSON of what was asked, no secret in it; NULL: none */
    char *reason;         /* as the user gave it; NULL: none */
    char *result;         /* "done", "accepted" (a task follows), or an error's code */
    char *message;        /* of the error; NULL: none */
} GwAuditRecord;
bool gw_store_add_audit(GwStore *self, const GwAuditRecord *record, GError **error);
/* Of what is about to be done: kept beside the log until its end is told, then it is a record of the log.
 * `result` and `message` of the record are not read. */
bool gw_store_begin_audit(GwStore *self, const GwAuditRecord *record, int64_t *ret_id, GError **error);
bool gw_store_end_audit(GwStore *self, int64_t id, const char *result, const char *message, GError **error);
/* At the start: what was being done when the last center ended gets into the log with the result "unknown".
 */
bool gw_store_end_open_audits(GwStore *self, GError **error);
GArray *gw_store_audit(GwStore *self, int64_t before_id, unsigned limit,
                       GError **error); /* newest first; before_id 0: from the newest */

void gw_host_record_clear(GwHostRecord *self);
void gw_vm_record_clear(GwVmRecord *self);
void gw_task_record_clear(GwTaskRecord *self);
void gw_task_record_copy(const GwTaskRecord *from, GwTaskRecord *to);
void gw_event_record_clear(GwEventRecord *self);
void gw_user_record_clear(GwUserRecord *self);
void gw_audit_record_clear(GwAuditRecord *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwHostRecord, gw_host_record_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwVmRecord, gw_vm_record_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwTaskRecord, gw_task_record_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwUserRecord, gw_user_record_clear)
