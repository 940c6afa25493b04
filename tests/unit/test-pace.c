/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When to switch over, by tables of rounds: each decision, the estimates behind it, and what people are told.
 * Whole motions are played in test-pace-motions.c. */
#include "pace.h"

#define MB 1000000ull
#define MS 1000ull
#define S  1000000ull

typedef struct {
    uint64_t found_bytes, duration_us;
    GwPaceStep expected;
} Row;

#define END                                                                                                  \
    {                                                                                                        \
        0, 0, GW_PACE_N_STEPS                                                                                \
    }

static const GwPaceOptions half_second = {.goal_us = 500 * MS, .overhead_us = 10 * MS};

/* Feeds rounds that sent all that they found; the motion's clock is their sum. */
static GwPace
play(const GwPaceOptions *options, const Row *rows)
{
    GwPace pace;
    gw_pace_init(&pace, options);
    uint64_t elapsed_us = 0;
    for (unsigned i = 0; rows[i].expected != GW_PACE_N_STEPS; i++) {
        GwPaceRound round = {rows[i].found_bytes, rows[i].found_bytes, rows[i].duration_us};
        elapsed_us += round.duration_us;
        GwPaceStep step = gw_pace_round_done(&pace, &round, elapsed_us);
        if (step != rows[i].expected)
            g_error("round %u: got %s, expected %s; remaining %" G_GUINT64_FORMAT ", pause %" G_GUINT64_FORMAT
                    " us",
                    i, gw_pace_step_name(step), gw_pace_step_name(rows[i].expected),
                    pace.estimate.remaining_bytes, pace.estimate.pause_us);
        g_assert_true(step != GW_PACE_SWITCH_OVER || pace.estimate.pause_us <= options->goal_us);
    }
    return pace;
}

static void
assert_near(uint64_t value, uint64_t expected, double factor)
{
    if ((double)value > (double)expected * factor || (double)value < (double)expected / factor)
        g_error("got %" G_GUINT64_FORMAT ", expected about %" G_GUINT64_FORMAT, value, expected);
}

static void
test_idle(void)
{
    static const Row nothing[] = {
        {1000 * MB, 1 * S, GW_PACE_GO_ON},
        {0, 1 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    GwPace pace = play(&half_second, nothing);
    g_assert_cmpuint(pace.estimate.remaining_bytes, ==, 0);
    g_assert_cmpuint(pace.estimate.eta_us, ==, 0);
    assert_near(pace.estimate.pause_us, 11 * MS, 1.01); /* and a scan */

    static const Row little[] = {
        {1000 * MB, 1 * S, GW_PACE_GO_ON},
        {MB / 2, 2 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    play(&half_second, little);
}

/* A guest that never wrote much: not worth a second round. */
static void
test_tiny_image(void)
{
    static const Row rows[] = {{MB / 4, 1 * MS, GW_PACE_SWITCH_OVER}, END};
    GwPace pace = play(&half_second, rows);
    g_assert_cmpuint(pace.estimate.remaining_bytes, ==, MB / 4);

    static const Row zeros[] = {{0, 300 * MS, GW_PACE_SWITCH_OVER}, END};
    pace = play(&half_second, zeros);
    g_assert_cmpuint(pace.estimate.pause_us, ==, 10 * MS);
}

static void
test_fast_link(void)
{
    static const Row rows[] = {
        {500 * MB, 385 * MS, GW_PACE_GO_ON},
        {19 * MB, 16 * MS, GW_PACE_GO_ON},
        {MB, 2 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    GwPace pace = play(&half_second, rows);
    assert_near(pace.estimate.link_bytes_per_s, 1300 * MB, 1.1);
    assert_near(pace.estimate.write_bytes_per_s, 50 * MB, 1.3);
}

/* The same pages in every round: what fits is sent, what does not never will. */
static void
test_working_set(void)
{
    static const Row fits[] = {
        {1000 * MB, 8400 * MS, GW_PACE_GO_ON},
        {33 * MB, 277 * MS, GW_PACE_GO_ON},
        {33 * MB, 277 * MS, GW_PACE_GO_ON},
        {32 * MB, 270 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    GwPace pace = play(&half_second, fits);
    assert_near(pace.estimate.remaining_bytes, 33 * MB, 1.2);
    assert_near(pace.estimate.pause_us, 287 * MS, 1.2);

    static const Row does_not_fit[] = {
        {1000 * MB, 8400 * MS, GW_PACE_GO_ON},
        {268 * MB, 2250 * MS, GW_PACE_GO_ON},
        {250 * MB, 2100 * MS, GW_PACE_GO_ON},
        {250 * MB, 2100 * MS, GW_PACE_NOT_CONVERGING},
        {250 * MB, 2100 * MS, GW_PACE_NOT_CONVERGING},
        {30 * MB, 250 * MS, GW_PACE_GO_ON},
        {30 * MB, 250 * MS, GW_PACE_GO_ON},
        {30 * MB, 250 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    pace = play(&half_second, does_not_fit);
    g_assert_cmpuint(pace.estimate.eta_us, ==, 0);
}

/* It never fits the goal, whatever the guest does: said at once, and no round is expected to help. */
static void
test_goal_below_overhead(void)
{
    const GwPaceOptions options = {.goal_us = 5 * MS, .overhead_us = 10 * MS, .deadline_us = 2 * S};
    static const Row rows[] = {
        {100 * MB, 900 * MS, GW_PACE_GO_ON},
        {0, 600 * MS, GW_PACE_NOT_CONVERGING},
        {0, 600 * MS, GW_PACE_GIVE_UP},
        END,
    };
    GwPace pace = play(&options, rows);
    g_assert_cmpuint(pace.estimate.eta_us, ==, UINT64_MAX);
    g_autofree char *text = gw_pace_explain(&pace);
    g_assert_nonnull(strstr(text, "with no memory to copy, the goal is 5 ms; only a longer"));
}

static void
test_deadline(void)
{
    GwPaceOptions options = half_second;
    options.deadline_us = 10 * S;
    static const Row gives_up[] = {
        {1000 * MB, 8 * S, GW_PACE_GO_ON},
        {268 * MB, 2200 * MS, GW_PACE_GIVE_UP},
        END,
    };
    play(&options, gives_up);
    static const Row fits[] = {
        {1000 * MB, 8 * S, GW_PACE_GO_ON},
        {20 * MB, 2000 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    play(&options, fits);
    static const Row first_round[] = {{1000 * MB, 11 * S, GW_PACE_GIVE_UP}, END};
    play(&options, first_round);
}

/* A guest that writes in waves around a level that fits does not keep the motion for ever. */
static void
test_waves(void)
{
    static const Row rows[] = {
        {1000 * MB, 8 * S, GW_PACE_GO_ON},        {40 * MB, 320 * MS, GW_PACE_GO_ON},
        {20 * MB, 160 * MS, GW_PACE_GO_ON},       {40 * MB, 320 * MS, GW_PACE_GO_ON},
        {20 * MB, 160 * MS, GW_PACE_SWITCH_OVER}, END,
    };
    play(&half_second, rows);
}

/* Rounds of next to nothing, however long they took, say nothing of the link. */
static void
test_small_rounds(void)
{
    static const Row rows[] = {
        {1000 * MB, 1 * S, GW_PACE_GO_ON},
        {40000, 1 * MS, GW_PACE_SWITCH_OVER},
        {40000, 9 * MS, GW_PACE_SWITCH_OVER},
        {80000, 1 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    GwPace pace = play(&half_second, rows);
    assert_near(pace.estimate.link_bytes_per_s, 1000 * MB, 1.02);

    /* but a large one does: the link has become slower by half */
    GwPaceRound round = {500 * MB, 500 * MB, 1 * S};
    gw_pace_round_done(&pace, &round, 3 * S);
    assert_near(pace.estimate.link_bytes_per_s, 600 * MB, 1.2);
}

/* A long way: what each round costs beside its bytes is in the pause too, and not in the link's rate. */
static void
test_floor(void)
{
    static const Row rows[] = {
        {1000 * MB, 1100 * MS, GW_PACE_GO_ON},
        {5 * MB, 105 * MS, GW_PACE_GO_ON},
        {MB, 101 * MS, GW_PACE_SWITCH_OVER},
        END,
    };
    GwPace pace = play(&half_second, rows);
    assert_near(pace.estimate.link_bytes_per_s, 950 * MB, 1.1);
    assert_near(pace.estimate.pause_us, 111 * MS, 1.05);
}

/* Pages of zeros are found and not sent. */
static void
test_zeros(void)
{
    GwPace pace;
    gw_pace_init(&pace, &half_second);
    const GwPaceRound first = {1000 * MB, 100 * MB, 1 * S}, second = {80 * MB, 20 * MB, 200 * MS};
    g_assert_cmpint(gw_pace_round_done(&pace, &first, 1 * S), ==, GW_PACE_GO_ON);
    g_assert_cmpuint(pace.estimate.remaining_bytes, ==, 100 * MB);
    g_assert_cmpint(gw_pace_round_done(&pace, &second, 1200 * MS), ==, GW_PACE_GO_ON);
    assert_near(pace.estimate.remaining_bytes, 20 * MB, 1.01);
    assert_near(pace.estimate.link_bytes_per_s, 100 * MB, 1.01);
}

static void
test_set_overhead(void)
{
    static const Row rows[] = {{1000 * MB, 1 * S, GW_PACE_GO_ON}, {MB / 2, 1 * MS, GW_PACE_SWITCH_OVER}, END};
    GwPace pace = play(&half_second, rows);
    uint64_t before = pace.estimate.pause_us;
    gw_pace_set_overhead(&pace, 600 * MS);
    g_assert_cmpuint(pace.estimate.pause_us, ==, before + 590 * MS);
    g_assert_cmpuint(pace.estimate.eta_us, ==, UINT64_MAX);
    const GwPaceRound round = {MB / 2, MB / 2, 1 * MS};
    g_assert_cmpint(gw_pace_round_done(&pace, &round, 2 * S), ==, GW_PACE_NOT_CONVERGING);
}

static void
test_progress(void)
{
    GwPace pace;
    gw_pace_init(&pace, &half_second);
    g_assert_cmpuint(pace.estimate.eta_us, ==, UINT64_MAX);
    gw_pace_round_progress(&pace, 0, 1000 * MB, 1 * MS);
    g_assert_cmpuint(pace.estimate.remaining_bytes, ==, 1000 * MB);
    g_assert_cmpuint(pace.estimate.link_bytes_per_s, ==, 0);
    g_assert_cmpuint(pace.estimate.pause_us, ==, UINT64_MAX);
    gw_pace_round_progress(&pace, 250 * MB, 1000 * MB, 500 * MS);
    assert_near(pace.estimate.link_bytes_per_s, 500 * MB, 1.01);
    assert_near(pace.estimate.eta_us, 1500 * MS, 1.01);
    assert_near(pace.estimate.pause_us, 1510 * MS, 1.01);
    gw_pace_round_progress(&pace, 1001 * MB, 1000 * MB, 2 * S);
    g_assert_cmpuint(pace.estimate.remaining_bytes, ==, 0);
    /* and nothing of it is kept */
    const GwPaceRound first = {1000 * MB, 1000 * MB, 1 * S};
    gw_pace_round_done(&pace, &first, 1 * S);
    assert_near(pace.estimate.link_bytes_per_s, 1000 * MB, 1.01);
}

static void
test_eta(void)
{
    /* 50 MB/s over 100 MB/s: each round half as long as the one before */
    static const Row rows[] = {
        {1000 * MB, 10 * S, GW_PACE_GO_ON},
        {500 * MB, 5 * S, GW_PACE_GO_ON},
        {250 * MB, 2500 * MS, GW_PACE_GO_ON},
        END,
    };
    GwPace pace = play(&half_second, rows);
    assert_near(pace.estimate.eta_us, 2500 * MS, 1.6);
    assert_near(pace.estimate.remaining_bytes, 125 * MB, 1.3);
}

static void
test_explain(void)
{
    static const Row first[] = {{1000 * MB, 8 * S, GW_PACE_GO_ON}, END};
    GwPace pace = play(&half_second, first);
    g_autofree char *early = gw_pace_explain(&pace);
    g_assert_cmpstr(early, ==, "how fast the guest writes is not known before the second round");

    static const Row outruns[] = {
        {117 * MB, 1 * S, GW_PACE_GO_ON},
        {2256 * MB, 19280 * MS, GW_PACE_GO_ON},
        {2256 * MB, 19280 * MS, GW_PACE_NOT_CONVERGING},
        END,
    };
    pace = play(&half_second, outruns);
    g_autofree char *rate = gw_pace_explain(&pace);
    g_assert_cmpstr(
        rate, ==,
        "the guest writes 212 MB/s, the link carries 117 MB/s: a pause of 19.3 s would be needed, "
        "the goal is 0.5 s; a faster link, more motion interfaces or a longer switchover goal "
        "would help");

    static const Row rewrites[] = {
        {1170 * MB, 10 * S, GW_PACE_GO_ON},
        {234 * MB, 2000 * MS, GW_PACE_GO_ON},
        {234 * MB, 2000 * MS, GW_PACE_GO_ON},
        {234 * MB, 2000 * MS, GW_PACE_NOT_CONVERGING},
        END,
    };
    pace = play(&half_second, rewrites);
    g_autofree char *same = gw_pace_explain(&pace);
    g_assert_true(g_str_has_prefix(same, "the guest writes 234 MB again in every round, the link carries "
                                         "117 MB/s: a pause of 2.0 s would be needed, the goal is 0.5 s; "));

    static const Row fits[] = {{1000 * MB, 1 * S, GW_PACE_GO_ON}, {0, 2 * MS, GW_PACE_SWITCH_OVER}, END};
    pace = play(&half_second, fits);
    g_autofree char *expected = gw_pace_explain(&pace);
    g_assert_cmpstr(expected, ==, "a pause of 12 ms is expected, the goal is 0.5 s");
}

static void
test_names(void)
{
    g_assert_cmpstr(gw_pace_step_name(GW_PACE_GO_ON), ==, "go-on");
    g_assert_cmpstr(gw_pace_step_name(GW_PACE_GIVE_UP), ==, "give-up");
    g_assert_cmpstr(gw_pace_step_name(GW_PACE_N_STEPS), ==, "?");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pace/idle", test_idle);
    g_test_add_func("/pace/tiny-image", test_tiny_image);
    g_test_add_func("/pace/fast-link", test_fast_link);
    g_test_add_func("/pace/working-set", test_working_set);
    g_test_add_func("/pace/goal-below-overhead", test_goal_below_overhead);
    g_test_add_func("/pace/deadline", test_deadline);
    g_test_add_func("/pace/waves", test_waves);
    g_test_add_func("/pace/small-rounds", test_small_rounds);
    g_test_add_func("/pace/floor", test_floor);
    g_test_add_func("/pace/zeros", test_zeros);
    g_test_add_func("/pace/set-overhead", test_set_overhead);
    g_test_add_func("/pace/progress", test_progress);
    g_test_add_func("/pace/eta", test_eta);
    g_test_add_func("/pace/explain", test_explain);
    g_test_add_func("/pace/names", test_names);
    return g_test_run();
}
