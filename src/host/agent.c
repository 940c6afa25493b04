/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's parts put together, and its pulse. */
#include "agent.h"

#include "error.h"
#include "host-facts.h"
#include "json.h"
#include "load.h"
#include "network.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define PULSE_US    G_TIME_SPAN_SECOND
#define FACTS_EVERY 10 /* pulses; also for the status of VMs of which no event tells */

struct GwAgent {
    /* set once */
    int lock_fd;
    char *started;
    GwEventRelay *relay;
    GwDatastoreWatch *datastores;
    GwFactGatherer *gatherer;
    GwProbeDoor *door;
    GwRegistry *registry;
    GThread *pulse;
    /* held while facts are gathered: what is told of them is told in the order in which they were found */
    GMutex gathering;
    /* guarded by lock, which is taken under `gathering` */
    GMutex lock;
    GCond woken;
    bool ending, is_reconfigured;
    GwAgentConfig *config;
    JsonObject *facts; /* as gathered last; NULL: not yet */
};

static GwAgentConfig *
config_new(GwHostConfig *host)
{
    GwAgentConfig *config = g_new(GwAgentConfig, 1);
    g_atomic_ref_count_init(&config->refs);
    config->host = host;
    return config;
}

void
gw_agent_config_unref(GwAgentConfig *config)
{
    if (!config || !g_atomic_ref_count_dec(&config->refs))
        return;
    gw_host_config_free(config->host);
    g_free(config);
}

GwAgentConfig *
gw_agent_config(GwAgent *self)
{
    g_mutex_lock(&self->lock);
    GwAgentConfig *config = self->config;
    g_atomic_ref_count_inc(&config->refs);
    g_mutex_unlock(&self->lock);
    return config;
}

GwRegistry *
gw_agent_registry(GwAgent *self)
{
    return self->registry;
}

GwEventRelay *
gw_agent_relay(GwAgent *self)
{
    return self->relay;
}

GwProbeDoor *
gw_agent_probe_door(GwAgent *self)
{
    return self->door;
}

static void
tell_facts(GwAgent *self, JsonObject *facts)
{
    JsonObject *event = json_object_new();
    json_object_set_string_member(event, "type", "host.facts");
    json_object_set_object_member(event, "host", gw_json_object_copy(facts));
    gw_event_relay_tell(self->relay, event);
}

JsonObject *
gw_agent_facts(GwAgent *self)
{
    g_mutex_lock(&self->gathering);
    g_autoptr(GwAgentConfig) config = gw_agent_config(self);
    JsonObject *facts = gw_fact_gatherer_gather(self->gatherer, config->host);
    json_object_set_string_member(facts, "started", self->started);
    g_mutex_lock(&self->lock);
    g_autoptr(JsonObject) before = g_steal_pointer(&self->facts);
    self->facts = gw_json_object_copy(facts);
    g_mutex_unlock(&self->lock);
    if (before && gw_host_facts_differ(before, facts))
        tell_facts(self, facts);
    g_mutex_unlock(&self->gathering);
    return facts;
}

JsonObject *
gw_agent_hello(GwAgent *self)
{
    g_mutex_lock(&self->lock);
    JsonObject *hello = self->facts ? gw_json_object_copy(self->facts) : json_object_new();
    g_mutex_unlock(&self->lock);
    json_object_set_string_member(hello, "type", "host.hello");
    json_object_set_array_member(hello, "vms", gw_registry_list(self->registry));
    return hello;
}

static void
tell_load(GwAgent *self, GwLoad *load)
{
    g_autoptr(GwAgentConfig) config = gw_agent_config(self);
    g_autoptr(GArray) vms = gw_registry_load_vms(self->registry);
    JsonObject *event = gw_load_sample(load, (const GwLoadVm *)(void *)vms->data, vms->len);
    json_object_set_array_member(event, "datastores",
                                 gw_datastore_watch_load(self->datastores, config->host));
    json_object_set_string_member(event, "type", "host.load");
    gw_event_relay_tell(self->relay, event);
}

typedef enum { PULSE, RECONFIGURED, ENDING } Wake;

static Wake
await_pulse(GwAgent *self, gint64 when)
{
    g_mutex_lock(&self->lock);
    while (!self->ending && !self->is_reconfigured && g_cond_wait_until(&self->woken, &self->lock, when))
        ;
    Wake wake = self->ending ? ENDING : self->is_reconfigured ? RECONFIGURED : PULSE;
    self->is_reconfigured = false;
    g_mutex_unlock(&self->lock);
    return wake;
}

static void
gather(GwAgent *self)
{
    g_autoptr(JsonObject) facts = gw_agent_facts(self);
    gw_registry_refresh_all(self->registry);
}

static void *
pulse(void *data)
{
    GwAgent *self = data;
    g_autoptr(GwLoad) load = gw_load_new();
    gint64 next = g_get_monotonic_time();
    unsigned n = 0;
    for (Wake wake; (wake = await_pulse(self, next)) != ENDING;) {
        if (wake == RECONFIGURED) { /* who looks now sees the host as it is to be from now on */
            gather(self);
            continue;
        }
        if (n++ % FACTS_EVERY == 0)
            gather(self);
        tell_load(self, load);
        /* A pulse that was held up is not made up for. */
        next = MAX(next, g_get_monotonic_time() - PULSE_US) + PULSE_US;
    }
    return NULL;
}

static void
on_told(JsonObject *event, void *user_data)
{
    GwAgent *self = user_data;
    gw_event_relay_tell(self->relay, event);
}

/* One agent a runtime directory: the lock goes with the process. */
static bool
take_lock(GwAgent *self, const char *runtime_dir, GError **error)
{
    g_autofree char *path = g_build_filename(runtime_dir, "host.lock", NULL);
    if (g_mkdir_with_parents(runtime_dir, 0755) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "making %s", runtime_dir);
    self->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (self->lock_fd < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
    if (flock(self->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "%s: another godwit-host runs for this directory", path);
    return false;
}

/* "never" means that guests in memory files have small pages whatever they ask for; any other word is the
 * administrator's own choice. */
static bool
allow_huge_pages(GError **error)
{
    static const char *const path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    g_autofree char *now = NULL;
    if (!g_file_get_contents(path, &now, NULL, error))
        return false;
    if (!strstr(now, "[never]"))
        return true;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, "advise", strlen("advise")) > 0;
    if (!written)
        gw_set_errno(error, GW_ERROR_IO, errno, "[host] huge-pages: writing %s", path);
    if (fd >= 0)
        close(fd);
    return written;
}

/* The host as its configuration wants it. What cannot be had is said and does not keep the agent from its
 * VMs. */
static void
apply(const GwHostConfig *config)
{
    g_autoptr(GError) error = NULL;
    if (!gw_network_apply(config, &error))
        g_warning("%s", error->message);
    g_clear_error(&error);
    if (config->huge_pages && !allow_huge_pages(&error))
        g_warning("%s", error->message);
}

GwAgent *
gw_agent_new(GwHostConfig *config, GError **error)
{
    GwAgent *self = g_new0(GwAgent, 1);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    self->started = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    self->lock_fd = -1;
    self->config = config_new(config);
    g_mutex_init(&self->gathering);
    g_mutex_init(&self->lock);
    g_cond_init(&self->woken);
    self->relay = gw_event_relay_new();
    self->datastores = gw_datastore_watch_new();
    self->gatherer = gw_fact_gatherer_new(self->datastores);
    self->door = gw_probe_door_new();
    if (!take_lock(self, config->runtime_dir, error)) {
        gw_agent_free(self);
        return NULL;
    }
    apply(config);
    self->registry = gw_registry_new(config->runtime_dir, config->vm_program, on_told, self, error);
    if (!self->registry) {
        gw_agent_free(self);
        return NULL;
    }
    gw_registry_set_program(self->registry, config->vm_program, config->log_level);
    self->pulse = g_thread_new("pulse", pulse, self);
    return self;
}

static bool
may_become(const GwHostConfig *now, const GwHostConfig *next, GError **error)
{
    const char *key = strcmp(now->name, next->name) != 0                 ? "name"
                      : strcmp(now->listen, next->listen) != 0           ? "listen"
                      : now->port != next->port                          ? "port"
                      : strcmp(now->runtime_dir, next->runtime_dir) != 0 ? "runtime-dir"
                      : strcmp(now->tls_dir, next->tls_dir) != 0         ? "tls-dir"
                                                                         : NULL;
    if (key)
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
            "[host] %s of the configuration has changed: that needs a restart of godwit-host (VMs run "
            "on meanwhile); nothing was changed",
            key);
    return !key;
}

bool
gw_agent_reconfigure(GwAgent *self, GwHostConfig *config, GError **error)
{
    g_autoptr(GwAgentConfig) next = config_new(config);
    g_mutex_lock(&self->lock);
    bool allowed = may_become(self->config->host, config, error);
    if (allowed) {
        GwAgentConfig *before = self->config;
        self->config = g_steal_pointer(&next);
        next = before;
    }
    g_mutex_unlock(&self->lock);
    if (!allowed)
        return false;
    g_autoptr(GwAgentConfig) current = gw_agent_config(self);
    apply(current->host);
    gw_registry_set_program(self->registry, current->host->vm_program, current->host->log_level);
    g_mutex_lock(&self->lock);
    self->is_reconfigured = true;
    g_cond_broadcast(&self->woken);
    g_mutex_unlock(&self->lock);
    return true;
}

void
gw_agent_free(GwAgent *self)
{
    if (!self)
        return;
    g_mutex_lock(&self->lock);
    self->ending = true;
    g_cond_broadcast(&self->woken);
    g_mutex_unlock(&self->lock);
    if (self->pulse)
        g_thread_join(self->pulse);
    gw_registry_free(self->registry);
    gw_probe_door_free(self->door);
    gw_fact_gatherer_free(self->gatherer);
    gw_datastore_watch_free(self->datastores);
    gw_event_relay_free(self->relay);
    gw_agent_config_unref(self->config);
    g_clear_pointer(&self->facts, json_object_unref);
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    g_cond_clear(&self->woken);
    g_mutex_clear(&self->lock);
    g_mutex_clear(&self->gathering);
    g_free(self->started);
    g_free(self);
}
