/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's own migration, as far as a motion needs it: a stream of device state without guest memory.
 *
 *   source        QEMU is told                  and comes to
 *   prepare_save  getfd                         (the guest runs)
 *   begin_save    migrate                       setup, active; then it waits to write the head
 *   stop                                        STOP, disks drained; pre-switchover
 *   save          migrate-continue              device
 *   await_saved                                 completed: disks let go of, guest stopped
 *   destination
 *   prepare_load  getfd, migrate-incoming       active: it reads what comes
 *   await_loaded                                completed: paused, disks not taken
 *   resume        cont
 *
 * The head. Until it stops the guest QEMU sends what memory is not shared (firmware, some hundred KB): that
 * and the set-up are outside the pause. The set-up takes some 4 ms, in which QEMU's big lock is held and the
 * guest's devices wait; if it ran straight into the stop, a client would see that as part of the pause. So it
 * is done a moment before: QEMU has set up when it is "active", and then blocks on the head, which is more
 * than its socket holds, until somebody reads. Guest memory is written by devices until "pre-switchover":
 * QEMU reports that only when the block layer has drained, the STOP event comes before.
 *
 * Taking back. QEMU continues a guest that it stopped itself, after a cancel as after a failure, and takes
 * its disks back: migration_iteration_finish() in its sources. The rest is left to us:
 *  - Before migrate-continue: migrate_cancel, since QEMU would wait for ever.
 *  - After it: no cancel. QEMU 7.2 gives up its big lock in between (dirty log, CPU registers), and a cancel
 *    that comes then takes the disks back before they are let go of: the guest runs on without them (seen in
 *    every third try by their locks), and aborts QEMU with its next write. Instead the socket is shut down, a
 *    copy of which we keep: QEMU's writing fails, and a failure is cleaned up right in all versions. It is
 *    also the only way to a QEMU that nobody reads from: it holds the big lock and is deaf to QMP.
 *  - After "completed" there is nothing to end, and the guest waits for "cont".
 * The copy is closed as soon as QEMU is done with its own, or gone: whoever reads the other end waits for its
 * end of file.
 *
 * A guest that was paused and is taken back: QEMU 7.2 always, 10.0 after "completed", leaves it in the
 * state "postmigrate", from which it refuses another migration until the guest has run.
 * There is no command that leads out of it but "cont", and a guest that somebody paused is not to run on our
 * account; so a second motion of it is refused with that as reason. */
#include "error.h"
#include "json.h"
#include "qemu-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATE_TIMEOUT_MS 30000
#define FD_NAME          "godwit-state"

/* Of a source, from the answer to query-migrate. */
static bool
is_under_way(const char *status)
{
    static const char *const names[] = {"setup", "active", "pre-switchover", "device", "cancelling"};
    for (size_t i = 0; status && i < G_N_ELEMENTS(names); i++)
        if (strcmp(status, names[i]) == 0)
            return true;
    return false;
}

/* A supervisor that died amid a motion left a migration: take_back ends it (the other end of the state's
 * socket died as well). QEMU itself knows whether the guest ran before; after "completed" it does not, and
 * the guest stays paused until somebody resumes it. */
bool
gw_qemu_find_left_over(GwQemu *self, GError **error)
{
    g_autoptr(JsonNode) reply = NULL;
    JsonObject *migration = gw_qemu_query(self, "query-migrate", &reply, error);
    g_autofree char *run_state = migration ? gw_qemu_run_state(self, error) : NULL;
    if (!run_state)
        return false;
    const char *status = gw_json_get_string(migration, "status");
    if (is_under_way(status) && strcmp(run_state, "inmigrate") != 0)
        self->save = strcmp(status, "device") == 0 ? GW_QEMU_SAVE_WRITING : GW_QEMU_SAVE_STARTED;
    return true;
}

static void
close_state_fd_locked(GwQemu *self)
{
    if (self->state_fd >= 0)
        close(g_steal_fd(&self->state_fd));
}

static bool
is_final(const char *status)
{
    return g_strcmp0(status, "completed") == 0 || g_strcmp0(status, "failed") == 0 ||
           g_strcmp0(status, "cancelled") == 0;
}

void
gw_qemu_migration_on_event(GwQemu *self, const char *event, JsonObject *data, gint64 when_us)
{
    const char *status = data ? gw_json_get_string(data, "status") : NULL;
    g_mutex_lock(&self->lock);
    if (strcmp(event, "STOP") == 0) {
        self->stopped_us = when_us;
    } else if (strcmp(event, "RESUME") == 0) {
        self->resumed_us = when_us;
    } else if (status && strcmp(event, "MIGRATION") == 0) {
        g_free(self->migration_status);
        self->migration_status = g_strdup(status);
        if (is_final(status))
            close_state_fd_locked(self);
        g_cond_broadcast(&self->changed);
    }
    g_mutex_unlock(&self->lock);
}

void
gw_qemu_migration_on_lost(GwQemu *self)
{
    g_mutex_lock(&self->lock);
    close_state_fd_locked(self);
    self->qmp_lost = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

/* Whether it has come to `wanted`. "active" is also behind a source that went on at once. */
static bool
has_come_to(const char *status, const char *wanted)
{
    return wanted && (g_strcmp0(status, wanted) == 0 ||
                      (strcmp(wanted, "active") == 0 && g_strcmp0(status, "pre-switchover") == 0));
}

/* Waits for `wanted` or, if that is NULL, for any end. The status that it came to, to be freed; NULL on a
 * time-out and when QEMU has ended. */
static char *
await_status(GwQemu *self, const char *what, const char *wanted, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + STATE_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
    bool in_time = true, arrived = false;
    g_mutex_lock(&self->lock);
    while (in_time && !self->qmp_lost && !arrived) {
        arrived = is_final(self->migration_status) || has_come_to(self->migration_status, wanted);
        if (!arrived)
            in_time = g_cond_wait_until(&self->changed, &self->lock, deadline);
    }
    g_autofree char *status = g_strdup(self->migration_status);
    g_mutex_unlock(&self->lock);

    if (arrived)
        return g_steal_pointer(&status);
    if (!in_time)
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "%s: not done after %d s (status %s)", what,
                    STATE_TIMEOUT_MS / 1000, status ? status : "none");
    else
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: QEMU ended", what);
    return NULL;
}

/* The same, and everything but `wanted` is an error. */
static bool
require_status(GwQemu *self, const char *what, const char *wanted, GError **error)
{
    g_autofree char *status = await_status(self, what, wanted, error);
    if (!status)
        return false;
    if (has_come_to(status, wanted))
        return true;
    g_autoptr(JsonNode) reply = NULL;
    JsonObject *migration = gw_qemu_query(self, "query-migrate", &reply, NULL);
    const char *text = migration ? gw_json_get_string(migration, "error-desc") : NULL;
    g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "%s: %s: %s", what, status,
                text ? text : "QEMU gives no reason");
    return false;
}

static bool
require_capabilities(GwQemu *self, const char *what, GError **error)
{
    if (self->cannot_migrate)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED, "%s: this QEMU has no migration capability %s",
                    what, self->cannot_migrate);
    return !self->cannot_migrate;
}

static bool
require_step(GwQemu *self, GwQemuSave step, const char *what, GError **error)
{
    static const char *const names[] = {
        [GW_QEMU_SAVE_NONE] = "no save is prepared",
        [GW_QEMU_SAVE_PREPARED] = "a save is prepared, and the guest not stopped",
        [GW_QEMU_SAVE_STARTED] = "the guest is stopped, and the save not begun",
        [GW_QEMU_SAVE_WRITING] = "a save is under way",
    };
    if (self->save != step)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s: %s", what, names[self->save]);
    return self->save == step;
}

static bool
is_stream_socket(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static bool
give_fd(GwQemu *self, int fd, const char *what, GError **error)
{
    if (!is_stream_socket(fd)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: descriptor %d is no stream socket", what,
                    fd);
        return false;
    }
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "fdname", FD_NAME);
    g_autoptr(JsonNode) passed =
        gw_qmp_execute_with_fd(self->qmp, "getfd", arguments, fd, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    return passed != NULL;
}

/* QEMU would keep the copy of one that it was not told to use, and its other end would never see the end. */
static bool
withdraw_fd(GwQemu *self, GError **error)
{
    g_autoptr(GError) cause = NULL;
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "fdname", FD_NAME);
    if (gw_qemu_command(self, "closefd", arguments, &cause) ||
        g_error_matches(cause, GW_ERROR, GW_ERROR_VMM_FAILED)) /* it has used it, or never got it */
        return true;
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

static void
forget_migration(GwQemu *self, int state_fd)
{
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->migration_status, g_free);
    close_state_fd_locked(self);
    self->state_fd = state_fd;
    g_mutex_unlock(&self->lock);
}

static JsonObject *
uri_argument(void)
{
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "uri", "fd:" FD_NAME);
    return arguments;
}

bool
gw_qemu_prepare_save(GwVmm *vmm, int fd, GError **error)
{
    static const char what[] = "preparing to save the device state";
    GwQemu *self = (GwQemu *)vmm;
    if (!require_capabilities(self, what, error) || !require_step(self, GW_QEMU_SAVE_NONE, what, error))
        return false;
    g_autofree char *run_state = gw_qemu_run_state(self, error);
    if (!run_state)
        return false;
    if (strcmp(run_state, "postmigrate") == 0) {
        g_set_error(
            error, GW_ERROR, GW_ERROR_WRONG_STATE,
            "%s: QEMU saves a guest that was taken back paused only after it has run: resume it first", what);
        return false;
    }
    if (!give_fd(self, fd, what, error))
        return false;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "%s", what);
        withdraw_fd(self, NULL);
        return false;
    }
    forget_migration(self, copy);
    self->ran_before = strcmp(run_state, "running") == 0;
    self->save = GW_QEMU_SAVE_PREPARED;
    return true;
}

static bool
start_migration(GwQemu *self, const char *what, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_mutex_lock(&self->lock);
    self->stopped_us = 0;
    g_mutex_unlock(&self->lock);
    self->save = GW_QEMU_SAVE_STARTED;
    if (gw_qemu_command(self, "migrate", uri_argument(), &cause))
        return true;
    if (g_error_matches(cause, GW_ERROR, GW_ERROR_VMM_FAILED)) /* refused, not begun */
        self->save = GW_QEMU_SAVE_PREPARED;
    g_propagate_prefixed_error(error, g_steal_pointer(&cause), "%s: ", what);
    return false;
}

bool
gw_qemu_begin_save(GwVmm *vmm, GError **error)
{
    static const char what[] = "setting up to save the device state";
    GwQemu *self = (GwQemu *)vmm;
    return require_step(self, GW_QEMU_SAVE_PREPARED, what, error) && start_migration(self, what, error) &&
           require_status(self, what, "active", error);
}

bool
gw_qemu_stop(GwVmm *vmm, gint64 *ret_stopped_us, GError **error)
{
    static const char what[] = "stopping the guest";
    GwQemu *self = (GwQemu *)vmm;
    if (self->save == GW_QEMU_SAVE_PREPARED && !start_migration(self, what, error))
        return false;
    if (!require_step(self, GW_QEMU_SAVE_STARTED, what, error) ||
        !require_status(self, what, "pre-switchover", error))
        return false;
    g_mutex_lock(&self->lock);
    if (ret_stopped_us)
        *ret_stopped_us = self->stopped_us;
    g_mutex_unlock(&self->lock);
    return true;
}

bool
gw_qemu_save(GwVmm *vmm, GError **error)
{
    GwQemu *self = (GwQemu *)vmm;
    if (!require_step(self, GW_QEMU_SAVE_STARTED, "saving the device state", error))
        return false;
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "state", "pre-switchover");
    self->save = GW_QEMU_SAVE_WRITING;
    g_autoptr(GError) cause = NULL;
    if (gw_qemu_command(self, "migrate-continue", arguments, &cause))
        return true;
    if (g_error_matches(cause, GW_ERROR, GW_ERROR_VMM_FAILED)) /* refused, not begun */
        self->save = GW_QEMU_SAVE_STARTED;
    g_propagate_prefixed_error(error, g_steal_pointer(&cause), "saving the device state: ");
    return false;
}

bool
gw_qemu_await_saved(GwVmm *vmm, GError **error)
{
    static const char what[] = "saving the device state";
    GwQemu *self = (GwQemu *)vmm;
    return require_step(self, GW_QEMU_SAVE_WRITING, what, error) &&
           require_status(self, what, "completed", error);
}

/* QEMU reports the end of a migration and tidies up afterwards: the state "finish-migrate" is left for the
 * one to stay. */
static char *
settled_run_state(GwQemu *self, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + STATE_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        g_autofree char *state = gw_qemu_run_state(self, error);
        if (!state || strcmp(state, "finish-migrate") != 0)
            return g_steal_pointer(&state);
        if (g_get_monotonic_time() > deadline) {
            g_set_error_literal(error, GW_ERROR, GW_ERROR_TIMED_OUT, "QEMU does not finish its migration");
            return NULL;
        }
    }
}

static bool
end_migration(GwQemu *self, GError **error)
{
    g_mutex_lock(&self->lock);
    if (self->state_fd >= 0)
        shutdown(self->state_fd, SHUT_RDWR);
    g_mutex_unlock(&self->lock);
    if (self->save == GW_QEMU_SAVE_STARTED && !gw_qemu_command(self, "migrate_cancel", NULL, error))
        return false;
    g_autofree char *status = await_status(self, "ending the migration", NULL, error);
    g_autofree char *run_state = status ? settled_run_state(self, error) : NULL;
    if (!run_state)
        return false;
    g_debug("migration taken back: %s, guest %s", status, run_state);
    /* Other states the guest has come to by itself (a power-off, an error of its disk): not ours to undo. */
    bool waits_for_us = strcmp(run_state, "postmigrate") == 0 || strcmp(run_state, "paused") == 0;
    return !self->ran_before || !waits_for_us || gw_qemu_command(self, "cont", NULL, error);
}

bool
gw_qemu_take_back(GwVmm *vmm, GError **error)
{
    GwQemu *self = (GwQemu *)vmm;
    bool ok = true;
    if (self->save == GW_QEMU_SAVE_PREPARED)
        ok = withdraw_fd(self, error);
    else if (self->save != GW_QEMU_SAVE_NONE)
        ok = end_migration(self, error);
    if (!ok) {
        g_prefix_error(error, "taking the guest back: ");
        return false;
    }
    forget_migration(self, -1);
    self->ran_before = false;
    self->save = GW_QEMU_SAVE_NONE;
    return true;
}

bool
gw_qemu_prepare_load(GwVmm *vmm, int fd, GError **error)
{
    static const char what[] = "preparing to load the device state";
    GwQemu *self = (GwQemu *)vmm;
    if (!require_capabilities(self, what, error) || !give_fd(self, fd, what, error))
        return false;
    forget_migration(self, -1);
    if (gw_qemu_command(self, "migrate-incoming", uri_argument(), error))
        return true;
    g_prefix_error(error, "%s: ", what);
    withdraw_fd(self, NULL);
    return false;
}

bool
gw_qemu_await_loaded(GwVmm *vmm, GError **error)
{
    return require_status((GwQemu *)vmm, "loading the device state", "completed", error);
}

/* QEMU's usual five rounds within a second, the first at once. It also asks the drivers of guests that can
 * to announce themselves, with what they know of addresses. */
bool
gw_qemu_announce(GwQemu *self, GError **error)
{
    JsonObject *arguments = json_object_new();
    json_object_set_int_member(arguments, "initial", 50);
    json_object_set_int_member(arguments, "max", 550);
    json_object_set_int_member(arguments, "rounds", 5);
    json_object_set_int_member(arguments, "step", 100);
    return gw_qemu_command(self, "announce-self", arguments, error);
}
