/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A TCP server of one-line commands, a thread for each client.
 *
 * A thread each because commands block (a full sweep takes seconds) and others want their answer meanwhile;
 * the clients are few, and all state is behind the handler. A client that vanished without a word is found by
 * keep-alive probes. */
#include "line-server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS       32
#define MAX_LINE_BYTES    512
#define MAX_WORDS         8
#define THREAD_STACK_SIZE (128 * 1024)

typedef struct Client {
    int fd;
    GwLineHandler *handler;
    void *context;
} Client;

static atomic_int n_clients;

void
gw_line_reply_error(FILE *reply, const char *text)
{
    fprintf(reply, "{\"error\":\"%s\"}", text);
}

int
gw_line_server_listen(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, MAX_CLIENTS) < 0) {
        int saved = errno;
        close(fd);
        return -saved;
    }
    return fd;
}

static int
send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Cuts the line into words and has them handled. */
static void
handle_line(const Client *client, char *line, FILE *reply)
{
    char *words[MAX_WORDS];
    unsigned n_words = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL; word = strtok_r(NULL, " \t\r", &rest)) {
        if (n_words == MAX_WORDS) {
            gw_line_reply_error(reply, "too many words");
            return;
        }
        words[n_words++] = word;
    }
    if (n_words == 0) {
        gw_line_reply_error(reply, "empty line");
        return;
    }
    client->handler(client->context, words, n_words, reply);
}

static int
answer(const Client *client, char *line, int too_long)
{
    char *text = NULL;
    size_t size = 0;
    FILE *reply = open_memstream(&text, &size);
    if (reply == NULL) {
        return -1;
    }
    if (too_long) {
        gw_line_reply_error(reply, "line too long");
    } else {
        handle_line(client, line, reply);
    }
    fputc('\n', reply);
    int r = -1;
    if (fclose(reply) == 0) {
        r = send_all(client->fd, text, size);
    }
    free(text);
    return r;
}

static void *
serve_client(void *data)
{
    Client *client = data;
    char line[MAX_LINE_BYTES];
    size_t used = 0;
    int too_long = 0;
    for (;;) {
        char bytes[MAX_LINE_BYTES];
        ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n') {
                if (used < sizeof line - 1) {
                    line[used++] = bytes[i];
                } else {
                    too_long = 1;
                }
                continue;
            }
            line[used] = '\0';
            if (answer(client, line, too_long) < 0) {
                goto out;
            }
            used = 0;
            too_long = 0;
        }
    }
out:
    close(client->fd);
    free(client);
    atomic_fetch_sub(&n_clients, 1);
    return NULL;
}

static int
start_client(int fd, GwLineHandler *handler, void *context)
{
    Client *client = malloc(sizeof *client);
    if (client == NULL) {
        return -ENOMEM;
    }
    *client = (Client){.fd = fd, .handler = handler, .context = context};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    pthread_t thread;
    int r = pthread_create(&thread, &attributes, serve_client, client);
    pthread_attr_destroy(&attributes);
    if (r != 0) {
        free(client);
    }
    return -r;
}

_Noreturn void
gw_line_server_run(int listen_fd, GwLineHandler *handler, void *context)
{
    static const char busy[] = "{\"error\":\"too many clients\"}\n";
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            /* Out of descriptors or memory: clients that leave free some; the wait keeps this from spinning.
             */
            if (errno != EINTR && errno != ECONNABORTED) {
                poll(NULL, 0, 100);
            }
            continue;
        }
        int on = 1, idle_s = 30;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
        if (atomic_fetch_add(&n_clients, 1) >= MAX_CLIENTS || start_client(fd, handler, context) < 0) {
            atomic_fetch_sub(&n_clients, 1);
            send_all(fd, busy, sizeof busy - 1);
            close(fd);
        }
    }
}
