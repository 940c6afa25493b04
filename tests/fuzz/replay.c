/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gives a fuzz target each file of its corpus, as a test each: what was found once stays found. */
#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
replay(gconstpointer path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gsize length = 0;
    g_file_get_contents(path, &text, &length, &error);
    g_assert_no_error(error);
    /* without the NUL that GLib puts behind it, so that a sanitizer sees who relies on one */
    g_autofree uint8_t *exact = g_malloc(MAX(length, 1));
    memcpy(exact, text, length);
    LLVMFuzzerTestOneInput(exact, length);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(argc, ==, 2);
    g_autoptr(GDir) corpus = g_dir_open(argv[1], 0, &error);
    g_assert_no_error(error);
    unsigned n_files = 0;
    for (const char *name; (name = g_dir_read_name(corpus)); n_files++) {
        g_autofree char *path = g_strdup_printf("/corpus/%s", name);
        g_test_add_data_func_full(path, g_build_filename(argv[1], name, NULL), replay, g_free);
    }
    g_assert_cmpuint(n_files, >, 0);
    return g_test_run();
}
