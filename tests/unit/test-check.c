/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes of all checks together: order, the supervisor's findings among them, overrides, the verdict. */
#include "check-internal.h"
#include "check-rig.h"
#include "error.h"

#include <string.h>

static void
add_finding(Rig *rig, const char *id, const char *severity)
{
    g_auto(GStrv) before = g_strsplit(rig->documents[RIG_FINDINGS], "\"id\"", -1);
    g_autofree char *pointer = g_strdup_printf("/findings/%u", g_strv_length(before) - 1);
    g_autofree char *value =
        g_strdup_printf("{\"id\": \"%s\", \"severity\": \"%s\", \"text\": \"the supervisor "
                        "says so\", \"repair\": \"mend it\", \"override\": \"allowed\"}",
                        id, severity);
    const RigChange changes[RIG_MAX_CHANGES] = {{RIG_FINDINGS, pointer, value}};
    rig_change(rig, changes);
}

/* --- the supervisor's ---------------------------------------------------------------------------------- */

/* Whatever the supervisor alone can see passes through with its text, and nobody overrides it, whatever it
 * says of that itself; likewise what only a newer supervisor knows. */
static void
test_passed_through(void)
{
    for (const GwCheckRule *rule = gw_check_rules;; rule++) {
        const char *id = rule->id ? rule->id : "motion.of.the-future";
        if (rule->id && rule->check)
            continue;
        g_auto(Rig) rig;
        rig_init(&rig);
        add_finding(&rig, id, "error");
        const char *const overrides[] = {id, NULL};
        g_autoptr(GArray) findings = rig_check(&rig, overrides);
        g_assert_cmpuint(findings->len, ==, 1);
        g_assert_cmpstr(rig_finding(findings, 0)->id, ==, id);
        g_assert_cmpint(rig_finding(findings, 0)->severity, ==, GW_SEVERITY_ERROR);
        g_assert_cmpint(rig_finding(findings, 0)->override, ==, GW_OVERRIDE_REFUSED);
        g_assert_cmpstr(rig_finding(findings, 0)->text, ==, "the supervisor says so");
        g_assert_cmpstr(rig_finding(findings, 0)->repair, ==, "mend it");
        if (!rule->id)
            break;
    }
}

/* What is found here too, or judged with both ends in sight, is not said twice. */
static void
test_merged(void)
{
    static const struct {
        const char *id;
        RigChange changes[RIG_MAX_CHANGES];
        const char *ids; /* all that is left */
        bool is_ours;    /* the first of them */
    } cases[] = {
        /* the supervisor sees an ISO image; here it is known to be on the same storage */
        {"motion.cdrom.file",
         {{RIG_VM, "/cdroms", "[{\"datastore\": \"ds\", \"path\": \"a.iso\"}]"}},
         "",
         false},
        {"motion.cdrom.file",
         {{RIG_VM, "/cdroms", "[{\"datastore\": \"iso\", \"path\": \"a.iso\"}]"}},
         "motion.cdrom.file",
         true},
        /* it cannot know the destination's CPU */
        {"motion.cpu.host-dependent", {{RIG_VM, "/cpu_model", "\"host\""}}, "", false},
        {"motion.cpu.host-dependent",
         {{RIG_VM, "/cpu_model", "\"host\""}, {RIG_THERE, "/qemu/version", "\"8.0.0\""}},
         "motion.cpu.host-dependent",
         true},
        {"motion.cpu.pinned", {{RIG_VM, "/pinning", "[[0], [1]]"}}, "motion.cpu.pinned", true},
        /* but what a running guest's CPU has it knows from QEMU */
        {"motion.cpu.nested", {{RIG_VM, "/cpu_model", "\"qemu64\""}}, "motion.cpu.nested", false},
        {"motion.cpu.nested",
         {{RIG_STATUS, "/qemu/accel", "\"kvm\""},
          {RIG_SOURCE, "/qemu/accel", "\"kvm\""},
          {RIG_THERE, "/qemu/accel", "\"kvm\""},
          {RIG_VM, "/cpu_model", "\"qemu64,+svm\""}},
         "motion.cpu.nested",
         false},
        /* of one that does not run both say it */
        {"motion.cpu.nested",
         {{RIG_STATUS, "/qemu/accel", "\"kvm\""},
          {RIG_STATUS, "/state", "\"off\""},
          {RIG_SOURCE, "/qemu/accel", "\"kvm\""},
          {RIG_THERE, "/qemu/accel", "\"kvm\""},
          {RIG_VM, "/cpu_model", "\"qemu64,+svm\""}},
         "motion.state motion.cpu.nested",
         true},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Rig) rig;
        rig_init(&rig);
        rig_change(&rig, cases[i].changes);
        add_finding(&rig, cases[i].id, "warning");
        g_autoptr(GArray) findings = rig_check(&rig, NULL);
        g_autofree char *ids = rig_ids(findings);
        g_assert_cmpstr(ids, ==, cases[i].ids);
        if (findings->len)
            g_assert_cmpint(strcmp(rig_finding(findings, 0)->text, "the supervisor says so") != 0, ==,
                            cases[i].is_ours);
    }
}

/* --- order and reach ----------------------------------------------------------------------------------- */

static void
test_order(void)
{
    static const RigChange changes[RIG_MAX_CHANGES] = {
        {RIG_PATHS, "/paths/0/bits_per_s", "1000"},
        {RIG_VM, "/vcpus", "9"},
        {RIG_THERE, "/port_groups", "[]"},
        {RIG_CENTER, "/in_maintenance", "true"},
    };
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, changes);
    add_finding(&rig, "motion.qemu.blocked", "error");
    add_finding(&rig, "motion.memory.balloon", "warning");
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    g_autofree char *ids = rig_ids(findings);
    g_assert_cmpstr(ids, ==,
                    "motion.host.maintenance motion.network.missing motion.qemu.blocked "
                    "motion.path.slow motion.cpu.room motion.memory.balloon");
}

/* Of a host that cannot be asked nothing is said but that; what it once was may be no longer so. */
static void
test_unreachable(void)
{
    static const RigChange empty[RIG_MAX_CHANGES] = {
        {RIG_THERE, "/motion_interfaces", "[]"},
        {RIG_THERE, "/port_groups", "[]"},
        {RIG_THERE, "/datastores", "[]"},
        {RIG_CENTER, "/destination_reachable", "false"},
    };
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, empty);
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    g_autofree char *ids = rig_ids(findings);
    g_assert_cmpstr(ids, ==, "motion.host.unreachable");

    static const RigChange both[RIG_MAX_CHANGES] = {{RIG_CENTER, "/source_reachable", "false"}};
    rig_change(&rig, both);
    g_autoptr(GArray) two = rig_check(&rig, NULL);
    g_autofree char *again = rig_ids(two);
    g_assert_cmpstr(again, ==, "motion.host.unreachable motion.host.unreachable");
}

/* Of a host that is both ends nothing is said twice, and nothing as of a destination. */
static void
test_same(void)
{
    static const RigChange changes[RIG_MAX_CHANGES] = {
        {RIG_THERE, "/name", "\"host1\""},        {RIG_THERE, "/datastores", "[]"},
        {RIG_THERE, "/switches/0/uplinks", "[]"}, {RIG_SOURCE, "/switches/0/uplinks", "[]"},
        {RIG_THERE, "/motion_interfaces", "[]"},  {RIG_SOURCE, "/motion_interfaces", "[]"},
    };
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, changes);
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    g_autofree char *ids = rig_ids(findings);
    g_assert_cmpstr(ids, ==, "motion.host.same motion.interface.missing motion.network.internal");
}

/* Evidence of each end. */
static void
test_evidence(void)
{
    static const RigChange changes[RIG_MAX_CHANGES] = {{RIG_THERE, "/datastores/0/identity", "\"local:2\""},
                                                       {RIG_THERE, "/switches/0/uplinks", "[]"}};
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, changes);
    g_autoptr(GArray) findings = rig_check(&rig, NULL);
    const GwFinding *network = rig_find(findings, "motion.network.internal");
    const GwFinding *datastore = rig_find(findings, "motion.datastore.different");
    g_assert_cmpstr(network->source, ==, "'lan' on switch guests, uplinks eth1");
    g_assert_cmpstr(network->destination, ==, "'lan' on switch guests, no uplink");
    g_assert_cmpstr(datastore->source, ==, "'ds' at /srv/ds, storage nfs:a");
    g_assert_cmpstr(datastore->destination, ==, "'ds' at /srv/ds, storage local:2");
}

/* --- overrides and verdict ----------------------------------------------------------------------------- */

static void
test_overridden(void)
{
    static const RigChange changes[RIG_MAX_CHANGES] = {{RIG_THERE, "/switches/0/uplinks", "[]"},
                                                       {RIG_CENTER, "/in_maintenance", "true"}};
    static const char *const one[] = {"motion.network.internal", NULL};
    static const char *const both[] = {"motion.host.maintenance", "motion.network.internal",
                                       "motion.cpu.pinned", NULL};
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, changes);
    g_autoptr(GArray) half = rig_check(&rig, one);
    g_autofree char *ids = rig_ids(half);
    g_assert_cmpstr(ids, ==, "motion.host.maintenance motion.network.internal");
    g_assert_cmpint(rig_finding(half, 0)->override, ==, GW_OVERRIDE_ALLOWED);
    g_assert_cmpint(rig_finding(half, 1)->override, ==, GW_OVERRIDE_APPLIED);
    g_assert_cmpint(rig_finding(half, 1)->severity, ==, GW_SEVERITY_WARNING);
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_check_motion_verdict(&rig.input, half, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_CHECK_FAILED);
    g_assert_null(strstr(error->message, "motion.network.internal"));
    g_clear_error(&error);

    g_autoptr(GArray) findings = rig_check(&rig, both);
    g_assert_true(gw_check_motion_verdict(&rig.input, findings, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(findings->len, ==, 2); /* that of the pinning has nothing to do */
}

static void
test_not_overridable(void)
{
    static const struct {
        const char *id, *text;
    } cases[] = {
        {"motion.datastore.different",
         "'motion.datastore.different' cannot be overridden: the motion would lose data, or cannot work"},
        {"motion.cpu.nested",
         "'motion.cpu.nested' cannot be overridden: the motion would lose data, or cannot work"},
        {"motion.path.slow", "'motion.path.slow' cannot be overridden: it is a warning, which stops nothing"},
        {"motion.path.fast", "'motion.path.fast' cannot be overridden: no check is called so"},
        {"", "'' cannot be overridden: no check is called so"},
    };
    static const RigChange changes[RIG_MAX_CHANGES] = {{RIG_THERE, "/datastores/0/identity", "\"local:2\""}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *const overrides[] = {"motion.network.internal", cases[i].id, NULL};
        g_auto(Rig) rig;
        g_autoptr(GError) error = NULL;
        rig_init(&rig);
        rig_change(&rig, changes);
        g_autoptr(GArray) findings = rig_check(&rig, overrides);
        g_assert_cmpint(rig_finding(findings, 0)->severity, ==, GW_SEVERITY_ERROR); /* stays one */
        g_assert_false(gw_check_verdict(findings, overrides, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_cmpstr(error->message, ==, cases[i].text);
    }
}

static void
test_verdict(void)
{
    static const RigChange changes[RIG_MAX_CHANGES] = {{RIG_CENTER, "/in_maintenance", "true"},
                                                       {RIG_VM, "/vcpus", "9"}};
    static const RigChange more[RIG_MAX_CHANGES] = {{RIG_STATUS, "/state", "\"off\""}};
    g_autoptr(GError) error = NULL;
    g_auto(Rig) rig;
    rig_init(&rig);
    rig_change(&rig, changes);
    g_autoptr(GArray) one = rig_check(&rig, NULL);
    g_assert_false(gw_check_verdict(one, NULL, &error));
    g_assert_cmpstr(error->message, ==,
                    "1 check failed:\n"
                    "  motion.host.maintenance: host2 is in maintenance: no VM is to come to it\n"
                    "    to mend it: end it ('godwit host maintenance host2 off'), or name another host\n"
                    "    or override it, by the name 'motion.host.maintenance'");
    g_clear_error(&error);
    rig_change(&rig, more);
    g_autoptr(GArray) two = rig_check(&rig, NULL);
    g_assert_false(gw_check_motion_verdict(&rig.input, two, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_CHECK_FAILED);
    g_assert_true(g_str_has_prefix(error->message, "2 checks failed for web1 from host1 to host2:\n"));
    g_assert_nonnull(strstr(error->message, "\n  motion.state: "));
    g_assert_null(strstr(error->message, "motion.cpu.room")); /* a warning */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/passed-through", test_passed_through);
    g_test_add_func("/check/merged", test_merged);
    g_test_add_func("/check/order", test_order);
    g_test_add_func("/check/unreachable", test_unreachable);
    g_test_add_func("/check/same", test_same);
    g_test_add_func("/check/evidence", test_evidence);
    g_test_add_func("/check/overridden", test_overridden);
    g_test_add_func("/check/not-overridable", test_not_overridable);
    g_test_add_func("/check/verdict", test_verdict);
    return g_test_run();
}
