/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of a VM: setup.json there and back, NAME=VALUE options, and files that stay in datastores.
 */
#include "vm-setup.h"

#include "error.h"
#include "json.h"
#include "vm-config-util.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- options ------------------------------------------------------------------------------------------ */

static void
test_add(void)
{
    static const struct {
        const char *assignment, *name, *value;
    } cases[] = {
        {"ds1=/srv/vm", "ds1", "/srv/vm"},
        {"ds1=/srv/other", "ds1", "/srv/other"}, /* the last one counts */
        {"a=b=c", "a", "b=c"},
        {"with space=x y", "with space", "x y"},
        {"a==", "a", "="},
    };
    g_autoptr(GwVmSetup) setup = gw_vm_setup_new();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(gw_vm_setup_add(setup->datastores, "--datastore", cases[i].assignment, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(g_hash_table_lookup(setup->datastores, cases[i].name), ==, cases[i].value);
    }
    g_assert_cmpuint(g_hash_table_size(setup->datastores), ==, 3);
    g_assert_cmpuint(g_hash_table_size(setup->port_groups), ==, 0);
}

static void
test_add_fails(void)
{
    static const char *const bad[] = {"", "=", "name", "name=", "=value"};
    g_autoptr(GwVmSetup) setup = gw_vm_setup_new();
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf("--port-group: got '%s', expected NAME=VALUE", bad[i]);
        g_assert_false(gw_vm_setup_add(setup->port_groups, "--port-group", bad[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_cmpstr(error->message, ==, text);
    }
    g_assert_cmpuint(g_hash_table_size(setup->port_groups), ==, 0);
}

/* --- setup.json --------------------------------------------------------------------------------------- */

static GwVmSetup *
full_setup(void)
{
    GwVmSetup *setup = gw_vm_setup_new();
    setup->runtime_dir = g_strdup("/run/godwit");
    setup->qemu_binary = g_strdup("/opt/a \"quoted\" place/qemu");
    setup->qemu_user = g_strdup("godwit-qemu");
    setup->preload_library = g_strdup("/usr/lib/grün/handover.so");
    setup->uefi_code = g_strdup("/usr/share/OVMF/code\n.fd");
    g_assert_true(gw_vm_setup_add(setup->datastores, "x", "ds1=/srv/vm images", NULL));
    g_assert_true(gw_vm_setup_add(setup->datastores, "x", "d\"s,2=/mnt", NULL));
    g_assert_true(gw_vm_setup_add(setup->port_groups, "x", "Prod, \"blue\"=br0", NULL));
    return setup;
}

static void
assert_same_table(GHashTable *got, GHashTable *expected)
{
    GHashTableIter iter;
    void *name, *value;
    g_assert_cmpuint(g_hash_table_size(got), ==, g_hash_table_size(expected));
    g_hash_table_iter_init(&iter, expected);
    while (g_hash_table_iter_next(&iter, &name, &value))
        g_assert_cmpstr(g_hash_table_lookup(got, name), ==, value);
}

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmSetup) setup = full_setup();
    g_autofree char *text = gw_vm_setup_to_text(setup);
    g_autoptr(GwVmSetup) parsed = gw_vm_setup_parse(text, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(parsed->runtime_dir, ==, setup->runtime_dir);
    g_assert_cmpstr(parsed->qemu_binary, ==, setup->qemu_binary);
    g_assert_cmpstr(parsed->qemu_user, ==, setup->qemu_user);
    g_assert_cmpstr(parsed->preload_library, ==, setup->preload_library);
    g_assert_cmpstr(parsed->uefi_code, ==, setup->uefi_code);
    assert_same_table(parsed->datastores, setup->datastores);
    assert_same_table(parsed->port_groups, setup->port_groups);
}

static void
assert_parse_fails(const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_vm_setup_parse(text, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    if (message)
        g_assert_cmpstr(error->message, ==, message);
}

static void
test_parse_fails(void)
{
    static const char *const members[] = {"runtime_dir", "qemu_binary", "qemu_user", "preload_library",
                                          "uefi_code"};
    g_autoptr(GwVmSetup) setup = full_setup();
    g_autofree char *text = gw_vm_setup_to_text(setup);
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        g_autofree char *pointer = g_strconcat("/", members[i], NULL);
        g_autofree char *without = document_with(text, pointer, NULL);
        g_autofree char *wrong = document_with(text, pointer, "7");
        g_autofree char *message = g_strdup_printf("no '%s'", members[i]);
        assert_parse_fails(without, message);
        assert_parse_fails(wrong, message);
    }
    assert_parse_fails("", NULL);
    assert_parse_fails("[]", NULL);
    assert_parse_fails("{\"runtime_dir\":", NULL);
    gw_vm_setup_free(NULL);
}

/* What is no string, or no table, names no place. */
static void
test_parse_tables(void)
{
    static const char *const tables[] = {"{}", "[\"ds1=/srv\"]", "null", "{\"ds1\":7,\"ds2\":null}"};
    g_autoptr(GwVmSetup) setup = full_setup();
    g_autofree char *text = gw_vm_setup_to_text(setup);
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *changed = document_with(text, "/datastores", tables[i]);
        g_autoptr(GwVmSetup) parsed = gw_vm_setup_parse(changed, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(g_hash_table_size(parsed->datastores), ==, 0);
        g_assert_cmpuint(g_hash_table_size(parsed->port_groups), ==, 1);
    }
}

/* --- files of datastores ------------------------------------------------------------------------------ */

typedef struct {
    char *top, *outside;
    GwVmSetup *setup;
} Fixture;

/* outside; ds/disk, ds/sub/disk, and links of every kind */
static void
set_up(Fixture *f)
{
    static const struct {
        const char *path, *target; /* NULL: a file that holds its own path; "": a directory */
    } entries[] = {
        {"outside", NULL},
        {"ds", ""},
        {"ds/disk", NULL},
        {"ds/sub", ""},
        {"ds/sub/disk", NULL},
        {"ds/link", "sub/disk"},
        {"ds/sub/up-and-down", "../disk"},
        {"ds/out", "../outside"},
        {"ds/sub/out", "../../outside"},
        {"ds/out-and-back", "../ds/disk"},
        {"ds/absolute", "/etc/passwd"},
        {"ds/root", "/"},
        {"ds/magic", "/proc/self/exe"},
        {"ds/loop", "loop"},
        {"ds/dangling", "absent"},
    };
    g_autoptr(GError) error = NULL;
    f->top = g_dir_make_tmp("godwit-setup-XXXXXX", &error);
    g_assert_no_error(error);
    f->outside = g_build_filename(f->top, "outside", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        g_autofree char *path = g_build_filename(f->top, entries[i].path, NULL);
        if (!entries[i].target)
            g_assert_true(g_file_set_contents(path, entries[i].path, -1, NULL));
        else if (*entries[i].target)
            g_assert_cmpint(symlink(entries[i].target, path), ==, 0);
        else
            g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    }
    f->setup = gw_vm_setup_new();
    g_autofree char *store = g_strdup_printf("ds1=%s/ds", f->top);
    g_assert_true(gw_vm_setup_add(f->setup->datastores, "x", store, NULL));
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        remove_tree(entry);
    }
    g_assert_cmpint(g_remove(path), ==, 0);
}

static void
tear_down(Fixture *f)
{
    remove_tree(f->top);
    gw_vm_setup_free(f->setup);
    g_free(f->outside);
    g_free(f->top);
}

static int
open_file(const Fixture *f, const char *datastore, const char *path, int flags, GError **error)
{
    GwFileRef file = {(char *)(uintptr_t)datastore, (char *)(uintptr_t)path};
    return gw_vm_setup_open(f->setup, &file, flags, error);
}

static void
test_open(void)
{
    static const struct {
        const char *path, *content;
    } cases[] = {{"disk", "ds/disk"},
                 {"sub/disk", "ds/sub/disk"},
                 {"link", "ds/sub/disk"},
                 {"sub/up-and-down", "ds/disk"}}; /* which does not leave it */
    Fixture f;
    set_up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        char text[64] = "";
        int fd = open_file(&f, "ds1", cases[i].path, O_RDONLY, &error);
        g_assert_no_error(error);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
        g_assert_cmpint((int)read(fd, text, sizeof text - 1), ==, (int)strlen(cases[i].content));
        g_assert_cmpstr(text, ==, cases[i].content);
        close(fd);
    }
    g_autoptr(GError) error = NULL;
    int fd = open_file(&f, "ds1", "disk", O_RDWR, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDWR);
    close(fd);
    tear_down(&f);
}

static void
test_open_leads_out(void)
{
    static const char *const paths[] = {"out",      "sub/out",      "out-and-back",       "absolute",
                                        "root/etc", "../outside",   "sub/../../outside",  "/etc/passwd",
                                        "..",       "sub/../../..", "absolute/../../disk"};
    Fixture f;
    set_up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf("%s leads out of datastore 'ds1'", paths[i]);
        g_assert_cmpint(open_file(&f, "ds1", paths[i], O_RDONLY, &error), ==, -1);
        g_assert_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
        g_assert_cmpstr(error->message, ==, text);
    }
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(open_file(&f, "ds1", "magic", O_RDONLY, &error), ==, -1);
    g_assert_nonnull(error);
    tear_down(&f);
}

/* What the kernel refuses last, the configuration refuses first. */
static void
test_parser_refuses_dots(void)
{
    static const char *const paths[] = {"../outside", "sub/../../outside", "..",
                                        "a/..",       "/etc/passwd",       "./a"};
    static const char minimal[] =
        "{\"name\":\"a\",\"uuid\":\"6f1c2d3e-0000-4000-8000-000000000001\",\"vcpus\":1,\"memory_mib\":64,"
        "\"machine\":\"pc-q35-7.2\",\"cpu_model\":\"qemu64\","
        "\"disks\":[{\"datastore\":\"ds1\",\"path\":\"disk\",\"format\":\"raw\"}]}";
    g_autofree char *good = report_of(minimal);
    g_assert_cmpstr(good, ==, "");
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *value = g_strdup_printf("\"%s\"", paths[i]);
        g_autofree char *changed = document_with(minimal, "/disks/0/path", value);
        g_autofree char *report = report_of(changed);
        g_autofree char *finding = finding_at(report, "/disks/0/path");
        g_assert_nonnull(finding);
    }
}

static void
test_open_fails(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    g_assert_cmpint(open_file(&f, "ds9", "a/disk", O_RDONLY, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpstr(
        error->message, ==,
        "datastore 'ds9' (wanted for a/disk) is not on this host; --datastore ds9=DIRECTORY names it");
    g_clear_error(&error);

    g_autofree char *absent =
        g_strdup_printf("%s in datastore 'ds1' (%s/ds): No such file or directory", "absent", f.top);
    g_assert_cmpint(open_file(&f, "ds1", "absent", O_RDONLY, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==, absent);
    g_clear_error(&error);
    g_assert_cmpint(open_file(&f, "ds1", "dangling", O_RDONLY, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_cmpint(open_file(&f, "ds1", "loop", O_RDONLY, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_clear_error(&error);
    g_assert_cmpint(open_file(&f, "ds1", "sub", O_RDWR, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_clear_error(&error);

    g_assert_true(gw_vm_setup_add(f.setup->datastores, "x", "gone=/proc/absent", NULL));
    g_assert_cmpint(open_file(&f, "gone", "disk", O_RDONLY, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==, "datastore 'gone': /proc/absent: No such file or directory");
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm-setup/add", test_add);
    g_test_add_func("/vm-setup/add/fails", test_add_fails);
    g_test_add_func("/vm-setup/round-trip", test_round_trip);
    g_test_add_func("/vm-setup/parse/fails", test_parse_fails);
    g_test_add_func("/vm-setup/parse/tables", test_parse_tables);
    g_test_add_func("/vm-setup/open", test_open);
    g_test_add_func("/vm-setup/open/leads-out", test_open_leads_out);
    g_test_add_func("/vm-setup/open/parser-refuses-dots", test_parser_refuses_dots);
    g_test_add_func("/vm-setup/open/fails", test_open_fails);
    return g_test_run();
}
