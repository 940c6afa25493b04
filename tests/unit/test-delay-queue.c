/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests of the delay relay's queue: order, deadlines, the memory bound, contents. */
#include "delay-queue.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

typedef GwDelayQueue Queue;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Queue, gw_delay_queue_free)

static bool
push(GwDelayQueue *queue, const void *bytes, size_t len, uint64_t deadline_ns)
{
    void *room = gw_delay_queue_reserve(queue);

    if (!room)
        return false;
    memcpy(room, bytes, len);
    gw_delay_queue_commit(queue, len, deadline_ns);
    return true;
}

static uint64_t
pop_number(GwDelayQueue *queue, uint64_t now_ns)
{
    size_t len = 0;
    const void *frame = gw_delay_queue_peek_due(queue, now_ns, &len);
    uint64_t number;

    g_assert_nonnull(frame);
    g_assert_cmpuint(len, >=, sizeof(number));
    memcpy(&number, frame, sizeof(number));
    gw_delay_queue_pop(queue);
    return number;
}

static void
test_empty(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(2 * MIB);
    uint64_t deadline;
    size_t len;

    g_assert_nonnull(queue);
    g_assert_null(gw_delay_queue_peek_due(queue, UINT64_MAX, &len));
    g_assert_false(gw_delay_queue_next_deadline(queue, &deadline));
    g_assert_cmpuint(gw_delay_queue_allocated_bytes(queue), ==, 0);
    g_assert_null(gw_delay_queue_new(2 * MIB - 1));
    gw_delay_queue_free(NULL);
}

static void
test_deadline(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(2 * MIB);
    uint64_t deadline;
    size_t len;

    g_assert_true(push(queue, "frame", 5, 1000));
    g_assert_true(gw_delay_queue_next_deadline(queue, &deadline));
    g_assert_cmpuint(deadline, ==, 1000);
    g_assert_null(gw_delay_queue_peek_due(queue, 999, &len));
    g_assert_cmpmem(gw_delay_queue_peek_due(queue, 1000, &len), 5, "frame", 5);
    g_assert_cmpuint(len, ==, 5);
}

/* A delay shortened while frames are under way must not let later frames overtake. */
static void
test_shorter_delay_keeps_order(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(2 * MIB);
    size_t len;

    for (uint64_t i = 0; i < 3; i++)
        g_assert_true(push(queue, &i, sizeof(i), i == 0 ? 1000 : 10));
    g_assert_null(gw_delay_queue_peek_due(queue, 999, &len));
    for (uint64_t i = 0; i < 3; i++)
        g_assert_cmpuint(pop_number(queue, 1000), ==, i);

    /* Once it has run empty, nothing holds the next frame back. */
    g_assert_true(push(queue, "x", 1, 20));
    g_assert_nonnull(gw_delay_queue_peek_due(queue, 20, &len));
}

static void
test_reserve_is_stable(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(2 * MIB);
    void *room = gw_delay_queue_reserve(queue);

    g_assert_true(room == gw_delay_queue_reserve(queue));
    gw_delay_queue_commit(queue, GW_DELAY_QUEUE_FRAME_MAX, 1);
    room = gw_delay_queue_reserve(queue);
    gw_delay_queue_pop(queue); /* runs empty under an outstanding room */
    g_assert_true(room == gw_delay_queue_reserve(queue));
}

/* At the bound reserve says no, loses nothing, and goes on when room is made. */
static void
test_bound(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(3 * MIB);
    g_autofree char *frame = g_malloc0(GW_DELAY_QUEUE_FRAME_MAX);
    uint64_t n = 0, next = 0;

    for (;; n++) {
        memcpy(frame, &n, sizeof(n));
        if (!push(queue, frame, GW_DELAY_QUEUE_FRAME_MAX, n))
            break;
        g_assert_cmpuint(n, <, 1000);
    }
    g_assert_cmpuint(n, >=, 3 * MIB * 9 / 10 / GW_DELAY_QUEUE_FRAME_MAX);
    g_assert_cmpuint(gw_delay_queue_allocated_bytes(queue), ==, 3 * MIB);
    g_assert_cmpuint(gw_delay_queue_n_frames(queue), ==, n);

    while (!gw_delay_queue_reserve(queue))
        g_assert_cmpuint(pop_number(queue, UINT64_MAX), ==, next++);
    memcpy(frame, &n, sizeof(n));
    g_assert_true(push(queue, frame, GW_DELAY_QUEUE_FRAME_MAX, n++));
    while (next < n)
        g_assert_cmpuint(pop_number(queue, UINT64_MAX), ==, next++);
    g_assert_cmpuint(gw_delay_queue_n_frames(queue), ==, 0);
}

/* Memory that a burst took is given back, but for a few spare chunks. */
static void
test_memory_is_given_back(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(64 * MIB);
    g_autofree char *frame = g_malloc0(64 * 1024);
    size_t len;

    for (int i = 0; i < 800; i++)
        g_assert_true(push(queue, frame, 64 * 1024, 1));
    g_assert_cmpuint(gw_delay_queue_allocated_bytes(queue), >=, 50 * MIB);
    while (gw_delay_queue_peek_due(queue, 1, &len))
        gw_delay_queue_pop(queue);
    g_assert_cmpuint(gw_delay_queue_allocated_bytes(queue), <=, 10 * MIB);
}

/* Random traffic against a model: every frame leaves whole, in order, no earlier than asked. */
static void
test_random(void)
{
    g_autoptr(Queue) queue = gw_delay_queue_new(4 * MIB);
    g_autoptr(GRand) rand = g_rand_new_with_seed(71);
    g_autofree unsigned char *frame = g_malloc(GW_DELAY_QUEUE_FRAME_MAX);
    GQueue model = G_QUEUE_INIT; /* lengths; the first byte tells the content */
    uint64_t now = 0, sent = 0, received = 0;
    unsigned stalls = 0;

    for (unsigned step = 0; step < 200000; step++) {
        /* Phases of more in than out, then the reverse, so that both bounds are met. */
        bool filling = (step / 5000) % 2 == 0;

        now += 10;
        if (g_rand_int_range(rand, 0, 10) < (filling ? 8 : 3)) {
            size_t len = g_rand_boolean(rand)
                             ? (size_t)g_rand_int_range(rand, 1, 1600)
                             : (size_t)g_rand_int_range(rand, 1, GW_DELAY_QUEUE_FRAME_MAX + 1);

            memset(frame, (int)(sent & 0xff), len);
            if (push(queue, frame, len, now + 500)) {
                g_queue_push_tail(&model, GSIZE_TO_POINTER(len));
                sent++;
            } else {
                stalls++;
            }
        } else {
            size_t len = 0;
            const unsigned char *got = gw_delay_queue_peek_due(queue, now, &len);

            if (!got)
                continue;
            g_assert_cmpuint(len, ==, GPOINTER_TO_SIZE(g_queue_pop_head(&model)));
            g_assert_cmpuint(got[0], ==, received & 0xff);
            g_assert_cmpuint(got[len - 1], ==, received & 0xff);
            gw_delay_queue_pop(queue);
            received++;
        }
        g_assert_cmpuint(gw_delay_queue_allocated_bytes(queue), <=, 4 * MIB);
        g_assert_cmpuint(gw_delay_queue_n_frames(queue), ==, sent - received);
    }
    g_assert_cmpuint(stalls, >, 0);
    g_assert_cmpuint(received, >, 1000);
    g_queue_clear(&model);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/delay-queue/empty", test_empty);
    g_test_add_func("/delay-queue/deadline", test_deadline);
    g_test_add_func("/delay-queue/shorter-delay-keeps-order", test_shorter_delay_keeps_order);
    g_test_add_func("/delay-queue/reserve-is-stable", test_reserve_is_stable);
    g_test_add_func("/delay-queue/bound", test_bound);
    g_test_add_func("/delay-queue/memory-is-given-back", test_memory_is_given_back);
    g_test_add_func("/delay-queue/random", test_random);
    return g_test_run();
}
