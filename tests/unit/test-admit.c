/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Admission: budgets, order, texts, room for high priority; and what holds whatever is asked for. */
#include "admit.h"

#include <string.h>

#define GBIT (1000ull * 1000 * 1000)
#define MIB  (1024ull * 1024)

static const GwMotionDemand *
demand_at(const GArray *demands, guint i)
{
    return &g_array_index(demands, GwMotionDemand, i);
}

static const GwVerdict *
verdict_at(const GArray *verdicts, guint i)
{
    g_assert_cmpuint(i, <, verdicts->len);
    return &g_array_index(verdicts, GwVerdict, i);
}

static GArray *
new_demands(void)
{
    return g_array_new(FALSE, FALSE, sizeof(GwMotionDemand));
}

/* `n` motions "PREFIX0" … from one host to another over links of that speed. */
static void
add_demands(GArray *demands, guint n, char *const *names, const char *source, const char *destination,
            uint64_t speed, const char *const *datastores)
{
    for (guint i = 0; i < n; i++) {
        GwMotionDemand demand = {.id = names[i],
                                 .since_us = i,
                                 .source = source,
                                 .destination = destination,
                                 .source_speed = speed,
                                 .destination_speed = speed,
                                 .datastores = datastores,
                                 .memory_bytes = 256 * MIB,
                                 .cpu_percent = 100};
        g_array_append_val(demands, demand);
    }
}

/* "m0", "m1", …; free with g_strfreev(). */
static char **
make_names(guint n)
{
    char **names = g_new0(char *, n + 1);
    for (guint i = 0; i < n; i++)
        names[i] = g_strdup_printf("m%u", i);
    return names;
}

static guint
count(const GArray *verdicts, GwAdmission admission)
{
    guint n = 0;
    for (guint i = 0; i < verdicts->len; i++)
        n += verdict_at(verdicts, i)->admission == admission;
    return n;
}

static void
test_nothing(void)
{
    g_autoptr(GArray) verdicts = gw_admit(NULL, NULL, NULL);
    g_assert_cmpuint(verdicts->len, ==, 0);
}

/* How many of ten that leave one host at once begin, and what the others are told. */
static void
test_speeds(void)
{
    static const struct {
        uint64_t speed;
        guint n_start;
        const char *why;
    } cases[] = {
        {GBIT, 4,
         "waits for the motion network of host1: 4 of 4 at 1 Gbit/s (m0, m1, m2, …); the motion network of "
         "host2: 4 of 4 at 1 Gbit/s (m0, m1, m2, …)"},
        {GBIT / 10, 4,
         "waits for the motion network of host1: 4 of 4 at 100 Mbit/s (m0, m1, m2, …); the motion network "
         "of host2: 4 of 4 at 100 Mbit/s (m0, m1, m2, …)"},
        {5 * GBIT / 2, 4,
         "waits for the motion network of host1: 4 of 4 at 2.5 Gbit/s (m0, m1, m2, …); the motion network "
         "of host2: 4 of 4 at 2.5 Gbit/s (m0, m1, m2, …)"},
        {0, 4,
         "waits for the motion network of host1: 4 of 4 at a speed that is not known (m0, m1, m2, …); the "
         "motion network of host2: 4 of 4 at a speed that is not known (m0, m1, m2, …)"},
        {10 * GBIT, 8,
         "waits for host1: 8 of 8 motions under way (m0, m1, m2, …); host2: 8 of 8 motions under way (m0, "
         "m1, m2, …); the motion network of host1: 8 of 8 at 10 Gbit/s (m0, m1, m2, …); the motion network "
         "of host2: 8 of 8 at 10 Gbit/s (m0, m1, m2, …)"},
    };
    g_auto(GStrv) names = make_names(10);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GArray) waiting = new_demands();
        add_demands(waiting, 10, names, "host1", "host2", cases[i].speed, NULL);
        g_autoptr(GArray) verdicts = gw_admit(NULL, waiting, NULL);
        g_assert_cmpuint(verdicts->len, ==, 10);
        g_assert_cmpuint(count(verdicts, GW_ADMIT_START), ==, cases[i].n_start);
        for (guint j = 0; j < 10; j++) {
            g_assert_true(verdict_at(verdicts, j)->demand == demand_at(waiting, j));
            g_assert_cmpstr(verdict_at(verdicts, j)->why, ==, j < cases[i].n_start ? NULL : cases[i].why);
        }
    }
}

/* A host has one budget for what comes and what goes; running motions count. */
static void
test_host_budget(void)
{
    g_auto(GStrv) names = make_names(9);
    g_autoptr(GArray) running = new_demands();
    add_demands(running, 4, names, "host1", "host2", 10 * GBIT, NULL);
    add_demands(running, 4, names + 4, "host3", "host1", 10 * GBIT, NULL);
    g_autoptr(GArray) waiting = new_demands();
    add_demands(waiting, 1, names + 8, "host1", "host4", 10 * GBIT, NULL);
    g_autoptr(GArray) verdicts = gw_admit(running, waiting, NULL);
    g_assert_cmpint(verdict_at(verdicts, 0)->admission, ==, GW_ADMIT_WAIT);
    g_assert_cmpstr(
        verdict_at(verdicts, 0)->why, ==,
        "waits for host1: 8 of 8 motions under way (m0, m1, m2, …); the motion network of host1: 8 "
        "of 8 at 10 Gbit/s (m0, m1, m2, …)");
    g_array_set_size(running, 7);
    g_autoptr(GArray) again = gw_admit(running, waiting, NULL);
    g_assert_cmpint(verdict_at(again, 0)->admission, ==, GW_ADMIT_START);
}

/* Interfaces come and go: where motions differ in what they think of a host's network, the slowest is right.
 */
static void
test_mixed_speeds(void)
{
    static const uint64_t speeds_of_both[][2] = {{10 * GBIT, GBIT}, {GBIT, 10 * GBIT}};
    g_auto(GStrv) names = make_names(5);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GArray) running = new_demands(), waiting = new_demands();
        add_demands(running, 4, names, "host1", "host2", speeds_of_both[i][0], NULL);
        add_demands(waiting, 1, names + 4, "host1", "host3", speeds_of_both[i][1], NULL);
        g_autoptr(GArray) verdicts = gw_admit(running, waiting, NULL);
        g_assert_cmpint(verdict_at(verdicts, 0)->admission, ==, GW_ADMIT_WAIT);
        g_array_set_size(running, 3);
        g_autoptr(GArray) again = gw_admit(running, waiting, NULL);
        g_assert_cmpint(verdict_at(again, 0)->admission, ==, GW_ADMIT_START);
    }
}

/* What waits does not hold up what needs other hosts; names of VMs stand in texts. */
static void
test_skip_over(void)
{
    g_auto(GStrv) names = make_names(6);
    g_autoptr(GArray) waiting = new_demands();
    add_demands(waiting, 5, names, "host1", "host2", GBIT, NULL);
    add_demands(waiting, 1, names + 5, "host3", "host4", GBIT, NULL);
    g_array_index(waiting, GwMotionDemand, 0).vm = "web1";
    g_array_index(waiting, GwMotionDemand, 5).since_us = 99;
    g_autoptr(GArray) verdicts = gw_admit(NULL, waiting, NULL);
    g_assert_cmpint(verdict_at(verdicts, 4)->admission, ==, GW_ADMIT_WAIT);
    g_assert_true(
        g_str_has_prefix(verdict_at(verdicts, 4)->why,
                         "waits for the motion network of host1: 4 of 4 at 1 Gbit/s (web1, m1, m2, …)"));
    g_assert_cmpint(verdict_at(verdicts, 5)->admission, ==, GW_ADMIT_START);
}

static void
test_datastore_budget(void)
{
    enum { N = 130 };
    static const char *const shared[] = {"ds", "ds", NULL}; /* twice, and yet one unit */
    g_auto(GStrv) names = make_names(N);
    g_autoptr(GPtrArray) hosts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) waiting = new_demands();
    for (guint i = 0; i < N; i++) {
        g_ptr_array_add(hosts, g_strdup_printf("a%u", i));
        g_ptr_array_add(hosts, g_strdup_printf("b%u", i));
        add_demands(waiting, 1, names + i, hosts->pdata[2 * i], hosts->pdata[2 * i + 1], GBIT, shared);
        g_array_index(waiting, GwMotionDemand, i).since_us = i;
    }
    g_autoptr(GArray) verdicts = gw_admit(NULL, waiting, NULL);
    g_assert_cmpuint(count(verdicts, GW_ADMIT_START), ==, GW_BUDGET_DATASTORE);
    g_assert_cmpstr(verdict_at(verdicts, N - 1)->why, ==,
                    "waits for datastore ds: 128 of 128 motions under way (m0, m1, m2, …)");
}

/* High before normal, then age, then the id. */
static void
test_order(void)
{
    GwMotionDemand demands[] = {
        {.id = "d", .since_us = 5, .source = "a", .destination = "b"},
        {.id = "c", .since_us = 1, .source = "a", .destination = "b"},
        {.id = "b", .since_us = 5, .source = "a", .destination = "b"},
        {.id = "a", .since_us = 9, .source = "a", .destination = "b", .priority = GW_PRIORITY_HIGH},
    };
    GwHostRoom room = {"b", 1, 1, 0};
    static const char *const expected[] = {"a", "c", "b", "d"};
    g_autoptr(GArray) waiting = new_demands();
    g_array_append_vals(waiting, demands, G_N_ELEMENTS(demands));
    g_autoptr(GArray) rooms = g_array_new(FALSE, FALSE, sizeof(GwHostRoom));
    g_array_append_val(rooms, room);
    g_autoptr(GArray) verdicts = gw_admit(NULL, waiting, rooms);
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++)
        g_assert_cmpstr(verdict_at(verdicts, i)->demand->id, ==, expected[i]);
}

/* --- high priority ------------------------------------------------------------------------------------- */

static void
test_high_priority(void)
{
    static const struct {
        uint64_t free_mib, running_mib, wanted_mib;
        unsigned n_cpus, used_percent, running_percent, wanted_percent;
        const char *why; /* NULL: starts */
    } cases[] = {
        {1024, 0, 1024, 4, 0, 0, 400, NULL},
        {1024, 512, 512, 4, 150, 50, 200, NULL},
        {1023, 0, 1024, 4, 0, 0, 1,
         "host2 has 1023 MiB of memory left (1023 MiB free, less what motions under way will take), and 1024 "
         "MiB are to be reserved"},
        {1024, 513, 512, 4, 0, 0, 1,
         "host2 has 511 MiB of memory left (1024 MiB free, less what motions under way will take), and 512 MiB "
         "are to be reserved"},
        {1024, 2048, 1, 4, 0, 0, 1,
         "host2 has 0 MiB of memory left (1024 MiB free, less what motions under way will take), and 1 MiB are "
         "to be reserved"},
        {1024, 0, 1, 4, 308, 0, 93,
         "host2 has 0.92 of its 4 CPUs idle (less what motions under way will take), and 0.93 are to be reserved"},
        {1024, 0, 1, 4, 100, 195, 205,
         "host2 has 1.05 of its 4 CPUs idle (less what motions under way will take), and 2.05 are to be reserved"},
        {1024, 0, 1, 4, 100, 500, 1,
         "host2 has 0.00 of its 4 CPUs idle (less what motions under way will take), and 0.01 are to be reserved"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwMotionDemand runs = {.id = "runs",
                               .source = "host1",
                               .destination = "host2",
                               .memory_bytes = cases[i].running_mib * MIB,
                               .cpu_percent = cases[i].running_percent};
        GwMotionDemand elsewhere = {.id = "elsewhere",
                                    .source = "host2",
                                    .destination = "host3",
                                    .memory_bytes = 1ull << 40,
                                    .cpu_percent = 9900};
        GwMotionDemand wants = {.id = "wants",
                                .priority = GW_PRIORITY_HIGH,
                                .source = "host1",
                                .destination = "host2",
                                .memory_bytes = cases[i].wanted_mib * MIB,
                                .cpu_percent = cases[i].wanted_percent};
        GwHostRoom room = {"host2", cases[i].free_mib * MIB, cases[i].n_cpus, cases[i].used_percent};
        g_autoptr(GArray) running = new_demands(), waiting = new_demands();
        g_autoptr(GArray) rooms = g_array_new(FALSE, FALSE, sizeof(GwHostRoom));
        g_array_append_val(running, runs);
        g_array_append_val(running, elsewhere);
        g_array_append_val(waiting, wants);
        g_array_append_val(rooms, room);
        g_autoptr(GArray) verdicts = gw_admit(running, waiting, rooms);
        g_assert_cmpstr(verdict_at(verdicts, 0)->why, ==, cases[i].why);
        g_assert_cmpint(verdict_at(verdicts, 0)->admission, ==,
                        cases[i].why ? GW_ADMIT_REFUSE : GW_ADMIT_START);
        /* normal always starts */
        g_array_index(waiting, GwMotionDemand, 0).priority = GW_PRIORITY_NORMAL;
        g_autoptr(GArray) normal = gw_admit(running, waiting, rooms);
        g_assert_cmpint(verdict_at(normal, 0)->admission, ==, GW_ADMIT_START);
    }
}

/* What one that starts has reserved, the next does not get; what is refused takes nothing. */
static void
test_reserved(void)
{
    GwMotionDemand demands[] = {
        {.id = "a", .source = "x", .destination = "b", .memory_bytes = 900 * MIB, .cpu_percent = 100},
        {.id = "b", .source = "x", .destination = "b", .memory_bytes = 200 * MIB, .cpu_percent = 100},
        {.id = "c", .source = "x", .destination = "b", .memory_bytes = 100 * MIB, .cpu_percent = 100},
        {.id = "d", .source = "x", .destination = "unknown", .memory_bytes = 0, .cpu_percent = 0},
    };
    static const GwAdmission expected[] = {GW_ADMIT_START, GW_ADMIT_REFUSE, GW_ADMIT_START, GW_ADMIT_REFUSE};
    GwHostRoom room = {"b", 1000 * MIB, 8, 0};
    g_autoptr(GArray) waiting = new_demands();
    g_autoptr(GArray) rooms = g_array_new(FALSE, FALSE, sizeof(GwHostRoom));
    g_array_append_val(rooms, room);
    for (guint i = 0; i < G_N_ELEMENTS(demands); i++) {
        demands[i].priority = GW_PRIORITY_HIGH;
        g_array_append_val(waiting, demands[i]);
    }
    g_autoptr(GArray) verdicts = gw_admit(NULL, waiting, rooms);
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++)
        g_assert_cmpint(verdict_at(verdicts, i)->admission, ==, expected[i]);
    g_assert_cmpstr(verdict_at(verdicts, 3)->why, ==, "how much room unknown has is not known");
}

/* --- whatever is asked for ----------------------------------------------------------------------------- */

#define N_HOSTS      4
#define N_DATASTORES 2

/* Units in use, counted here by other means than admission's. */
typedef struct {
    guint host[N_HOSTS], datastore[N_DATASTORES];
    uint64_t memory_to[N_HOSTS];
    guint cpu_to[N_HOSTS];
} Tally;

static const char *const host_names[N_HOSTS] = {"h0", "h1", "h2", "h3"};
static const char *const datastore_sets[4][3] = {{NULL}, {"d0", NULL}, {"d1", NULL}, {"d0", "d1", NULL}};
static const uint64_t speeds[N_HOSTS] = {GBIT, 10 * GBIT, 25 * GBIT, 0};

static guint
number_of(const char *name)
{
    return (guint)(name[1] - '0');
}

static guint
network_budget(guint host)
{
    return speeds[host] >= GW_FAST_BITS_PER_S ? GW_BUDGET_NETWORK_FAST : GW_BUDGET_NETWORK;
}

static void
add_to(Tally *tally, const GwMotionDemand *demand)
{
    tally->host[number_of(demand->source)]++;
    tally->host[number_of(demand->destination)]++;
    for (guint i = 0; demand->datastores[i]; i++)
        tally->datastore[number_of(demand->datastores[i])]++;
    tally->memory_to[number_of(demand->destination)] += demand->memory_bytes;
    tally->cpu_to[number_of(demand->destination)] += demand->cpu_percent;
}

/* Each network of a host is used by each motion of the host, so the lower of both budgets counts. */
static bool
fits(const Tally *tally, const GwMotionDemand *demand)
{
    guint ends[] = {number_of(demand->source), number_of(demand->destination)};
    for (guint i = 0; i < 2; i++)
        if (tally->host[ends[i]] >= MIN(GW_BUDGET_HOST, network_budget(ends[i])))
            return false;
    for (guint i = 0; demand->datastores[i]; i++)
        if (tally->datastore[number_of(demand->datastores[i])] >= GW_BUDGET_DATASTORE)
            return false;
    return true;
}

static bool
has_room(const Tally *tally, const GArray *rooms, const GwMotionDemand *demand)
{
    guint host = number_of(demand->destination);
    const GwHostRoom *room = &g_array_index(rooms, GwHostRoom, host);
    return tally->memory_to[host] + demand->memory_bytes <= room->memory_available_bytes &&
           room->cpu_percent + tally->cpu_to[host] + demand->cpu_percent <= room->n_cpus * 100;
}

static GwMotionDemand
random_demand(GRand *random, const char *id)
{
    guint source = (guint)g_rand_int_range(random, 0, N_HOSTS);
    guint destination = (source + (guint)g_rand_int_range(random, 1, N_HOSTS)) % N_HOSTS;
    return (GwMotionDemand){
        .id = id,
        .priority = g_rand_int_range(random, 0, 3) == 0 ? GW_PRIORITY_HIGH : GW_PRIORITY_NORMAL,
        .since_us = g_rand_int_range(random, 0, 20),
        .source = host_names[source],
        .destination = host_names[destination],
        .source_speed = speeds[source],
        .destination_speed = speeds[destination],
        .datastores = datastore_sets[g_rand_int_range(random, 0, 4)],
        .memory_bytes = (uint64_t)g_rand_int_range(random, 1, 1000) * MIB,
        .cpu_percent = (unsigned)g_rand_int_range(random, 1, 500),
    };
}

static void
check_round(const GArray *running, const GArray *waiting, const GArray *rooms)
{
    g_autoptr(GArray) verdicts = gw_admit(running, waiting, rooms);
    g_assert_cmpuint(verdicts->len, ==, waiting->len);
    Tally tally = {0};
    for (guint i = 0; i < running->len; i++)
        add_to(&tally, demand_at(running, i));
    const GwMotionDemand *last = NULL;
    for (guint i = 0; i < verdicts->len; i++) {
        const GwVerdict *verdict = verdict_at(verdicts, i);
        const GwMotionDemand *demand = verdict->demand;
        bool is_high = demand->priority == GW_PRIORITY_HIGH;
        if (last)
            g_assert_true(last->priority > demand->priority ||
                          (last->priority == demand->priority &&
                           (last->since_us < demand->since_us ||
                            (last->since_us == demand->since_us && strcmp(last->id, demand->id) < 0))));
        last = demand;
        /* who may, does; who may not, does not; at the moment at which it is his turn */
        GwAdmission expected = is_high && !has_room(&tally, rooms, demand) ? GW_ADMIT_REFUSE
                               : fits(&tally, demand)                      ? GW_ADMIT_START
                                                                           : GW_ADMIT_WAIT;
        g_assert_cmpint(verdict->admission, ==, expected);
        g_assert_true((verdict->why == NULL) == (expected == GW_ADMIT_START));
        if (expected == GW_ADMIT_START)
            add_to(&tally, demand);
    }
    for (guint i = 0; i < N_HOSTS; i++)
        g_assert_cmpuint(tally.host[i], <=, MIN(GW_BUDGET_HOST, network_budget(i)));
    for (guint i = 0; i < verdicts->len;
         i++) /* units only grow within a call: who waits could not start now */
        if (verdict_at(verdicts, i)->admission == GW_ADMIT_WAIT)
            g_assert_false(fits(&tally, verdict_at(verdicts, i)->demand));
}

static void
test_random(void)
{
    enum { N = 60 };
    g_auto(GStrv) names = make_names(N);
    g_autoptr(GRand) random = g_rand_new_with_seed(4);
    for (guint round = 0; round < 2000; round++) {
        g_autoptr(GArray) running = new_demands(), waiting = new_demands();
        g_autoptr(GArray) rooms = g_array_new(FALSE, FALSE, sizeof(GwHostRoom));
        for (guint i = 0; i < N_HOSTS; i++) {
            GwHostRoom room = {host_names[i], (uint64_t)g_rand_int_range(random, 0, 4000) * MIB,
                               (unsigned)g_rand_int_range(random, 1, 20),
                               (unsigned)g_rand_int_range(random, 0, 1000)};
            g_array_append_val(rooms, room);
        }
        guint n = (guint)g_rand_int_range(random, 0, N);
        Tally tally = {0};
        for (guint i = 0; i < n; i++) {
            GwMotionDemand demand = random_demand(random, names[i]);
            bool runs = g_rand_boolean(random) && fits(&tally, &demand);
            if (runs)
                add_to(&tally, &demand);
            g_array_append_val(runs ? running : waiting, demand);
        }
        check_round(running, waiting, rooms);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/admit/nothing", test_nothing);
    g_test_add_func("/admit/speeds", test_speeds);
    g_test_add_func("/admit/host-budget", test_host_budget);
    g_test_add_func("/admit/mixed-speeds", test_mixed_speeds);
    g_test_add_func("/admit/skip-over", test_skip_over);
    g_test_add_func("/admit/datastore-budget", test_datastore_budget);
    g_test_add_func("/admit/order", test_order);
    g_test_add_func("/admit/high-priority", test_high_priority);
    g_test_add_func("/admit/reserved", test_reserved);
    g_test_add_func("/admit/random", test_random);
    return g_test_run();
}
