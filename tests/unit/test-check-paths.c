/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which motion interfaces are tried with each other, and which ways a motion takes. */
#include "check.h"
#include "facts-internal.h"

#include <string.h>

static void
add_interface(GwHostFacts *host, const char *name, const char *address, unsigned prefix_length, bool is_up)
{
    GwMotionInterface interface = {g_strdup(name), g_strdup(address), prefix_length, 0, is_up};
    g_array_append_val(host->interfaces, interface);
}

/* "motion0 10.71.0.1/24, motion1 - , …": "-" has no address, "!" behind it is down. */
static GwHostFacts *
host_with(const char *interfaces)
{
    GwHostFacts *host = gw_host_facts_new();
    g_auto(GStrv) each = g_strsplit(interfaces, ", ", -1);
    for (char **one = each; *one && **one; one++) {
        g_auto(GStrv) words = g_strsplit(*one, " ", -1);
        g_auto(GStrv) parts = g_strsplit(words[1], "/", -1);
        add_interface(host, words[0], strcmp(parts[0], "-") == 0 ? NULL : parts[0],
                      parts[1] ? (unsigned)g_ascii_strtoull(parts[1], NULL, 10) : 0, words[2] == NULL);
    }
    return host;
}

/* "motion0>motion0 …"; owned. */
static char *
describe(const GArray *paths)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < paths->len; i++) {
        const GwPath *path = &g_array_index(paths, GwPath, i);
        g_string_append_printf(text, "%s%s>%s", i ? " " : "", path->source_interface,
                               path->destination_interface);
    }
    return g_string_free(text, FALSE);
}

static void
test_pairs(void)
{
    static const struct {
        const char *source, *destination, *pairs;
    } cases[] = {
        {"", "", ""},
        {"a 10.0.0.1/24", "", ""},
        {"a 10.0.0.1/24", "A 10.0.0.2/24", "a>A"},
        /* each with its own network */
        {"a 10.0.0.1/24, b 10.0.1.1/24", "A 10.0.0.2/24, B 10.0.1.2/24", "a>A b>B"},
        /* all of one network with each other */
        {"a 10.0.0.1/24, b 10.0.0.2/24", "A 10.0.0.3/24, B 10.0.0.4/24", "a>A a>B b>A b>B"},
        /* routed: nobody has a partner */
        {"a 10.0.0.1/24, b 10.0.1.1/24", "A 10.9.0.2/24, B 10.9.1.2/24", "a>A a>B b>A b>B"},
        /* who has none goes with all, from either end */
        {"a 10.0.0.1/24, b 10.5.0.1/24", "A 10.0.0.2/24", "a>A b>A"},
        {"a 10.0.0.1/24", "A 10.0.0.2/24, B 10.5.0.2/24", "a>A a>B"},
        {"a 10.0.0.1/24, b 10.5.0.1/24", "A 10.0.0.2/24, B 10.6.0.2/24", "a>A a>B b>A b>B"},
        /* families do not mix */
        {"a 10.0.0.1/24", "A fd00::2/64", ""},
        {"a fd00::1/64, a 10.0.0.1/24", "A fd00::2/64, A 10.0.0.2/24", "a>A a>A"},
        {"a fd00::1/64, b 10.0.0.1/24", "A fd01::2/64, B 10.0.0.2/24", "a>A b>B"},
        /* prefixes that are no whole bytes; the ends have to agree */
        {"a 10.0.0.1/23, b 10.0.8.1/23", "A 10.0.1.2/23, B 10.0.9.2/23", "a>A b>B"},
        {"a 10.0.0.1/25, b 10.0.0.129/25", "A 10.0.0.2/25, B 10.0.0.130/25", "a>A b>B"},
        {"a 10.0.0.1/8, b 10.5.0.1/24", "A 10.5.0.2/24, B 10.9.9.2/8", "a>B b>A"},
        {"a fd00::1/127, b fd00::3/127", "A fd00::/127, B fd00::2/127", "a>A b>B"},
        /* one network of one address, and a network that is not told: tried with all */
        {"a 10.0.0.1/32, b 10.0.0.2/24", "A 10.0.0.3/24", "a>A b>A"},
        {"a 10.0.0.1/0", "A 10.0.0.2/24, B 10.0.0.3/24", "a>A a>B"},
        {"a 10.0.0.1/0, b 10.9.0.1/24", "A 10.0.0.2/24, B 10.9.0.2/24", "a>A a>B b>A b>B"},
        {"a 10.0.0.1/200", "A 10.0.0.2/24", "a>A"},
        /* what is down, has no address, one of the link alone, or none that is one */
        {"a 10.0.0.1/24 !, b 10.0.0.2/24", "A 10.0.0.3/24", "b>A"},
        {"a -, b 10.0.0.2/24", "A 10.0.0.3/24, B -", "b>A"},
        {"a fe80::1/64, b fd00::1/64", "A fe80::2/64, B fd00::2/64", "b>B"},
        {"a 10.0.0.300/24, b 10.0.0.2/24", "A host.example/24, B 10.0.0.3/24", "b>B"},
        {"a 169.254.0.1/16", "A 169.254.0.2/16", "a>A"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GwHostFacts) source = host_with(cases[i].source);
        g_autoptr(GwHostFacts) destination = host_with(cases[i].destination);
        g_autoptr(GArray) paths = gw_check_pair_interfaces(source, destination);
        g_autofree char *pairs = describe(paths);
        g_test_message("%s | %s", cases[i].source, cases[i].destination);
        g_assert_cmpstr(pairs, ==, cases[i].pairs);
        for (guint j = 0; j < paths->len; j++) {
            const GwPath *path = &g_array_index(paths, GwPath, j);
            g_assert_false(path->is_reachable);
            g_assert_cmpuint(path->bits_per_s, ==, 0);
            g_assert_nonnull(path->source_address);
            g_assert_nonnull(path->destination_address);
        }
    }
}

/* A host never gets more ways than the square of what is read of it. */
static void
test_many_interfaces(void)
{
    g_autoptr(GwHostFacts) host = gw_host_facts_new();
    for (guint i = 0; i < 1000; i++)
        add_interface(host, "a", "10.0.0.1", 24, true);
    g_autoptr(GArray) paths = gw_check_pair_interfaces(host, host);
    g_assert_cmpuint(paths->len, ==, GW_FACTS_MAX_INTERFACES * GW_FACTS_MAX_INTERFACES);
}

/* --- the choice ---------------------------------------------------------------------------------------- */

/* "a>A=10": Gbit/s; "a>A=-": does not connect. */
static GArray *
paths_from(const char *text)
{
    GArray *paths = gw_paths_new();
    g_auto(GStrv) each = g_strsplit(text, " ", -1);
    for (char **one = each; *one && **one; one++) {
        g_auto(GStrv) parts = g_strsplit_set(*one, ">=", -1);
        GwPath path = {
            .source_interface = g_strdup(parts[0]),
            .source_address = g_strdup_printf("10.0.0.%u", (guint)parts[0][0]),
            .destination_interface = g_strdup(parts[1]),
            .destination_address = g_strdup_printf("10.0.0.%u", (guint)parts[1][0]),
            .is_reachable = strcmp(parts[2], "-") != 0,
            .error = g_strdup(strcmp(parts[2], "-") == 0 ? "refused" : NULL),
            .rtt_us = 7,
            .bits_per_s = g_ascii_strtoull(parts[2], NULL, 10) * 1000000000,
        };
        g_array_append_val(paths, path);
    }
    return paths;
}

static void
test_choice(void)
{
    static const struct {
        const char *paths, *chosen;
    } cases[] = {
        {"", ""},
        {"a>A=-", ""},
        {"a>A=10", "a>A"},
        {"a>A=10 a>B=-", "a>A"},
        {"a>A=10 a>B=9", "a>A"},
        {"a>B=9 a>A=10", "a>A"},
        {"a>A=10 b>A=9", "a>A"},
        {"a>A=10 b>B=1", "a>A b>B"},
        /* the greedy one would take a>A and b>B: 11 instead of 18 */
        {"a>A=10 a>B=9 b>A=9 b>B=1", "a>B b>A"},
        /* one fast way is better than two slow ones */
        {"a>A=10 a>B=1 b>A=1", "a>A"},
        /* an interface with two addresses stands once, with the faster */
        {"a>A=5 a>A=7", "a>A"},
        /* not measured, but there */
        {"a>A=0 b>B=0", "a>A b>B"},
        {"a>A=0 b>A=3", "b>A"},
        {"a>A=1 a>B=2 a>C=3 b>A=2 b>B=4 b>C=6 c>A=3 c>B=6 c>C=9", "a>A b>B c>C"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GArray) paths = paths_from(cases[i].paths);
        g_autoptr(GArray) chosen = gw_check_choose_paths(paths);
        g_autofree char *text = describe(chosen);
        g_assert_cmpstr(text, ==, cases[i].chosen);
    }
    g_autoptr(GArray) two = paths_from("a>A=5 a>A=7");
    g_autoptr(GArray) one = gw_check_choose_paths(two);
    g_assert_cmpuint(g_array_index(one, GwPath, 0).bits_per_s, ==, 7000000000);
    g_assert_cmpuint(g_array_index(one, GwPath, 0).rtt_us, ==, 7);
}

/* Without names, addresses tell interfaces apart. */
static void
test_nameless(void)
{
    g_autoptr(GArray) paths = paths_from("a>A=10 a>B=9 b>A=9 b>B=1");
    for (guint i = 0; i < paths->len; i++) {
        g_clear_pointer(&g_array_index(paths, GwPath, i).source_interface, g_free);
        g_clear_pointer(&g_array_index(paths, GwPath, i).destination_interface, g_free);
    }
    g_autoptr(GArray) chosen = gw_check_choose_paths(paths);
    g_assert_cmpuint(chosen->len, ==, 2);
    g_assert_cmpuint(g_array_index(chosen, GwPath, 0).bits_per_s, ==, 9000000000);
}

/* By trying all: rows from `row` on, columns in `used` are taken. */
static uint64_t
best_sum(const uint64_t speeds[5][5], guint n_rows, guint n_columns, guint row, guint used)
{
    if (row == n_rows)
        return 0;
    uint64_t best = best_sum(speeds, n_rows, n_columns, row + 1, used);
    for (guint j = 0; j < n_columns; j++)
        if (!(used & 1u << j) && speeds[row][j] > 0)
            best = MAX(best, speeds[row][j] + best_sum(speeds, n_rows, n_columns, row + 1, used | 1u << j));
    return best;
}

static void
test_best_of_all(void)
{
    static const char *const rows[] = {"a", "b", "c", "d", "e"}, *const columns[] = {"A", "B", "C", "D", "E"};
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    for (guint round = 0; round < 3000; round++) {
        uint64_t speeds[5][5] = {{0}};
        guint n_rows = (guint)g_rand_int_range(random, 1, 6),
              n_columns = (guint)g_rand_int_range(random, 1, 6);
        g_autoptr(GString) text = g_string_new(NULL);
        for (guint i = 0; i < n_rows; i++)
            for (guint j = 0; j < n_columns; j++) {
                speeds[i][j] = (uint64_t)g_rand_int_range(random, 0, 12);
                g_string_append_printf(text, "%s%s>%s=", text->len ? " " : "", rows[i], columns[j]);
                if (speeds[i][j])
                    g_string_append_printf(text, "%" G_GUINT64_FORMAT, speeds[i][j]);
                else
                    g_string_append_c(text, '-');
            }
        g_autoptr(GArray) paths = paths_from(text->str);
        g_autoptr(GArray) chosen = gw_check_choose_paths(paths);
        g_autofree char *description = describe(chosen);
        g_test_message("%s: %s", text->str, description);
        uint64_t sum = 0;
        guint used_rows = 0, used_columns = 0;
        for (guint i = 0; i < chosen->len; i++) {
            const GwPath *path = &g_array_index(chosen, GwPath, i);
            guint row = 1u << (path->source_interface[0] - 'a');
            guint column = 1u << (path->destination_interface[0] - 'A');
            g_assert_true(path->is_reachable);
            g_assert_false((used_rows & row) || (used_columns & column));
            used_rows |= row;
            used_columns |= column;
            sum += path->bits_per_s / 1000000000;
        }
        g_assert_cmpuint(sum, ==, best_sum(speeds, n_rows, n_columns, 0, 0));
    }
}

/* As many as there may be, each with each: quick, and each once. */
static void
test_largest(void)
{
    g_autoptr(GArray) paths = gw_paths_new();
    for (guint i = 0; i < 80; i++)
        for (guint j = 0; j < 80; j++) {
            GwPath path = {.source_address = g_strdup_printf("fd00::%x", i),
                           .destination_address = g_strdup_printf("fd01::%x", j),
                           .is_reachable = true,
                           .bits_per_s = 1 + (i * 37 + j * 11) % 1000};
            g_array_append_val(paths, path);
        }
    g_autoptr(GArray) chosen = gw_check_choose_paths(paths);
    g_assert_cmpuint(chosen->len, ==, GW_FACTS_MAX_INTERFACES);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check-paths/pairs", test_pairs);
    g_test_add_func("/check-paths/many-interfaces", test_many_interfaces);
    g_test_add_func("/check-paths/choice", test_choice);
    g_test_add_func("/check-paths/nameless", test_nameless);
    g_test_add_func("/check-paths/best-of-all", test_best_of_all);
    g_test_add_func("/check-paths/largest", test_largest);
    return g_test_run();
}
