/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docs/vm-config.schema.json and docs/vm-config.md say what the parser does: the schema is walked together
 * with a document, and for each of its places the parser is asked whether it agrees. */
#include "json.h"
#include "vm-config-util.h"
#include "vm-config.h"

#include <glib.h>

typedef struct {
    JsonNode *schema;
    char *document;      /* good, and with a value at every place that is to be compared */
    GHashTable *visited; /* schema nodes of members; grows over several documents */
} Walk;

static JsonObject *
resolved(Walk *walk, JsonObject *schema)
{
    const char *ref = gw_json_get_string(schema, "$ref");
    return ref ? json_node_get_object(json_at(walk->schema, ref + 1)) : schema;
}

/* What the parser says about the place once `value` stands there. */
static char *
finding_with(Walk *walk, const char *pointer, const char *value)
{
    g_autofree char *document = document_with(walk->document, pointer, value);
    g_autofree char *report = report_of(document);
    return finding_at(report, pointer);
}

static void
assert_finding(const char *finding, const char *pointer, const char *expected)
{
    if (!finding || !strstr(finding, expected))
        g_error("%s: '%s' is not about '%s'", pointer, finding ? finding : "", expected);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A member that nobody can mean makes the parser list those it knows. */
static void
check_member_names(Walk *walk, const char *pointer, JsonObject *properties)
{
    g_autofree char *unknown = g_strconcat(pointer, "/zzzzzzzzzzzzzzzz", NULL);
    g_autofree char *finding = finding_with(walk, unknown, "1");
    assert_finding(finding, unknown, "unknown member (expected only: ");
    char *list = strstr(finding, ": ") + 2;
    *strrchr(list, ')') = '\0';
    g_auto(GStrv) known = g_strsplit(list, ", ", -1);
    qsort(known, g_strv_length(known), sizeof(char *), compare_names);
    g_autofree char *parser = g_strjoinv(" ", known);

    g_autoptr(GList) members = g_list_sort(json_object_get_members(properties), (GCompareFunc)strcmp);
    g_autoptr(GString) schema = g_string_new(NULL);
    for (GList *l = members; l; l = l->next)
        g_string_append_printf(schema, "%s%s", l->prev ? " " : "", (const char *)l->data);
    g_assert_cmpstr(parser, ==, schema->str);
}

static bool
is_required(JsonObject *schema, const char *member)
{
    JsonArray *required = gw_json_get_array(schema, "required");
    for (guint i = 0; required && i < json_array_get_length(required); i++)
        if (strcmp(json_array_get_string_element(required, i), member) == 0)
            return true;
    return false;
}

static void
check_range(Walk *walk, const char *pointer, JsonObject *schema)
{
    int64_t min = 0, max = 0;
    g_assert_true(gw_json_get_int(schema, "minimum", &min));
    g_assert_true(gw_json_get_int(schema, "maximum", &max));
    const int64_t values[] = {min - 1, min, max, max + 1};
    for (guint i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autofree char *value = g_strdup_printf("%" G_GINT64_FORMAT, values[i]);
        g_autofree char *finding = finding_with(walk, pointer, value);
        /* 100 times "vcpus" is the parser's own limit. */
        bool is_dependent = g_str_has_suffix(pointer, "/cpu_limit_percent") && values[i] == max;
        bool is_refused = finding && g_str_has_prefix(finding, "out of range");
        if (!is_dependent && is_refused != (values[i] < min || values[i] > max))
            g_error("%s: %s is '%s' with %" G_GINT64_FORMAT " … %" G_GINT64_FORMAT, pointer, value,
                    finding ? finding : "", min, max);
    }
}

static void
check_enum(Walk *walk, const char *pointer, JsonArray *values)
{
    g_autoptr(GString) expected = g_string_new("expected one of ");
    for (guint i = 0; i < json_array_get_length(values); i++)
        g_string_append_printf(expected, "%s'%s'", i ? ", " : "", json_array_get_string_element(values, i));
    g_string_append_c(expected, ')');
    g_autofree char *finding = finding_with(walk, pointer, "\"zzz\"");
    assert_finding(finding, pointer, expected->str);
}

#define X10  "xxxxxxxxxx"
#define X60  X10 X10 X10 X10 X10 X10
#define X250 X60 X60 X60 X60 X10

/* Judged by every pattern of the schema and by the parser at that place. */
static const char *const strings[] = {
    "a",
    "Z9",
    "0",
    "web1",
    "a.b_c-d",
    ".a",
    "-a",
    "_a",
    "a b",
    " a",
    "a ",
    "a/b",
    "a//b",
    "/a",
    "a/",
    "/",
    ".",
    "..",
    "a/.",
    "./a",
    "a/./b",
    "a/../b",
    "../a",
    "a/..",
    "a/...",
    "..a",
    "a\\\\b",
    "~a",
    "a,b",
    "a=b",
    "ä",
    "日本",
    "a\\nb",
    "a\\n",
    "\\u007f",
    "a\\u0085b",
    "",
    "\\\"",
    "10",
    "A1",
    "a;b",
    "$a",
    "*",
    /* UUIDs */
    "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a",
    "7D3A4F0E-52C1-4B7E-9A60-1F2E3D4C5B6A",
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000001",
    "7d3a4f0e52c14b7e9a601f2e3d4c5b6a",
    "{7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a}",
    "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6",
    "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6g",
    "7d3a4f0e-52c1-4b7e-9a601-f2e3d4c5b6a",
    "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a ",
    /* machines */
    "pc",
    "q35",
    "pc-q35",
    "pc-i440fx",
    "none",
    "microvm",
    "isapc",
    "pc-q35-7.2",
    "pc-i440fx-7.2",
    "pc-q35-10.0",
    "pc-q35-4.0.1",
    "pc-q35-7",
    "pc-q35-7.",
    "pc-q35-.2",
    "pc-q35-7.2.",
    "pc-q35-7.2.1.1",
    "pc-q35-123.1",
    "pc-q35-7.123",
    "pc-q35-7.2-x",
    "PC-q35-7.2",
    "pc-q35-7.2,accel=kvm",
    "pc-isa-7.2",
    "pc-q35--7.2",
    "pc-q35-pc-q35-7.2",
    /* CPU models */
    "qemu64",
    "host",
    "max",
    "Skylake-Server-v4,-pku",
    "EPYC-Rome,+x2apic,pmu=off",
    "qemu64,",
    "qemu64,,a",
    ",a",
    "qemu64,+",
    "qemu64,-",
    "qemu64,--a",
    "qemu64,+-a",
    "qemu64,-a-b",
    "qemu64,a=",
    "qemu64,a=on,b=off",
    "qemu64,A",
    "qemu64,a=B.c",
    "qemu64,a=b=c",
    "qemu64,a =b",
    "qemu64,hv-vendor-id=KVM_x",
    "qemu64,.a",
    "qemu64,+a,-b",
    /* MAC addresses */
    "52:54:00:12:34:56",
    "52:54:00:AB:cd:ef",
    "52-54-00-12-34-56",
    "52:54:00:12:34",
    "52:54:00:12:34:5",
    "52:54:00:12:34:56:78",
    "01:00:5e:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "00:00:00:00:00:00",
    "00:00:00:00:00:01",
    "5g:54:00:12:34:56",
    "525:4:00:12:34:56",
    "0a:00:00:00:00:00",
    "0b:00:00:00:00:00",
    "fE:00:00:00:00:00",
    /* lengths: 20 and 21, 31 and 32, 63 and 64, 80 and 81, 255 and 256, 512 and 513, 1024 and 1025 */
    X10 X10,
    X10 X10 "x",
    X10 X10 X10 "x",
    X10 X10 X10 "xx",
    X60 "xxx",
    X60 "xxxx",
    X60 X10 X10,
    X60 X10 X10 "x",
    X250 "xxxxx",
    X250 "xxxxxx",
    X250 "xxxxx/" X250 "xxxxx",
    X250 X250 X10 "xx",
    X250 X250 X10 "xxx",
    X250 "/" X250 "/" X250 "/" X250 "/" X10 X10,
    X250 "/" X250 "/" X250 "/" X250 "/" X10 X10 "x",
    X250 X250 X250 X250 X10 X10 "xxxx",
    X250 X250 X250 X250 X10 X10 "xxxxx",
};

static bool
schema_takes(JsonObject *place, JsonObject *type, const char *value)
{
    g_autoptr(GError) error = NULL;
    /* "\u0000" of ECMA 262 is "\x{0000}" in PCRE. */
    g_autoptr(GRegex) unicode = g_regex_new("\\\\u([0-9a-f]{4})", 0, 0, NULL);
    g_autofree char *pattern =
        g_regex_replace(unicode, gw_json_get_string(type, "pattern"), -1, 0, "\\\\x{\\1}", 0, &error);
    g_assert_no_error(error);
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_DOLLAR_ENDONLY, 0, &error);
    g_assert_no_error(error);
    int64_t min = 0, max = G_MAXINT64;
    gw_json_get_int(type, "minLength", &min);
    gw_json_get_int(type, "maxLength", &max);
    gw_json_get_int(place, "maxLength", &max);
    long length = g_utf8_strlen(value, -1);
    return length >= min && length <= max && g_regex_match(regex, value, 0, NULL);
}

static void
check_strings(Walk *walk, const char *pointer, JsonObject *place, JsonObject *type)
{
    for (guint i = 0; i < G_N_ELEMENTS(strings); i++) {
        g_autofree char *quoted = g_strconcat("\"", strings[i], "\"", NULL);
        g_autoptr(JsonNode) value = json_from(quoted);
        g_autofree char *finding = finding_with(walk, pointer, quoted);
        bool is_taken = !finding || strstr(finding, "in use");
        if (is_taken != schema_takes(place, type, json_node_get_string(value)))
            g_error("%s: '%s': schema and parser disagree: %s", pointer, strings[i],
                    finding ? finding : "good");
    }
}

static void walk_schema(Walk *walk, const char *pointer, JsonObject *place);

static void
walk_members(Walk *walk, const char *pointer, JsonObject *schema)
{
    JsonObject *properties = gw_json_get_object(schema, "properties");
    check_member_names(walk, pointer, properties);
    JsonObjectIter iter;
    const char *name;
    JsonNode *member;
    json_object_iter_init_ordered(&iter, properties);
    while (json_object_iter_next_ordered(&iter, &name, &member)) {
        g_autofree char *place = g_strconcat(pointer, "/", name, NULL);
        g_autoptr(JsonNode) document = json_from(walk->document);
        if (!json_at(document, place))
            continue;
        g_autofree char *finding = finding_with(walk, place, NULL);
        bool is_missed = finding && g_str_has_prefix(finding, "is missing");
        /* The parts of a boot kind and the two halves of a CD's file depend on each other. */
        if (!g_str_has_prefix(place, "/boot/") && !g_str_has_prefix(place, "/cdroms/"))
            g_assert_true(is_missed == is_required(schema, name));
        walk_schema(walk, place, json_node_get_object(member));
        g_hash_table_add(walk->visited, member);
    }
}

static void
walk_array(Walk *walk, const char *pointer, JsonObject *schema)
{
    g_autofree char *first = g_strconcat(pointer, "/0", NULL);
    walk_schema(walk, first, gw_json_get_object(schema, "items"));
    int64_t max;
    if (!gw_json_get_int(schema, "maxItems", &max))
        return;
    g_autoptr(GString) many = g_string_new("[{}");
    for (int64_t i = 0; i < max; i++)
        g_string_append(many, ",{}");
    g_string_append_c(many, ']');
    g_autofree char *expected =
        g_strdup_printf("too many elements (got %d, expected at most %d)", (int)max + 1, (int)max);
    g_autofree char *finding = finding_with(walk, pointer, many->str);
    assert_finding(finding, pointer, expected);
}

static void
walk_schema(Walk *walk, const char *pointer, JsonObject *place)
{
    JsonObject *schema = resolved(walk, place);
    const char *type = gw_json_get_string(schema, "type");
    if (gw_json_get_array(schema, "enum"))
        check_enum(walk, pointer, gw_json_get_array(schema, "enum"));
    else if (g_str_equal(type, "object"))
        walk_members(walk, pointer, schema);
    else if (g_str_equal(type, "array"))
        walk_array(walk, pointer, schema);
    else if (g_str_equal(type, "integer"))
        check_range(walk, pointer, schema);
    else if (g_str_equal(type, "string"))
        check_strings(walk, pointer, place, schema);
    else
        g_assert_cmpstr(type, ==, "boolean");
}

/* The names of the schema's members that no document had. */
static void
report_unvisited(Walk *walk, JsonObject *schema, GString *names)
{
    JsonObject *properties = gw_json_get_object(resolved(walk, schema), "properties");
    JsonObject *items = gw_json_get_object(schema, "items");
    JsonObjectIter iter;
    const char *name;
    JsonNode *member;
    if (items)
        report_unvisited(walk, items, names);
    if (!properties)
        return;
    json_object_iter_init_ordered(&iter, properties);
    while (json_object_iter_next_ordered(&iter, &name, &member)) {
        if (!g_hash_table_contains(walk->visited, member))
            g_string_append_printf(names, " %s", name);
        report_unvisited(walk, json_node_get_object(member), names);
    }
}

static void
test_schema_and_parser_agree(void)
{
    static const char *const documents[] = {"good-everything.json", "good-uefi-i440fx.json"};
    g_autofree char *text = read_test_file("../../docs/vm-config.schema.json");
    g_autoptr(JsonNode) schema = json_from(text);
    g_autoptr(GHashTable) visited = g_hash_table_new(NULL, NULL);
    g_autoptr(GString) unvisited = g_string_new(NULL);
    Walk walk = {schema, NULL, visited};
    for (guint i = 0; i < G_N_ELEMENTS(documents); i++) {
        g_autofree char *path = g_build_filename("data", "vm-config", documents[i], NULL);
        g_autofree char *document = read_test_file(path);
        walk.document = document;
        walk_schema(&walk, "", json_node_get_object(schema));
    }
    report_unvisited(&walk, json_node_get_object(schema), unvisited);
    g_assert_cmpstr(unvisited->str, ==, "");
}

static void
check_defaults(JsonNode *schema, const char *properties, const char *document, const char *place)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(document, -1, &error);
    g_assert_no_error(error);
    g_autoptr(JsonNode) canonical = gw_vm_config_to_json(config);
    JsonObject *canonical_object = json_node_get_object(json_at(canonical, place));
    JsonObjectIter iter;
    const char *name;
    JsonNode *member;
    guint n = 0;
    json_object_iter_init_ordered(&iter, json_node_get_object(json_at(schema, properties)));
    while (json_object_iter_next_ordered(&iter, &name, &member)) {
        JsonNode *fallback = json_object_get_member(json_node_get_object(member), "default");
        if (!fallback)
            continue;
        n++;
        if (!json_node_equal(fallback, json_object_get_member(canonical_object, name)))
            g_error("%s/%s: schema and parser have different defaults", place, name);
    }
    g_assert_cmpuint(n, >, 0);
}

/* A default of the schema is what the canonical document has where the member was left out. */
static void
test_defaults_agree(void)
{
    g_autofree char *text = read_test_file("../../docs/vm-config.schema.json");
    g_autoptr(JsonNode) schema = json_from(text);
    g_autofree char *minimal = read_test_file("data/vm-config/good-minimal.json");
    g_autofree char *disk =
        document_with(minimal, "/disks", "[{\"datastore\":\"d\",\"path\":\"p\",\"format\":\"raw\"}]");
    g_autofree char *nic =
        document_with(minimal, "/nics", "[{\"port_group\":\"p\",\"mac\":\"52:54:00:12:34:56\"}]");
    check_defaults(schema, "/properties", minimal, "");
    check_defaults(schema, "/properties/disks/items/properties", disk, "/disks/0");
    check_defaults(schema, "/properties/nics/items/properties", nic, "/nics/0");
}

static void
test_documentation(void)
{
    g_autofree char *text = read_test_file("../../docs/vm-config.md");
    g_auto(GStrv) blocks = g_strsplit(text, "\n```json\n", -1);
    g_assert_cmpuint(g_strv_length(blocks), ==, 3);
    for (guint i = 1; blocks[i]; i++) {
        *strstr(blocks[i], "\n```\n") = '\0';
        g_autofree char *report = report_of(blocks[i]);
        g_assert_cmpstr(report, ==, "");
    }

    g_autofree char *again = read_test_file("../../docs/vm-config.md");
    g_autofree char *report = read_test_file("data/vm-config/bad-five-errors.txt");
    g_assert_nonnull(strstr(again, report));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm-config/schema-and-parser-agree", test_schema_and_parser_agree);
    g_test_add_func("/vm-config/defaults-agree", test_defaults_agree);
    g_test_add_func("/vm-config/documentation", test_documentation);
    return g_test_run();
}
