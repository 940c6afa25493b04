/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standing still at a step: the one that is named, by the environment or in the file, and until it is let go.
 */
#include "hold.h"

#include <glib.h>
#include <glib/gstdio.h>

static char *file, *reached;

static bool
end_once_reached(void *user_data)
{
    unsigned *n_asked = user_data;
    g_assert_true(g_file_test(reached, G_FILE_TEST_EXISTS));
    return ++*n_asked == 3;
}

static void *
let_go_once_reached(void *user_data)
{
    while (!g_file_test(reached, G_FILE_TEST_EXISTS))
        g_usleep(100);
    g_remove(file);
    return NULL;
}

static void
test_named_by_the_environment(void)
{
    g_setenv("GW_TEST_HOLD", "before-go", TRUE);
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    unsigned n_asked = 0;
    gw_hold("GW_TEST", "after-go", end_once_reached, &n_asked);
    g_assert_cmpuint(n_asked, ==, 0);
    gw_hold("GW_TEST", "before-go", end_once_reached, &n_asked);
    g_assert_cmpuint(n_asked, ==, 3);
    g_assert_false(g_file_test(reached, G_FILE_TEST_EXISTS));
    g_unsetenv("GW_TEST_HOLD");
}

static void
test_named_in_the_file(void)
{
    unsigned n_asked = 0;
    g_assert_true(g_file_set_contents(file, "copy\n", -1, NULL));
    gw_hold("GW_TEST", "record", end_once_reached, &n_asked);
    g_assert_cmpuint(n_asked, ==, 0);
    GThread *other = g_thread_new("let-go", let_go_once_reached, NULL);
    gw_hold("GW_TEST", "copy", NULL, NULL);
    g_thread_join(other);
    g_assert_false(g_file_test(reached, G_FILE_TEST_EXISTS));
    gw_hold("GW_TEST", "copy", end_once_reached, &n_asked); /* no file any more */
    g_assert_cmpuint(n_asked, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autofree char *directory = g_dir_make_tmp("godwit-hold-XXXXXX", NULL);
    file = g_build_filename(directory, "hold", NULL);
    reached = g_strconcat(file, ".reached", NULL);
    g_setenv("GW_TEST_HOLD_FILE", file, TRUE);
    g_test_add_func("/hold/named-by-the-environment", test_named_by_the_environment);
    g_test_add_func("/hold/named-in-the-file", test_named_in_the_file);
    int status = g_test_run();
    g_remove(file);
    g_rmdir(directory);
    g_free(file);
    g_free(reached);
    return status;
}
