/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every state that the two ends of a handover can get into, walked breadth first, with the machines of
 * handover.c themselves at both ends.
 *
 * What the world may do between any two actions: lose, repeat, delay and reorder every message; kill either
 * supervisor, which loses what it knew and was about to do, and keeps its journal and its guest; fail a
 * journal's line, so that it is there afterwards or not; let either side's timers fire at any time; destroy
 * one of the two hosts for good; and have a person decide, who looked first.
 *
 * Safety is asserted in each state. Liveness: from each state, without any further mishap, a state can be
 * reached in which exactly one end runs the VM and neither end has anything left to do. */
#include "handover.h"

#include <stdint.h>
#include <string.h>

/* A message is in the channel or not: since one that is may be delivered any number of times, at any time,
 * and dropped, more copies of it add nothing. */
typedef enum {
    MSG_STATE, /* to the destination: the last memory and state */
    MSG_GO,
    MSG_ABORT,
    MSG_WITHDRAW,
    MSG_ASK,
    MSG_DONE,
    MSG_LOADED, /* to the source */
    MSG_RUNS,
    MSG_NEVER,
    MSG_READY,
    N_MSGS
} Msg;

static const struct {
    GwHandoverSide to;
    GwHandoverEvent event;
    GwHandoverAction sends;
} messages[N_MSGS] = {
    [MSG_STATE] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_LOADED, GW_HANDOVER_ACT_NONE},
    [MSG_GO] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_GO, GW_HANDOVER_ACT_SEND_GO},
    [MSG_ABORT] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_ABORT, GW_HANDOVER_ACT_SEND_ABORT},
    [MSG_WITHDRAW] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_WITHDRAW, GW_HANDOVER_ACT_SEND_WITHDRAW},
    [MSG_ASK] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_ASKED, GW_HANDOVER_ACT_NONE},
    [MSG_DONE] = {GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_PEER_DONE, GW_HANDOVER_ACT_SEND_DONE},
    [MSG_LOADED] = {GW_HANDOVER_SOURCE, GW_HANDOVER_EV_COMPLETE, GW_HANDOVER_ACT_SEND_LOADED},
    [MSG_RUNS] = {GW_HANDOVER_SOURCE, GW_HANDOVER_EV_PEER_RUNS, GW_HANDOVER_ACT_ANSWER_RUNS},
    [MSG_NEVER] = {GW_HANDOVER_SOURCE, GW_HANDOVER_EV_PEER_NEVER, GW_HANDOVER_ACT_ANSWER_NEVER},
    [MSG_READY] = {GW_HANDOVER_SOURCE, GW_HANDOVER_EV_PEER_READY, GW_HANDOVER_ACT_ANSWER_READY},
};

/* Bytes only, so that worlds can be compared and hashed as they lie. */
typedef struct {
    uint8_t state, before, journals;                /* GwHandover, volatile */
    uint8_t todo[GW_HANDOVER_MAX_ACTIONS];          /* actions of the plan, volatile; NONE behind the last */
    uint8_t asks;                                   /* volatile */
    uint8_t alive;                                  /* the supervisor */
    uint8_t line_first, line_second, line_released; /* the journal: handed-over or go; owns or refused */
    uint8_t has_vm, runs, resumed;                  /* resumed: ever since the motion stopped the guest */
    uint8_t left;                                   /* by LEAVE */
    uint8_t lost;                                   /* the host, for good */
} End;

typedef struct {
    End ends[2]; /* by GwHandoverSide */
    uint8_t channel[2];
    uint8_t zero[4]; /* whole words for the hash */
} World;

#define WORLD_WORDS 5
G_STATIC_ASSERT(sizeof(World) == WORLD_WORDS * sizeof(uint64_t));

typedef struct {
    World world;
    uint32_t parent;
    const char *who, *what; /* how it came from there; constant */
} Node;

typedef struct {
    GArray *nodes;     /* of Node */
    uint32_t *slots;   /* hash table of node + 1; 0: free */
    uint32_t n_slots;  /* a power of two */
    GArray *from, *to; /* of uint32_t: steps without mishap */
    uint32_t at;       /* the node whose successors are being found */
} Walk;

static uint32_t
world_hash(const World *world)
{
    uint64_t words[WORLD_WORDS], hash = 0xcbf29ce484222325ull;
    memcpy(words, world, sizeof words);
    for (unsigned i = 0; i < WORLD_WORDS; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static Node *
walk_node(const Walk *walk, uint32_t index)
{
    return &g_array_index(walk->nodes, Node, index);
}

static void
walk_grow(Walk *walk)
{
    g_free(walk->slots);
    walk->n_slots = walk->n_slots ? walk->n_slots * 4 : 1u << 16;
    walk->slots = g_new0(uint32_t, walk->n_slots);
    for (uint32_t i = 0; i < walk->nodes->len; i++) {
        uint32_t slot = world_hash(&walk_node(walk, i)->world) & (walk->n_slots - 1);
        while (walk->slots[slot])
            slot = (slot + 1) & (walk->n_slots - 1);
        walk->slots[slot] = i + 1;
    }
}

static uint32_t
walk_find_or_add(Walk *walk, const World *world, const char *who, const char *what)
{
    if (walk->nodes->len >= walk->n_slots / 2)
        walk_grow(walk);
    uint32_t slot = world_hash(world) & (walk->n_slots - 1);
    for (; walk->slots[slot]; slot = (slot + 1) & (walk->n_slots - 1))
        if (memcmp(&walk_node(walk, walk->slots[slot] - 1)->world, world, sizeof *world) == 0)
            return walk->slots[slot] - 1;
    Node node = {.world = *world, .parent = walk->at, .who = who, .what = what};
    g_array_append_val(walk->nodes, node);
    walk->slots[slot] = walk->nodes->len;
    return walk->nodes->len - 1;
}

static void
walk_print_path(const Walk *walk, uint32_t index)
{
    if (index != 0)
        walk_print_path(walk, walk_node(walk, index)->parent);
    const World *world = &walk_node(walk, index)->world;
    g_printerr("%-11s %-19s", walk_node(walk, index)->who, walk_node(walk, index)->what);
    for (unsigned side = 0; side < 2; side++) {
        const End *end = &world->ends[side];
        g_printerr(" | %-9s%s%s%s%s%s journal %d%d%d", gw_handover_state_name(end->state),
                   end->alive ? "" : " dead", end->lost ? " lost" : "", end->left ? " left" : "",
                   end->runs ? " RUNS" : "", end->resumed ? " resumed" : "", end->line_first,
                   end->line_second, end->line_released);
        for (unsigned i = 0; i < GW_HANDOVER_MAX_ACTIONS && end->todo[i]; i++)
            g_printerr(" %s", gw_handover_action_name(end->todo[i]));
    }
    g_printerr("\n");
}

static const End *
source_of(const World *world)
{
    return &world->ends[GW_HANDOVER_SOURCE];
}

static const End *
destination_of(const World *world)
{
    return &world->ends[GW_HANDOVER_DESTINATION];
}

static bool
in_channel(const World *world, Msg msg)
{
    return (world->channel[msg / 8] >> msg % 8 & 1) != 0;
}

static void
channel_put(World *world, Msg msg)
{
    world->channel[msg / 8] |= (uint8_t)(1 << msg % 8);
}

static void
channel_take(World *world, Msg msg)
{
    world->channel[msg / 8] &= (uint8_t) ~(1 << msg % 8);
}

/* What must never be. */
static const char *
wrong_in(const World *world)
{
    const End *source = source_of(world), *destination = destination_of(world);
    bool source_will_ask = source->line_first && !source->line_second && !source->line_released;
    if (source->runs && destination->runs)
        return "both run";
    if (source->resumed && destination->resumed)
        return "the VM went on at both ends";
    if (source->runs && (source->line_released || (source->alive && source->state == GW_HANDOVER_RELEASED)))
        return "runs at the source after RELEASED";
    if (destination->runs && destination->line_second)
        return "runs at the destination after REFUSED";
    if (destination->runs && !destination->line_first)
        return "runs at the destination without GO in the journal";
    if (source->alive && source->state == GW_HANDOVER_HANDING && source->runs)
        return "runs at the source while it hands over";
    if (source->runs && in_channel(world, MSG_GO) && !destination->line_second && !destination->lost)
        return "GO is under way, can still be taken, and the source runs";
    if (in_channel(world, MSG_GO) && !source->line_first && !source->lost)
        return "GO was sent without a line in the journal";
    if (in_channel(world, MSG_NEVER) && !destination->line_second && !destination->lost)
        return "NEVER was said without a line in the journal";
    if (in_channel(world, MSG_RUNS) && !destination->line_first && !destination->lost)
        return "RUNS was said without a line in the journal";
    if (destination->left && !destination->lost && source_will_ask && !source->lost)
        return "the destination left, and a source may still ask";
    return NULL;
}

static void
walk_emit(Walk *walk, const World *world, bool is_mishap, const char *who, const char *what)
{
    uint32_t index = walk_find_or_add(walk, world, who, what);
    const char *wrong = wrong_in(world);
    if (wrong) {
        walk_print_path(walk, index);
        g_error("%s, after the steps above (source | destination)", wrong);
    }
    if (!is_mishap) {
        g_array_append_val(walk->from, walk->at);
        g_array_append_val(walk->to, index);
    }
}

static const char *const side_names[] = {"source", "destination"};

static void
end_take_plan(End *end, const GwHandover *machine, const GwHandoverPlan *plan)
{
    end->state = (uint8_t)machine->state;
    end->before = (uint8_t)machine->before;
    end->journals = (uint8_t)machine->journals;
    memset(end->todo, 0, sizeof end->todo);
    for (unsigned i = 0; i < plan->n_actions; i++)
        end->todo[i] = (uint8_t)plan->actions[i];
    bool still_asks = end->state == GW_HANDOVER_HANDING || end->state == GW_HANDOVER_UNSURE;
    end->asks = end->asks && still_asks;
}

static void
end_feed(World *world, GwHandoverSide side, GwHandoverEvent event)
{
    End *end = &world->ends[side];
    GwHandover machine = {
        .side = side, .state = end->state, .before = end->before, .journals = end->journals};
    GwHandoverPlan plan = gw_handover_feed(&machine, event);
    end_take_plan(end, &machine, &plan);
}

static void
end_restart(World *world, GwHandoverSide side)
{
    End *end = &world->ends[side];
    GwHandover machine;
    GwHandoverPlan plan =
        gw_handover_restore(&machine, side, end->line_first, end->line_second, end->line_released);
    end->alive = 1;
    end_take_plan(end, &machine, &plan);
}

/* What a dead process has forgotten is not part of the state. */
static void
end_die(End *end)
{
    end->alive = end->asks = end->state = end->before = end->journals = 0;
    memset(end->todo, 0, sizeof end->todo);
}

static void
end_lose(End *end)
{
    uint8_t resumed = end->resumed;
    *end = (End){.lost = 1, .resumed = resumed};
}

static uint8_t *
journal_line(End *end, GwHandoverAction action)
{
    switch (action) {
    case GW_HANDOVER_ACT_JOURNAL_HANDED_OVER:
    case GW_HANDOVER_ACT_JOURNAL_GO:
        return &end->line_first;
    case GW_HANDOVER_ACT_JOURNAL_OWNS:
    case GW_HANDOVER_ACT_JOURNAL_REFUSED:
        return &end->line_second;
    case GW_HANDOVER_ACT_JOURNAL_RELEASED:
        return &end->line_released;
    default:
        return NULL;
    }
}

static void
act(Walk *walk, World *world, GwHandoverSide side, GwHandoverAction action)
{
    End *end = &world->ends[side];
    if (action == GW_HANDOVER_ACT_ASK) {
        end->asks = 1;
    } else if (action == GW_HANDOVER_ACT_RESUME) {
        if (end->has_vm && !end->runs)
            end->runs = end->resumed = 1;
    } else if (action == GW_HANDOVER_ACT_DISCARD) {
        if (end->runs) {
            walk_print_path(walk, walk->at);
            g_error("the running guest is discarded");
        }
        end->has_vm = 0;
    } else if (action == GW_HANDOVER_ACT_LEAVE) {
        end_die(end);
        end->left = 1;
    } else {
        for (unsigned msg = 0; msg < N_MSGS; msg++)
            if (messages[msg].sends == action)
                channel_put(world, msg);
    }
}

static void
walk_action(Walk *walk, const World *world, GwHandoverSide side)
{
    const char *who = side_names[side];
    GwHandoverAction action = world->ends[side].todo[0];
    World next = *world;
    End *end = &next.ends[side];
    memmove(end->todo, end->todo + 1, sizeof end->todo - 1);
    end->todo[GW_HANDOVER_MAX_ACTIONS - 1] = GW_HANDOVER_ACT_NONE;
    uint8_t *line = journal_line(end, action);
    if (!line) {
        act(walk, &next, side, action);
        walk_emit(walk, &next, false, who, gw_handover_action_name(action));
        return;
    }
    World failed = next;
    end_feed(&failed, side, GW_HANDOVER_EV_FAILED);
    walk_emit(walk, &failed, true, who, "journal fails");
    *line = 1;
    walk_emit(walk, &next, false, who, gw_handover_action_name(action));
    end_feed(&next, side, GW_HANDOVER_EV_FAILED);
    walk_emit(walk, &next, true, who, "journal's sync fails");
}

static void
walk_event(Walk *walk, const World *world, GwHandoverSide side, GwHandoverEvent event, bool is_mishap)
{
    World next = *world;
    end_feed(&next, side, event);
    walk_emit(walk, &next, is_mishap, side_names[side], gw_handover_event_name(event));
}

static void
walk_messages(Walk *walk, const World *world, GwHandoverSide side)
{
    for (unsigned msg = 0; msg < N_MSGS; msg++) {
        if (messages[msg].to != side || !in_channel(world, msg))
            continue;
        walk_event(walk, world, side, messages[msg].event, true); /* and it comes again */
        World next = *world;
        channel_take(&next, msg);
        walk_event(walk, &next, side, messages[msg].event, false);
    }
}

/* The motion itself stops the guest once, and sends what is left; asking goes on. */
static void
walk_source(Walk *walk, const World *world)
{
    const End *end = source_of(world);
    World next = *world;
    if (end->state == GW_HANDOVER_OWNS && end->runs) {
        next.ends[GW_HANDOVER_SOURCE].runs = 0;
        channel_put(&next, MSG_STATE);
        walk_emit(walk, &next, false, "source", "stop, send state");
    }
    if (end->asks && !in_channel(world, MSG_ASK)) {
        next = *world;
        channel_put(&next, MSG_ASK);
        walk_emit(walk, &next, false, "source", "asks");
    }
    walk_event(walk, world, GW_HANDOVER_SOURCE, GW_HANDOVER_EV_FAIL, false);
}

/* A person who looked: the right to say "run" is where the other end is destroyed, or has refused, and never
 * ran; "discard" where the other end runs, or ran until it was destroyed. What is needed to come to an end is
 * no mishap. */
static void
walk_person(Walk *walk, const World *world)
{
    const End *source = source_of(world), *destination = destination_of(world);
    bool source_idle = source->alive && !source->todo[0];
    if (source_idle && !destination->resumed && (destination->lost || destination->line_second))
        walk_event(walk, world, GW_HANDOVER_SOURCE, GW_HANDOVER_EV_TOLD_RUN, !destination->lost);
    if (source_idle && destination->resumed)
        walk_event(walk, world, GW_HANDOVER_SOURCE, GW_HANDOVER_EV_TOLD_DISCARD, !destination->lost);
    if (!destination->alive || destination->todo[0])
        return;
    if (source->lost && !source->resumed)
        walk_event(walk, world, GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_TOLD_RUN, true);
    walk_event(walk, world, GW_HANDOVER_DESTINATION, GW_HANDOVER_EV_TOLD_DISCARD, true);
}

static void
walk_end(Walk *walk, const World *world, GwHandoverSide side)
{
    const End *end = &world->ends[side];
    World next = *world;
    if (end->lost || end->left)
        return;
    if (!world->ends[!side].lost) {
        end_lose(&next.ends[side]);
        walk_emit(walk, &next, true, side_names[side], "host lost");
        next = *world;
    }
    if (!end->alive) {
        end_restart(&next, side);
        walk_emit(walk, &next, false, side_names[side], "restarts");
        return;
    }
    end_die(&next.ends[side]);
    walk_emit(walk, &next, true, side_names[side], "crashes");
    if (end->todo[0]) {
        walk_action(walk, world, side);
        return;
    }
    walk_messages(walk, world, side);
    if (side == GW_HANDOVER_SOURCE) {
        walk_source(walk, world);
    } else {
        walk_event(walk, world, side, GW_HANDOVER_EV_LINK_LOST, false);
        walk_event(walk, world, side, GW_HANDOVER_EV_DEADLINE, false);
    }
}

static void
walk_all(Walk *walk)
{
    World start = {
        .ends = {{.state = GW_HANDOVER_OWNS, .before = GW_HANDOVER_OWNS, .alive = 1, .has_vm = 1, .runs = 1},
                 {.state = GW_HANDOVER_WAITS, .before = GW_HANDOVER_WAITS, .alive = 1, .has_vm = 1}}};
    walk_find_or_add(walk, &start, "", "");
    for (walk->at = 0; walk->at < walk->nodes->len; walk->at++) {
        World world = walk_node(walk, walk->at)->world; /* a copy: nodes may move */
        for (unsigned msg = 0; msg < N_MSGS; msg++) {
            if (!in_channel(&world, msg))
                continue;
            World next = world;
            channel_take(&next, msg);
            walk_emit(walk, &next, true, "", "a message is lost");
        }
        walk_end(walk, &world, GW_HANDOVER_SOURCE);
        walk_end(walk, &world, GW_HANDOVER_DESTINATION);
        walk_person(walk, &world);
    }
}

static bool
is_at_rest(const End *end)
{
    if (end->lost || end->left)
        return true;
    if (!end->alive || end->todo[0])
        return false;
    if (end->runs)
        return end->state == GW_HANDOVER_KEEPS || end->state == GW_HANDOVER_RUNS;
    return end->state == GW_HANDOVER_RELEASED || end->state == GW_HANDOVER_REFUSED;
}

/* The end of the story. If a host was lost, it may have been the one that ran the VM, or that was to. */
static bool
is_settled(const World *world)
{
    const End *source = source_of(world), *destination = destination_of(world);
    unsigned n_running = source->runs + destination->runs;
    return is_at_rest(source) && is_at_rest(destination) &&
           (n_running == 1 || source->lost || (destination->lost && destination->resumed));
}

/* Backwards from the settled states over steps without mishap; each state has to be found. */
static void
assert_all_settle(Walk *walk)
{
    uint32_t n = walk->nodes->len, n_steps = walk->from->len, n_settled = 0;
    const uint32_t *from = (const uint32_t *)(void *)walk->from->data;
    const uint32_t *to = (const uint32_t *)(void *)walk->to->data;
    g_autofree uint32_t *first = g_new0(uint32_t, n + 2), *sorted = g_new(uint32_t, n_steps),
                        *queue = g_new(uint32_t, n);
    g_autofree bool *settles = g_new0(bool, n);
    for (uint32_t i = 0; i < n_steps; i++)
        first[to[i] + 2]++;
    for (uint32_t i = 2; i < n + 2; i++)
        first[i] += first[i - 1];
    for (uint32_t i = 0; i < n_steps; i++)
        sorted[first[to[i] + 1]++] = from[i];
    uint32_t n_queue = 0;
    for (uint32_t i = 0; i < n; i++)
        if (is_settled(&walk_node(walk, i)->world))
            settles[queue[n_queue++] = i] = true;
    n_settled = n_queue;
    for (uint32_t head = 0; head < n_queue; head++) {
        for (uint32_t i = first[queue[head]]; i < first[queue[head] + 1]; i++) {
            if (!settles[sorted[i]])
                settles[queue[n_queue++] = sorted[i]] = true;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (settles[i])
            continue;
        walk_print_path(walk, i);
        g_error("from here, nobody ever runs the VM (source | destination)");
    }
    g_test_message("%u states of the pair, %u steps without mishap; %u states are settled, and from each of "
                   "the others one is reached",
                   n, n_steps, n_settled);
}

/* Settled is for ever, whatever still comes in. */
static void
assert_settled_stays(Walk *walk)
{
    for (uint32_t i = 0; i < walk->from->len; i++) {
        const World *from = &walk_node(walk, g_array_index(walk->from, uint32_t, i))->world;
        const World *to = &walk_node(walk, g_array_index(walk->to, uint32_t, i))->world;
        if (!is_settled(from))
            continue;
        g_assert_cmpint(source_of(from)->runs, ==, source_of(to)->runs);
        g_assert_cmpint(destination_of(from)->runs, ==, destination_of(to)->runs);
    }
}

/* The walk has been where it is interesting; otherwise it would prove little. */
static void
assert_was_everywhere(const Walk *walk)
{
    bool seen[2][GW_HANDOVER_N_STATES] = {{false}}, both_lines = false, unsure_runs = false;
    unsigned n_moved = 0, n_kept = 0, n_left = 0;
    for (uint32_t i = 0; i < walk->nodes->len; i++) {
        const World *world = &walk_node(walk, i)->world;
        const End *source = source_of(world), *destination = destination_of(world);
        seen[0][source->state] |= source->alive != 0;
        seen[1][destination->state] |= destination->alive != 0;
        both_lines |= destination->line_first && destination->line_second;
        unsure_runs |= source->alive && source->state == GW_HANDOVER_UNSURE && source->runs;
        n_moved += destination->runs && source->state == GW_HANDOVER_RELEASED;
        n_kept += source->resumed && !destination->has_vm && !destination->lost;
        n_left += destination->left;
    }
    for (unsigned state = 0; state < GW_HANDOVER_N_STATES; state++) {
        bool is_source = state <= GW_HANDOVER_RELEASED;
        g_assert_true(seen[is_source ? 0 : 1][state]);
        g_assert_false(seen[is_source ? 1 : 0][state]);
    }
    g_assert_true(both_lines);
    g_assert_true(unsure_runs);
    g_assert_cmpuint(n_moved, >, 0);
    g_assert_cmpuint(n_kept, >, 0);
    g_assert_cmpuint(n_left, >, 0);
}

static void
test_walk(void)
{
    Walk walk = {
        .nodes = g_array_new(FALSE, FALSE, sizeof(Node)),
        .from = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
        .to = g_array_new(FALSE, FALSE, sizeof(uint32_t)),
    };
    walk_all(&walk);
    assert_was_everywhere(&walk);
    assert_all_settle(&walk);
    assert_settled_stays(&walk);
    g_array_unref(walk.nodes);
    g_array_unref(walk.from);
    g_array_unref(walk.to);
    g_free(walk.slots);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/handover-model/walk", test_walk);
    return g_test_run();
}
