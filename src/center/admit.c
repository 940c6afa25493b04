/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Admission: counting units of what motions share.
 *
 * Each resource is a counter with a limit, found by a key that tells its kind and its name. Whoever is looked
 * at takes a unit of each of his resources or of none. Since everything is counted anew at each call, nothing
 * can be given back twice or forgotten: there is no state but the list of those that run. */
#include "admit.h"

#include <inttypes.h>
#include <string.h>

#define N_NAMED 3 /* of those that are under way, in a text */

typedef struct {
    char *text;      /* how a person calls it */
    char *unit;      /* what is counted, behind "8 of 8" */
    guint limit;     /* the least that anybody counted here brings along */
    GPtrArray *held; /* names of those that have a unit; borrowed from the demands */
} Resource;

typedef struct {
    GHashTable *resources; /* key -> Resource */
    const GArray *rooms;   /* of GwHostRoom */
    GPtrArray *under_way;  /* of const GwMotionDemand: those that run, and those that may begin */
} Ledger;

static void
free_resource(void *data)
{
    Resource *self = data;
    g_free(self->text);
    g_free(self->unit);
    g_ptr_array_unref(self->held);
    g_free(self);
}

/* Takes all the texts. */
static Resource *
find_resource(Ledger *ledger, char *key, char *text, char *unit, guint limit)
{
    Resource *self = g_hash_table_lookup(ledger->resources, key);
    if (self) {
        g_free(key);
        g_free(text);
        g_free(unit);
    } else {
        self = g_new0(Resource, 1);
        *self = (Resource){text, unit, limit, g_ptr_array_new()};
        g_hash_table_insert(ledger->resources, key, self);
    }
    self->limit = MIN(self->limit, limit);
    return self;
}

static Resource *
host_resource(Ledger *ledger, const char *host)
{
    return find_resource(ledger, g_strconcat("host/", host, NULL), g_strdup(host),
                         g_strdup("motions under way"), GW_BUDGET_HOST);
}

static char *
speed_text(uint64_t bits_per_s)
{
    const double giga = 1000.0 * 1000 * 1000;
    if (bits_per_s == 0)
        return g_strdup("at a speed that is not known");
    if (bits_per_s < giga)
        return g_strdup_printf("at %" PRIu64 " Mbit/s", bits_per_s / 1000 / 1000);
    return g_strdup_printf("at %g Gbit/s", (double)bits_per_s / giga);
}

static Resource *
network_resource(Ledger *ledger, const char *host, uint64_t speed)
{
    return find_resource(ledger, g_strconcat("network/", host, NULL),
                         g_strdup_printf("the motion network of %s", host), speed_text(speed),
                         speed >= GW_FAST_BITS_PER_S ? GW_BUDGET_NETWORK_FAST : GW_BUDGET_NETWORK);
}

/* What this motion takes a unit of, each once; of Resource, borrowed from the ledger. */
static GPtrArray *
resources_of(Ledger *ledger, const GwMotionDemand *demand)
{
    GPtrArray *wanted = g_ptr_array_new();
    g_ptr_array_add(wanted, host_resource(ledger, demand->source));
    g_ptr_array_add(wanted, host_resource(ledger, demand->destination));
    g_ptr_array_add(wanted, network_resource(ledger, demand->source, demand->source_speed));
    g_ptr_array_add(wanted, network_resource(ledger, demand->destination, demand->destination_speed));
    for (guint i = 0; demand->datastores && demand->datastores[i]; i++) {
        Resource *datastore = find_resource(ledger, g_strconcat("datastore/", demand->datastores[i], NULL),
                                            g_strdup_printf("datastore %s", demand->datastores[i]),
                                            g_strdup("motions under way"), GW_BUDGET_DATASTORE);
        if (!g_ptr_array_find(wanted, datastore, NULL))
            g_ptr_array_add(wanted, datastore);
    }
    return wanted;
}

static const char *
name_of(const GwMotionDemand *demand)
{
    return demand->vm ? demand->vm : demand->id;
}

static void
take(Ledger *ledger, const GwMotionDemand *demand)
{
    g_autoptr(GPtrArray) wanted = resources_of(ledger, demand);
    for (guint i = 0; i < wanted->len; i++)
        g_ptr_array_add(((Resource *)wanted->pdata[i])->held, (void *)name_of(demand));
    g_ptr_array_add(ledger->under_way, (void *)demand);
}

static void
append_full(GString *why, const Resource *resource)
{
    g_string_append_printf(why, "%s%s: %u of %u %s (", why->len ? "; " : "waits for ", resource->text,
                           resource->held->len, resource->limit, resource->unit);
    for (guint i = 0; i < MIN(resource->held->len, N_NAMED); i++)
        g_string_append_printf(why, "%s%s", i ? ", " : "", (const char *)resource->held->pdata[i]);
    g_string_append(why, resource->held->len > N_NAMED ? ", …)" : ")");
}

/* NULL: it fits; owned. */
static char *
what_is_full(Ledger *ledger, const GwMotionDemand *demand)
{
    g_autoptr(GPtrArray) wanted = resources_of(ledger, demand);
    g_autoptr(GString) why = g_string_new(NULL);
    for (guint i = 0; i < wanted->len; i++) {
        const Resource *resource = wanted->pdata[i];
        if (resource->held->len >= resource->limit)
            append_full(why, resource);
    }
    return why->len ? g_string_free(g_steal_pointer(&why), FALSE) : NULL;
}

static const GwHostRoom *
find_room(const Ledger *ledger, const char *host)
{
    for (guint i = 0; ledger->rooms && i < ledger->rooms->len; i++) {
        const GwHostRoom *room = &g_array_index(ledger->rooms, GwHostRoom, i);
        if (strcmp(room->host, host) == 0)
            return room;
    }
    return NULL;
}

/* Why a motion of high priority cannot have at the destination the memory and the CPU time that its VM uses
 * now; NULL: it can; owned. */
static char *
what_has_no_room(const Ledger *ledger, const GwMotionDemand *demand)
{
    const GwHostRoom *room = find_room(ledger, demand->destination);
    if (!room)
        return g_strdup_printf("how much room %s has is not known", demand->destination);
    uint64_t memory = 0;
    uint64_t cpu_percent = room->cpu_percent;
    for (guint i = 0; i < ledger->under_way->len; i++) {
        const GwMotionDemand *other = ledger->under_way->pdata[i];
        if (strcmp(other->destination, demand->destination) != 0)
            continue;
        memory += MIN(other->memory_bytes, UINT64_MAX - memory);
        cpu_percent += other->cpu_percent;
    }
    uint64_t left = room->memory_available_bytes - MIN(room->memory_available_bytes, memory);
    if (demand->memory_bytes > left)
        return g_strdup_printf(
            "%s has %" PRIu64 " MiB of memory left (%" PRIu64
            " MiB free, less what motions under way will take), and %" PRIu64 " MiB are to be reserved",
            demand->destination, left >> 20, room->memory_available_bytes >> 20, demand->memory_bytes >> 20);
    uint64_t all_percent = room->n_cpus * UINT64_C(100), idle = all_percent - MIN(all_percent, cpu_percent);
    if (demand->cpu_percent > idle)
        return g_strdup_printf("%s has %" PRIu64 ".%02" PRIu64
                               " of its %u CPUs idle (less what motions under way will "
                               "take), and %u.%02u are to be reserved",
                               demand->destination, idle / 100, idle % 100, room->n_cpus,
                               demand->cpu_percent / 100, demand->cpu_percent % 100);
    return NULL;
}

static GwVerdict
judge(Ledger *ledger, const GwMotionDemand *demand)
{
    g_autofree char *no_room = NULL;
    if (demand->priority == GW_PRIORITY_HIGH)
        no_room = what_has_no_room(ledger, demand);
    if (no_room)
        return (GwVerdict){demand, GW_ADMIT_REFUSE, g_steal_pointer(&no_room)};
    char *why = what_is_full(ledger, demand);
    if (why)
        return (GwVerdict){demand, GW_ADMIT_WAIT, why};
    take(ledger, demand);
    return (GwVerdict){demand, GW_ADMIT_START, NULL};
}

/* High before normal, then the older; ids, which are all different, leave nothing to chance. */
static int
compare_demands(const void *a, const void *b)
{
    const GwMotionDemand *x = *(const GwMotionDemand *const *)a, *y = *(const GwMotionDemand *const *)b;
    if (x->priority != y->priority)
        return x->priority == GW_PRIORITY_HIGH ? -1 : 1;
    if (x->since_us != y->since_us)
        return x->since_us < y->since_us ? -1 : 1;
    return g_strcmp0(x->id, y->id);
}

static void
clear_verdict(void *data)
{
    g_free(((GwVerdict *)data)->why);
}

GArray *
gw_admit(const GArray *running, const GArray *waiting, const GArray *rooms)
{
    g_autoptr(GHashTable) resources = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_resource);
    g_autoptr(GPtrArray) under_way = g_ptr_array_new();
    g_autoptr(GPtrArray) queue = g_ptr_array_new();
    Ledger ledger = {resources, rooms, under_way};
    for (guint i = 0; running && i < running->len; i++)
        take(&ledger, &g_array_index(running, GwMotionDemand, i));
    for (guint i = 0; waiting && i < waiting->len; i++)
        g_ptr_array_add(queue, &g_array_index(waiting, GwMotionDemand, i));
    g_ptr_array_sort(queue, compare_demands);

    GArray *verdicts = g_array_new(FALSE, FALSE, sizeof(GwVerdict));
    g_array_set_clear_func(verdicts, clear_verdict);
    for (guint i = 0; i < queue->len; i++) {
        GwVerdict verdict = judge(&ledger, queue->pdata[i]);
        g_array_append_val(verdicts, verdict);
    }
    return verdicts;
}
