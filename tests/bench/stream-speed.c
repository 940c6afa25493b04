/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stream-speed [GIB]: what streams move over loopback, plain and with TLS, beside bare send(2) and recv(2).
 *
 * Each line is one connection, one thread at each end, frames of 1 MiB with a header of 32 bytes, as a motion
 * sends them. "take" looks at what came where it lies; "receive" copies it to one place; "pwrite" takes it
 * and writes it to a memfd, whose pages have been there before. Only ratios within one run count. */
#include "certificates.h"
#include "stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_BYTES  (1024 * 1024)
#define HEADER_BYTES 32

typedef enum { BARE, TAKE, RECEIVE, PWRITE } How;

typedef struct {
    How how;
    int listening;
    unsigned n_frames;
    const GwTlsIdentity *identity;
    int memory;
} Receiver;

static void
receive_bare(int fd, unsigned n_frames)
{
    g_autofree uint8_t *buffer = g_malloc(GW_STREAM_BUFFER_BYTES);
    for (size_t left = (size_t)n_frames * (HEADER_BYTES + FRAME_BYTES); left > 0;) {
        ssize_t n = recv(fd, buffer, GW_STREAM_BUFFER_BYTES, 0);
        g_assert_cmpint((int)n, >, 0);
        left -= (size_t)n;
    }
    close(fd);
}

static void
receive_frame(GwStream *stream, const Receiver *self, uint8_t *frame)
{
    const uint8_t *bytes = NULL;
    g_assert_cmpint(gw_stream_receive(stream, frame, HEADER_BYTES), ==, 0);
    if (self->how == RECEIVE)
        g_assert_cmpint(gw_stream_receive(stream, frame, FRAME_BYTES), ==, 0);
    for (size_t left = self->how == RECEIVE ? 0 : FRAME_BYTES; left > 0;) {
        ssize_t n = gw_stream_take(stream, &bytes, left);
        g_assert_cmpint((int)n, >, 0);
        if (self->how == PWRITE)
            g_assert_cmpint((int)pwrite(self->memory, bytes, (size_t)n, (off_t)(FRAME_BYTES - left)), ==,
                            (int)n);
        left -= (size_t)n;
    }
}

static gpointer
receiver_thread(gpointer user)
{
    Receiver *self = user;
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *frame = g_malloc(FRAME_BYTES);
    int fd = accept(self->listening, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    if (self->how == BARE) {
        receive_bare(fd, self->n_frames);
        return NULL;
    }
    g_autoptr(GwStream) stream = gw_stream_accept(fd, self->identity, 5000, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < self->n_frames; i++)
        receive_frame(stream, self, frame);
    return NULL;
}

static void
send_bare(unsigned port, struct iovec parts[2], unsigned n_frames)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    for (unsigned i = 0; i < n_frames; i++)
        for (unsigned k = 0; k < 2; k++)
            for (size_t done = 0; done < parts[k].iov_len;) {
                ssize_t n = send(fd, (char *)parts[k].iov_base + done, parts[k].iov_len - done,
                                 MSG_NOSIGNAL | (k == 0 ? MSG_MORE : 0));
                g_assert_cmpint((int)n, >, 0);
                done += (size_t)n;
            }
    close(fd);
}

static void
send_frames(unsigned port, struct iovec parts[2], const Receiver *receiver)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwStream) stream = gw_stream_connect(NULL, "127.0.0.1", port, receiver->identity, 5000, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < receiver->n_frames; i++)
        g_assert_cmpint(gw_stream_send(stream, parts, 2), ==, 0);
}

static void
measure(const char *what, How how, const GwTlsIdentity *identity, unsigned n_frames)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    Receiver receiver = {.how = how, .n_frames = n_frames, .identity = identity};
    receiver.listening = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    /* accept(2) may wait here */
    g_assert_cmpint(fcntl(receiver.listening, F_SETFL, 0), ==, 0);
    receiver.memory = memfd_create("stream-speed", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(receiver.memory, FRAME_BYTES), ==, 0);
    g_autofree uint8_t *header = g_malloc0(HEADER_BYTES), *pages = g_malloc(FRAME_BYTES);
    memset(pages, 0x5a, FRAME_BYTES);
    struct iovec parts[2] = {{header, HEADER_BYTES}, {pages, FRAME_BYTES}};

    GThread *thread = g_thread_new("receiver", receiver_thread, &receiver);
    gint64 start_us = g_get_monotonic_time();
    if (how == BARE)
        send_bare(port, parts, n_frames);
    else
        send_frames(port, parts, &receiver);
    g_thread_join(thread);
    double seconds = (double)(g_get_monotonic_time() - start_us) / 1e6;
    g_print("%-24s %6.2f GB/s\n", what, (double)n_frames * FRAME_BYTES / seconds / 1e9);
    close(receiver.listening);
    close(receiver.memory);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    unsigned n_frames = (argc > 1 ? (unsigned)atoi(argv[1]) : 4) * 1024;
    g_autofree char *directory = g_dir_make_tmp("stream-speed-XXXXXX", &error);
    g_assert_no_error(error);
    g_autoptr(TestAuthority) authority = test_authority_new("bench authority");
    test_identity_make(directory, "bench", authority, authority, -60, 3600);
    g_autoptr(GwTlsIdentity) identity = gw_tls_identity_load(directory, &error);
    g_assert_no_error(error);
    for (int i = 0; i < 3; i++) {
        measure("send, recv", BARE, NULL, n_frames);
        measure("plain, take", TAKE, NULL, n_frames);
        measure("plain, receive", RECEIVE, NULL, n_frames);
        measure("plain, take and pwrite", PWRITE, NULL, n_frames);
        measure("TLS, take", TAKE, identity, n_frames);
        measure("TLS, receive", RECEIVE, identity, n_frames);
        measure("TLS, take and pwrite", PWRITE, identity, n_frames);
    }
    test_identity_remove(directory);
    return 0;
}
