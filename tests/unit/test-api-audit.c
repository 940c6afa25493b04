/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a request gets into the audit log. */
#include "api-internal.h"
#include "json.h"

#include <string.h>

static char *
details(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return gw_audit_details(body);
}

static void
test_details(void)
{
    static const struct {
        const char *body, *details;
    } cases[] = {
        {"{}", NULL},
        {"{\"reason\": \"why\"}", NULL}, /* has a place of its own */
        {"{\"password\": \"p\", \"old_password\": \"o\", \"token\": \"t\"}", NULL},
        {"{\"to\": \"host2\", \"tls\": false, \"reason\": \"why\"}", "{\"to\":\"host2\",\"tls\":false}"},
        {"{\"user\": \"bob\", \"password\": {\"a\": 1}}", "{\"user\":\"bob\"}"},
        {"{\"config\": {\"name\": \"x\", \"password\": \"p\", \"vcpus\": 1}}",
         "{\"config\":{\"name\":\"x\",\"vcpus\":1}}"},
        {"{\"name\": \"h\", \"request\": \"-----BEGIN\"}", "{\"name\":\"h\"}"},
        {"{\"overrides\": [\"a\", null]}", "{\"overrides\":[\"a\",null]}"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *got = details(cases[i].body);
        g_assert_cmpstr(got, ==, cases[i].details);
    }
}

/* In a list, too: nobody says that a body has only one level. */
static void
test_secrets_in_lists(void)
{
    g_autofree char *got =
        details("{\"users\": [{\"name\": \"a\", \"password\": \"p\"}, [{\"token\": \"t\"}]]}");
    g_assert_cmpstr(got, ==, "{\"users\":[{\"name\":\"a\"},[{}]]}");
}

static void
test_too_large(void)
{
    g_autofree char *filler = g_strnfill(70000, 'x');
    g_autofree char *body = g_strdup_printf("{\"config\": {\"description\": \"%s\"}}", filler);
    g_autofree char *got = details(body);
    g_assert_true(g_str_has_prefix(got, "{\"left_out\":\"70"));
    g_assert_cmpuint(strlen(got), <, 100);
}

/* Each route that changes something has a name in the log, and none has two. */
static void
test_routes(void)
{
    g_autoptr(GHashTable) actions = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < gw_api_n_routes; i++) {
        const GwRoute *route = &gw_api_routes[i];
        g_assert_nonnull(route->work);
        if (route->action)
            g_assert_true(g_hash_table_add(actions, (void *)route->action));
        bool changes = strcmp(route->method, "GET") != 0 && !g_str_has_suffix(route->pattern, "/check");
        g_assert_true(changes == (route->action != NULL));
        if (route->access == GW_ACCESS_OPEN)
            g_assert_false(route->begin);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/api-audit/details", test_details);
    g_test_add_func("/api-audit/secrets-in-lists", test_secrets_in_lists);
    g_test_add_func("/api-audit/too-large", test_too_large);
    g_test_add_func("/api-audit/routes", test_routes);
    return g_test_run();
}
