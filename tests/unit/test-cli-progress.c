/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks, findings and events as lines: of JSON as it should be, and of any other. */
#include "event-text.h"
#include "findings.h"
#include "json-text.h"
#include "json.h"
#include "progress.h"
#include "text.h"

#include <string.h>

static JsonObject *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return object;
}

#define WEB1 "\"id\":\"7\",\"vm\":\"web1\",\"source\":\"host1\",\"destination\":\"host2\""
#define COPY                                                                                                 \
    "{" WEB1 ",\"state\":\"running\",\"step\":\"copy\",\"progress\":{\"state\":\"pre-copy\",\"round\":2,"    \
    "\"link_bytes_per_s\":118000000,\"bytes_on_wire\":152000000,\"remaining_bytes\":104000000,"              \
    "\"eta_ms\":900.4,\"expected_pause_ms\":12.04,\"converging\":true}}"

static void
test_lines(void)
{
    static const struct {
        const char *task;
        unsigned width;
        const char *line;
    } cases[] = {
        {"{" WEB1 ",\"state\":\"queued\",\"step\":\"queued\",\"waits_for\":\"host1: 8 of 8 motions\"}", 0,
         "web1: waits: host1: 8 of 8 motions"},
        {"{" WEB1 ",\"state\":\"queued\",\"waits_for\":null}", 0, "web1: waits for its turn"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"check\"}", 0, "web1: checks whether it can move"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"reserve\"}", 0, "web1: reserves memory on host2"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"prepare\"}", 0, "web1: prepares host2"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"connect\"}", 0, "web1: connects host1 and host2"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"copy\",\"progress\":{\"state\":\"first-round\"}}", 0,
         "web1: first round"},
        {COPY, 0,
         "web1: round 3, 118 MB/s, 152 MB sent, 104 MB left, switchover in 900 ms, downtime 12.0 ms"},
        {COPY, 80, "web1: round 3, 118 MB/s, 104 MB left, switchover in 900 ms, downtime 12.0 ms"},
        {COPY, 70, "web1: round 3, 104 MB left, switchover in 900 ms, downtime 12.0 ms"},
        {COPY, 55, "web1: round 3, switchover in 900 ms, downtime 12.0 ms"},
        {COPY, 40, "web1: round 3, switchover in 900 ms"},
        {COPY, 20, "web1: round 3"},
        {COPY, 8, "web1: r…"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"switchover\",\"progress\":{\"state\":\"handing-over\"}}",
         0, "web1: switches over"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"record\"}", 0, "web1: records its new home"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"clean-up\"}", 0, "web1: cleans up host1"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"switchover\",\"progress\":{\"state\":\"unresolved\"}}",
         0, "web1: waits to hear whether it runs on host2"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"switchover\",\"progress\":{\"state\":\"completed\"}}", 0,
         "web1: has switched over"},
        {"{" WEB1 ",\"state\":\"running\",\"step\":\"copy\",\"progress\":{\"state\":\"failed\"}}", 0,
         "web1: stays, and is taken from host2"},
        {"{" WEB1 ",\"state\":\"completed\",\"step\":\"clean-up\"}", 0, "web1: completed"},
        /* hostile */
        {"{}", 0, "?: ?"},
        {"{\"vm\":7,\"state\":[],\"step\":{},\"progress\":\"x\"}", 0, "?: ?"},
        {"{\"vm\":\"\\u001b]0;x\\u0007\\n\",\"state\":\"\\u001b[2J\"}", 0, "\\x1b]0;x\\x07: \\x1b[2J"},
        {"{" WEB1
         ",\"state\":\"running\",\"step\":\"copy\",\"progress\":{\"state\":\"pre-copy\",\"round\":\"x\","
         "\"link_bytes_per_s\":-5,\"eta_ms\":\"soon\",\"expected_pause_ms\":-1,\"remaining_bytes\":1e400}}",
         0, NULL},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(JsonObject) task = gw_json_parse_object(cases[i].task, -1, NULL);
        if (!task)
            continue; /* 1e400 is refused before it comes here, or is infinite */
        g_autofree char *line = gw_progress_line(task, cases[i].width);
        if (cases[i].line)
            g_assert_cmpstr(line, ==, cases[i].line);
        if (cases[i].width > 0)
            g_assert_cmpuint(gw_text_width(line), <=, cases[i].width);
    }
}

/* What changes all the time is in the line and not in the step. */
static void
test_step(void)
{
    g_autoptr(JsonObject) task = parse(COPY);
    g_autofree char *step = gw_progress_step(task);
    g_assert_cmpstr(step, ==, "web1: round 3");
}

static void
test_explanation(void)
{
    g_autoptr(JsonObject) fine = parse(COPY);
    g_autoptr(JsonObject) slow =
        parse("{\"state\":\"running\",\"progress\":{\"state\":\"pre-copy\",\"converging\":"
              "false,\"explanation\":\"writes\\u001b faster\"}}");
    g_autofree char *none = gw_progress_explanation(fine), *why = gw_progress_explanation(slow);
    g_assert_null(none);
    g_assert_cmpstr(why, ==, "writes\\x1b faster");
}

#define MOTION                                                                                               \
    "\"motion\":{\"session\":\"6f\",\"downtime_ms\":9.84,\"total_ms\":1234.5,\"precopy_ms\":1100.25,"        \
    "\"rounds\":[{\"dirty_pages\":5,\"sent_bytes\":10,\"ms\":1.5},{\"dirty_pages\":1,\"sent_bytes\":2,"      \
    "\"ms\":0.5}],\"bytes_on_wire\":152000000,\"pages_sent\":3,\"pages_zero\":4,\"streams\":2,"              \
    "\"client\":{\"gap_ms\":11.5,\"prober\":\"p\"}}"

static void
test_summary(void)
{
    g_autoptr(JsonObject) task = parse("{" WEB1 ",\"state\":\"completed\"," MOTION "}");
    g_autoptr(JsonObject) paused =
        parse("{" WEB1 ",\"state\":\"completed\",\"motion\":{\"downtime_ms\":null,\"total_ms\":60.0}}");
    g_autoptr(JsonObject) bare = parse("{" WEB1 ",\"state\":\"completed\",\"motion\":[]}");
    g_autofree char *text = gw_progress_summary(task), *of_paused = gw_progress_summary(paused),
                    *of_bare = gw_progress_summary(bare);
    g_assert_cmpstr(
        text, ==,
        "web1: moved from host1 to host2 in 1.23 s, stood still for 9.8 ms; 152 MB on the wire, 2 rounds");
    g_assert_cmpstr(of_paused, ==, "web1: moved from host1 to host2 in 60.0 ms");
    g_assert_cmpstr(of_bare, ==, "web1: moved from host1 to host2");
}

/* All members, always; what is not known is null. */
static void
test_result(void)
{
    static const char *const always[] = {
        "task",          "vm",       "source",     "destination", "state",      "error",
        "downtime_ms",   "total_ms", "precopy_ms", "rounds",      "pages_zero", "pages_sent",
        "bytes_on_wire", "streams",  "priority",   "user",        "reason",     "findings",
        "client_gap_ms", "steps",    "started",    "ended"};
    static const char *const tasks[] = {
        "{" WEB1 ",\"state\":\"completed\"," MOTION "}",
        "{" WEB1 ",\"state\":\"failed\",\"error\":{\"code\":\"x\",\"message\":\"y\"},\"motion\":null}",
        "{}",
        "{\"motion\":7,\"progress\":[],\"findings\":\"x\",\"id\":{}}",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tasks); i++) {
        g_autoptr(JsonObject) task = parse(tasks[i]);
        g_autoptr(JsonObject) result = gw_progress_result(task);
        for (size_t j = 0; j < G_N_ELEMENTS(always); j++)
            g_assert_true(json_object_has_member(result, always[j]));
    }
    g_autoptr(JsonObject) task = parse(tasks[0]);
    g_autoptr(JsonObject) result = gw_progress_result(task);
    g_assert_cmpstr(gw_json_get_string(result, "task"), ==, "7");
    g_assert_cmpfloat(json_object_get_double_member(result, "downtime_ms"), ==, 9.84);
    g_assert_cmpfloat(json_object_get_double_member(result, "client_gap_ms"), ==, 11.5);
    g_assert_true(json_object_get_null_member(result, "error"));
    g_autofree char *text = gw_json_object_text(result, false);
    g_assert_true(strstr(text, "\"rounds\": [{\"dirty_pages\": 5, \"sent_bytes\": 10, \"ms\": 1.5}, {") !=
                  NULL);
}

/* A motion that failed has no result; what the engine told last is. */
static void
test_result_of_progress(void)
{
    g_autoptr(JsonObject) task = parse(
        "{" WEB1
        ",\"state\":\"failed\",\"motion\":null,\"progress\":{\"rounds\":[{\"round\":0,\"found_pages\":9,"
        "\"sent_bytes\":1,\"ms\":2.5}],\"bytes_on_wire\":77,\"streams\":4}}");
    g_autoptr(JsonObject) result = gw_progress_result(task);
    g_autofree char *text = gw_json_object_text(result, false);
    g_assert_true(strstr(text, "\"rounds\": [{\"dirty_pages\": 9, \"sent_bytes\": 1, \"ms\": 2.5}]") != NULL);
    g_assert_true(strstr(text, "\"bytes_on_wire\": 77") != NULL);
    g_assert_true(strstr(text, "\"streams\": 4") != NULL);
    g_assert_true(json_object_get_null_member(result, "downtime_ms"));
}

static void
test_findings(void)
{
    g_autoptr(JsonObject) check = parse(
        "{\"vm\":\"web1\",\"source\":\"host1\",\"destination\":\"host2\",\"possible\":false,\"findings\":["
        "{\"id\":\"motion.path.slow\",\"severity\":\"warning\",\"text\":\"slow\",\"override\":\"refused\"},"
        "{\"id\":\"motion.network.internal\",\"severity\":\"error\",\"text\":\"web1 is on a switch without uplink\","
        "\"source\":\"guests\",\"destination\":null,\"repair\":\"add one\",\"override\":\"allowed\"},7]}");
    g_assert_cmpuint(gw_findings_count(check, false), ==, 1);
    g_assert_cmpuint(gw_findings_count(check, true), ==, 2); /* what is no object is no good */
    g_autofree char *text = gw_findings_text(check, 60, false);
    g_assert_true(g_str_has_prefix(text, "error motion.network.internal\n"
                                         "    web1 is on a switch without uplink\n"
                                         "    host1: guests\n"
                                         "    repair: add one\n"
                                         "    or: --override motion.network.internal moves it all the\n"
                                         "    same\n\n"));
    g_assert_true(g_str_has_suffix(text, "warning motion.path.slow\n    slow\n\n"));
}

static void
test_events(void)
{
    static const struct {
        const char *event, *line;
    } cases[] = {
        {"{\"id\":3,\"type\":\"vm.state\",\"at\":\"2026-11-26T03:10:05Z\",\"vm\":\"web1\",\"host\":\"host1\","
         "\"state\":\"running\",\"was\":\"paused\"}",
         "2026-11-26 03:10:05  vm.state           web1 on host1: state=running was=paused"},
        {"{\"type\":\"host.up\",\"at\":\"2026-11-26T03:10:05Z\",\"host\":\"host1\",\"data\":{}}",
         "2026-11-26 03:10:05  host.up            host1"},
        {"{\"type\":\"task.state\",\"at\":\"2026-11-26T03:10:05Z\",\"task\":\"7\",\"data\":{\"task\":{" WEB1
         ",\"state\":\"completed\"}}}",
         "2026-11-26 03:10:05  task.state         web1: moved from host1 to host2"},
        {"{\"type\":\"session.failed\",\"at\":\"2026-11-26T03:10:05Z\",\"user\":\"x\",\"n\":2,\"ok\":false}",
         "2026-11-26 03:10:05  session.failed     user=x n=2 ok=false"},
        {"{\"type\":\"task.state\",\"at\":\"2026-11-26T03:10:05Z\",\"task\":{" WEB1
         ",\"state\":\"failed\",\"error\":"
         "{\"message\":\"2 checks failed:\\n  one\\n  two\"}}}",
         "2026-11-26 03:10:05  task.state         web1: failed: 2 checks failed:"},
        {"{\"type\":7,\"at\":[],\"vm\":{}}", "-  ?"},
    };
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(JsonObject) event = parse(cases[i].event);
        g_autofree char *line = gw_event_text(event, utc);
        g_assert_cmpstr(line, ==, cases[i].line);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli-progress/lines", test_lines);
    g_test_add_func("/cli-progress/step", test_step);
    g_test_add_func("/cli-progress/explanation", test_explanation);
    g_test_add_func("/cli-progress/summary", test_summary);
    g_test_add_func("/cli-progress/result", test_result);
    g_test_add_func("/cli-progress/result-of-progress", test_result_of_progress);
    g_test_add_func("/cli-progress/findings", test_findings);
    g_test_add_func("/cli-progress/events", test_events);
    return g_test_run();
}
