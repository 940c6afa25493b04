/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU without a machine answers what any of that build would. What a CPU model lacks depends on the
 * accelerator: KVM passes on what the CPU has, TCG what it can emulate.
 *
 * QEMU knows some features by several names (old ones with '_', AMD's beside Intel's); everywhere the first
 * of its feature tables is used here, which is also what "unavailable-features" has. */
#include "qemu-survey.h"

#include "accel.h"
#include "error.h"
#include "json.h"
#include "qmp.h"
#include "vm-config-internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS     15000
#define MAX_LAST_WORDS 1024

/* target/i386/cpu.c: x86_cpu_initfn(). */
static const char *const aliases[][2] = {
    {"sse3", "pni"}, {"pclmuldq", "pclmulqdq"}, {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"},
    {"xd", "nx"},    {"ffxsr", "fxsr-opt"},     {"i64", "lm"},
};

/* Properties of a CPU that are no features of it. */
static const char *const not_features[] = {
    "check",
    "cpuid-0xb",
    "enforce",
    "fill-mtrr-mask",
    "full-cpuid-auto-level",
    "host-cache-info",
    "host-phys-bits",
    "hotpluggable",
    "hotplugged",
    "kvm",
    "kvm-no-smi-migration",
    "kvm-pv-enforce-cpuid",
    "l3-cache",
    "legacy-cache",
    "legacy-instance-id",
    "migratable",
    "pmu",
    "realized",
    "start-powered-off",
    "tcg-cpuid",
    "vmware-cpuid-freq",
    "xen-vapic",
    NULL,
};

void
gw_qemu_survey_free(GwQemuSurvey *self)
{
    if (!self)
        return;
    g_free(self->version);
    g_clear_pointer(&self->machines, json_array_unref);
    g_clear_pointer(&self->cpu_models, json_array_unref);
    g_clear_pointer(&self->features, json_array_unref);
    g_free(self);
}

/* The one name of a feature; the caller's. */
static char *
canonical(const char *feature)
{
    char *name = g_strdelimit(g_strdup(feature), "_", '-');
    for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (!g_str_equal(name, aliases[i][0]))
            continue;
        g_free(name);
        return g_strdup(aliases[i][1]);
    }
    return name;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static JsonArray *
sorted_names(GHashTable *names)
{
    guint n;
    JsonArray *array = json_array_new();
    g_autofree const char **sorted = (const char **)g_hash_table_get_keys_as_array(names, &n);
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (guint i = 0; i < n; i++)
        json_array_add_string_element(array, sorted[i]);
    return array;
}

static JsonArray *
array_of(JsonNode *answer)
{
    return answer && JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
}

JsonArray *
gw_qemu_survey_machines(JsonNode *answer)
{
    JsonArray *machines = array_of(answer);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; machines && i < json_array_get_length(machines); i++) {
        JsonObject *machine = gw_json_array_object(machines, i);
        const char *name = machine ? gw_json_get_string(machine, "name") : NULL;
        if (name && gw_vm_machine_is_versioned(name))
            g_hash_table_add(names, (void *)name);
    }
    return sorted_names(names);
}

static JsonArray *
missing_of(JsonObject *model)
{
    JsonArray *features = gw_json_get_array(model, "unavailable-features");
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; features && i < json_array_get_length(features); i++) {
        JsonNode *node = json_array_get_element(features, i);
        if (json_node_get_value_type(node) == G_TYPE_STRING)
            g_hash_table_add(names, canonical(json_node_get_string(node)));
    }
    return sorted_names(names);
}

static int
compare_models(const void *a, const void *b)
{
    return strcmp(gw_json_get_string(*(JsonObject *const *)a, "name"),
                  gw_json_get_string(*(JsonObject *const *)b, "name"));
}

JsonArray *
gw_qemu_survey_cpu_models(JsonNode *answer)
{
    JsonArray *models = array_of(answer), *array = json_array_new();
    g_autoptr(GPtrArray) named = g_ptr_array_new();
    for (guint i = 0; models && i < json_array_get_length(models); i++) {
        JsonObject *model = gw_json_array_object(models, i);
        if (model && gw_json_get_string(model, "name"))
            g_ptr_array_add(named, model);
    }
    g_ptr_array_sort(named, compare_models);
    for (guint i = 0; i < named->len; i++) {
        JsonObject *model = g_ptr_array_index(named, i), *object = json_object_new();
        json_object_set_string_member(object, "name", gw_json_get_string(model, "name"));
        json_object_set_array_member(object, "missing", missing_of(model));
        json_array_add_object_element(array, object);
    }
    return array;
}

static bool
is_feature(const char *name)
{
    return !g_strv_contains(not_features, name) && !g_str_has_prefix(name, "x-") &&
           !g_str_has_prefix(name, "hv-");
}

JsonArray *
gw_qemu_survey_features(JsonNode *answer)
{
    JsonObject *root = answer && JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    JsonObject *model = root ? gw_json_get_object(root, "model") : NULL;
    JsonObject *properties = model ? gw_json_get_object(model, "props") : NULL;
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GList) members = properties ? json_object_get_members(properties) : NULL;
    for (GList *member = members; member; member = member->next) {
        bool has = false;
        g_autofree char *name = canonical(member->data);
        if (gw_json_get_bool(properties, member->data, &has) && has && is_feature(name))
            g_hash_table_add(names, g_steal_pointer(&name));
    }
    return sorted_names(names);
}

/* While QEMU is asked. */
typedef struct {
    GwProcess process;
    int ours, theirs; /* QMP */
    int log;          /* a memfd */
    gint64 until_us;
    GwQmp *qmp;
} Inquiry;

static void
inquiry_clear(Inquiry *self)
{
    gw_qmp_free(self->qmp);
    if (self->process.pidfd >= 0) {
        gw_process_signal(&self->process, SIGKILL);
        gw_process_wait(&self->process, -1);
        g_free(gw_process_reap(&self->process));
    }
    gw_process_clear(&self->process);
    for (size_t i = 0; i < 3; i++) {
        int fd = (const int[]){self->ours, self->theirs, self->log}[i];
        if (fd >= 0)
            close(fd);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Inquiry, inquiry_clear)

static int
left_ms(const Inquiry *self)
{
    gint64 left_us = self->until_us - g_get_monotonic_time();
    return left_us > 0 ? (int)(left_us / 1000) : 0;
}

static bool
start(Inquiry *self, const char *binary, const GwUser *user, GwAccel accel, GError **error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "a socket for QMP");
    self->ours = ends[0];
    self->theirs = ends[1];
    self->log = memfd_create("qemu-survey", MFD_CLOEXEC);
    if (self->log < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "a file for QEMU's words");
    g_autofree char *machine = g_strconcat("none,accel=", gw_accel_name(accel), NULL);
    g_autofree char *chardev = g_strdup_printf("socket,id=qmp,fd=%d", self->theirs);
    const char *argv[] = {
        binary,     "-nodefaults", "-no-user-config", "-S",    "-display", "none",
        "-machine", machine,       "-chardev",        chardev, "-mon",     "chardev=qmp,mode=control",
        NULL};
    const char *library_path = g_getenv("LD_LIBRARY_PATH");
    g_autofree char *libraries = library_path ? g_strconcat("LD_LIBRARY_PATH=", library_path, NULL) : NULL;
    const char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", libraries, NULL};
    const GwSpawn spawn = {.argv = (char *const *)argv,
                           .envp = (char *const *)envp,
                           .user = user,
                           .keep_fds = &self->theirs,
                           .n_keep_fds = 1,
                           .stderr_fd = self->log,
                           .record_fd = -1};
    if (!gw_spawn(&spawn, &self->process, error))
        return false;
    close(g_steal_fd(&self->theirs)); /* QEMU's death closes its end */
    const GwQmpCallbacks callbacks = {.timeout_ms = left_ms(self)};
    self->qmp = gw_qmp_new(g_steal_fd(&self->ours), &callbacks, error);
    return self->qmp != NULL;
}

/* Puts what QEMU printed behind the error. */
static void
add_last_words(const Inquiry *self, GError **error)
{
    char words[MAX_LAST_WORDS + 1] = "";
    ssize_t n = self->log >= 0 ? pread(self->log, words, MAX_LAST_WORDS, 0) : 0;
    if (n <= 0 || !error || !*error)
        return;
    g_autofree char *text = g_utf8_make_valid(words, n);
    g_autoptr(GError) cause = g_steal_pointer(error);
    g_set_error(error, cause->domain, cause->code, "%s; QEMU said: %s", cause->message, g_strstrip(text));
}

static JsonNode *
ask_features(Inquiry *self, GwAccel accel, GError **error)
{
    JsonObject *model = json_object_new(), *arguments = json_object_new();
    json_object_set_string_member(model, "name", accel == GW_ACCEL_KVM ? "host" : "max");
    json_object_set_string_member(arguments, "type", "full");
    json_object_set_object_member(arguments, "model", model);
    return gw_qmp_execute(self->qmp, "query-cpu-model-expansion", arguments, left_ms(self), error);
}

static GwQemuSurvey *
ask(Inquiry *self, GwAccel accel, GError **error)
{
    g_autoptr(JsonNode) machines = gw_qmp_execute(self->qmp, "query-machines", NULL, left_ms(self), error);
    g_autoptr(JsonNode) models =
        machines ? gw_qmp_execute(self->qmp, "query-cpu-definitions", NULL, left_ms(self), error) : NULL;
    g_autoptr(JsonNode) features = models ? ask_features(self, accel, error) : NULL;
    if (!features)
        return NULL;
    unsigned version = gw_qmp_version(self->qmp);
    GwQemuSurvey *survey = g_new0(GwQemuSurvey, 1);
    survey->version = g_strdup_printf("%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    survey->machines = gw_qemu_survey_machines(machines);
    survey->cpu_models = gw_qemu_survey_cpu_models(models);
    survey->features = gw_qemu_survey_features(features);
    return survey;
}

GwQemuSurvey *
gw_qemu_survey(const char *binary, const GwUser *user, GwAccel accel, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_auto(Inquiry) self = {
        GW_PROCESS_NONE, -1, -1, -1, g_get_monotonic_time() + TIMEOUT_MS * G_TIME_SPAN_MILLISECOND, NULL};
    GwQemuSurvey *survey = start(&self, binary, user, accel, &cause) ? ask(&self, accel, &cause) : NULL;
    if (survey)
        return survey;
    add_last_words(&self, &cause);
    g_propagate_prefixed_error(error, g_steal_pointer(&cause), "asking %s what it can run: ", binary);
    return NULL;
}
