/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long this guest's CPUs did not run.
 *
 * A thread sleeps to absolute times a millisecond apart and files the time between two wake-ups. After a gap
 * it goes on with the next millisecond to come, so that one long gap is one entry and not a burst of short
 * ones behind it. */
#include "timer-gap.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "clock.h"
#include "histogram.h"
#include "options.h"

#define PERIOD_NS     GW_NS_PER_MS
#define MAX_WINDOW_MS 600000

/* One measurement at a time is all that a guest needs; so this module's state is its own. */
static struct {
    pthread_mutex_t lock;
    /* guarded by lock */
    bool is_running;
    bool stop;
    uint64_t last_ns; /* 0: no wake-up in this window yet */
    GwHistogram gaps_us;
} timer_gap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool
note_wakeup(uint64_t now_ns)
{
    pthread_mutex_lock(&timer_gap.lock);
    if (timer_gap.last_ns != 0) {
        gw_histogram_add(&timer_gap.gaps_us, (now_ns - timer_gap.last_ns) / GW_NS_PER_US);
    }
    timer_gap.last_ns = now_ns;
    bool go_on = !timer_gap.stop;
    if (!go_on) {
        timer_gap.is_running = false;
    }
    pthread_mutex_unlock(&timer_gap.lock);
    return go_on;
}

static void *
run_timer(void *data)
{
    (void)data;
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t next_ns = gw_now_ns();
    uint64_t now_ns;
    do {
        next_ns += PERIOD_NS;
        struct timespec next = gw_timespec_from_ns(next_ns);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR) {
        }
        now_ns = gw_now_ns();
        if (now_ns > next_ns + PERIOD_NS) {
            next_ns = now_ns - (now_ns - next_ns) % PERIOD_NS;
        }
    } while (note_wakeup(now_ns));
    return NULL;
}

static int
start(void)
{
    int r = 0;
    pthread_mutex_lock(&timer_gap.lock);
    gw_histogram_reset(&timer_gap.gaps_us);
    timer_gap.last_ns = 0;
    timer_gap.stop = false;
    if (!timer_gap.is_running) {
        pthread_t thread;
        r = pthread_create(&thread, NULL, run_timer, NULL);
        if (r == 0) {
            pthread_detach(thread);
            timer_gap.is_running = true;
        }
    }
    pthread_mutex_unlock(&timer_gap.lock);
    return r;
}

static void
report(FILE *reply, bool stop)
{
    pthread_mutex_lock(&timer_gap.lock);
    GwHistogram *gaps = &timer_gap.gaps_us;
    fprintf(reply,
            "{\"running\":%s,\"count\":%" PRIu64 ",\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64
            ",\"p999_us\":%" PRIu64 ",\"max_us\":%" PRIu64 "}",
            timer_gap.is_running ? "true" : "false", gaps->count, gw_histogram_quantile(gaps, 500),
            gw_histogram_quantile(gaps, 990), gw_histogram_quantile(gaps, 999), gaps->max);
    if (stop) {
        timer_gap.stop = true;
    }
    pthread_mutex_unlock(&timer_gap.lock);
}

void
gw_timer_gap_command(char *const *words, unsigned n_words, FILE *reply)
{
    uint64_t window_ms = 0;
    if (n_words == 1) {
        report(reply, false);
    } else if (n_words == 2 && strcmp(words[1], "stop") == 0) {
        report(reply, true);
    } else if (n_words == 2 && strcmp(words[1], "start") == 0) {
        fputs(start() == 0 ? "{\"ok\":true}" : "{\"error\":\"cannot start a thread\"}", reply);
    } else if (n_words == 2 && gw_size_parse(words[1], &window_ms) == 0 && window_ms <= MAX_WINDOW_MS) {
        if (start() != 0) {
            fputs("{\"error\":\"cannot start a thread\"}", reply);
            return;
        }
        poll(NULL, 0, (int)window_ms);
        report(reply, true);
    } else {
        fputs("{\"error\":\"want start, stop, milliseconds or nothing\"}", reply);
    }
}
