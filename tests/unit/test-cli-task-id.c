/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks by the beginnings of their ids. */
#include "error.h"
#include "json.h"
#include "task-id.h"

#define A "task-3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70"
#define B "task-3f0d9a52-7b1e-4d58-8f43-0a6c2b9d1e70"

static void
test_short(void)
{
    g_autofree char *of_uuid = gw_task_id_short(A), *other = gw_task_id_short("t-7"),
                    *none = gw_task_id_short("");
    g_assert_cmpstr(of_uuid, ==, "3f0c9a52");
    g_assert_cmpstr(other, ==, "t-7");
    g_assert_cmpstr(none, ==, "");
}

static void
test_match(void)
{
    static const struct {
        const char *text, *id;
        int code;
    } cases[] = {
        {"3f0c9a52", A, 0},
        {"task-3f0d", B, 0},
        {"3f0d", B, 0},
        {A, A, 0},
        {"t-7", "t-7", 0},
        {"3f", NULL, GW_ERROR_INVALID_ARGUMENT},
        {"task", NULL, GW_ERROR_INVALID_ARGUMENT},
        {"9", NULL, GW_ERROR_NOT_FOUND},
        {"t-71", NULL, GW_ERROR_NOT_FOUND},
    };
    g_autoptr(JsonObject) tasks = gw_json_parse_object(
        "{\"tasks\":[{\"id\":\"" A "\"},{\"id\":\"" B "\"},{\"id\":\"t-7\"},{\"id\":7},{},null]}", -1, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *id = gw_task_id_match(tasks, cases[i].text, &error);
        g_assert_cmpstr(id, ==, cases[i].id);
        if (!cases[i].id)
            g_assert_error(error, GW_ERROR, cases[i].code);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli-task-id/short", test_short);
    g_test_add_func("/cli-task-id/match", test_match);
    return g_test_run();
}
