/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a host says of itself: QEMU's answers read, the real QEMU and this real host asked, changes seen. */
#include "host-facts.h"

#include "error.h"
#include "json.h"
#include "qemu-survey.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define QEMU "/usr/bin/qemu-system-x86_64"

static JsonNode *
json(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonNode *node = gw_json_parse(text, -1, &error);
    g_assert_no_error(error);
    return node;
}

static void
assert_read(JsonArray *(*read)(JsonNode *answer), const char *text, const char *expected)
{
    g_autoptr(JsonNode) answer = json(text);
    g_autoptr(JsonNode) result = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(result, read(answer));
    g_autofree char *got = json_to_string(result, FALSE);
    g_assert_cmpstr(got, ==, expected);
}

static void
test_machines(void)
{
    assert_read(gw_qemu_survey_machines,
                "[{\"name\":\"pc-q35-7.2\",\"alias\":\"q35\"},{\"name\":\"microvm\"},{\"name\":\"none\"},"
                "{\"name\":\"q35\"},{\"name\":\"pc-i440fx-7.2\"},{\"name\":\"pc-q35-4.0.1\"},"
                "{\"name\":\"pc-q35-7.2\"},{\"name\":7},{},7]",
                "[\"pc-i440fx-7.2\",\"pc-q35-4.0.1\",\"pc-q35-7.2\"]");
    assert_read(gw_qemu_survey_machines, "{}", "[]");
    assert_read(gw_qemu_survey_machines, "7", "[]");
}

static void
test_cpu_models(void)
{
    assert_read(
        gw_qemu_survey_cpu_models,
        "[{\"name\":\"qemu64\",\"unavailable-features\":[]},"
        "{\"name\":\"Skylake\",\"unavailable-features\":[\"rtm\",\"hle\",\"lahf_lm\",\"lahf-lm\",1,{}]},"
        "{\"name\":\"old\"},{\"typename\":\"x\"},null]",
        "[{\"name\":\"Skylake\",\"missing\":[\"hle\",\"lahf-lm\",\"rtm\"]},"
        "{\"name\":\"old\",\"missing\":[]},{\"name\":\"qemu64\",\"missing\":[]}]");
    assert_read(gw_qemu_survey_cpu_models, "null", "[]");
}

static void
test_features(void)
{
    assert_read(
        gw_qemu_survey_features,
        "{\"model\":{\"name\":\"max\",\"props\":{\"sse4_1\":true,\"sse4-1\":true,\"sse4.1\":true,"
        "\"pni\":true,\"sse3\":true,\"avx2\":true,\"avx512f\":false,\"xd\":true,\"nx\":true,\"i64\":true,"
        "\"lm\":true,\"lahf_lm\":true,\"lahf-lm\":true,\"ffxsr\":true,\"migratable\":true,\"x-y\":true,"
        "\"hv-time\":true,\"check\":true,\"family\":6,\"vendor\":\"x\",\"kvm_asyncpf\":true}}}",
        "[\"avx2\",\"fxsr-opt\",\"kvm-asyncpf\",\"lahf-lm\",\"lm\",\"nx\",\"pni\",\"sse4.1\"]");
    assert_read(gw_qemu_survey_features, "{\"model\":{}}", "[]");
    assert_read(gw_qemu_survey_features, "{\"model\":7}", "[]");
    assert_read(gw_qemu_survey_features, "[]", "[]");
}

static bool
holds(JsonArray *array, const char *text)
{
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (g_strcmp0(json_array_get_string_element(array, i), text) == 0)
            return true;
    return false;
}

static void
test_survey(void)
{
    g_autoptr(GError) error = NULL;
    if (access(QEMU, X_OK) < 0) {
        g_test_skip("there is no " QEMU);
        return;
    }
    g_autoptr(GwQemuSurvey) survey = gw_qemu_survey(QEMU, NULL, GW_ACCEL_TCG, &error);
    g_assert_no_error(error);
    g_assert_true(g_ascii_isdigit(survey->version[0]));
    g_assert_true(holds(survey->machines, "pc-q35-7.2"));
    g_assert_false(holds(survey->machines, "q35"));
    g_assert_true(holds(survey->features, "sse2"));
    g_assert_cmpuint(json_array_get_length(survey->cpu_models), >, 20);
}

/* Whatever goes wrong is said with the program's own words. */
static void
test_survey_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_qemu_survey("/nonexistent/qemu", NULL, GW_ACCEL_TCG, &error));
    g_assert_nonnull(strstr(error->message, "asking /nonexistent/qemu what it can run: "));
    g_assert_nonnull(strstr(error->message, "No such file"));
    g_clear_error(&error);

    g_autofree char *dir = g_dir_make_tmp("gw-host-facts-XXXXXX", NULL);
    g_autofree char *program = g_build_filename(dir, "qemu", NULL);
    g_assert_true(g_file_set_contents_full(program, "#!/bin/sh\necho no such machine >&2\nexit 1\n", -1,
                                           G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    g_assert_null(gw_qemu_survey(program, NULL, GW_ACCEL_TCG, &error));
    g_assert_nonnull(strstr(error->message, "QEMU said: no such machine"));
    g_unlink(program);
    g_rmdir(dir);
}

static void
test_cpuinfo(void)
{
    static const struct {
        const char *text, *model, *vendor;
        unsigned count;
    } cases[] = {
        {"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) @ 2\n\n"
         "processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: Other\n",
         "Intel(R) Xeon(R) @ 2", "GenuineIntel", 2},
        {"processor\t: 0\nBogoMIPS\t: 50\n", NULL, NULL, 1},
        {"", NULL, NULL, 0},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *model = NULL, *vendor = NULL;
        unsigned count = 7;
        gw_cpuinfo_parse(cases[i].text, &model, &vendor, &count);
        g_assert_cmpstr(model, ==, cases[i].model);
        g_assert_cmpstr(vendor, ==, cases[i].vendor);
        g_assert_cmpuint(count, ==, cases[i].count);
    }
}

static void
test_differ(void)
{
    static const char base[] = "{\"name\":\"a\",\"memory\":{\"total_bytes\":9,\"available_bytes\":5},"
                               "\"datastores\":[{\"free_bytes\":7,\"error\":null}]}";
    static const struct {
        const char *text;
        bool differs;
    } cases[] = {
        {base, false},
        {"{\"name\":\"a\",\"memory\":{\"total_bytes\":9,\"available_bytes\":6},"
         "\"datastores\":[{\"free_bytes\":1,\"error\":null}]}",
         false},
        {"{\"name\":\"b\",\"memory\":{\"total_bytes\":9,\"available_bytes\":5},"
         "\"datastores\":[{\"free_bytes\":7,\"error\":null}]}",
         true},
        {"{\"name\":\"a\",\"memory\":{\"total_bytes\":8,\"available_bytes\":5},"
         "\"datastores\":[{\"free_bytes\":7,\"error\":null}]}",
         true},
        {"{\"name\":\"a\",\"memory\":{\"total_bytes\":9,\"available_bytes\":5},"
         "\"datastores\":[{\"free_bytes\":7,\"error\":\"gone\"}]}",
         true},
        {"{\"name\":\"a\",\"memory\":{\"total_bytes\":9,\"available_bytes\":5},\"datastores\":[]}", true},
        {"{\"name\":\"a\",\"memory\":null,\"datastores\":[{\"free_bytes\":7,\"error\":null}]}", true},
        {"{\"name\":\"a\"}", true},
    };
    g_autoptr(JsonNode) a = json(base);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(JsonNode) b = json(cases[i].text);
        g_assert_cmpint(gw_host_facts_differ(json_node_get_object(a), json_node_get_object(b)), ==,
                        cases[i].differs);
        g_assert_cmpint(gw_host_facts_differ(json_node_get_object(b), json_node_get_object(a)), ==,
                        cases[i].differs);
    }
}

static GwHostConfig *
config_with(const char *qemu, const char *datastore)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "[host]\nname=h1\nlisten=127.0.0.1\nqemu=%s\nqemu-user=root\n[switch s]\nbridge=gw-test-none\n"
        "[port-group VM Network]\nswitch=s\n[motion]\ninterfaces=lo\n[datastore ds]\npath=%s\n",
        qemu, datastore);
    GwHostConfig *config = gw_host_config_parse(text, "host.conf", &error);
    g_assert_no_error(error);
    return config;
}

static const char *
problem_text(JsonObject *facts, const char *id)
{
    JsonArray *problems = gw_json_get_array(facts, "problems");
    for (guint i = 0; i < json_array_get_length(problems); i++) {
        JsonObject *problem = gw_json_array_object(problems, i);
        if (g_str_equal(gw_json_get_string(problem, "id"), id))
            return gw_json_get_string(problem, "text");
    }
    return NULL;
}

static void
assert_members(JsonObject *object, const char *names)
{
    g_auto(GStrv) expected = g_strsplit(names, " ", -1);
    for (char **name = expected; *name; name++)
        if (!json_object_has_member(object, *name))
            g_error("'%s' is missing", *name);
    g_assert_cmpuint(json_object_get_size(object), ==, g_strv_length(expected));
}

/* QEMU, and a file beside it that grows with each run. */
static char *
make_counting_qemu(void)
{
    g_autofree char *dir = g_dir_make_tmp("gw-host-facts-qemu-XXXXXX", NULL);
    char *program = g_build_filename(dir, "qemu", NULL);
    g_autofree char *text =
        g_strdup_printf("#!/bin/sh\nprintf x >>'%s.runs'\nexec " QEMU " \"$@\"\n", program);
    g_assert_true(g_file_set_contents_full(program, text, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
    return program;
}

static size_t
count_runs(const char *program)
{
    g_autofree char *path = g_strconcat(program, ".runs", NULL), *text = NULL;
    gsize n = 0;
    return g_file_get_contents(path, &text, &n, NULL) ? n : 0;
}

static void
remove_counting_qemu(const char *program)
{
    g_autofree char *path = g_strconcat(program, ".runs", NULL), *dir = g_path_get_dirname(program);
    g_unlink(path);
    g_unlink(program);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void
test_gather(void)
{
    g_autofree char *dir = g_dir_make_tmp("gw-host-facts-XXXXXX", NULL);
    g_autoptr(GwDatastoreWatch) watch = gw_datastore_watch_new();
    g_autoptr(GwFactGatherer) gatherer = gw_fact_gatherer_new(watch);
    if (geteuid() != 0 || access(QEMU, X_OK) < 0) {
        g_test_skip("not root, or there is no " QEMU);
        g_rmdir(dir);
        return;
    }
    g_autofree char *program = make_counting_qemu();
    g_autoptr(GwHostConfig) config = config_with(program, dir);
    g_autoptr(JsonObject) facts = gw_fact_gatherer_gather(gatherer, config);
    assert_members(facts, "name version started kernel boot_id qemu cpu memory switches port_groups "
                          "motion_interfaces datastores problems");
    assert_members(gw_json_get_object(facts, "qemu"), "binary version machines accel accel_why cpu_models");
    assert_members(gw_json_get_object(facts, "cpu"), "model vendor count features");
    g_assert_cmpstr(gw_json_get_string(facts, "name"), ==, "h1");
    g_assert_cmpuint(strlen(gw_json_get_string(facts, "started")), ==, strlen("2026-11-26T03:00:00Z"));
    g_assert_cmpuint(strlen(gw_json_get_string(facts, "boot_id")), ==, 36);
    g_assert_null(problem_text(facts, "qemu.survey"));
    g_assert_true(holds(gw_json_get_array(gw_json_get_object(facts, "qemu"), "machines"), "pc-q35-7.2"));
    JsonObject *interface = gw_json_array_object(gw_json_get_array(facts, "motion_interfaces"), 0);
    assert_members(interface, "name address prefix_length speed_bits_per_s mtu up");
    g_assert_cmpstr(
        gw_json_get_string(gw_json_array_object(gw_json_get_array(facts, "port_groups"), 0), "name"), ==,
        "VM Network");
    JsonObject *datastore = gw_json_array_object(gw_json_get_array(facts, "datastores"), 0);
    assert_members(datastore, "name path identity error read_only capacity_bytes free_bytes");
    g_assert_cmpuint(strlen(gw_json_get_string(datastore, "identity")), ==, 36);

    /* Again: QEMU is not asked anew. */
    size_t n_runs = count_runs(program);
    g_assert_cmpuint(n_runs, >, 0);
    g_autoptr(JsonObject) again = gw_fact_gatherer_gather(gatherer, config);
    g_assert_false(gw_host_facts_differ(facts, again));
    g_assert_cmpuint(count_runs(program), ==, n_runs);

    g_autofree char *file = g_build_filename(dir, GW_DATASTORE_IDENTITY_FILE, NULL);
    g_unlink(file);
    g_rmdir(dir);
    g_autoptr(JsonObject) without = gw_fact_gatherer_gather(gatherer, config);
    g_assert_true(gw_host_facts_differ(facts, without));
    remove_counting_qemu(program);
}

/* A host without QEMU still tells everything else. */
static void
test_gather_without_qemu(void)
{
    g_autoptr(GwDatastoreWatch) watch = gw_datastore_watch_new();
    g_autoptr(GwFactGatherer) gatherer = gw_fact_gatherer_new(watch);
    g_autoptr(GwHostConfig) config = config_with("/nonexistent/qemu", "/nonexistent/ds");
    g_autoptr(JsonObject) facts = gw_fact_gatherer_gather(gatherer, config);
    JsonObject *qemu = gw_json_get_object(facts, "qemu");
    g_assert_true(JSON_NODE_HOLDS_NULL(json_object_get_member(qemu, "version")));
    g_assert_cmpuint(json_array_get_length(gw_json_get_array(qemu, "machines")), ==, 0);
    g_assert_nonnull(strstr(problem_text(facts, "qemu.survey"), "/nonexistent/qemu"));
    g_assert_nonnull(problem_text(facts, "qemu"));
    JsonObject *datastore = gw_json_array_object(gw_json_get_array(facts, "datastores"), 0);
    g_assert_cmpstr(gw_json_get_string(datastore, "error"), ==, "there is no directory /nonexistent/ds");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-facts/machines", test_machines);
    g_test_add_func("/host-facts/cpu-models", test_cpu_models);
    g_test_add_func("/host-facts/features", test_features);
    g_test_add_func("/host-facts/survey", test_survey);
    g_test_add_func("/host-facts/survey-fails", test_survey_fails);
    g_test_add_func("/host-facts/cpuinfo", test_cpuinfo);
    g_test_add_func("/host-facts/differ", test_differ);
    g_test_add_func("/host-facts/gather", test_gather);
    g_test_add_func("/host-facts/gather-without-qemu", test_gather_without_qemu);
    return g_test_run();
}
