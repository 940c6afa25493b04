/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gathers the facts. Whoever follows the agent's events makes it gather again and again: so what costs a
 * process (QEMU's survey, check-host's probes, the accelerator) is kept for a while. */
#include "host-facts.h"

#include "accel.h"
#include "host-check.h"
#include "json.h"
#include "load.h"
#include "motion-interface.h"
#include "network.h"
#include "qemu-survey.h"
#include "spawn.h"
#include "version.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define KEPT_US (60 * G_USEC_PER_SEC)

/* Findings and accelerator, as long as they are believed. */
typedef struct {
    char *key; /* of the configuration that they are for; NULL: none yet */
    gint64 until_us;
    GArray *findings; /* of GwHostFinding */
    GwAccelChoice accel;
} Probes;

typedef struct {
    char *key; /* QEMU's file and what else decides; NULL: none yet */
    gint64 until_us;
    GwQemuSurvey *survey; /* NULL: it failed, with */
    char *error;
} Survey;

struct GwFactGatherer {
    GwDatastoreWatch *watch; /* borrowed */
    char *started;           /* set once */
    GMutex lock;             /* guards the rest */
    Probes probes;
    Survey survey;
};

GwFactGatherer *
gw_fact_gatherer_new(GwDatastoreWatch *watch)
{
    GwFactGatherer *self = g_new0(GwFactGatherer, 1);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    self->watch = watch;
    self->started = g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
    g_mutex_init(&self->lock);
    return self;
}

static void
probes_clear(Probes *self)
{
    g_clear_pointer(&self->key, g_free);
    g_clear_pointer(&self->findings, g_array_unref);
    g_clear_pointer(&self->accel.why, g_free);
}

static void
survey_clear(Survey *self)
{
    g_clear_pointer(&self->key, g_free);
    g_clear_pointer(&self->survey, gw_qemu_survey_free);
    g_clear_pointer(&self->error, g_free);
}

void
gw_fact_gatherer_free(GwFactGatherer *self)
{
    if (!self)
        return;
    probes_clear(&self->probes);
    survey_clear(&self->survey);
    g_mutex_clear(&self->lock);
    g_free(self->started);
    g_free(self);
}

/* False if there is no such user; the survey then says so. */
static bool
look_up_user(const GwHostConfig *config, GwUser *user, GError **error)
{
    return gw_user_look_up(config->qemu_user, user, error);
}

static void
refresh_probes(Probes *self, const GwHostConfig *config)
{
    g_autofree char *key = g_strjoin("\n", config->qemu_binary, config->qemu_user,
                                     config->uffd_library ? config->uffd_library : "", NULL);
    gint64 now_us = g_get_monotonic_time();
    if (now_us < self->until_us && g_strcmp0(self->key, key) == 0)
        return;
    g_auto(GwUser) user = {0};
    g_autoptr(GwVmSetup) setup = gw_host_config_to_setup(config);
    bool is_user = look_up_user(config, &user, NULL);
    GwAccelFacts facts = gw_accel_probe(is_user ? &user : NULL);
    probes_clear(self);
    *self = (Probes){g_steal_pointer(&key), now_us + KEPT_US, gw_host_check(setup),
                     gw_accel_choose(GW_ACCEL_AUTO, &facts)};
}

/* What the survey's answer depends on. */
static char *
survey_key(const GwHostConfig *config, GwAccel accel)
{
    struct stat file = {0};
    if (stat(config->qemu_binary, &file) < 0)
        file = (struct stat){0};
    return g_strdup_printf("%s %lld.%09ld %lld %s %s", config->qemu_binary, (long long)file.st_mtim.tv_sec,
                           file.st_mtim.tv_nsec, (long long)file.st_size, config->qemu_user,
                           gw_accel_name(accel));
}

/* One that failed is tried again after a while, also with the same QEMU. */
static void
refresh_survey(Survey *self, const GwHostConfig *config, GwAccel accel)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwUser) user = {0};
    g_autofree char *key = survey_key(config, accel);
    if (g_strcmp0(self->key, key) == 0 && (self->survey || g_get_monotonic_time() < self->until_us))
        return;
    survey_clear(self);
    self->key = g_steal_pointer(&key);
    self->until_us = g_get_monotonic_time() + KEPT_US;
    if (!look_up_user(config, &user, NULL))
        return; /* a problem that is told already */
    self->survey = gw_qemu_survey(config->qemu_binary, &user, accel, &error);
    if (!self->survey)
        self->error = g_strdup(error->message);
}

static void
set_text(JsonObject *object, const char *member, const char *text)
{
    if (text)
        json_object_set_string_member(object, member, text);
    else
        json_object_set_null_member(object, member);
}

static JsonArray *array_copy(JsonArray *array);

/* json_node_copy() shares arrays and objects, whose reference counts are not for several threads. */
static JsonNode *
node_copy(JsonNode *node)
{
    JsonNode *copy = json_node_alloc();
    JsonObjectIter iter;
    const char *name;
    JsonNode *member;
    if (JSON_NODE_HOLDS_ARRAY(node)) {
        json_node_init(copy, JSON_NODE_ARRAY);
        json_node_take_array(copy, array_copy(json_node_get_array(node)));
    } else if (JSON_NODE_HOLDS_OBJECT(node)) {
        json_node_init(copy, JSON_NODE_OBJECT);
        json_node_take_object(copy, json_object_new());
        json_object_iter_init(&iter, json_node_get_object(node));
        while (json_object_iter_next(&iter, &name, &member))
            json_object_set_member(json_node_get_object(copy), name, node_copy(member));
    } else {
        json_node_init_string(copy, json_node_get_string(node));
    }
    return copy;
}

/* Of an array of texts, and of objects and arrays of them. */
static JsonArray *
array_copy(JsonArray *array)
{
    JsonArray *copy = json_array_new();
    for (guint i = 0; i < json_array_get_length(array); i++)
        json_array_add_element(copy, node_copy(json_array_get_element(array, i)));
    return copy;
}

/* A copy of an array of the survey; NULL becomes an empty one. */
static void
set_array(JsonObject *object, const char *member, JsonArray *array)
{
    json_object_set_array_member(object, member, array ? array_copy(array) : json_array_new());
}

static JsonObject *
qemu_facts(const GwFactGatherer *self, const GwHostConfig *config)
{
    const GwQemuSurvey *survey = self->survey.survey;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "binary", config->qemu_binary);
    set_text(object, "version", survey ? survey->version : NULL);
    set_array(object, "machines", survey ? survey->machines : NULL);
    json_object_set_string_member(object, "accel", gw_accel_name(self->probes.accel.accel));
    json_object_set_string_member(object, "accel_why", self->probes.accel.why);
    set_array(object, "cpu_models", survey ? survey->cpu_models : NULL);
    return object;
}

/* The value of the first "key : value" line; the caller's, NULL if there is none. */
static char *
cpuinfo_value(char **lines, const char *key)
{
    for (; *lines; lines++) {
        const char *colon = strchr(*lines, ':');
        g_autofree char *name = colon ? g_strchomp(g_strndup(*lines, (gsize)(colon - *lines))) : NULL;
        if (g_strcmp0(name, key) == 0)
            return g_strstrip(g_strdup(colon + 1));
    }
    return NULL;
}

void
gw_cpuinfo_parse(const char *text, char **ret_model, char **ret_vendor, unsigned *ret_count)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    *ret_model = cpuinfo_value(lines, "model name");
    *ret_vendor = cpuinfo_value(lines, "vendor_id");
    *ret_count = 0;
    for (char **line = lines; *line; line++)
        *ret_count += g_str_has_prefix(*line, "processor\t") || g_str_has_prefix(*line, "processor ");
}

static JsonObject *
cpu_facts(const GwFactGatherer *self)
{
    g_autofree char *text = NULL, *model = NULL, *vendor = NULL;
    unsigned count = 0;
    JsonObject *object = json_object_new();
    if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
        gw_cpuinfo_parse(text, &model, &vendor, &count);
    set_text(object, "model", model);
    set_text(object, "vendor", vendor);
    json_object_set_int_member(object, "count", count ? count : g_get_num_processors());
    set_array(object, "features", self->survey.survey ? self->survey.survey->features : NULL);
    return object;
}

static JsonObject *
memory_facts(void)
{
    g_autofree char *text = NULL;
    uint64_t total = 0, available = 0;
    JsonObject *object = json_object_new();
    if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        gw_meminfo_parse(text, "MemTotal", &total);
        gw_meminfo_parse(text, "MemAvailable", &available);
    }
    json_object_set_int_member(object, "total_bytes", (gint64)total);
    json_object_set_int_member(object, "available_bytes", (gint64)available);
    return object;
}

static JsonArray *
port_group_facts(const GwHostConfig *config)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < config->port_groups->len; i++) {
        const GwHostPortGroup *port_group = &g_array_index(config->port_groups, GwHostPortGroup, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", port_group->name);
        json_object_set_string_member(object, "switch", port_group->switch_name);
        json_array_add_object_element(array, object);
    }
    return array;
}

static void
add_problem(JsonArray *problems, const char *id, const char *severity, const char *text, const char *repair)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "id", id);
    json_object_set_string_member(object, "severity", severity);
    json_object_set_string_member(object, "text", text);
    set_text(object, "repair", repair);
    json_array_add_object_element(problems, object);
}

static JsonArray *
problems_of(const GwFactGatherer *self)
{
    JsonArray *problems = json_array_new();
    for (guint i = 0; i < self->probes.findings->len; i++) {
        const GwHostFinding *finding = &g_array_index(self->probes.findings, GwHostFinding, i);
        if (finding->verdict != GW_HOST_OK)
            add_problem(problems, finding->id, finding->verdict == GW_HOST_MISSING ? "error" : "warning",
                        finding->text, finding->repair);
    }
    if (self->survey.error)
        add_problem(problems, "qemu.survey", "error", self->survey.error,
                    "see that the QEMU runs that 'qemu' in /etc/godwit/host.conf names: until then no VM can "
                    "be checked against this host");
    return problems;
}

static JsonArray *
interface_facts(const GwHostConfig *config, JsonArray *problems)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) interfaces = gw_motion_interfaces_read(config->motion_interfaces, &error);
    if (!interfaces)
        add_problem(problems, "motion.interfaces", "error", error->message, NULL);
    for (guint i = 0; interfaces && config->motion_speed_mbit && i < interfaces->len; i++)
        g_array_index(interfaces, GwHostInterface, i).speed_bits_per_s =
            config->motion_speed_mbit * G_GUINT64_CONSTANT(1000000);
    return interfaces ? gw_motion_interfaces_to_json(interfaces) : json_array_new();
}

static void
add_kernel(JsonObject *facts)
{
    struct utsname system;
    g_autofree char *boot_id = NULL;
    uname(&system);
    json_object_set_string_member(facts, "kernel", system.release);
    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot_id, NULL, NULL))
        g_strstrip(boot_id);
    set_text(facts, "boot_id", boot_id);
}

JsonObject *
gw_fact_gatherer_gather(GwFactGatherer *self, const GwHostConfig *config)
{
    JsonObject *facts = json_object_new();
    json_object_set_string_member(facts, "name", config->name);
    json_object_set_string_member(facts, "version", GW_VERSION);
    json_object_set_string_member(facts, "started", self->started);
    add_kernel(facts);
    g_mutex_lock(&self->lock);
    refresh_probes(&self->probes, config);
    refresh_survey(&self->survey, config, self->probes.accel.accel);
    json_object_set_object_member(facts, "qemu", qemu_facts(self, config));
    json_object_set_object_member(facts, "cpu", cpu_facts(self));
    JsonArray *problems = problems_of(self);
    g_mutex_unlock(&self->lock);
    json_object_set_object_member(facts, "memory", memory_facts());
    json_object_set_array_member(facts, "switches", gw_network_facts(config));
    json_object_set_array_member(facts, "port_groups", port_group_facts(config));
    json_object_set_array_member(facts, "motion_interfaces", interface_facts(config, problems));
    json_object_set_array_member(facts, "datastores", gw_datastore_watch_facts(self->watch, config));
    json_object_set_array_member(facts, "problems", problems);
    return facts;
}

/* Members that change all the time. */
static bool
is_restless(const char *member)
{
    return g_str_equal(member, "available_bytes") || g_str_equal(member, "free_bytes");
}

static bool nodes_differ(JsonNode *a, JsonNode *b);

static bool
arrays_differ(JsonArray *a, JsonArray *b)
{
    guint n = json_array_get_length(a);
    bool differ = n != json_array_get_length(b);
    for (guint i = 0; i < n && !differ && a != b; i++)
        differ = nodes_differ(json_array_get_element(a, i), json_array_get_element(b, i));
    return differ;
}

bool
gw_host_facts_differ(JsonObject *a, JsonObject *b)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;
    if (json_object_get_size(a) != json_object_get_size(b))
        return true;
    json_object_iter_init(&iter, a);
    while (json_object_iter_next(&iter, &name, &node)) {
        JsonNode *other = json_object_get_member(b, name);
        if (!other || (!is_restless(name) && nodes_differ(node, other)))
            return true;
    }
    return false;
}

static bool
nodes_differ(JsonNode *a, JsonNode *b)
{
    if (json_node_get_node_type(a) != json_node_get_node_type(b))
        return true;
    if (JSON_NODE_HOLDS_OBJECT(a))
        return gw_host_facts_differ(json_node_get_object(a), json_node_get_object(b));
    if (JSON_NODE_HOLDS_ARRAY(a))
        return arrays_differ(json_node_get_array(a), json_node_get_array(b));
    return !json_node_equal(a, b);
}
