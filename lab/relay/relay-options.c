/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-delay-relay's command line. */
#include "relay-options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* 10 Gbit/s × 250 ms is 312 MB a direction; two of these are the 1 GiB that a link may cost at most. */
#define QUEUE_MIB_DEFAULT 512u

void
gw_relay_complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("gw-delay-relay: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool
gw_relay_parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end = NULL;
    unsigned long long value;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || *end || value > max)
        return false;
    *ret = value;
    return true;
}

static void
usage(FILE *out)
{
    fputs("usage: gw-delay-relay --tap-a NAME --tap-b NAME --delay-us N [option…]\n"
          "\n"
          "Creates two TAP devices in the network namespace that it is started in and carries every frame\n"
          "from one to the other, N microseconds later, in order and without loss. The devices go with it.\n"
          "\n"
          "  --tap-a NAME, --tap-b NAME  names of the devices\n"
          "  --delay-us N                delay in each direction, 0 to 5000000\n"
          "  --control PATH              serve this SOCK_SEQPACKET socket: \"delay-us N\", \"stats\"\n"
          "  --until-gone PATH           exit when this file no longer exists\n"
          "  --queue-mib N               memory a direction may hold, 2 to 65536 (default 512)\n"
          "  --background                once ready, print the process ID and leave it running\n"
          "  --help                      print this\n",
          out);
}

int
gw_relay_parse_options(int argc, char **argv, GwRelayOptions *ret)
{
    enum { TAP_A = 1, TAP_B, DELAY, CONTROL, UNTIL_GONE, QUEUE, BACKGROUND, HELP };
    static const struct option table[] = {
        {"tap-a", required_argument, NULL, TAP_A},
        {"tap-b", required_argument, NULL, TAP_B},
        {"delay-us", required_argument, NULL, DELAY},
        {"control", required_argument, NULL, CONTROL},
        {"until-gone", required_argument, NULL, UNTIL_GONE},
        {"queue-mib", required_argument, NULL, QUEUE},
        {"background", no_argument, NULL, BACKGROUND},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    uint64_t number;
    bool have_delay = false;
    int option;

    *ret = (GwRelayOptions){.queue_mib = QUEUE_MIB_DEFAULT};
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (option) {
        case TAP_A:
            ret->tap[0] = optarg;
            break;
        case TAP_B:
            ret->tap[1] = optarg;
            break;
        case DELAY:
            have_delay = gw_relay_parse_number(optarg, GW_RELAY_DELAY_US_MAX, &ret->delay_us);
            break;
        case CONTROL:
            ret->control_path = optarg;
            break;
        case UNTIL_GONE:
            ret->until_gone = optarg;
            break;
        case QUEUE:
            if (!gw_relay_parse_number(optarg, 65536, &number) || number < 2) {
                gw_relay_complain("--queue-mib takes 2 to 65536, not %s", optarg);
                return 2;
            }
            ret->queue_mib = (size_t)number;
            break;
        case BACKGROUND:
            ret->background = true;
            break;
        case HELP:
            usage(stdout);
            return 0;
        default:
            return 2;
        }
    }
    if (!ret->tap[0] || !ret->tap[1] || !have_delay || optind != argc) {
        gw_relay_complain(
            "--tap-a, --tap-b and --delay-us (0 to %u) are needed, and nothing else but options; try --help",
            GW_RELAY_DELAY_US_MAX);
        return 2;
    }
    return -1;
}
