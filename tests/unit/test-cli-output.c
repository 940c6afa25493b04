/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each command that shows something prints, of a center's answers as they should be and of hostile ones.
 */
#include "cli-runner.h"
#include "json.h"

#include <glib/gstdio.h>
#include <string.h>

#define ID "task-3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70"
#define HOST                                                                                                  \
    "{\"name\":\"host1\",\"cluster\":\"default\",\"address\":\"10.70.0.1\",\"port\":7441,\"state\":\"up\","   \
    "\"error\":null,\"in_maintenance\":true,\"joined\":\"2026-11-25T03:10:05Z\",\"n_vms\":3,"                 \
    "\"n_motions\":1,\"load\":{\"cpu_percent\":37.4,\"memory_available_bytes\":1073741824},\"facts\":{"       \
    "\"version\":\"0.1.0\",\"kernel\":\"6.1\",\"qemu\":{\"version\":\"7.2\",\"accel_why\":\"TCG\"},\"cpu\":{" \
    "\"model\":\"Xeon\",\"count\":2},\"memory\":{\"total_bytes\":2147483648,\"available_bytes\":1},"          \
    "\"switches\":[{\"name\":\"guests\",\"bridge\":\"br\",\"uplinks\":[\"up0\",\"up1\"]}],\"port_groups\":[{" \
    "\"name\":\"lan\",\"switch\":\"guests\"}],\"motion_interfaces\":[{\"name\":\"motion0\",\"address\":"      \
    "\"10.71.0.1\",\"speed_bits_per_s\":10000000000,\"up\":true}],\"datastores\":[{\"name\":\"ds\",\"path\":" \
    "\"/srv/ds\",\"error\":null,\"read_only\":true,\"capacity_bytes\":100000000000,\"free_bytes\":5}],"       \
    "\"problems\":[{\"severity\":\"error\",\"text\":\"no trace\",\"repair\":\"sysctl\"}]}}"
#define TASK                                                                                                     \
    "{\"id\":\"" ID "\",\"kind\":\"vm.migrate\",\"vm\":\"web1\",\"source\":\"host1\",\"destination\":"           \
    "\"host2\",\"state\":\"failed\",\"step\":\"copy\",\"user\":\"ops\",\"reason\":\"why\",\"created\":"          \
    "\"2026-11-26T03:10:00Z\",\"error\":{\"code\":\"not-converging\",\"message\":\"too fast\"},\"findings\":[]," \
    "\"motion\":{\"rounds\":[{\"dirty_pages\":5,\"sent_bytes\":10,\"ms\":1.5}],\"streams\":2}}"
#define FINDING                                                                                              \
    "{\"id\":\"motion.x\",\"severity\":\"error\",\"text\":\"stands in the way\",\"source\":\"a\","           \
    "\"destination\":null,\"repair\":\"mend it\",\"override\":\"refused\"}"
#define CHECK(possible, findings)                                                                            \
    "{\"vm\":\"web1\",\"source\":\"host1\",\"destination\":\"host2\",\"possible\":" possible                 \
    ",\"findings\":[" findings "]}"

static const FakeAnswer answers[] = {
    {"GET", "/v1/hosts",
     "{\"hosts\":[" HOST ",{\"name\":\"host2\",\"state\":\"unreachable\",\"facts\":null}]}"},
    {"GET", "/v1/hosts/host1", HOST},
    {"POST", "/v1/hosts/tokens", "{\"token\":\"s.f\",\"expires\":\"2026-11-26T03:10:00Z\"}"},
    {"POST", "/v1/hosts/{host}/maintenance", HOST},
    {"POST", "/v1/hosts/{host}/probe",
     "{\"paths\":[{\"source_interface\":\"motion0\",\"source_address\":\"10.71.0.1\",\"destination_interface\":"
     "\"motion0\",\"destination_address\":\"10.71.0.2\",\"reachable\":true,\"rtt_us\":130,\"bits_per_s\":9400000000},"
     "{\"reachable\":false,\"error\":\"no route\"}]}"},
    {"GET", "/v1/networks",
     "{\"networks\":[{\"name\":\"lan\",\"hosts\":[{\"host\":\"host1\",\"switch\":\"guests\","
     "\"uplinks\":[]}],\"vms\":[\"web1\",\"web2\"]}]}"},
    {"GET", "/v1/datastores",
     "{\"datastores\":[{\"name\":\"ds\",\"shared\":true,\"hosts\":[{\"host\":\"host1\",\"path\":\"/srv/ds\","
     "\"error\":\"not mounted\",\"capacity_bytes\":0,\"free_bytes\":0}],\"vms\":[]}]}"},
    {"GET", "/v1/vms",
     "{\"vms\":[{\"name\":\"web1\",\"host\":\"host1\",\"state\":\"running\",\"vcpus\":2,"
     "\"memory_mib\":4096,\"task\":\"" ID "\"},{\"name\":\"other\",\"host\":\"host2\"}]}"},
    {"GET", "/v1/vms/{vm}/config", "{\"name\":\"web1\",\"vcpus\":2}"},
    {"POST", "/v1/vms/{vm}/power", "{\"name\":\"web1\",\"state\":\"off\"}"},
    {"POST", "/v1/vms/possible/check", "{\"checks\":[" CHECK("true", "") "]}"},
    {"POST", "/v1/vms/{vm}/check", "{\"checks\":[" CHECK("false", FINDING) "]}"},
    {"GET", "/v1/tasks", "{\"tasks\":[" TASK "]}"},
    {"GET", "/v1/tasks/{task}", TASK},
    {"DELETE", "/v1/tasks/{task}", "{\"state\":\"running\"}"},
    {"GET", "/v1/events",
     "{\"events\":[{\"id\":1,\"type\":\"vm.state\",\"at\":\"2026-11-26T03:10:05Z\",\"vm\":"
     "\"web1\",\"state\":\"running\",\"was\":\"off\"}]}"},
    {"GET", "/v1/audit",
     "{\"audit\":[{\"id\":9,\"at\":\"2026-11-26T03:10:05Z\",\"user\":\"ops\",\"address\":\"10.0.0.9\",\"action\":"
     "\"vm.power\",\"object\":\"vm/web1\",\"details\":{\"action\":\"stop\"},\"reason\":\"why\",\"result\":\"done\","
     "\"message\":null}]}"},
    {"GET", "/v1/users",
     "{\"users\":[{\"name\":\"ops\",\"role\":\"operator\",\"created\":\"2026-11-26T03:10:05Z\"}]}"},
    {"DELETE", "/v1/users/{user}", "{}"},
    {NULL, NULL, NULL},
};

/* Every member has the wrong type, or gives the terminal orders. */
#define HOSTILE                                                                                                  \
    "{\"name\":\"\\u001b]0;x\\u0007\\u009b2J\",\"state\":{},\"facts\":7,\"load\":[],\"host\":1,\"vcpus\":\"x\"," \
    "\"memory_mib\":null,\"id\":[],\"hosts\":\"x\",\"vms\":{},\"findings\":[1,{\"text\":\"\\u001b[2J\"}],"       \
    "\"motion\":\"x\",\"error\":\"x\",\"role\":false,\"type\":\"\\u001bc\",\"at\":\"\\u001bc\"}"
static const FakeAnswer hostile[] = {
    {"GET", "/v1/hosts", "{\"hosts\":[" HOSTILE ",7,null]}"},
    {"GET", "/v1/hosts/host1", HOSTILE},
    {"POST", "/v1/hosts/{host}/probe", "{\"paths\":[" HOSTILE ",7]}"},
    {"GET", "/v1/networks", "{\"networks\":[" HOSTILE ",7]}"},
    {"GET", "/v1/datastores", "{\"datastores\":[" HOSTILE ",{\"hosts\":[7," HOSTILE "]}]}"},
    {"GET", "/v1/vms", "{\"vms\":[" HOSTILE ",7]}"},
    {"GET", "/v1/vms/{vm}", HOSTILE},
    {"POST", "/v1/vms/{vm}/check", "{\"checks\":[" HOSTILE ",7]}"},
    {"GET", "/v1/tasks", "{\"tasks\":[" HOSTILE ",{\"id\":\"" ID "\"}]}"},
    {"GET", "/v1/tasks/{task}", HOSTILE},
    {"GET", "/v1/events", "{\"events\":[" HOSTILE ",7]}"},
    {"GET", "/v1/audit", "{\"audit\":[" HOSTILE ",7]}"},
    {"GET", "/v1/users", "{\"users\":[" HOSTILE ",7]}"},
    {NULL, NULL, NULL},
};

static const struct {
    const char *line, *says;
    int status;
    bool shows; /* prints nothing but what was asked for, so that a hostile answer may be shown too */
} cases[] = {
    {"host ls", "host1  maintenance  37 %      1.0 GiB    3        1  10.70.0.1  0.1.0\n", 0, true},
    {"host show host1", "datastores    ds at /srv/ds, 5 B of 100 GB free, read-only\n", 0, true},
    {"host add-token", "godwit-host join https://localhost:", 0, false},
    {"host maintenance host1 on", "host1 is in maintenance", 0, false},
    {"host probe host1 --to host2", "motion0  10.71.0.1  motion0  10.71.0.2  130 µs  9.4 Gbit/s  up\n", 8,
     true},
    {"network ls", "lan         host1 (guests, no uplink)  web1, web2\n", 0, true},
    {"datastore ls", "ds         host1  yes        -         -  /srv/ds  not mounted  -\n", 0, true},
    {"vm ls", "web1   running  host1      2  4.0 GiB  3f0c9a52\n", 0, true},
    {"vm ls --host host2", "other  ?      host2", 0, true},
    {"vm show web1", "size          1 vCPU, 256 MiB\n", 0, true},
    {"vm config web1", "\"vcpus\": 2", 0, false},
    {"vm stop web1", "web1: off\n", 0, false}, /* nobody is there to be asked */
    {"vm shutdown web1", "the guest decides", 0, false},
    {"vm check web1 --to host2", "web1 cannot move to host2: 1 error, 0 warnings.\n", 5, true},
    {"vm check web1 --all-hosts", "host2    errors       1         0\n", 5, true},
    {"vm check possible --to host2", "web1 can move to host2.\n", 0, false},
    {"task ls", "3f0c9a52  2026-11-26 03:10:00  web1  host1  host2  failed  copy  ops\n", 0, true},
    {"task show 3f0c", "error         too fast (not-converging)\n", 0, true},
    {"task cancel 3f0c", "cancelling", 0, false},
    {"event ls", "2026-11-26 03:10:05  vm.state           web1: state=running was=off\n", 0, true},
    {"audit ls", "vm/web1  action=stop  done    why     -\n", 0, true},
    {"user ls", "ops   operator  2026-11-26 03:10:05\n", 0, true},
    {"user rm ops", "ops is removed\n", 0, false},
};

static char *home;

static void
run(FakeCenter *center, const char *line, const char *more, Outcome *outcome)
{
    g_autofree char *whole = g_strconcat(line, more, NULL);
    g_auto(GStrv) words = g_strsplit(whole, " ", -1);
    g_autoptr(GSubprocess) process = cli_start(center, home, true, (const char *const *)words);
    cli_finish(process, NULL, outcome);
}

static void
test_shown(void)
{
    g_autoptr(FakeCenter) center = fake_center_new_with(FAKE_HANGS, answers);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Outcome) outcome = {0};
        run(center, cases[i].line, "", &outcome);
        g_assert_cmpint(outcome.status, ==, cases[i].status);
        assert_says(outcome.out, cases[i].says);
        g_assert_cmpstr(outcome.err, ==, "");
        g_assert_null(strstr(outcome.out, " \n")); /* no trailing blanks */
    }
}

/* The same exit status, and standard output holds an object and nothing else. */
static void
test_json(void)
{
    g_autoptr(FakeCenter) center = fake_center_new_with(FAKE_HANGS, answers);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Outcome) outcome = {0};
        g_autoptr(GError) error = NULL;
        run(center, cases[i].line, " --json", &outcome);
        g_assert_cmpint(outcome.status, ==, cases[i].status);
        g_autoptr(JsonObject) object = gw_json_parse_object(outcome.out, -1, &error);
        g_assert_no_error(error);
    }
}

static void
test_hostile(void)
{
    g_autoptr(FakeCenter) center = fake_center_new_with(FAKE_HANGS, hostile);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Outcome) outcome = {0};
        if (!cases[i].shows)
            continue;
        run(center, cases[i].line, "", &outcome); /* which asserts that no escape comes through */
        g_assert_cmpint(outcome.status, !=, 1);
        g_assert_null(strstr(outcome.out, "\302\233"));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_nonnull(g_getenv("GODWIT_CLI"));
    g_setenv("TZ", "UTC", TRUE);
    home = g_dir_make_tmp("godwit-cli-XXXXXX", NULL);
    g_test_add_func("/cli-output/shown", test_shown);
    g_test_add_func("/cli-output/json", test_json);
    g_test_add_func("/cli-output/hostile", test_hostile);
    int failed = g_test_run();
    g_rmdir(home);
    g_free(home);
    return failed;
}
