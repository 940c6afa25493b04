/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who directs the agents that are played: faults, deaths, and what is asked of them. */
#include "fake-agent-internal.h"

#include <string.h>

static FakeAgent *
find_agent(FakeCluster *self, const char *host)
{
    for (guint i = 0; i < self->agents->len; i++)
        if (strcmp(((FakeAgent *)self->agents->pdata[i])->name, host) == 0)
            return self->agents->pdata[i];
    g_error("no host %s", host);
}

static void
fault_clear(void *data)
{
    FakeFaultCase *fault = data;
    g_free(fault->host);
    g_free(fault->method);
    g_free(fault->path_end);
}

FakeCluster *
fake_cluster_new(const GwAuthority *authority, const char *directory)
{
    FakeCluster *self = g_new0(FakeCluster, 1);
    self->authority = authority;
    self->directory = g_strdup(directory);
    self->agents = g_ptr_array_new_with_free_func(fake_agent_free);
    self->faults = g_array_new(FALSE, FALSE, sizeof(FakeFaultCase));
    g_array_set_clear_func(self->faults, fault_clear);
    self->calls = g_ptr_array_new_with_free_func(g_free);
    self->next_pid = 1000;
    g_mutex_init(&self->lock);
    return self;
}

void
fake_cluster_free(FakeCluster *self)
{
    g_ptr_array_unref(self->agents);
    g_array_unref(self->faults);
    g_ptr_array_unref(self->calls);
    g_mutex_clear(&self->lock);
    g_free(self->directory);
    g_free(self->stop_at);
    g_free(self->fail_at);
    g_free(self->secret);
    g_free(self);
}

void
fake_fault(FakeCluster *self, const char *host, const char *method, const char *path_end, FakeFault fault,
           GwError code)
{
    FakeFaultCase each = {g_strdup(host), g_strdup(method), g_strdup(path_end), fault, code};
    g_mutex_lock(&self->lock);
    self->fault_was_met = false;
    g_array_append_val(self->faults, each);
    g_mutex_unlock(&self->lock);
}

void
fake_no_faults(FakeCluster *self)
{
    g_mutex_lock(&self->lock);
    g_array_set_size(self->faults, 0);
    g_mutex_unlock(&self->lock);
}

bool
fake_fault_was_met(FakeCluster *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    return self->fault_was_met;
}

void
fake_set_away(FakeCluster *self, const char *host, bool is_away)
{
    tcp_proxy_set(find_agent(self, host)->proxy, is_away ? PROXY_IS_DOWN : PROXY_WORKS);
}

char *
fake_vm_config(const char *vm)
{
    guint n = g_str_hash(vm) & 0xff;
    return g_strdup_printf("{\"name\": \"%s\", \"uuid\": \"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e%02x\","
                           " \"machine\": \"pc-q35-7.2\", \"vcpus\": 1, \"cpu_model\": \"qemu64\","
                           " \"memory_mib\": 1024, \"disks\": [{\"id\": \"root\", \"datastore\": \"ds\","
                           " \"path\": \"%s/root.qcow2\", \"format\": \"qcow2\"}],"
                           " \"nics\": [{\"port_group\": \"lan\", \"mac\": \"52:54:00:12:34:%02x\"}]}",
                           vm, n, vm, n);
}

void
fake_add_vm(FakeCluster *self, const char *host, const char *name, const char *state)
{
    FakeAgent *agent = find_agent(self, host);
    FakeVm *vm = g_new0(FakeVm, 1);
    vm->name = g_strdup(name);
    vm->state = g_strdup(state);
    vm->config = fake_vm_config(name);
    g_mutex_lock(&self->lock);
    vm->pid = self->next_pid++;
    g_hash_table_replace(agent->vms, g_strdup(name), vm);
    fake_tell_status_locked(agent, name);
    g_mutex_unlock(&self->lock);
}

void
fake_set_vm_uuid(FakeCluster *self, const char *host, const char *name, const char *uuid)
{
    FakeAgent *agent = find_agent(self, host);
    g_mutex_lock(&self->lock);
    FakeVm *vm = g_hash_table_lookup(agent->vms, name);
    g_assert_nonnull(vm);
    fake_set_text(&vm->uuid, uuid);
    fake_tell_status_locked(agent, name);
    g_mutex_unlock(&self->lock);
}

void
fake_set_vm(FakeCluster *self, const char *host, const char *name, const char *state)
{
    FakeAgent *agent = find_agent(self, host);
    g_mutex_lock(&self->lock);
    FakeVm *vm = g_hash_table_lookup(agent->vms, name);
    g_assert_nonnull(vm);
    fake_set_text(&vm->state, state);
    if (vm->motion && strcmp(state, "crashed") == 0) {
        fake_set_text(&vm->motion, "failed");
        fake_set_text(&vm->error_code, "vmm-failed");
    }
    fake_tell_status_locked(agent, name);
    g_mutex_unlock(&self->lock);
}

void
fake_remove_vm(FakeCluster *self, const char *host, const char *vm)
{
    FakeAgent *agent = find_agent(self, host);
    g_mutex_lock(&self->lock);
    g_hash_table_remove(agent->vms, vm);
    fake_tell_status_locked(agent, vm);
    g_mutex_unlock(&self->lock);
}

char *
fake_state(FakeCluster *self, const char *host, const char *vm)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const FakeVm *found = g_hash_table_lookup(find_agent(self, host)->vms, vm);
    return g_strdup(found ? found->state : "absent");
}

void
fake_stop_engines_at(FakeCluster *self, const char *state)
{
    g_mutex_lock(&self->lock);
    fake_set_text(&self->stop_at, state);
    g_mutex_unlock(&self->lock);
}

void
fake_fail_engine_at(FakeCluster *self, const char *state, GwError code)
{
    g_mutex_lock(&self->lock);
    fake_set_text(&self->fail_at, state);
    self->fail_code = code;
    g_mutex_unlock(&self->lock);
}

static FakeVm *
source_locked(FakeCluster *self, const char *name, FakeAgent **ret_agent)
{
    for (guint i = 0; i < self->agents->len; i++) {
        FakeAgent *agent = self->agents->pdata[i];
        FakeVm *vm = g_hash_table_lookup(agent->vms, name);
        *ret_agent = agent;
        if (vm && vm->is_source)
            return vm;
    }
    g_error("%s is nowhere a source", name);
}

void
fake_complete_engine(FakeCluster *self, const char *name)
{
    FakeAgent *agent = NULL;
    g_mutex_lock(&self->lock);
    FakeVm *vm = source_locked(self, name, &agent);
    fake_complete_locked(agent, vm);
    fake_tell_motion(agent, name);
    g_mutex_unlock(&self->lock);
}

void
fake_unresolve_engine(FakeCluster *self, const char *name)
{
    FakeAgent *agent = NULL;
    g_mutex_lock(&self->lock);
    FakeVm *vm = source_locked(self, name, &agent);
    fake_set_text(&vm->motion, "unresolved");
    fake_set_text(&vm->state, "paused");
    fake_tell_motion(agent, name);
    g_mutex_unlock(&self->lock);
}

unsigned
fake_n_calls(FakeCluster *self, const char *host, const char *method, const char *path_end)
{
    unsigned n = 0;
    g_autofree char *begin = g_strdup_printf("%s %s ", host, method);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    for (guint i = 0; i < self->calls->len; i++)
        n += g_str_has_prefix(self->calls->pdata[i], begin) &&
             g_str_has_suffix(self->calls->pdata[i], path_end);
    return n;
}

char *
fake_secret(FakeCluster *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    return g_strdup(self->secret);
}
