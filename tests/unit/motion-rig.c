/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rig. Ends are numbered as in the fake world: 0 the destination, 1 the source. */
#include "motion-rig.h"

#include "error.h"
#include "kernel-abi.h"

#include <string.h>

#define PATIENCE_US (30 * G_TIME_SPAN_SECOND)
#define LEAVE_US    (300 * G_TIME_SPAN_MILLISECOND)
#define AT_A_TIME   10 /* they mostly wait */
#define ATTEMPTS    4  /* of a plan, until its motion comes to its step */

static const char *
rig_name(const Rig *self)
{
    return self->plan.name ? self->plan.name : "unnamed";
}

#define rig_fail(self, ...)                                                                                  \
    G_STMT_START                                                                                             \
    {                                                                                                        \
        g_autofree char *what_ = g_strdup_printf(__VA_ARGS__);                                               \
        g_error("motion \"%s\": %s", rig_name(self), what_);                                                 \
    }                                                                                                        \
    G_STMT_END

static const char *const outcome_names[] = {[GW_OUTCOME_STAYS] = "stays",
                                            [GW_OUTCOME_LEFT] = "left",
                                            [GW_OUTCOME_ARRIVED] = "arrived",
                                            [GW_OUTCOME_REFUSED] = "refused",
                                            [GW_OUTCOME_OPEN] = "open"};

/* --- hooks -------------------------------------------------------------------------------------------- */

static bool
fails_locked(Rig *self, bool at_source, GwHandoverAction what)
{
    GwHandoverAction fails = at_source ? self->plan.source_journal_fails : self->plan.sink_journal_fails;
    unsigned n = at_source ? self->plan.n_source_journal_fails : self->plan.n_sink_journal_fails;
    if (what == GW_HANDOVER_ACT_JOURNAL_REFUSED && self->plan.sink_refusal_fails) {
        self->plan.sink_refusal_fails = false;
        return true;
    }
    if (what != fails || (n && self->n_failed[at_source] >= n))
        return false;
    self->n_failed[at_source]++;
    return true;
}

static bool
write_line(Rig *self, bool at_source, GwHandoverAction what, GError **error)
{
    g_mutex_lock(&self->lock);
    bool fails = fails_locked(self, at_source, what);
    if (!fails)
        g_string_append_printf(self->journals[at_source], "%s ", gw_handover_action_name(what));
    g_mutex_unlock(&self->lock);
    if (fails)
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "no room for %s", gw_handover_action_name(what));
    return !fails;
}

static bool
journal_source(GwHandoverAction what, void *user_data, GError **error)
{
    return write_line(user_data, true, what, error);
}

static bool
journal_sink(GwHandoverAction what, void *user_data, GError **error)
{
    return write_line(user_data, false, what, error);
}

static bool
on_ready(void *user_data, GError **error)
{
    Rig *self = user_data;
    if (self->plan.ready_fails) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_IO, "no room for ready");
        return false;
    }
    g_mutex_lock(&self->lock);
    g_string_append(self->journals[0], "ready ");
    g_mutex_unlock(&self->lock);
    return true;
}

static void
on_end_vmm(void *user_data)
{
    Rig *self = user_data;
    fake_vmm_kill(self->world, false);
}

static void
on_resumed(void *user_data)
{
    Rig *self = user_data;
    if (!fake_vmm_runs(self->world, false) && !fake_vmm_is_dead(self->world, false))
        rig_fail(self, "it was announced, and does not run");
}

static void
on_hold(const char *step, void *user_data)
{
    Rig *self = user_data;
    if (g_strcmp0(step, self->plan.at) != 0)
        return;
    g_mutex_lock(&self->lock);
    self->reached = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    if (self->plan.act)
        self->plan.act(self);
}

/* --- its life ----------------------------------------------------------------------------------------- */

GwSourceOptions
rig_source_options(Rig *self)
{
    const RigPlan *plan = &self->plan;
    return (GwSourceOptions){
        .image = fake_image(self->world, true),
        .memory_bytes = gw_image_size(fake_image(self->world, true)),
        .vmm = fake_vmm(self->world, true),
        .trace = fake_world_trace(self->world),
        .ticket = self->source_ticket,
        .identity = plan->identity,
        .progress = self->progress[1],
        .n_streams = plan->n_streams ? plan->n_streams : 2,
        .guest_runs = !plan->paused,
        .may_punch = plan->punches,
        .goal_us = plan->goal_us ? plan->goal_us : 500000,
        .deadline_us = 60 * G_TIME_SPAN_SECOND,
        .lost_ms = plan->lost_ms,
        .hooks = {.journal = journal_source, .hold = on_hold, .user_data = self},
    };
}

GwSinkOptions
rig_sink_options(Rig *self)
{
    const RigPlan *plan = &self->plan;
    return (GwSinkOptions){
        .image = fake_image(self->world, false),
        .vmm = fake_vmm(self->world, false),
        .ticket = self->ticket,
        .identity = plan->identity,
        .progress = self->progress[0],
        .memory_bytes = gw_image_size(fake_image(self->world, false)),
        .wait_us = 20 * G_TIME_SPAN_SECOND,
        .decide_us = (uint64_t)(plan->decide_us ? plan->decide_us : 200000),
        .answer_us = (uint64_t)(plan->answer_us ? plan->answer_us : 10 * G_TIME_SPAN_SECOND),
        .lost_ms = plan->lost_ms,
        .hooks = {.journal = journal_sink,
                  .ready = on_ready,
                  .resumed = on_resumed,
                  .end_vmm = on_end_vmm,
                  .hold = on_hold,
                  .user_data = self},
    };
}

Rig *
rig_new(const RigPlan *plan)
{
    g_autoptr(GError) error = NULL;
    Rig *self = g_new0(Rig, 1);
    self->plan = *plan;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->world = fake_world_new(rig_name(self), plan->size_bytes ? plan->size_bytes : 10 << 20,
                                 !plan->paused, !plan->quiet, plan->state_bytes ? plan->state_bytes : 200000);
    fake_world_set_fault(self->world, true, plan->source_fault);
    fake_world_set_fault(self->world, false, plan->sink_fault);
    if (plan->late_write)
        fake_world_set_late_write(self->world);
    if (plan->punches)
        fake_world_set_punches(self->world);
    for (unsigned i = 0; i < 2; i++) {
        self->journals[i] = g_string_new("");
        self->progress[i] = gw_progress_new(NULL, NULL);
    }
    self->ticket = gw_ticket_new(&error);
    gw_ticket_add(self->ticket, "127.0.0.1", 0, NULL);
    GwSinkOptions options = rig_sink_options(self);
    self->sink = gw_sink_new(&options, &error);
    g_assert_no_error(error);
    unsigned port = 0;
    self->proxy = tcp_proxy_new(gw_ticket_endpoint(self->ticket, 0)->port, &port);
    if (plan->cut != PROXY_WORKS)
        tcp_proxy_set_after(self->proxy, plan->cut, plan->cut_after);
    self->source_ticket = gw_ticket_copy(self->ticket);
    g_array_index(self->source_ticket->endpoints, GwEndpoint, 0).port = port;
    GwSourceOptions source = rig_source_options(self);
    self->source = gw_source_new(&source);
    return self;
}

static void
note_decided(Rig *self, bool at_source, GwOutcome outcome)
{
    g_mutex_lock(&self->lock);
    self->outcomes[at_source] = outcome;
    self->decided[at_source] = true;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

static void *
run_source(void *data)
{
    Rig *self = data;
    GwOutcome outcome = gw_source_run(self->source, &self->errors[1]);
    if (outcome == GW_OUTCOME_LEFT)
        fake_vmm_kill(self->world, true);
    note_decided(self, true, outcome);
    return NULL;
}

static void *
run_sink(void *data)
{
    Rig *self = data;
    GwOutcome outcome = gw_sink_run(self->sink, &self->errors[0]);
    if (outcome == GW_OUTCOME_REFUSED)
        fake_vmm_kill(self->world, false);
    note_decided(self, false, outcome);
    if (outcome != GW_OUTCOME_OPEN)
        self->source_knows = gw_sink_answer(self->sink);
    g_mutex_lock(&self->lock);
    self->answered = true;
    g_autoptr(GwSink) over = outcome != GW_OUTCOME_OPEN ? g_steal_pointer(&self->sink) : NULL;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    return NULL; /* and the door is closed */
}

void
rig_start_sink(Rig *self)
{
    self->threads[0] = g_thread_new("rig-sink", run_sink, self);
}

void
rig_start(Rig *self)
{
    rig_start_sink(self);
    self->threads[1] = g_thread_new("rig-source", run_source, self);
}

void
rig_await_decided(Rig *self, bool at_source)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    g_mutex_lock(&self->lock);
    while (!self->decided[at_source])
        if (!g_cond_wait_until(&self->changed, &self->lock, until_us))
            rig_fail(self, "the %s does not come to an end", at_source ? "source" : "destination");
    g_mutex_unlock(&self->lock);
}

GwMotionState
rig_state(Rig *self, bool at_source)
{
    GwProgressData data;
    gw_progress_get(self->progress[at_source], &data);
    return data.state;
}

void
rig_await_state(Rig *self, bool at_source, GwMotionState state)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    while (rig_state(self, at_source) != state) {
        if (g_get_monotonic_time() > until_us)
            rig_fail(self, "the %s does not become %s", at_source ? "source" : "destination",
                     gw_motion_state_name(state));
        g_usleep(500);
    }
}

static void
join_end(Rig *self, unsigned end)
{
    if (self->threads[end])
        g_thread_join(g_steal_pointer(&self->threads[end]));
}

void
rig_join_source(Rig *self)
{
    rig_await_decided(self, true);
    join_end(self, 1);
}

/* A source whose connection is lost cannot tell a destination that it knows, and that one answers on: the
 * test then does not wait for it, as a supervisor that is to end. */
void
rig_join_sink(Rig *self)
{
    rig_await_decided(self, false);
    gint64 until_us = g_get_monotonic_time() + LEAVE_US;
    g_mutex_lock(&self->lock);
    while (!self->answered && g_cond_wait_until(&self->changed, &self->lock, until_us))
        ;
    if (self->sink)
        gw_sink_leave(self->sink);
    g_mutex_unlock(&self->lock);
    join_end(self, 0);
}

void
rig_join(Rig *self)
{
    rig_join_source(self);
    rig_join_sink(self);
}

void
rig_replace_sink(Rig *self)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&self->sink, gw_sink_free);
    gw_progress_free(self->progress[0]);
    self->progress[0] = gw_progress_new(NULL, NULL);
    GwSinkOptions options = rig_sink_options(self);
    self->sink = gw_sink_new(&options, &error);
    g_assert_no_error(error);
    g_clear_error(&self->errors[0]);
}

void
rig_free(Rig *self)
{
    gint64 began_us = g_get_monotonic_time();
    gw_source_free(self->source);
    gw_sink_free(self->sink);
    if (g_get_monotonic_time() - began_us > G_TIME_SPAN_SECOND)
        rig_fail(self, "its ends take %d ms to be freed", (int)(g_get_monotonic_time() - began_us) / 1000);
    tcp_proxy_free(self->proxy);
    fake_world_free(self->world);
    gw_ticket_free(self->ticket);
    gw_ticket_free(self->source_ticket);
    for (unsigned i = 0; i < 2; i++) {
        gw_progress_free(self->progress[i]);
        g_string_free(self->journals[i], TRUE);
        g_clear_error(&self->errors[i]);
    }
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

/* --- what must be ------------------------------------------------------------------------------------- */

static bool
has_line(Rig *self, bool at_source, const char *line)
{
    return strstr(self->journals[at_source]->str, line) != NULL;
}

void
rig_check(Rig *self)
{
    GwOutcome source = self->outcomes[1], sink = self->outcomes[0];
    bool here = fake_vmm_runs(self->world, true), there = fake_vmm_runs(self->world, false);
    const char *why = self->errors[1] ? self->errors[1]->message : "no error";
    if ((source == GW_OUTCOME_LEFT) != (sink == GW_OUTCOME_ARRIVED))
        rig_fail(self, "the source %s (%s), the destination %s (%s)", outcome_names[source], why,
                 outcome_names[sink], self->errors[0] ? self->errors[0]->message : "no error");
    if (here && there)
        rig_fail(self, "the guest runs at both ends");
    bool moved = source == GW_OUTCOME_LEFT, is_dead = fake_vmm_is_dead(self->world, !moved);
    bool runs = moved ? there : here;
    if (runs != (!self->plan.paused && !is_dead))
        rig_fail(self, "it %s (%s), and %s", outcome_names[source], why, runs ? "runs" : "does not run");
    if (moved && !has_line(self, false, "journal-go"))
        rig_fail(self, "it runs there without a line in the journal: %s", self->journals[0]->str);
    if (moved && !has_line(self, true, "journal-handed-over"))
        rig_fail(self, "it left without a line in the journal: %s", self->journals[1]->str);
    if (moved && self->plan.paused && !fake_world_is_equal(self->world))
        rig_fail(self, "memory differs");
}

void
rig_check_moved(Rig *self)
{
    rig_check(self);
    if (self->outcomes[1] != GW_OUTCOME_LEFT)
        rig_fail(self, "it stays: %s; destination: %s", self->errors[1] ? self->errors[1]->message : "?",
                 self->errors[0] ? self->errors[0]->message : "?");
    if (rig_state(self, true) != GW_MOTION_COMPLETED || rig_state(self, false) != GW_MOTION_COMPLETED)
        rig_fail(self, "it moved, and is %s here, %s there", gw_motion_state_name(rig_state(self, true)),
                 gw_motion_state_name(rig_state(self, false)));
}

void
rig_check_stayed(Rig *self)
{
    rig_check(self);
    if (self->outcomes[1] != GW_OUTCOME_STAYS || self->outcomes[0] != GW_OUTCOME_REFUSED)
        rig_fail(self, "the source %s, the destination %s", outcome_names[self->outcomes[1]],
                 outcome_names[self->outcomes[0]]);
    if (!self->errors[1] || !self->errors[0])
        rig_fail(self, "it stays, and there is no reason");
    if (!gw_motion_state_is_final(rig_state(self, true)) || !gw_motion_state_is_final(rig_state(self, false)))
        rig_fail(self, "it stays, and is %s here, %s there", gw_motion_state_name(rig_state(self, true)),
                 gw_motion_state_name(rig_state(self, false)));
}

bool
rig_cancel_sink(Rig *self, const char *why)
{
    g_mutex_lock(&self->lock);
    bool in_time = self->sink && gw_sink_cancel(self->sink, why);
    g_mutex_unlock(&self->lock);
    return in_time;
}

/* Does what the plan wants done while it goes on; earlier if both ends are done before. */
static void
disturb(Rig *self)
{
    const RigPlan *plan = &self->plan;
    gint64 mend_us = plan->mend_us, source_us = plan->cancel_source_us, sink_us = plan->cancel_sink_us;
    g_mutex_lock(&self->lock);
    while (plan->at && !self->reached && !(self->decided[0] && self->decided[1]))
        g_cond_wait(&self->changed, &self->lock);
    gint64 began_us = g_get_monotonic_time();
    while (mend_us || source_us || sink_us) {
        gint64 next_us = MIN(mend_us ? mend_us : G_MAXINT64,
                             MIN(source_us ? source_us : G_MAXINT64, sink_us ? sink_us : G_MAXINT64));
        while (!(self->decided[0] && self->decided[1]) &&
               g_cond_wait_until(&self->changed, &self->lock, began_us + next_us))
            ;
        g_mutex_unlock(&self->lock);
        if (mend_us == next_us)
            tcp_proxy_set(self->proxy, PROXY_WORKS);
        if (source_us == next_us)
            gw_source_cancel(self->source, "cancelled at the source");
        if (sink_us == next_us)
            rig_cancel_sink(self, "cancelled at the destination");
        mend_us = mend_us == next_us ? 0 : mend_us;
        source_us = source_us == next_us ? 0 : source_us;
        sink_us = sink_us == next_us ? 0 : sink_us;
        g_mutex_lock(&self->lock);
    }
    /* A moment that was set by bytes may come later than this one. */
    while (plan->mend_us && !(self->decided[0] && self->decided[1])) {
        if (g_cond_wait_until(&self->changed, &self->lock, g_get_monotonic_time() + 100000))
            continue;
        g_mutex_unlock(&self->lock);
        tcp_proxy_set(self->proxy, PROXY_WORKS);
        g_mutex_lock(&self->lock);
    }
    g_mutex_unlock(&self->lock);
}

/* False: it ended before it came to the plan's step, as a motion may on a machine that lets a thread wait for
 * as long as its peer waits for a word of it. Where the guest runs then is looked at all the same. */
static bool
run_once(const RigPlan *plan, RigExpected expected, bool is_last)
{
    Rig *self = rig_new(plan);
    rig_start(self);
    disturb(self);
    rig_join(self);
    bool has_come = !plan->at || self->reached;
    if (!has_come && is_last)
        rig_fail(self, "it never came to %s: source: %s; destination: %s", plan->at,
                 self->errors[1] ? self->errors[1]->message : "no error",
                 self->errors[0] ? self->errors[0]->message : "no error");
    if (!has_come || expected == RIG_EITHER)
        rig_check(self);
    else
        (expected == RIG_MOVES ? rig_check_moved : rig_check_stayed)(self);
    rig_free(self);
    return has_come;
}

void
rig_run(const RigPlan *plan, RigExpected expected)
{
    unsigned attempt = 1;
    while (!run_once(plan, expected, attempt == ATTEMPTS))
        attempt++;
}

typedef struct {
    const RigPlan *plans;
    int n, next;
    RigExpected (*expected)(const RigPlan *plan);
} Batch;

static void *
run_some(void *data)
{
    Batch *self = data;
    for (int i; (i = g_atomic_int_add(&self->next, 1)) < self->n;)
        rig_run(&self->plans[i], self->expected(&self->plans[i]));
    return NULL;
}

void
rig_run_all(const RigPlan *plans, unsigned n, RigExpected (*expected)(const RigPlan *plan))
{
    Batch batch = {.plans = plans, .n = (int)n, .expected = expected};
    GThread *threads[AT_A_TIME];
    for (unsigned i = 0; i < AT_A_TIME; i++)
        threads[i] = g_thread_new("rig", run_some, &batch);
    for (unsigned i = 0; i < AT_A_TIME; i++)
        g_thread_join(threads[i]);
}
