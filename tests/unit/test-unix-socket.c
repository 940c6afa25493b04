/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix sockets: paths of any length, modes, old and living sockets; descriptors received, and none leaked. */
#include "unix-socket.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned
n_open_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}

/* --- descriptors -------------------------------------------------------------------------------------- */

/* Sends `text` with copies of `fd`. */
static void
send_fds(int socket, const char *text, int fd, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control = {0};
    struct iovec io = {.iov_base = (char *)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    g_assert_cmpuint(n_fds, <=, 64);
    if (n_fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
    g_assert_cmpint((int)sendmsg(socket, &message, 0), ==, (int)strlen(text));
}

static void
test_receive_fds(void)
{
    static const struct {
        unsigned sent, received;
    } cases[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {7, 7}, {8, 8}, {9, 8}, {10, 8}, {64, 8}, {0, 0}};
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    int file = open("/dev/zero", O_RDONLY); /* without close-on-exec: that is the receiver's part */
    struct stat expected;
    g_assert_cmpint(fstat(file, &expected), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        unsigned before = n_open_fds(), n = 99;
        struct {
            int fds[GW_FDPASS_MAX];
            int behind;
        } room = {.behind = -17};
        char buffer[16] = "";
        send_fds(pair[0], "hello", file, cases[i].sent);
        ssize_t length = gw_fdpass_receive(pair[1], buffer, sizeof buffer, room.fds, &n, 0, &error);
        g_assert_no_error(error);
        g_assert_cmpint((int)length, ==, 5);
        g_assert_cmpstr(buffer, ==, "hello");
        g_assert_cmpuint(n, ==, cases[i].received);
        g_assert_cmpint(room.behind, ==, -17);
        g_assert_cmpuint(n_open_fds(), ==, before + n);
        for (unsigned k = 0; k < n; k++) {
            struct stat st;
            g_assert_cmpint(fstat(room.fds[k], &st), ==, 0);
            g_assert_cmpuint(st.st_rdev, ==, expected.st_rdev);
            g_assert_cmpint(fcntl(room.fds[k], F_GETFD), ==, FD_CLOEXEC);
            close(room.fds[k]);
        }
        g_assert_cmpuint(n_open_fds(), ==, before);
    }
    close(file);
    close(pair[0]);
    close(pair[1]);
}

/* One message at a time: the next one's descriptors stay with it. */
static void
test_receive_in_turn(void)
{
    g_autoptr(GError) error = NULL;
    int pair[2], fds[GW_FDPASS_MAX];
    unsigned n;
    char buffer[64] = "";
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    send_fds(pair[0], "one", pair[0], 1);
    send_fds(pair[0], "two", pair[0], 2);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, sizeof buffer, fds, &n, 0, &error), ==, 3);
    g_assert_cmpuint(n, ==, 1);
    close(fds[0]);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, 2, fds, &n, 0, &error), ==, 2);
    g_assert_cmpuint(n, ==, 2);
    close(fds[0]);
    close(fds[1]);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, sizeof buffer, fds, &n, 0, &error), ==, 1);
    g_assert_cmpuint(n, ==, 0);
    g_assert_no_error(error);
    close(pair[0]);
    close(pair[1]);
}

static void
test_receive_ends(void)
{
    g_autoptr(GError) error = NULL;
    int pair[2], fds[GW_FDPASS_MAX];
    unsigned n = 99;
    char buffer[8];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, sizeof buffer, fds, &n, 1, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpstr(error->message, ==, "no descriptors within 1 ms");
    g_assert_cmpuint(n, ==, 0);
    g_clear_error(&error);

    /* what was sent before the end still arrives */
    send_fds(pair[0], "x", pair[0], 1);
    close(pair[0]);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, sizeof buffer, fds, &n, -1, &error), ==, 1);
    g_assert_cmpuint(n, ==, 1);
    close(fds[0]);
    g_assert_cmpint((int)gw_fdpass_receive(pair[1], buffer, sizeof buffer, fds, &n, -1, &error), ==, 0);
    g_assert_no_error(error);
    g_assert_cmpuint(n, ==, 0);
    close(pair[1]);

    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    g_assert_cmpint((int)gw_fdpass_receive(file, buffer, sizeof buffer, fds, &n, 1, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpuint(n, ==, 0);
    close(file);
}

/* --- sockets at paths --------------------------------------------------------------------------------- */

typedef struct {
    char *directory, *path;
} Place;

/* A path longer than a sockaddr_un. */
static void
place_init(Place *self)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *top = g_dir_make_tmp("godwit-socket-XXXXXX", &error);
    g_assert_no_error(error);
    self->directory = g_strdup_printf("%s/%0120d", top, 0);
    g_assert_cmpint(g_mkdir(self->directory, 0700), ==, 0);
    self->path = g_build_filename(self->directory, "s.sock", NULL);
}

static void
place_clear(Place *self)
{
    g_autofree char *top = g_path_get_dirname(self->directory);
    g_unlink(self->path);
    g_assert_cmpint(g_rmdir(self->directory), ==, 0);
    g_assert_cmpint(g_rmdir(top), ==, 0);
    g_free(self->path);
    g_free(self->directory);
}

static void
assert_connected(int listening, int client)
{
    char byte = 0;
    int server = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    g_assert_cmpint(server, >=, 0);
    g_assert_cmpint((int)send(client, "x", 1, 0), ==, 1);
    g_assert_cmpint((int)recv(server, &byte, 1, 0), ==, 1);
    g_assert_cmpint(byte, ==, 'x');
    close(server);
}

static void
test_listen_and_connect(void)
{
    static const mode_t modes[] = {0600, 0660, 0666};
    g_autoptr(GError) error = NULL;
    Place place;
    place_init(&place);
    unsigned before = n_open_fds();
    mode_t old_mask = umask(0077); /* has no say */
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        struct stat st;
        int listening = gw_unix_socket_listen(place.path, modes[i], &error);
        g_assert_no_error(error);
        g_assert_cmpint(stat(place.path, &st), ==, 0);
        g_assert_cmpint(st.st_mode, ==, S_IFSOCK | modes[i]);
        g_assert_cmpint(fcntl(listening, F_GETFD), ==, FD_CLOEXEC);
        g_assert_true(fcntl(listening, F_GETFL) & O_NONBLOCK);
        int client = gw_unix_socket_connect(place.path, &error);
        g_assert_no_error(error);
        g_assert_cmpint(fcntl(client, F_GETFD), ==, FD_CLOEXEC);
        g_assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
        assert_connected(listening, client);
        close(client);
        close(listening); /* the file stays: the next one replaces it */
    }
    umask(old_mask);
    g_assert_cmpuint(n_open_fds(), ==, before);
    place_clear(&place);
}

static void
test_listen_on_living(void)
{
    g_autoptr(GError) error = NULL;
    Place place;
    place_init(&place);
    int listening = gw_unix_socket_listen(place.path, 0600, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_unix_socket_listen(place.path, 0600, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    g_clear_error(&error);
    int asked = accept4(listening, NULL, NULL, SOCK_CLOEXEC); /* the question whether somebody listens */
    g_assert_cmpint(asked, >=, 0);
    close(asked);

    int client = gw_unix_socket_connect(place.path, &error);
    g_assert_no_error(error);
    assert_connected(listening, client);
    close(client);
    close(listening);
    place_clear(&place);
}

static void
assert_connect_fails(const char *path, GwError code, const char *end)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(gw_unix_socket_connect(path, &error), ==, -1);
    g_assert_error(error, GW_ERROR, (int)code);
    g_autofree char *text =
        g_strconcat(code == GW_ERROR_INVALID_ARGUMENT ? "" : "connecting to ", path, end, NULL);
    g_assert_cmpstr(error->message, ==, text);
}

static void
test_connect_fails(void)
{
    g_autoptr(GError) error = NULL;
    Place place;
    place_init(&place);
    unsigned before = n_open_fds();
    assert_connect_fails(place.path, GW_ERROR_NOT_FOUND, ": No such file or directory");
    int listening = gw_unix_socket_listen(place.path, 0600, &error);
    g_assert_no_error(error);
    close(listening);
    assert_connect_fails(place.path, GW_ERROR_PEER_LOST, ": Connection refused");

    g_autofree char *long_name = g_strdup_printf("%s/%0100d", place.directory, 0);
    assert_connect_fails(long_name, GW_ERROR_INVALID_ARGUMENT, ": the socket's name is too long");
    g_autofree char *nowhere = g_build_filename(place.directory, "absent", "s.sock", NULL);
    g_assert_cmpint(gw_unix_socket_connect(nowhere, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_cmpint(gw_unix_socket_listen(nowhere, 0600, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpuint(n_open_fds(), ==, before);
    place_clear(&place);
}

/* A file that is no socket is somebody's: it is left alone. */
static void
test_listen_on_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    Place place;
    place_init(&place);
    g_assert_true(g_file_set_contents(place.path, "precious", -1, NULL));
    g_assert_cmpint(gw_unix_socket_listen(place.path, 0600, &error), ==, -1);
    g_assert_nonnull(error);
    g_assert_true(g_file_get_contents(place.path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
    place_clear(&place);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/unix-socket/fds/received", test_receive_fds);
    g_test_add_func("/unix-socket/fds/in-turn", test_receive_in_turn);
    g_test_add_func("/unix-socket/fds/ends", test_receive_ends);
    g_test_add_func("/unix-socket/listen-and-connect", test_listen_and_connect);
    g_test_add_func("/unix-socket/listen-on-living", test_listen_on_living);
    g_test_add_func("/unix-socket/listen-on-file", test_listen_on_file);
    g_test_add_func("/unix-socket/connect-fails", test_connect_fails);
    return g_test_run();
}
