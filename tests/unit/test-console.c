/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A serial port against a socket pair: output kept and told, the end of it when it is much, input, QEMU's
 * end. */
#include "console.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *directory, *path;
    GwConsole *console;
    int guest; /* the other end; -1: closed */
    GByteArray *followed;
} Fixture;

static void
follow(const char *data, size_t length, void *user_data)
{
    Fixture *f = user_data;
    g_byte_array_append(f->followed, (const guint8 *)data, (guint)length);
}

static void
attach(Fixture *f)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==, 0);
    gw_console_attach(f->console, pair[0]);
    f->guest = pair[1];
}

static void
open_console(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->console = gw_console_new(f->path, follow, f, &error);
    g_assert_no_error(error);
}

static void
set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    *f = (Fixture){.guest = -1, .followed = g_byte_array_new()};
    f->directory = g_dir_make_tmp("godwit-console-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->directory, "console0.log", NULL);
    open_console(f);
}

static void
hang_up(Fixture *f)
{
    if (f->guest >= 0)
        close(g_steal_fd(&f->guest));
}

static void
tear_down(Fixture *f)
{
    hang_up(f);
    gw_console_free(f->console);
    g_unlink(f->path);
    g_assert_cmpint(g_rmdir(f->directory), ==, 0);
    g_byte_array_unref(f->followed);
    g_free(f->path);
    g_free(f->directory);
}

static void
run_until_followed(const Fixture *f, guint n)
{
    while (f->followed->len < n)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpuint(f->followed->len, ==, n);
}

/* The guest writes, the console reads. */
static void
say(Fixture *f, const void *data, size_t length)
{
    guint before = f->followed->len;
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(f->guest, (const char *)data + sent, length - sent, MSG_NOSIGNAL);
        g_assert_true(n > 0 || errno == EAGAIN);
        sent += (size_t)MAX(n, 0);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    run_until_followed(f, before + (guint)length);
}

static void
assert_read(const Fixture *f, guint64 from, guint64 expected_from, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = gw_console_read(f->console, &from, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(from, ==, expected_from);
    g_assert_cmpmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), expected, strlen(expected));
}

static void
test_output(void)
{
    Fixture f;
    struct stat st;
    set_up(&f);
    assert_read(&f, 0, 0, "");
    attach(&f);
    say(&f, "login: ", 7);
    say(&f, "root\r\n", 6);
    g_assert_cmpmem(f.followed->data, f.followed->len, "login: root\r\n", 13);
    assert_read(&f, 0, 0, "login: root\r\n");
    assert_read(&f, 7, 7, "root\r\n");
    assert_read(&f, 12, 12, "\n");
    assert_read(&f, 13, 13, "");
    assert_read(&f, 14, 13, ""); /* not beyond the end */
    assert_read(&f, G_MAXUINT64, 13, "");
    say(&f, "#", 1);
    assert_read(&f, 13, 13, "#");
    g_assert_cmpint(stat(f.path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint((int)st.st_size, ==, 14);
    tear_down(&f);
}

/* A supervisor that takes over goes on where the file ends. */
static void
test_opened_again(void)
{
    Fixture f;
    set_up(&f);
    attach(&f);
    say(&f, "first ", 6);
    g_clear_pointer(&f.console, gw_console_free);
    char byte;
    g_assert_cmpint((int)recv(f.guest, &byte, 1, 0), ==, 0); /* our end is closed */
    hang_up(&f);
    open_console(&f);
    assert_read(&f, 0, 0, "first ");
    attach(&f);
    say(&f, "second", 6);
    assert_read(&f, 0, 0, "first second");
    assert_read(&f, 6, 6, "second");
    gw_console_free(NULL);
    tear_down(&f);
}

/* The byte that stands at a position of the pattern. */
static char
pattern_at(guint64 position)
{
    return (char)('!' + (position * 2654435761u >> 16) % 90);
}

static void
say_pattern(Fixture *f, guint64 from, size_t length)
{
    g_autofree char *data = g_malloc(length);
    for (size_t i = 0; i < length; i++)
        data[i] = pattern_at(from + i);
    say(f, data, length);
}

/* What is kept is the end of `total` bytes, at least GW_CONSOLE_KEPT of them and less than twice as many. */
static void
assert_kept(const Fixture *f, guint64 total)
{
    g_autoptr(GError) error = NULL;
    guint64 from = 0;
    g_autoptr(GBytes) bytes = gw_console_read(f->console, &from, &error);
    g_assert_no_error(error);
    gsize length;
    const char *data = g_bytes_get_data(bytes, &length);
    struct stat st;
    g_assert_cmpint(stat(f->path, &st), ==, 0);
    g_assert_cmpuint((guint64)st.st_size, ==, length);
    g_assert_cmpuint(from + length, ==, total);
    g_assert_cmpuint(length, >=, MIN(total, GW_CONSOLE_KEPT));
    g_assert_cmpuint(length, <, 2 * GW_CONSOLE_KEPT);
    for (gsize i = 0; i < length; i++)
        if (data[i] != pattern_at(from + i))
            g_error("byte %" G_GUINT64_FORMAT " of the console is another", from + i);
}

static void
test_much_output(void)
{
    static const size_t pieces[] = {
        1, GW_CONSOLE_KEPT - 1, GW_CONSOLE_KEPT - 1, 1, 1, 4095, 700000, 1500000, GW_CONSOLE_KEPT, 17, 1};
    Fixture f;
    guint64 total = 0;
    set_up(&f);
    attach(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        say_pattern(&f, total, pieces[i]);
        total += pieces[i];
        assert_kept(&f, total);
    }
    for (guint64 i = 0; i < total; i++)
        g_assert_cmpint(f.followed->data[i], ==, pattern_at(i)); /* the follower got all of it */

    /* A reader whose place is gone goes on at the oldest byte. */
    guint64 oldest = 0, old = 1, place = total - 100;
    g_autoptr(GBytes) all = gw_console_read(f.console, &oldest, NULL);
    g_autoptr(GBytes) same = gw_console_read(f.console, &old, NULL);
    g_assert_cmpuint(oldest, >, 0);
    g_assert_cmpuint(old, ==, oldest);
    g_assert_true(g_bytes_equal(all, same));
    g_autoptr(GBytes) end = gw_console_read(f.console, &place, NULL);
    g_assert_cmpuint(place, ==, total - 100);
    g_assert_cmpuint(g_bytes_get_size(end), ==, 100);
    tear_down(&f);
}

static void
test_input(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    char typed[16] = "";
    set_up(&f);
    g_assert_false(gw_console_write(f.console, "x", 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_assert_cmpstr(error->message, ==, "the VM is off: nobody reads this console");
    g_clear_error(&error);
    attach(&f);
    g_assert_true(gw_console_write(f.console, "ls\r", 3, &error));
    g_assert_true(gw_console_write(f.console, "\0\x1b", 2, &error));
    g_assert_no_error(error);
    g_assert_cmpint((int)recv(f.guest, typed, sizeof typed, 0), ==, 5);
    g_assert_cmpmem(typed, 5, "ls\r\0\x1b", 5);
    assert_read(&f, 0, 0, ""); /* it is the guest that echoes */
    tear_down(&f);
}

/* A guest that does not read its port holds up nobody. */
static void
test_input_not_taken(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *much = g_strnfill(1 << 20, 'x');
    Fixture f;
    set_up(&f);
    attach(&f);
    for (unsigned i = 0; i < 64 && gw_console_write(f.console, much, 1 << 20, &error); i++)
        ;
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_assert_true(g_regex_match_simple("^the guest took \\d+ of 1048576 bytes: it does not read its console$",
                                       error->message, 0, 0));
    say(&f, "still there", 11);
    assert_read(&f, 0, 0, "still there");
    tear_down(&f);
}

static void
test_qemu_ends(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    attach(&f);
    g_assert_cmpint((int)send(f.guest, "last words", 10, 0), ==, 10);
    hang_up(&f); /* before anything was read */
    run_until_followed(&f, 10);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    assert_read(&f, 0, 0, "last words");
    g_assert_false(gw_console_write(f.console, "x", 1, &error));
    g_assert_cmpstr(error->message, ==, "the VM is off: nobody reads this console");

    attach(&f); /* the next QEMU */
    say(&f, "; reborn", 8);
    assert_read(&f, 0, 0, "last words; reborn");
    g_assert_true(gw_console_write(f.console, "x", 1, NULL));
    tear_down(&f);
}

/* Its end was not noticed yet: SIGPIPE must not end us. */
static void
test_write_to_the_dead(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    attach(&f);
    hang_up(&f);
    g_assert_false(gw_console_write(f.console, "x", 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    tear_down(&f);
}

/* One socket at a time: the former one is let go. */
static void
test_attached_twice(void)
{
    Fixture f;
    char byte;
    set_up(&f);
    attach(&f);
    int former = f.guest;
    attach(&f);
    g_assert_cmpint((int)recv(former, &byte, 1, 0), ==, 0);
    close(former);
    say(&f, "new", 3);
    assert_read(&f, 0, 0, "new");
    tear_down(&f);
}

static void
test_without_follower(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    int pair[2];
    set_up(&f);
    g_clear_pointer(&f.console, gw_console_free);
    f.console = gw_console_new(f.path, NULL, NULL, &error);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    gw_console_attach(f.console, pair[0]);
    g_assert_cmpint((int)send(pair[1], "x", 1, 0), ==, 1);
    g_main_context_iteration(NULL, TRUE);
    assert_read(&f, 0, 0, "x");
    close(pair[1]);
    tear_down(&f);

    g_assert_null(gw_console_new("/proc/absent/log", NULL, NULL, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, "opening /proc/absent/log: No such file or directory");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/console/output", test_output);
    g_test_add_func("/console/opened-again", test_opened_again);
    g_test_add_func("/console/much-output", test_much_output);
    g_test_add_func("/console/input", test_input);
    g_test_add_func("/console/input/not-taken", test_input_not_taken);
    g_test_add_func("/console/qemu-ends", test_qemu_ends);
    g_test_add_func("/console/write-to-the-dead", test_write_to_the_dead);
    g_test_add_func("/console/attached-twice", test_attached_twice);
    g_test_add_func("/console/without-follower", test_without_follower);
    return g_test_run();
}
