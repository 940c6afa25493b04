/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts and the lists they own. */
#include "facts-internal.h"

static void
clear_interface(void *data)
{
    GwMotionInterface *self = data;
    g_free(self->name);
    g_free(self->address);
}

static void
clear_switch(void *data)
{
    GwSwitch *self = data;
    g_free(self->name);
    g_strfreev(self->uplinks);
}

static void
clear_port_group(void *data)
{
    GwPortGroup *self = data;
    g_free(self->name);
    g_free(self->switch_name);
}

static void
clear_datastore(void *data)
{
    GwDatastore *self = data;
    g_free(self->name);
    g_free(self->path);
    g_free(self->identity);
    g_free(self->error);
}

static void
clear_cpu_model(void *data)
{
    GwCpuModelFact *self = data;
    g_free(self->name);
    g_strfreev(self->missing);
}

static void
clear_path(void *data)
{
    GwPath *self = data;
    g_free(self->source_interface);
    g_free(self->source_address);
    g_free(self->destination_interface);
    g_free(self->destination_address);
    g_free(self->error);
}

static GArray *
new_list(size_t size, GDestroyNotify clear)
{
    GArray *list = g_array_new(FALSE, TRUE, (guint)size);
    g_array_set_clear_func(list, clear);
    return list;
}

GwHostFacts *
gw_host_facts_new(void)
{
    GwHostFacts *self = g_new0(GwHostFacts, 1);
    self->interfaces = new_list(sizeof(GwMotionInterface), clear_interface);
    self->switches = new_list(sizeof(GwSwitch), clear_switch);
    self->port_groups = new_list(sizeof(GwPortGroup), clear_port_group);
    self->datastores = new_list(sizeof(GwDatastore), clear_datastore);
    self->cpu_models = new_list(sizeof(GwCpuModelFact), clear_cpu_model);
    return self;
}

void
gw_host_facts_free(GwHostFacts *self)
{
    if (!self)
        return;
    g_free(self->name);
    g_free(self->version);
    g_free(self->kernel);
    g_free(self->qemu_version);
    g_free(self->cpu_model);
    g_strfreev(self->machines);
    g_strfreev(self->cpu_features);
    GArray *lists[] = {self->cpu_models,  self->interfaces, self->switches,
                       self->port_groups, self->datastores, self->problems};
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        if (lists[i])
            g_array_unref(lists[i]);
    g_free(self);
}

void
gw_vm_facts_free(GwVmFacts *self)
{
    if (!self)
        return;
    g_free(self->name);
    g_free(self->uuid);
    g_free(self->state);
    gw_vm_config_free(self->config);
    g_free(self->qemu_version);
    g_free(self->activity);
    g_free(self->duplicate_at);
    g_free(self->namesake);
    if (self->findings)
        g_array_unref(self->findings);
    g_free(self);
}

GArray *
gw_paths_new(void)
{
    return new_list(sizeof(GwPath), clear_path);
}
