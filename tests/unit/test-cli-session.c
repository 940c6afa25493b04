/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The session's file and what overrides it; centers' URLs. */
#include "center-url.h"
#include "error.h"
#include "session.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
test_urls(void)
{
    static const struct {
        const char *given, *text, *host;
        unsigned port;
    } cases[] = {
        {"https://center.example:7440", "https://center.example:7440", "center.example", 7440},
        {"https://Center.example/", "https://center.example:7440", "center.example", 7440},
        {"center", "https://center:7440", "center", 7440},
        {"10.70.0.254:8000", "https://10.70.0.254:8000", "10.70.0.254", 8000},
        {"https://[fd00::1]:9", "https://[fd00::1]:9", "fd00::1", 9},
    };
    static const char *const wrong[] = {
        "",        "http://center",       "https://",      "https://u@center",
        "unix:",   "https://center/path", "https://c?x=1", "https://center:0x",
        "ftp://x", "https://center:99999"};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GwCenterUrl) url = gw_center_url_parse(cases[i].given, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(url->text, ==, cases[i].text);
        g_assert_cmpstr(url->host, ==, cases[i].host);
        g_assert_cmpuint(url->port, ==, cases[i].port);
        g_assert_null(url->socket);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(gw_center_url_parse(wrong[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    }
    g_autoptr(GwCenterUrl) local = gw_center_url_parse("unix:/run/x.sock", NULL);
    g_assert_cmpstr(local->socket, ==, "/run/x.sock");
    g_assert_null(local->host);
}

typedef struct {
    char *home, *path;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    f->home = g_strdup(g_getenv("XDG_CONFIG_HOME"));
    f->path = gw_session_path();
    g_assert_true(g_str_has_prefix(f->path, f->home));
    g_unsetenv("GODWIT_CENTER");
    g_unsetenv("GODWIT_TOKEN");
    g_unsetenv("GODWIT_CA");
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    g_autofree char *directory = g_path_get_dirname(f->path);
    g_unlink(f->path);
    g_rmdir(directory);
    g_free(f->path);
    g_free(f->home);
}

static void
save(const Fixture *f, const char *center)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwSession) session = gw_session_new(center);
    session->ca = g_strdup("PEM\n");
    session->token = g_strdup("secret");
    session->user = g_strdup("ops");
    session->role = g_strdup("operator");
    session->expires = g_strdup("2026-11-27T00:00:00Z");
    gw_session_save(session, f->path, &error);
    g_assert_no_error(error);
}

static void
test_file(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct stat status;
    umask(0);
    save(f, "https://center:7440");
    g_assert_cmpint(g_stat(f->path, &status), ==, 0);
    g_assert_cmpint((int)(status.st_mode & 0777), ==, 0600);
    g_autofree char *directory = g_path_get_dirname(f->path);
    g_assert_cmpint(g_stat(directory, &status), ==, 0);
    g_assert_cmpint((int)(status.st_mode & 0777), ==, 0700);
    g_autoptr(GwSession) session = gw_session_load(f->path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(session->center, ==, "https://center:7440");
    g_assert_cmpstr(session->ca, ==, "PEM\n");
    g_assert_cmpstr(session->token, ==, "secret");
    g_assert_cmpstr(session->role, ==, "operator");
    g_assert_true(gw_session_remove(f->path, &error));
    g_assert_true(gw_session_remove(f->path, &error));
    g_assert_null(gw_session_load(f->path, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
}

/* Who follows the old file reads all of it: the new one is another file, of which nothing else is left. */
static void
test_atomic(Fixture *f, gconstpointer data)
{
    struct stat before, after;
    save(f, "https://one:7440");
    g_autofree char *directory = g_path_get_dirname(f->path);
    g_stat(f->path, &before);
    g_autofree char *text = NULL;
    FILE *old = fopen(f->path, "re");
    save(f, "https://two:7440");
    g_stat(f->path, &after);
    g_assert_true(before.st_ino != after.st_ino);
    char line[256] = "";
    g_assert_nonnull(fgets(line, sizeof line, old));
    g_assert_nonnull(fgets(line, sizeof line, old));
    g_assert_nonnull(strstr(line, "https://one:7440"));
    fclose(old);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    g_assert_cmpuint(n, ==, 1);
}

static void
test_open_to_others(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    save(f, "https://center:7440");
    g_chmod(f->path, 0640);
    g_assert_null(gw_session_load(f->path, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED);
}

static void
test_damaged(Fixture *f, gconstpointer data)
{
    static const char *const texts[] = {
        "", "{", "[]", "{\"center\":7}", "{\"token\":\"x\"}", "\xff\xfe", "{\"center\":\"http://plain\"}"};
    save(f, "https://center:7440");
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_file_set_contents_full(f->path, texts[i], -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL);
        g_assert_null(gw_session_load(f->path, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, "is damaged"));
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_session_find(&error)); /* not taken for "not logged in" */
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_setenv("GODWIT_CENTER", "https://other", TRUE); /* and not in the way of who does not need it */
    g_autoptr(GwSession) other = gw_session_find(NULL);
    g_assert_cmpstr(other->center, ==, "https://other:7440");
}

/* A token never goes to a center that did not give it. */
static void
test_environment(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    save(f, "https://center:7440");
    g_autoptr(GwSession) stored = gw_session_find(&error);
    g_assert_cmpstr(stored->token, ==, "secret");

    g_setenv("GODWIT_CENTER", "https://CENTER", TRUE);
    g_autoptr(GwSession) same = gw_session_find(&error);
    g_assert_cmpstr(same->token, ==, "secret");
    g_assert_cmpstr(same->ca, ==, "PEM\n");

    g_setenv("GODWIT_CENTER", "https://evil", TRUE);
    g_autoptr(GwSession) other = gw_session_find(&error);
    g_assert_null(other->token);
    g_assert_null(other->ca);
    g_assert_null(gw_session_connect(other, 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED);
    g_clear_error(&error);

    g_setenv("GODWIT_TOKEN", "mine", TRUE);
    g_setenv("GODWIT_CA", f->path, TRUE);
    g_autoptr(GwSession) own = gw_session_find(&error);
    g_assert_cmpstr(own->token, ==, "mine");
    g_assert_nonnull(strstr(own->ca, "https://center:7440"));
    g_assert_null(own->user);

    g_setenv("GODWIT_CA", "/nonexistent", TRUE);
    g_assert_null(gw_session_find(&error));
    g_assert_nonnull(strstr(error->message, "GODWIT_CA"));
}

int
main(int argc, char **argv)
{
    /* Before GLib has looked at it. */
    char home[] = "/tmp/godwit-session-XXXXXX";
    if (!mkdtemp(home))
        return 1;
    setenv("XDG_CONFIG_HOME", home, 1);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli-session/urls", test_urls);
    g_test_add("/cli-session/file", Fixture, NULL, set_up, test_file, tear_down);
    g_test_add("/cli-session/atomic", Fixture, NULL, set_up, test_atomic, tear_down);
    g_test_add("/cli-session/open-to-others", Fixture, NULL, set_up, test_open_to_others, tear_down);
    g_test_add("/cli-session/damaged", Fixture, NULL, set_up, test_damaged, tear_down);
    g_test_add("/cli-session/environment", Fixture, NULL, set_up, test_environment, tear_down);
    int failed = g_test_run();
    rmdir(home);
    return failed;
}
