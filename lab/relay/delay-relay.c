/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-delay-relay: joins two TAP devices by a link with a delay; the lab's stand-in for netem. */

/* How a link gets its round-trip time in the lab: labkit puts the link's port and TAP `a` on a small bridge
 * and TAP `b` on the network's bridge, and this process carries the frames between, each direction late by
 * half the round-trip time:
 *
 *     port ─ small bridge ─ TAP a ─ [read → queue a→b → write] ─ TAP b ─ the network's bridge
 *                                 ← [write ← queue b→a ← read] ←
 *
 * Frames travel with their virtio-net header (IFF_VNET_HDR) and both TAPs offer every offload. So a 64 KiB
 * GSO frame stays one frame, which is what makes 10 Gbit/s possible here, and a checksum that the sender left
 * to the hardware stays marked as such until the kernel computes it where the path needs it. Rejected:
 * switching GSO off at the link's ends, since that touches the hosts' interfaces, does not reach guests
 * behind a TAP, and costs two system calls per 1500 bytes.
 *
 * No frame is dropped: a direction whose queue is full is no longer read, and its TAP fills up behind it
 * (what overruns that too, the kernel drops: a TAP cannot push back on a bridge). Nor
 * reordered: one FIFO a direction, one thread. One thread is also enough: its time goes into copying.
 *
 * Deadlines are absolute (arrival + delay), so lateness of one wake-up does not add to that of the next. */

#include "delay-queue.h"
#include "relay-options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Since Linux 6.2; older headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Frames moved per direction before the other gets its turn: keeps one direction's flood from delaying the
 * other's. */
#define BATCH_FRAMES 64

enum { POLL_A, POLL_B, POLL_SIGNAL, POLL_LISTEN, POLL_CONTROL, POLL_WATCH, N_POLL };

typedef struct {
    GwDelayQueue *queue; /* owned */
    int from_fd, to_fd;  /* borrowed from Relay */
    uint64_t n_frames, n_bytes;
    uint64_t n_refused; /* frames that the far TAP would not take: it is down, or the frame malformed */
    uint64_t n_stalls;  /* times that the queue was full and reading stopped */
    bool stalled;
} Direction;

typedef struct {
    int tap_fd[2];
    int signal_fd, listen_fd, control_fd, watch_fd;
    const char *control_path;
    const char *until_gone;
    uint64_t delay_ns;
    Direction direction[2];
    bool stop;
} Relay;

static uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A TAP that goes away with its file descriptor, so that a relay that dies leaves no device. */
static int
tap_open(const char *name)
{
    const unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL};
    int fd;

    if (strlen(name) >= IFNAMSIZ) {
        gw_relay_complain("TAP name %s is longer than %d characters", name, IFNAMSIZ - 1);
        return -1;
    }
    fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        gw_relay_complain("opening /dev/net/tun: %s", strerror(errno));
        return -1;
    }
    memcpy(request.ifr_name, name, strlen(name) + 1); /* its length was checked */
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        gw_relay_complain("creating TAP %s: %s", name, strerror(errno));
        close(fd);
        return -1;
    }
    if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(offload | TUN_F_USO4 | TUN_F_USO6)) < 0 &&
        ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) < 0) {
        gw_relay_complain("setting the offloads of TAP %s: %s", name, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int
control_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        gw_relay_complain("control socket path %s is longer than %zu characters", path,
                          sizeof(address.sun_path) - 1);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        gw_relay_complain("creating the control socket: %s", strerror(errno));
        return -1;
    }
    unlink(path); /* of a relay that was killed; labkit's lock keeps two from running for one link */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
        gw_relay_complain("listening at %s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

/* Wakes us when something vanishes from the directory of `path`; whether it was ours is looked up then. */
static int
watch_open(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[4096];
    int fd;

    if (!slash || slash == path || (size_t)(slash - path) >= sizeof(directory)) {
        gw_relay_complain("--until-gone takes an absolute path below a directory, not %s", path);
        return -1;
    }
    memcpy(directory, path, (size_t)(slash - path));
    directory[slash - path] = '\0';
    fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || inotify_add_watch(fd, directory, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF) < 0) {
        gw_relay_complain("watching %s: %s", directory, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static int
signals_open(void)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        gw_relay_complain("opening a signalfd: %s", strerror(errno));
    return fd;
}

static bool
relay_set_up(Relay *self, const GwRelayOptions *options)
{
    self->control_path = options->control_path;
    self->until_gone = options->until_gone;
    self->delay_ns = options->delay_us * 1000;

    for (int i = 0; i < 2; i++) {
        self->tap_fd[i] = tap_open(options->tap[i]);
        if (self->tap_fd[i] < 0)
            return false;
    }
    for (int i = 0; i < 2; i++) {
        Direction *direction = &self->direction[i];

        direction->from_fd = self->tap_fd[i];
        direction->to_fd = self->tap_fd[1 - i];
        direction->queue = gw_delay_queue_new(options->queue_mib << 20);
        if (!direction->queue) {
            gw_relay_complain("out of memory");
            return false;
        }
    }
    self->signal_fd = signals_open();
    if (self->signal_fd < 0)
        return false;
    if (self->until_gone) {
        self->watch_fd = watch_open(self->until_gone);
        if (self->watch_fd < 0)
            return false;
        /* Looked up after the watch is there: gone before or after, it is seen. */
        if (access(self->until_gone, F_OK) < 0) {
            gw_relay_complain("%s is gone", self->until_gone);
            return false;
        }
    }
    if (self->control_path) {
        self->listen_fd = control_listen(self->control_path);
        if (self->listen_fd < 0)
            return false;
    }
    return true;
}

static void
close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void
relay_done(Relay *self)
{
    for (int i = 0; i < 2; i++) {
        close_fd(self->tap_fd[i]);
        gw_delay_queue_free(self->direction[i].queue);
    }
    if (self->listen_fd >= 0)
        unlink(self->control_path);
    close_fd(self->listen_fd);
    close_fd(self->control_fd);
    close_fd(self->signal_fd);
    close_fd(self->watch_fd);
}

/* Reads what the near TAP has, up to a batch. */
static void
direction_take_in(Relay *relay, Direction *self)
{
    for (int i = 0; i < BATCH_FRAMES; i++) {
        void *room = gw_delay_queue_reserve(self->queue);
        ssize_t n;

        if (!room) {
            if (!self->stalled)
                self->n_stalls++;
            self->stalled = true;
            return;
        }
        self->stalled = false;
        n = read(self->from_fd, room, GW_DELAY_QUEUE_FRAME_MAX);
        if (n <= 0) {
            /* EBADFD, EIO: the device was deleted under us, and with it the purpose of this process. */
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                relay->stop = true;
            return;
        }
        gw_delay_queue_commit(self->queue, (size_t)n, now_ns() + relay->delay_ns);
        self->n_frames++;
        self->n_bytes += (uint64_t)n;
    }
}

/* Writes the frames that are due, up to a batch. */
static void
direction_let_out(Direction *self)
{
    for (int i = 0; i < BATCH_FRAMES; i++) {
        size_t len;
        const void *frame = gw_delay_queue_peek_due(self->queue, now_ns(), &len);

        if (!frame)
            return;
        if (write(self->to_fd, frame, len) < 0) {
            if (errno == EINTR || errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS)
                return; /* still first in the queue; the next turn tries again */
            self->n_refused++;
        }
        gw_delay_queue_pop(self->queue);
    }
}

__attribute__((format(printf, 2, 3))) static void
control_answer(const Relay *self, const char *format, ...)
{
    char text[512];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (send(self->control_fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* the asker has gone */
}

static void
control_answer_stats(const Relay *self)
{
    const Direction *d = self->direction;

    control_answer(self,
                   "{\"pid\":%d,\"delay_us\":%" PRIu64 ",\"frames\":[%" PRIu64 ",%" PRIu64
                   "],\"bytes\":[%" PRIu64 ",%" PRIu64 "],\"queued\":[%" PRIu64 ",%" PRIu64
                   "],\"refused\":[%" PRIu64 ",%" PRIu64 "],\"stalls\":[%" PRIu64 ",%" PRIu64 "]}",
                   (int)getpid(), self->delay_ns / 1000, d[0].n_frames, d[1].n_frames, d[0].n_bytes,
                   d[1].n_bytes, gw_delay_queue_n_frames(d[0].queue), gw_delay_queue_n_frames(d[1].queue),
                   d[0].n_refused, d[1].n_refused, d[0].n_stalls, d[1].n_stalls);
}

/* One command a packet: "delay-us N" or "stats". The last asker is served; labkit's lock allows only one. */
static void
control_serve(Relay *self)
{
    char text[128];
    uint64_t delay_us;
    ssize_t n = recv(self->control_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        close(self->control_fd);
        self->control_fd = -1;
        return;
    }
    text[n] = '\0';
    if (strcmp(text, "stats") == 0) {
        control_answer_stats(self);
    } else if (strncmp(text, "delay-us ", 9) == 0 &&
               gw_relay_parse_number(text + 9, GW_RELAY_DELAY_US_MAX, &delay_us)) {
        self->delay_ns = delay_us * 1000;
        control_answer(self, "ok");
    } else {
        control_answer(self, "error: expected \"stats\" or \"delay-us 0…%u\"", GW_RELAY_DELAY_US_MAX);
    }
}

static void
control_accept(Relay *self)
{
    int fd = accept4(self->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    close_fd(self->control_fd);
    self->control_fd = fd;
}

static void
watch_serve(Relay *self)
{
    char events[4096];

    while (read(self->watch_fd, events, sizeof(events)) > 0)
        ;
    if (self->until_gone && access(self->until_gone, F_OK) < 0)
        self->stop = true;
}

/* How long poll() may sleep: until the first deadline of either direction; NULL is for ever. */
static const struct timespec *
time_to_sleep(const Relay *self, struct timespec *buffer)
{
    uint64_t first = UINT64_MAX, deadline, now, left;

    for (int i = 0; i < 2; i++)
        if (gw_delay_queue_next_deadline(self->direction[i].queue, &deadline) && deadline < first)
            first = deadline;
    if (first == UINT64_MAX)
        return NULL;
    now = now_ns();
    left = first > now ? first - now : 0;
    *buffer =
        (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    return buffer;
}

static void
relay_run(Relay *self)
{
    while (!self->stop) {
        struct pollfd fds[N_POLL];
        struct timespec sleep;

        for (int i = 0; i < 2; i++) {
            /* A direction that is full waits for room, which only a deadline brings: do not poll it
             * meanwhile. */
            bool full = gw_delay_queue_reserve(self->direction[i].queue) == NULL;

            fds[POLL_A + i] = (struct pollfd){.fd = self->tap_fd[i], .events = full ? 0 : POLLIN};
        }
        fds[POLL_SIGNAL] = (struct pollfd){.fd = self->signal_fd, .events = POLLIN};
        fds[POLL_LISTEN] = (struct pollfd){.fd = self->listen_fd, .events = POLLIN};
        fds[POLL_CONTROL] = (struct pollfd){.fd = self->control_fd, .events = POLLIN};
        fds[POLL_WATCH] = (struct pollfd){.fd = self->watch_fd, .events = POLLIN};

        if (ppoll(fds, N_POLL, time_to_sleep(self, &sleep), NULL) < 0) {
            if (errno == EINTR)
                continue;
            gw_relay_complain("polling: %s", strerror(errno));
            return;
        }
        /* Out before in: what is due is late already. */
        for (int i = 0; i < 2; i++)
            direction_let_out(&self->direction[i]);
        for (int i = 0; i < 2; i++) {
            if (fds[POLL_A + i].revents & (POLLERR | POLLHUP | POLLNVAL))
                self->stop = true; /* the TAP was deleted */
            else
                direction_take_in(self, &self->direction[i]);
        }
        if (fds[POLL_SIGNAL].revents)
            self->stop = true;
        if (fds[POLL_CONTROL].revents)
            control_serve(self);
        if (fds[POLL_LISTEN].revents)
            control_accept(self);
        if (fds[POLL_WATCH].revents)
            watch_serve(self);
    }
}

/* The parent leaves with 0 only when the TAPs and the control socket are there: its exit is the ready signal.
 */
static bool
go_to_background(void)
{
    pid_t pid = fork();
    int null_fd;

    if (pid < 0) {
        gw_relay_complain("forking: %s", strerror(errno));
        return false;
    }
    if (pid > 0) {
        printf("%d\n", (int)pid);
        fflush(stdout);
        _exit(0);
    }
    setsid();
    if (chdir("/") < 0)
        gw_relay_complain("changing to /: %s, ignoring", strerror(errno));
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0) {
        for (int fd = 0; fd <= 2; fd++)
            dup2(null_fd, fd);
        close(null_fd);
    }
    return true;
}

static void
ask_for_punctuality(void)
{
    /* Without these a wake-up may be 50 µs late by default slack, and milliseconds behind busy neighbours.
     * Real-time priority is not asked for: a flood would then starve the very hosts that send it. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (setpriority(PRIO_PROCESS, 0, -15) < 0)
        gw_relay_complain("raising the priority: %s, ignoring", strerror(errno));
}

int
main(int argc, char **argv)
{
    GwRelayOptions options;
    Relay relay = {.tap_fd = {-1, -1}, .signal_fd = -1, .listen_fd = -1, .control_fd = -1, .watch_fd = -1};
    int status = gw_relay_parse_options(argc, argv, &options);

    if (status >= 0)
        return status;
    if (!relay_set_up(&relay, &options)) {
        relay_done(&relay);
        return 1;
    }
    ask_for_punctuality();
    if (!options.background || go_to_background())
        relay_run(&relay);
    relay_done(&relay);
    return 0;
}
