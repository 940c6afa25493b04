/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settling: each row of the table in docs/design/cluster.md, and what must hold for all answers. */
#include "json.h"
#include "settle.h"

#define NONE   GW_END_MOTION_NONE
#define UNDER  GW_END_MOTION_UNDER_WAY
#define OPEN   GW_END_MOTION_UNRESOLVED
#define DONE   GW_END_MOTION_COMPLETED
#define FAILED GW_END_MOTION_FAILED

typedef struct {
    GwEnd source, destination;
    bool is_withdrawn;
    GwSettled settled;
    const char *waits_for; /* of NOT_YET */
} Row;

#define AT(place, motion)                                                                                    \
    {                                                                                                        \
        GW_PLACE_##place, motion                                                                             \
    }
#define NOBODY AT(UNKNOWN, NONE)

static const Row rows[] = {
    /* the source owns it */
    {AT(RUNNING, FAILED), AT(ABSENT, NONE), false, GW_SETTLED_STAYED, NULL},
    {AT(RUNNING, FAILED), AT(INCOMING, UNDER), false, GW_SETTLED_STAYED, NULL},
    {AT(RUNNING, NONE), AT(INCOMING, UNDER), false, GW_SETTLED_STAYED, NULL},
    {AT(PAUSED, FAILED), AT(OFF, FAILED), false, GW_SETTLED_STAYED, NULL},
    {AT(RUNNING, NONE), NOBODY, false, GW_SETTLED_STAYED, NULL},
    {AT(PAUSED, FAILED), NOBODY, false, GW_SETTLED_STAYED, NULL},
    /* the source has given it away */
    {AT(MOVED, DONE), AT(RUNNING, DONE), false, GW_SETTLED_LEFT, NULL},
    {AT(MOVED, NONE), AT(CRASHED, NONE), false, GW_SETTLED_LEFT, NULL},
    {AT(MOVED, DONE), NOBODY, false, GW_SETTLED_LEFT, NULL},
    {AT(MOVED, DONE), AT(ABSENT, NONE), false, GW_SETTLED_LEFT, NULL},
    {AT(RUNNING, DONE), AT(RUNNING, DONE), false, GW_SETTLED_LEFT, NULL}, /* not told to its VM yet */
    {AT(ABSENT, NONE), AT(RUNNING, DONE), false, GW_SETTLED_LEFT, NULL},
    {AT(ABSENT, NONE), AT(PAUSED, NONE), false, GW_SETTLED_LEFT, NULL},
    {AT(ABSENT, NONE), AT(OFF, DONE), false, GW_SETTLED_LEFT, NULL},
    {AT(ABSENT, NONE), AT(CRASHED, NONE), false, GW_SETTLED_LEFT, NULL},
    {AT(CRASHED, NONE), AT(RUNNING, DONE), false, GW_SETTLED_LEFT, NULL},
    /* its QEMU, or its host, died */
    {AT(CRASHED, FAILED), AT(ABSENT, NONE), false, GW_SETTLED_ENDED, NULL},
    {AT(OFF, FAILED), AT(INCOMING, UNDER), false, GW_SETTLED_ENDED, NULL},
    {AT(CRASHED, NONE), AT(OFF, FAILED), false, GW_SETTLED_ENDED, NULL},
    {AT(ABSENT, NONE), AT(INCOMING, UNDER), false, GW_SETTLED_ENDED, NULL},
    {AT(ABSENT, NONE), AT(ABSENT, NONE), false, GW_SETTLED_ENDED, NULL},
    {AT(ABSENT, NONE), AT(OFF, FAILED), false, GW_SETTLED_ENDED, NULL},
    /* the supervisors have to decide it */
    {AT(PAUSED, UNDER), AT(INCOMING, UNDER), false, GW_SETTLED_NOT_YET, "both"},
    {AT(PAUSED, UNDER), AT(RUNNING, DONE), false, GW_SETTLED_NOT_YET, "both"},
    {AT(PAUSED, OPEN), AT(INCOMING, UNDER), false, GW_SETTLED_NOT_YET, "both"},
    {AT(PAUSED, OPEN), AT(ABSENT, NONE), false, GW_SETTLED_NOT_YET, "both"},
    {AT(PAUSED, OPEN), NOBODY, false, GW_SETTLED_NOT_YET, "both"},
    {AT(RUNNING, NONE), AT(RUNNING, DONE), false, GW_SETTLED_NOT_YET, "both"},
    {AT(PAUSED, OPEN), AT(RUNNING, DONE), false, GW_SETTLED_LEFT, NULL},
    /* the destination has loaded it and does not own it, or has refused it and ends it in a moment */
    {AT(PAUSED, OPEN), AT(PAUSED, FAILED), false, GW_SETTLED_NOT_YET, "destination"},
    {AT(PAUSED, OPEN), AT(PAUSED, UNDER), false, GW_SETTLED_NOT_YET, "destination"},
    {AT(CRASHED, NONE), AT(PAUSED, FAILED), false, GW_SETTLED_NOT_YET, "destination"},
    {NOBODY, AT(PAUSED, UNDER), true, GW_SETTLED_NOT_YET, "destination"},
    {AT(PAUSED, OPEN), AT(PAUSED, DONE), false, GW_SETTLED_LEFT, NULL},
    {AT(PAUSED, OPEN), AT(PAUSED, NONE), false, GW_SETTLED_LEFT,
     NULL}, /* its supervisor was replaced since */
    /* somebody cannot be asked */
    {NOBODY, AT(INCOMING, UNDER), false, GW_SETTLED_NOT_YET, "source"},
    {NOBODY, AT(ABSENT, NONE), false, GW_SETTLED_NOT_YET, "source"},
    {NOBODY, NOBODY, false, GW_SETTLED_NOT_YET, "source"},
    {NOBODY, AT(RUNNING, NONE), false, GW_SETTLED_LEFT, NULL},
    {NOBODY, AT(CRASHED, DONE), false, GW_SETTLED_LEFT, NULL},
    {NOBODY, AT(ABSENT, NONE), true, GW_SETTLED_STAYED, NULL},
    {NOBODY, NOBODY, true, GW_SETTLED_STAYED, NULL},
    {AT(CRASHED, NONE), NOBODY, false, GW_SETTLED_NOT_YET, "destination"},
    {AT(ABSENT, NONE), NOBODY, false, GW_SETTLED_NOT_YET, "destination"},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Row *row = &rows[i];
        const char *waits_for = NULL;
        GwSettled settled = gw_settle(row->source, row->destination, row->is_withdrawn, &waits_for);
        g_test_message("%s/%d, %s/%d", gw_place_name(row->source.place), row->source.motion,
                       gw_place_name(row->destination.place), row->destination.motion);
        g_assert_cmpint(settled, ==, row->settled);
        if (row->waits_for)
            g_assert_cmpstr(waits_for, ==, row->waits_for);
    }
}

static bool
is_alive(GwEnd end)
{
    return end.place == GW_PLACE_RUNNING || end.place == GW_PLACE_PAUSED;
}

/* Over every pair of answers: what would make two copies, or forget one, is never concluded. */
static void
check_pair(GwEnd source, GwEnd destination)
{
    GwSettled settled = gw_settle(source, destination, false, NULL);
    bool is_open = source.motion == UNDER || source.motion == OPEN;
    bool owns = is_alive(source) && !is_open && source.motion != DONE;
    if (settled == GW_SETTLED_STAYED)
        g_assert_true(owns && !is_alive(destination));
    bool gave_it_away = source.place == GW_PLACE_MOVED || source.motion == DONE;
    bool is_only_loaded =
        destination.place == GW_PLACE_PAUSED && (destination.motion == UNDER || destination.motion == FAILED);
    if (settled == GW_SETTLED_LEFT)
        g_assert_false(owns || (is_only_loaded && !gave_it_away));
    if (settled == GW_SETTLED_ENDED) {
        g_assert_false(is_alive(source) || is_alive(destination) || is_open);
        g_assert_true(source.place != GW_PLACE_UNKNOWN && destination.place != GW_PLACE_UNKNOWN);
    }
    if (source.motion == UNDER && source.place != GW_PLACE_MOVED)
        g_assert_cmpint(settled, ==, GW_SETTLED_NOT_YET);
}

static void
test_all_answers(void)
{
    for (int sp = 0; sp < GW_N_PLACES; sp++)
        for (int sm = 0; sm < GW_N_END_MOTIONS; sm++)
            for (int dp = 0; dp < GW_N_PLACES; dp++)
                for (int dm = 0; dm < GW_N_END_MOTIONS; dm++)
                    check_pair((GwEnd){sp, sm}, (GwEnd){dp, dm});
}

static const struct {
    const char *status, *motion; /* NULL: none */
    const char *state;
} told[] = {
    {"{\"state\":\"running\"}", NULL, "running"},
    {"{\"state\":\"paused\"}", "{\"role\":\"source\",\"state\":\"completed\"}", "moved"},
    {"{\"state\":\"running\"}", "{\"role\":\"source\",\"state\":\"completed\"}", "moved"},
    {"{\"state\":\"running\"}", "{\"role\":\"source\",\"state\":\"failed\"}", "running"},
    {"{\"state\":\"paused\"}", "{\"role\":\"source\",\"state\":\"unresolved\"}", "paused"},
    {"{\"state\":\"paused\"}", "{\"role\":\"source\",\"state\":\"handing-over\"}", "paused"},
    {"{\"state\":\"running\"}", "{\"role\":\"destination\",\"state\":\"completed\"}", "running"},
    {"{\"state\":\"paused\"}", "{\"role\":\"destination\",\"state\":\"completed\"}", "paused"},
    {"{\"state\":\"crashed\"}", "{\"role\":\"source\",\"state\":\"completed\"}", "crashed"},
    {"{\"state\":\"running\"}", "{}", "running"},
    {"{}", "{\"role\":\"source\",\"state\":\"completed\"}", NULL},
};

/* What is still being torn down where a guest has left is no second copy. */
static void
test_told(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(told); i++) {
        g_autoptr(JsonObject) status = gw_json_parse_object(told[i].status, -1, NULL);
        g_autoptr(JsonObject) motion = told[i].motion ? gw_json_parse_object(told[i].motion, -1, NULL) : NULL;
        g_assert_cmpstr(gw_vm_state_told(status, motion), ==, told[i].state);
    }
}

static void
test_states(void)
{
    g_assert_cmpint(gw_place_from_state("running"), ==, GW_PLACE_RUNNING);
    g_assert_cmpint(gw_place_from_state("moved"), ==, GW_PLACE_MOVED);
    g_assert_cmpint(gw_place_from_state("unsupervised"), ==, GW_PLACE_UNKNOWN);
    g_assert_cmpint(gw_place_from_state("absent"), ==, GW_PLACE_UNKNOWN); /* nobody says that of itself */
    g_assert_cmpint(gw_place_from_state(NULL), ==, GW_PLACE_UNKNOWN);
}

static void
assert_motion(const char *text, GwEndMotion expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) motion = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_end_motion_from_json(motion, "aa"), ==, expected);
}

static void
test_motions(void)
{
    g_assert_cmpint(gw_end_motion_from_json(NULL, "aa"), ==, NONE);
    assert_motion("{\"session\":\"aa\",\"state\":\"completed\"}", DONE);
    assert_motion("{\"session\":\"aa\",\"state\":\"cancelled\"}", FAILED);
    assert_motion("{\"session\":\"aa\",\"state\":\"failed\"}", FAILED);
    assert_motion("{\"session\":\"bb\",\"state\":\"completed\"}", NONE);
    assert_motion("{\"session\":\"bb\",\"state\":\"pre-copy\"}", UNDER);
    assert_motion("{\"session\":\"aa\",\"state\":\"unresolved\"}", OPEN);
    assert_motion("{\"session\":\"aa\",\"state\":\"a-later-invention\"}", UNDER);
    assert_motion("{\"session\":7,\"state\":[]}", UNDER);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/settle/rows", test_rows);
    g_test_add_func("/settle/all-answers", test_all_answers);
    g_test_add_func("/settle/states", test_states);
    g_test_add_func("/settle/told", test_told);
    g_test_add_func("/settle/motions", test_motions);
    return g_test_run();
}
