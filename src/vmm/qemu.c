/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running QEMU behind vmm.h: what it is told over QMP. How it came to run: qemu-start.c; how its state
 * leaves and arrives: qemu-migration.c. */
#include "error.h"
#include "json.h"
#include "qemu-internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

bool
gw_qemu_command(GwQemu *self, const char *name, JsonObject *arguments, GError **error)
{
    return gw_qmp_command(self->qmp, name, arguments, GW_QEMU_COMMAND_TIMEOUT_MS, error);
}

JsonObject *
gw_qemu_query(GwQemu *self, const char *name, JsonNode **ret_reply, GError **error)
{
    *ret_reply = gw_qmp_execute(self->qmp, name, NULL, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    if (!*ret_reply)
        return NULL;
    if (JSON_NODE_HOLDS_OBJECT(*ret_reply))
        return json_node_get_object(*ret_reply);
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: the answer is no object", name);
    return NULL;
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
    return gw_qemu_command((GwQemu *)vmm, "stop", NULL, error);
}

static bool
qemu_resume(GwVmm *vmm, gint64 *ret_resumed_us, GError **error)
{
    GwQemu *self = (GwQemu *)vmm;
    g_mutex_lock(&self->lock);
    self->resumed_us = 0;
    g_mutex_unlock(&self->lock);
    if (!gw_qmp_is_connected(self->qmp)) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED,
                            "QEMU has ended before it was told to go on");
        return false;
    }
    if (!gw_qemu_command(self, "cont", NULL, error))
        return false;
    /* The event stands before the answer in QEMU's output, so the reader has told it by now. */
    g_mutex_lock(&self->lock);
    if (ret_resumed_us)
        *ret_resumed_us = self->resumed_us;
    g_mutex_unlock(&self->lock);
    return true;
}

static void
qemu_flush(GwVmm *vmm)
{
    gw_process_flush_files(&((GwQemu *)vmm)->process);
}

const GwVmmOps gw_qemu_ops = {
    .regions = qemu_regions,
    .pause = qemu_pause,
    .resume = qemu_resume,
    .prepare_save = gw_qemu_prepare_save,
    .flush = qemu_flush,
    .begin_save = gw_qemu_begin_save,
    .stop = gw_qemu_stop,
    .save = gw_qemu_save,
    .await_saved = gw_qemu_await_saved,
    .take_back = gw_qemu_take_back,
    .prepare_load = gw_qemu_prepare_load,
    .await_loaded = gw_qemu_await_loaded,
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
    g_autoptr(JsonNode) reply = NULL;
    JsonObject *answer = gw_qemu_query(self, "query-status", &reply, error);
    if (!answer)
        return NULL;
    const char *status = gw_json_get_string(answer, "status");
    if (!status)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "query-status: no status in the answer");
    return g_strdup(status);
}

bool
gw_qemu_power_button(GwQemu *self, GError **error)
{
    return gw_qemu_command(self, "system_powerdown", NULL, error);
}

bool
gw_qemu_reset(GwQemu *self, GError **error)
{
    return gw_qemu_command(self, "system_reset", NULL, error);
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
    if (self->state_fd >= 0)
        close(self->state_fd);
    g_cond_clear(&self->changed);
    g_mutex_clear(&self->lock);
    g_free(self);
}
