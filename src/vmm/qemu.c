/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running QEMU behind vmm.h: what it is told over QMP. How it came to run: qemu-start.c. */
#include "error.h"
#include "json.h"
#include "qemu-internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define STATE_TIMEOUT_MS 30000

static bool
command(GwQemu *self, const char *name, JsonObject *arguments, GError **error)
{
    return gw_qmp_command(self->qmp, name, arguments, GW_QEMU_COMMAND_TIMEOUT_MS, error);
}

static bool
qemu_regions(GwVmm *vmm, GArray *ret_regions, GError **error)
{
    GwQemu *self = (GwQemu *)vmm;
    return gw_process_find_mappings(self->process.pid, self->image_inode, self->image_link, ret_regions,
                                    error);
}

static bool
qemu_pause(GwVmm *vmm, GError **error)
{
    return command((GwQemu *)vmm, "stop", NULL, error);
}

/* A QEMU that has reported its state complete is still tidying up for a moment ("finish-migrate") and then
 * refuses to continue. Only a source that takes its guest back meets this; to ask first would cost every
 * resume a round trip. */
static bool
qemu_resume(GwVmm *vmm, GError **error)
{
    GwQemu *self = (GwQemu *)vmm;
    gint64 deadline = g_get_monotonic_time() + GW_QEMU_COMMAND_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        g_autoptr(GError) cause = NULL;
        if (command(self, "cont", NULL, &cause))
            return true;
        g_autofree char *state = gw_qemu_run_state(self, NULL);
        if (g_strcmp0(state, "finish-migrate") != 0 || g_get_monotonic_time() > deadline) {
            /* It may have ended its tidying between the two questions. */
            if (g_strcmp0(state, "postmigrate") == 0)
                return command(self, "cont", NULL, error);
            g_propagate_error(error, g_steal_pointer(&cause));
            return false;
        }
    }
}

/* What QEMU says of a migration that failed. */
static void
set_migration_error(GwQemu *self, const char *what, GError **error)
{
    g_autoptr(JsonNode) reply =
        gw_qmp_execute(self->qmp, "query-migrate", NULL, GW_QEMU_COMMAND_TIMEOUT_MS, NULL);
    const char *text = reply && JSON_NODE_HOLDS_OBJECT(reply)
                           ? gw_json_get_string(json_node_get_object(reply), "error-desc")
                           : NULL;
    g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "%s failed: %s", what,
                text ? text : "QEMU gives no reason");
}

static bool
await_migration(GwQemu *self, const char *what, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + STATE_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *status = NULL;
    g_mutex_lock(&self->lock);
    bool in_time = true;
    while (in_time && !self->qmp_lost && g_strcmp0(self->migration_status, "completed") != 0 &&
           g_strcmp0(self->migration_status, "failed") != 0)
        in_time = g_cond_wait_until(&self->changed, &self->lock, deadline);
    status = g_strdup(self->migration_status);
    g_mutex_unlock(&self->lock);

    if (!in_time)
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "%s: not complete after %d s (status %s)", what,
                    STATE_TIMEOUT_MS / 1000, status ? status : "none");
    else if (g_strcmp0(status, "completed") == 0)
        return true;
    else if (g_strcmp0(status, "failed") == 0)
        set_migration_error(self, what, error);
    else
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: QEMU ended", what);
    return false;
}

/* QEMU's stream to or from a descriptor of ours, over "getfd". */
static bool
stream_state(GwQemu *self, const char *qmp_command, const char *what, int fd, GError **error)
{
    if (!self->can_migrate) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
                    "%s: this QEMU has no migration capability x-ignore-shared", what);
        return false;
    }
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->migration_status, g_free);
    g_mutex_unlock(&self->lock);

    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "fdname", "godwit-state");
    g_autoptr(JsonNode) passed =
        gw_qmp_execute_with_fd(self->qmp, "getfd", arguments, fd, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    if (!passed)
        return false;
    arguments = json_object_new();
    json_object_set_string_member(arguments, "uri", "fd:godwit-state");
    return command(self, qmp_command, arguments, error) && await_migration(self, what, error);
}

static bool
qemu_save_state(GwVmm *vmm, int fd, GError **error)
{
    return stream_state((GwQemu *)vmm, "migrate", "saving the device state", fd, error);
}

static bool
qemu_load_state(GwVmm *vmm, int fd, GError **error)
{
    return stream_state((GwQemu *)vmm, "migrate-incoming", "loading the device state", fd, error);
}

const GwVmmOps gw_qemu_ops = {
    .regions = qemu_regions,
    .pause = qemu_pause,
    .save_state = qemu_save_state,
    .load_state = qemu_load_state,
    .resume = qemu_resume,
};

GwVmm *
gw_qemu_vmm(GwQemu *self)
{
    return &self->vmm;
}

const GwProcess *
gw_qemu_process(const GwQemu *self)
{
    return &self->process;
}

unsigned
gw_qemu_version(const GwQemu *self)
{
    return gw_qmp_version(self->qmp);
}

int
gw_qemu_uffd(const GwQemu *self)
{
    return self->uffd;
}

char *
gw_qemu_run_state(GwQemu *self, GError **error)
{
    g_autoptr(JsonNode) reply =
        gw_qmp_execute(self->qmp, "query-status", NULL, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    if (!reply)
        return NULL;
    const char *status =
        JSON_NODE_HOLDS_OBJECT(reply) ? gw_json_get_string(json_node_get_object(reply), "status") : NULL;
    if (!status)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "query-status: no status in the answer");
    return g_strdup(status);
}

bool
gw_qemu_power_button(GwQemu *self, GError **error)
{
    return command(self, "system_powerdown", NULL, error);
}

bool
gw_qemu_reset(GwQemu *self, GError **error)
{
    return command(self, "system_reset", NULL, error);
}

static bool
pin_thread(pid_t thread, const GArray *cpus, unsigned vcpu, GError **error)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (guint i = 0; i < cpus->len; i++)
        if (g_array_index(cpus, unsigned, i) < CPU_SETSIZE)
            CPU_SET(g_array_index(cpus, unsigned, i), &set);
    if (sched_setaffinity(thread, sizeof set, &set) < 0)
        return gw_set_errno(error, GW_ERROR_INVALID_CONFIG, errno, "pinning vCPU %u (/pinning/%u)", vcpu,
                            vcpu);
    return true;
}

bool
gw_qemu_pin(GwQemu *self, const GArray *pins, GError **error)
{
    if (pins->len == 0)
        return true;
    g_autoptr(JsonNode) reply =
        gw_qmp_execute(self->qmp, "query-cpus-fast", NULL, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    if (!reply)
        return false;
    JsonArray *cpus = JSON_NODE_HOLDS_ARRAY(reply) ? json_node_get_array(reply) : NULL;
    for (guint i = 0; i < pins->len; i++) {
        JsonObject *cpu = cpus && i < json_array_get_length(cpus) ? gw_json_array_object(cpus, i) : NULL;
        int64_t thread = 0;
        if (!cpu || !gw_json_get_int(cpu, "thread-id", &thread)) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "query-cpus-fast: no thread of vCPU %u", i);
            return false;
        }
        if (!pin_thread((pid_t)thread, g_array_index(pins, GArray *, i), i, error))
            return false;
    }
    return true;
}

void
gw_qemu_kill(GwQemu *self)
{
    gw_process_signal(&self->process, SIGKILL);
    gw_process_wait(&self->process, -1);
}

void
gw_qemu_drain(GwQemu *self)
{
    gint64 deadline = g_get_monotonic_time() + G_TIME_SPAN_SECOND;
    g_mutex_lock(&self->lock);
    while (!self->qmp_lost && g_cond_wait_until(&self->changed, &self->lock, deadline))
        ;
    g_mutex_unlock(&self->lock);
}

void
gw_qemu_free(GwQemu *self)
{
    if (!self)
        return;
    gw_qmp_free(self->qmp);
    gw_process_clear(&self->process);
    if (self->uffd >= 0)
        close(self->uffd);
    g_free(self->image_link);
    g_free(self->migration_status);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
    g_free(self);
}
