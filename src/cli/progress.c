/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A task's JSON as a line for people. */
#include "progress.h"

#include "fields.h"
#include "format.h"
#include "text.h"

#include <string.h>

#define MAX_PARTS 8

bool
gw_progress_has_ended(JsonObject *task)
{
    static const char *const ends[] = {"completed", "failed", "cancelled", NULL};
    return g_strv_contains(ends, gw_field_text(task, "state", ""));
}

/* A name that stands within a line: the center keeps names short, but a line must not depend on it. */
static char *
name_of(JsonObject *task, const char *member)
{
    return gw_text_cut(gw_field_text(task, member, "?"), 63);
}

/* What goes on, in words, and "" if that needs none. */
static char *
describe(JsonObject *task)
{
    const char *step = gw_field_text(task, "step", gw_field_text(task, "state", "?"));
    const char *state = gw_field_text(gw_field_object(task, "progress"), "state", step);
    g_autofree char *destination = name_of(task, "destination"), *source = name_of(task, "source");
    if (gw_progress_has_ended(task))
        return g_strdup(gw_field_text(task, "state", "?"));
    if (strcmp(gw_field_text(task, "state", ""), "queued") == 0 || strcmp(step, "queued") == 0) {
        const char *waits_for = gw_field_text(task, "waits_for", NULL);
        return waits_for ? g_strdup_printf("waits: %s", waits_for) : g_strdup("waits for its turn");
    }
    if (strcmp(step, "check") == 0)
        return g_strdup("checks whether it can move");
    if (strcmp(step, "reserve") == 0)
        return g_strdup_printf("reserves memory on %s", destination);
    if (strcmp(step, "prepare") == 0)
        return g_strdup_printf("prepares %s", destination);
    if (strcmp(step, "record") == 0)
        return g_strdup("records its new home");
    if (strcmp(step, "clean-up") == 0)
        return g_strdup_printf("cleans up %s", source);
    if (strcmp(step, "connect") == 0 || strcmp(state, "connecting") == 0)
        return g_strdup_printf("connects %s and %s", source, destination);
    if (strcmp(state, "first-round") == 0)
        return g_strdup("first round");
    if (strcmp(state, "pre-copy") == 0)
        return g_strdup_printf("round %.0f",
                               gw_field_number_or(gw_field_object(task, "progress"), "round", 0) + 1);
    if (strcmp(state, "switchover") == 0 || strcmp(state, "handing-over") == 0)
        return g_strdup("switches over");
    if (strcmp(state, "completed") == 0) /* the engine is, the task is not yet */
        return g_strdup("has switched over");
    if (strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0)
        return g_strdup_printf("stays, and is taken from %s", destination);
    if (strcmp(state, "unresolved") == 0)
        return g_strdup_printf("waits to hear whether it runs on %s", destination);
    return g_strdup(state);
}

/* The figures of a copy are worth telling while it is one. */
static JsonObject *
copying(JsonObject *task)
{
    JsonObject *progress = gw_field_object(task, "progress");
    const char *state = gw_field_text(progress, "state", "");
    bool is_copying = strcmp(state, "first-round") == 0 || strcmp(state, "pre-copy") == 0;
    return is_copying && !gw_progress_has_ended(task) ? progress : NULL;
}

typedef struct {
    char *text;
    unsigned rank; /* the highest goes first when there is no room */
} Part;

static unsigned
add_amount(Part *parts, unsigned n, JsonObject *progress, const char *member, const char *behind,
           char *(*format)(double), unsigned rank)
{
    double value = 0;
    if (!gw_field_number(progress, member, &value) || value < 0)
        return n;
    g_autofree char *text = format(value);
    parts[n] = (Part){g_strconcat(text, behind, NULL), rank};
    return n + 1;
}

static unsigned
add_expectation(Part *parts, unsigned n, JsonObject *progress)
{
    double eta_ms = 0, pause_ms = 0;
    bool has_pause = gw_field_number(progress, "expected_pause_ms", &pause_ms) && pause_ms >= 0;
    g_autofree char *pause = gw_format_ms(pause_ms);
    if (gw_field_number(progress, "eta_ms", &eta_ms) && eta_ms >= 0) {
        g_autofree char *eta = gw_format_ms(eta_ms);
        parts[n++] = (Part){g_strconcat("switchover in ", eta, NULL), 1};
    }
    if (has_pause)
        parts[n++] = (Part){g_strconcat("downtime ", pause, NULL), 2};
    return n;
}

static char *
join(const Part *parts, unsigned n, unsigned least_rank)
{
    GString *line = g_string_new(NULL);
    for (unsigned i = 0; i < n; i++)
        if (parts[i].rank <= least_rank)
            g_string_append_printf(line, "%s%s", line->len ? ", " : "", parts[i].text);
    return g_string_free(line, FALSE);
}

char *
gw_progress_line(JsonObject *task, unsigned width)
{
    Part parts[MAX_PARTS];
    unsigned n = 0;
    JsonObject *progress = copying(task);
    g_autofree char *vm = name_of(task, "vm"), *what = describe(task), *line = NULL;
    parts[n++] = (Part){g_strdup_printf("%s: %s", vm, what), 0};
    n = add_amount(parts, n, progress, "link_bytes_per_s", "", gw_format_bytes_per_s, 4);
    n = add_amount(parts, n, progress, "bytes_on_wire", " sent", gw_format_bytes, 5);
    n = add_amount(parts, n, progress, "remaining_bytes", " left", gw_format_bytes, 3);
    n = progress ? add_expectation(parts, n, progress) : n;
    for (unsigned rank = 5;; rank--) {
        g_free(line);
        line = join(parts, n, rank);
        if (rank == 0 || width == 0 || gw_text_width(line) <= width)
            break;
    }
    for (unsigned i = 0; i < n; i++)
        g_free(parts[i].text);
    return gw_text_cut(line, width);
}

char *
gw_progress_step(JsonObject *task)
{
    g_autofree char *vm = name_of(task, "vm"), *what = describe(task);
    g_autofree char *line = g_strdup_printf("%s: %s", vm, what);
    return gw_text_cut(line, 0);
}

char *
gw_progress_explanation(JsonObject *task)
{
    JsonObject *progress = copying(task);
    const char *explanation = gw_field_text(progress, "explanation", NULL);
    bool converging = gw_field_bool(progress, "converging");
    return explanation && !converging ? gw_text_cut(explanation, 0) : NULL;
}

char *
gw_progress_summary(JsonObject *task)
{
    JsonObject *motion = gw_field_object(task, "motion");
    g_autofree char *vm = name_of(task, "vm"), *source = name_of(task, "source"),
                    *destination = name_of(task, "destination");
    GString *line = g_string_new(NULL);
    double value = 0;
    g_string_append_printf(line, "%s: moved from %s to %s", vm, source, destination);
    if (gw_field_number(motion, "total_ms", &value)) {
        g_autofree char *total = gw_format_ms(value);
        g_string_append_printf(line, " in %s", total);
    }
    if (gw_field_number(motion, "downtime_ms", &value)) {
        g_autofree char *downtime = gw_format_ms(value);
        g_string_append_printf(line, ", stood still for %s", downtime);
    }
    if (gw_field_number(motion, "bytes_on_wire", &value)) {
        g_autofree char *bytes = gw_format_bytes(value);
        guint rounds = gw_field_count(motion, "rounds");
        g_string_append_printf(line, "; %s on the wire, %u round%s", bytes, rounds, rounds == 1 ? "" : "s");
    }
    return g_string_free(line, FALSE);
}

/* The engine calls "found" what the world calls "dirty". */
static JsonNode *
rounds_of(JsonObject *motion, JsonObject *progress)
{
    JsonObject *from = gw_field_count(motion, "rounds") > 0 ? motion : progress;
    if (!from || !json_object_has_member(from, "rounds"))
        return json_node_new(JSON_NODE_NULL);
    JsonArray *rounds = json_array_new();
    for (guint i = 0; i < gw_field_count(from, "rounds"); i++) {
        JsonObject *round = gw_field_element(from, "rounds", i), *each = json_object_new();
        bool renamed = round && !json_object_has_member(round, "dirty_pages");
        json_object_set_member(each, "dirty_pages",
                               gw_field_copy(round, renamed ? "found_pages" : "dirty_pages"));
        json_object_set_member(each, "sent_bytes", gw_field_copy(round, "sent_bytes"));
        json_object_set_member(each, "ms", gw_field_copy(round, "ms"));
        json_array_add_object_element(rounds, each);
    }
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, rounds);
    return node;
}

/* The result's figure, or the last one that the engine told: a motion that failed has only these. */
static JsonNode *
figure_of(JsonObject *motion, JsonObject *progress, const char *member)
{
    bool in_motion = motion && json_object_has_member(motion, member);
    return gw_field_copy(in_motion ? motion : progress, member);
}

JsonObject *
gw_progress_result(JsonObject *task)
{
    static const char *const of_task[] = {"vm", "source", "destination", "state", "error", NULL};
    static const char *const figures[] = {"downtime_ms", "total_ms", "precopy_ms", NULL};
    static const char *const counts[] = {"bytes_on_wire", "pages_sent", "pages_zero", "pages_resent",
                                         "streams",       "encrypted",  "cipher",     "link_bytes_per_s",
                                         "rtt_us",        "paths",      "session",    NULL};
    static const char *const more[] = {"step",    "priority", "user",  "reason", "findings",
                                       "created", "started",  "ended", NULL};
    JsonObject *motion = gw_field_object(task, "motion"), *progress = gw_field_object(task, "progress");
    JsonObject *result = json_object_new();
    json_object_set_member(result, "task", gw_field_copy(task, "id"));
    for (size_t i = 0; of_task[i]; i++)
        json_object_set_member(result, of_task[i], gw_field_copy(task, of_task[i]));
    for (size_t i = 0; figures[i]; i++)
        json_object_set_member(result, figures[i], figure_of(motion, progress, figures[i]));
    json_object_set_member(result, "rounds", rounds_of(motion, progress));
    for (size_t i = 0; counts[i]; i++)
        json_object_set_member(result, counts[i], figure_of(motion, progress, counts[i]));
    json_object_set_member(result, "client_gap_ms",
                           gw_field_copy(gw_field_object(motion, "client"), "gap_ms"));
    json_object_set_member(result, "steps", figure_of(task, progress, "steps"));
    for (size_t i = 0; more[i]; i++)
        json_object_set_member(result, more[i], gw_field_copy(task, more[i]));
    return result;
}
