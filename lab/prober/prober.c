/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-prober: measures what a client of a guest notices while the guest moves.
 *
 * One thread and one ppoll(2), which sleeps until the next probe is due: the two sockets, signals, standard
 * input. When the prober itself could not run for a while, the slots that it missed are skipped and counted,
 * not made up for: a burst of probes would hide a gap or make one. Answers carry the kernel's time stamps, so
 * they need no such care. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "probe-log.h"
#include "probe-report.h"
#include "probe-socket.h"
#include "tcp-stream.h"

#define LOSS_TIMEOUT_NS GW_NS_PER_S
#define LAST_WAIT_NS    (500 * GW_NS_PER_MS) /* at the end, for answers that are under way */
#define TCP_INTERVAL_NS (5 * GW_NS_PER_MS)
#define MAX_INPUT_LINE  64

typedef struct Options {
    const char *target_text;
    struct in_addr target;
    GwProbeMode mode;
    uint64_t interval_us;
    unsigned tcp_port; /* 0: no stream */
    double duration_s; /* 0: until told to stop */
    bool json;
    bool follow;
} Options;

typedef struct Prober {
    Options options;
    GwProbeLog *log;
    GwProbeSocket socket;
    GwTcpStream tcp;
    int signal_fd;
    uint64_t start_ns;
    uint64_t next_slot; /* the next probe is due at start_ns + next_slot * interval */
    uint64_t next_tcp_ns;
    uint64_t next_second_ns;
    bool has_told_first;
    bool has_input;
    bool stop;
    uint64_t stop_ns; /* when sending ended; 0 before */
    char input[MAX_INPUT_LINE];
    size_t input_used;
} Prober;

enum { POLL_PROBE, POLL_TCP, POLL_SIGNAL, POLL_INPUT, N_POLLS };

static const char usage[] =
    "usage: gw-prober --target IP [--mode icmp|udp] [--interval-us 1000] [--tcp PORT]\n"
    "                 [--duration S] [--json] [--follow]\n"
    "  --tcp PORT   keep a checked TCP stream to this echo port as well (7 on the lab's guests)\n"
    "  --follow     a JSON line each second; commands on standard input: mark, stop; end of input stops\n"
    "  SIGUSR1 or mark: reports on the window since the last mark as a JSON line and starts the next\n";

/* --- set-up --- */

static int
parse_options(int argc, char **argv, Options *options)
{
    static const struct option long_options[] = {
        {"target", required_argument, NULL, 't'},
        {"mode", required_argument, NULL, 'm'},
        {"interval-us", required_argument, NULL, 'i'},
        {"tcp", required_argument, NULL, 'p'},
        {"duration", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {"follow", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 't':
            options->target_text = optarg;
            break;
        case 'm':
            if (strcmp(optarg, "icmp") != 0 && strcmp(optarg, "udp") != 0) {
                return -EINVAL;
            }
            options->mode = strcmp(optarg, "udp") == 0 ? GW_PROBE_UDP : GW_PROBE_ICMP;
            break;
        case 'i':
            options->interval_us = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            options->tcp_port = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            options->duration_s = strtod(optarg, NULL);
            break;
        case 'j':
            options->json = true;
            break;
        case 'f':
            options->follow = true;
            break;
        default:
            return -EINVAL;
        }
    }
    if (optind != argc || options->target_text == NULL ||
        inet_pton(AF_INET, options->target_text, &options->target) != 1 || options->interval_us < 100 ||
        options->tcp_port > 65535 || options->duration_s < 0) {
        return -EINVAL;
    }
    return 0;
}

/* A client that is late blurs what it measures; where it may, it goes before others. What is refused is done
 * without, and how late the prober was is in the report. */
static void
raise_priority(void)
{
    struct sched_param param = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &param) < 0) {
        setpriority(PRIO_PROCESS, 0, -15);
    }
    prctl(PR_SET_TIMERSLACK, 1);
}

static int
open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
set_up(Prober *self)
{
    int r = gw_probe_socket_open(&self->socket, self->options.mode, self->options.target);
    if (r < 0) {
        fprintf(stderr, "gw-prober: %s socket: %s\n", self->options.mode == GW_PROBE_UDP ? "UDP" : "ICMP",
                strerror(-r));
        return r;
    }
    self->tcp.fd = -1;
    if (self->options.tcp_port != 0) {
        r = gw_tcp_stream_open(&self->tcp, self->options.target, self->options.tcp_port);
        if (r < 0) {
            fprintf(stderr, "gw-prober: TCP to %s: %s\n", self->options.target_text, strerror(-r));
            return r;
        }
    }
    self->signal_fd = open_signals();
    self->has_input = self->options.follow;
    raise_priority();
    self->start_ns = gw_now_ns();
    self->next_tcp_ns = self->start_ns;
    self->next_second_ns = self->start_ns + GW_NS_PER_S;
    self->log = gw_probe_log_new(self->start_ns, LOSS_TIMEOUT_NS);
    return self->signal_fd < 0 || self->log == NULL ? -ENOMEM : 0;
}

/* --- events --- */

static void
receive_all(Prober *self)
{
    uint64_t seq, arrival_ns;
    int r;
    while ((r = gw_probe_socket_receive(&self->socket, &seq, &arrival_ns)) != 0) {
        if (r < 0) {
            continue; /* "port unreachable" and the like: the probe stays without an answer */
        }
        gw_probe_log_arrived(self->log, seq, arrival_ns);
        if (!self->has_told_first && (self->options.json || self->options.follow)) {
            printf("{\"type\":\"first-answer\",\"monotonic_ns\":%" PRIu64 "}\n", arrival_ns);
            fflush(stdout);
        }
        self->has_told_first = true;
    }
}

static void
report(Prober *self, GwProbeScopeId scope_id)
{
    static const char *const types[] = {"final", "window", "second"};
    static GwProbeScope scope; /* some 15 KiB */
    receive_all(self);         /* what waits in the socket must not look like a gap */
    if (self->tcp.fd >= 0) {
        gw_tcp_stream_process(&self->tcp, self->tcp.is_connected ? POLLIN : 0);
    }
    bool is_over = self->stop_ns != 0;
    gw_probe_log_report(self->log, scope_id, is_over ? self->stop_ns : gw_now_ns(), is_over, &scope);
    GwProbeReport r = {
        .type = types[scope_id],
        .target = self->options.target_text,
        .mode = self->options.mode == GW_PROBE_UDP ? "udp" : "icmp",
        .interval_us = self->options.interval_us,
        .scope = &scope,
        .tcp = self->options.tcp_port != 0 ? &self->tcp : NULL,
        .is_window = scope_id == GW_PROBE_SCOPE_WINDOW,
    };
    if (scope_id == GW_PROBE_SCOPE_TOTAL && !self->options.json && !self->options.follow) {
        gw_probe_report_print_text(&r, stdout);
    } else {
        gw_probe_report_print_json(&r, stdout);
    }
}

static void
mark(Prober *self)
{
    report(self, GW_PROBE_SCOPE_WINDOW);
    gw_probe_log_reset(self->log, GW_PROBE_SCOPE_WINDOW, gw_now_ns());
    gw_tcp_stream_reset_window(&self->tcp);
}

static uint64_t
next_due_ns(const Prober *self)
{
    return self->start_ns + self->next_slot * self->options.interval_us * GW_NS_PER_US;
}

static void
send_due_probe(Prober *self)
{
    uint64_t interval_ns = self->options.interval_us * GW_NS_PER_US;
    uint64_t due_ns = next_due_ns(self);
    uint64_t now_ns = gw_now_ns();
    if (now_ns < due_ns) {
        return;
    }
    uint64_t slot = (now_ns - self->start_ns) / interval_ns;
    if (slot > self->next_slot) {
        gw_probe_log_skipped(self->log, slot - self->next_slot);
    }
    self->next_slot = slot + 1;
    uint64_t seq = gw_probe_log_next_seq(self->log);
    int r = gw_probe_socket_send(&self->socket, seq);
    if (r < 0) {
        gw_probe_log_send_failed(self->log);
    } else {
        gw_probe_log_sent(self->log, due_ns, now_ns);
    }
    if (now_ns >= self->next_tcp_ns) {
        gw_tcp_stream_send(&self->tcp);
        self->next_tcp_ns = now_ns + TCP_INTERVAL_NS;
    }
}

static void
read_signals(Prober *self)
{
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGUSR1) {
            mark(self);
        } else {
            self->stop = true;
        }
    }
}

static void
handle_input_line(Prober *self)
{
    self->input[self->input_used] = '\0';
    if (strcmp(self->input, "mark") == 0) {
        mark(self);
    } else if (strcmp(self->input, "stop") == 0) {
        self->stop = true;
    } else {
        printf("{\"type\":\"error\",\"error\":\"unknown command\"}\n");
        fflush(stdout);
    }
    self->input_used = 0;
}

static void
read_input(Prober *self)
{
    char bytes[MAX_INPUT_LINE];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (n <= 0) {
        self->has_input = false;
        self->stop = true;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            handle_input_line(self);
        } else if (self->input_used < sizeof self->input - 1) {
            self->input[self->input_used++] = bytes[i];
        }
    }
}

/* Waits for anything, but not beyond until_ns, and deals with it; sends what is due unless sending is over.
 */
static void
turn(Prober *self, bool is_sending, uint64_t until_ns)
{
    struct pollfd polls[N_POLLS] = {
        [POLL_PROBE] = {.fd = self->socket.fd, .events = POLLIN},
        [POLL_TCP] = {.fd = self->tcp.fd, .events = gw_tcp_stream_events(&self->tcp)},
        [POLL_SIGNAL] = {.fd = self->signal_fd, .events = POLLIN},
        [POLL_INPUT] = {.fd = self->has_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    uint64_t now_ns = gw_now_ns();
    struct timespec timeout = gw_timespec_from_ns(until_ns > now_ns ? until_ns - now_ns : 0);
    if (ppoll(polls, N_POLLS, &timeout, NULL) < 0) {
        return;
    }
    if (is_sending) {
        send_due_probe(self);
    }
    if (polls[POLL_PROBE].revents != 0) {
        receive_all(self);
    }
    gw_tcp_stream_process(&self->tcp, polls[POLL_TCP].revents);
    if (polls[POLL_SIGNAL].revents != 0) {
        read_signals(self);
    }
    if (polls[POLL_INPUT].revents != 0) {
        read_input(self);
    }
}

static void
run(Prober *self)
{
    uint64_t end_ns = UINT64_MAX;
    if (self->options.duration_s > 0) {
        end_ns = self->start_ns + (uint64_t)(self->options.duration_s * 1e9);
    }
    while (!self->stop && gw_now_ns() < end_ns) {
        turn(self, true, next_due_ns(self));
        if (self->options.follow && gw_now_ns() >= self->next_second_ns) {
            report(self, GW_PROBE_SCOPE_SECOND);
            gw_probe_log_reset(self->log, GW_PROBE_SCOPE_SECOND, gw_now_ns());
            self->next_second_ns += GW_NS_PER_S;
        }
    }
    self->stop_ns = gw_now_ns();
    while (gw_now_ns() < self->stop_ns + LAST_WAIT_NS && !gw_probe_log_is_complete(self->log)) {
        turn(self, false, self->stop_ns + LAST_WAIT_NS);
    }
    report(self, GW_PROBE_SCOPE_TOTAL);
}

int
main(int argc, char **argv)
{
    static Prober prober = {.options = {.interval_us = 1000}};
    if (parse_options(argc, argv, &prober.options) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (set_up(&prober) < 0) {
        return 1;
    }
    run(&prober);
    gw_tcp_stream_close(&prober.tcp);
    gw_probe_socket_close(&prober.socket);
    gw_probe_log_free(prober.log);
    return 0;
}
