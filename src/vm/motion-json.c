/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON of motions. */
#include "motion-json.h"

#include "error.h"
#include "json.h"

#include <gio/gio.h>
#include <string.h>

#define DEFAULT_GOAL_MS    500
#define DEFAULT_DEADLINE_S 600
#define MAX_ENDPOINTS      GW_WIRE_MAX_STREAMS

static bool
invalid(GError **error, const char *member, const char *expected)
{
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: expected %s", member, expected);
    return false;
}

static bool
is_address(const char *text)
{
    return text && g_hostname_is_ip_address(text);
}

void
gw_motion_request_clear(GwMotionRequest *self)
{
    g_clear_pointer(&self->ticket, gw_ticket_free);
}

/* A member that may be absent; false if it is there and no integer in the range. */
static bool
read_int(JsonObject *body, const char *member, int64_t min, int64_t max, int64_t *value, GError **error)
{
    if (!json_object_has_member(body, member))
        return true;
    if (gw_json_get_int(body, member, value) && *value >= min && *value <= max)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "%s: expected a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, member, min,
                max);
    return false;
}

static bool
read_endpoint(JsonObject *object, GwTicket *ticket, GError **error)
{
    const char *address = object ? gw_json_get_string(object, "address") : NULL;
    const char *local = object ? gw_json_get_string(object, "local") : NULL;
    int64_t port = 0;
    if (!is_address(address))
        return invalid(error, "addresses", "objects with a numeric \"address\"");
    if (!gw_json_get_int(object, "port", &port) || port < 1 || port > 65535)
        return invalid(error, "addresses", "a \"port\" from 1 to 65535 in each");
    if (json_object_has_member(object, "local") && !is_address(local))
        return invalid(error, "addresses", "a numeric \"local\" address, or none");
    gw_ticket_add(ticket, address, (unsigned)port, local);
    return true;
}

GwTicket *
gw_motion_ticket_parse(JsonObject *object, GError **error)
{
    const char *session = gw_json_get_string(object, "session"),
               *secret = gw_json_get_string(object, "secret");
    JsonArray *addresses = gw_json_get_array(object, "addresses");
    g_autoptr(GwTicket) ticket = gw_ticket_new(error);
    if (!ticket)
        return NULL;
    if (!session || !gw_hex_decode(session, ticket->session, sizeof ticket->session)) {
        invalid(error, "session", "32 hexadecimal digits, from the destination's answer");
        return NULL;
    }
    if (!secret || !gw_hex_decode(secret, ticket->secret, sizeof ticket->secret)) {
        invalid(error, "secret", "64 hexadecimal digits, from the destination's answer");
        return NULL;
    }
    guint n = addresses ? json_array_get_length(addresses) : 0;
    if (n < 1 || n > MAX_ENDPOINTS) {
        invalid(error, "addresses", "a list of 1 to 8 objects");
        return NULL;
    }
    for (guint i = 0; i < n; i++)
        if (!read_endpoint(gw_json_array_object(addresses, i), ticket, error))
            return NULL;
    return g_steal_pointer(&ticket);
}

static GwTicket *
read_listen(JsonObject *body, GError **error)
{
    JsonArray *listen = gw_json_get_array(body, "listen");
    guint n = listen ? json_array_get_length(listen) : 0;
    g_autoptr(GwTicket) ticket = gw_ticket_new(error);
    for (guint i = 0; ticket && i < n && n <= MAX_ENDPOINTS; i++) {
        JsonNode *node = json_array_get_element(listen, i);
        const char *address =
            json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
        if (!is_address(address)) {
            n = 0;
            break;
        }
        gw_ticket_add(ticket, address, 0, NULL);
    }
    if (ticket && n >= 1 && n <= MAX_ENDPOINTS)
        return g_steal_pointer(&ticket);
    if (ticket)
        invalid(error, "listen", "a list of 1 to 8 numeric addresses of this host's motion interfaces");
    return NULL;
}

bool
gw_motion_request_parse(JsonObject *body, GwMotionRequest *ret_request, GError **error)
{
    g_auto(GwMotionRequest) request = {.tls = true};
    int64_t n_streams = 0, goal_ms = DEFAULT_GOAL_MS, deadline_s = DEFAULT_DEADLINE_S;
    const char *action = gw_json_get_string(body, "action");
    request.outgoing = g_strcmp0(action, "send") == 0;
    if (!request.outgoing && g_strcmp0(action, "receive") != 0)
        return invalid(error, "action", "send or receive");
    if (json_object_has_member(body, "tls") && !gw_json_get_bool(body, "tls", &request.tls))
        return invalid(error, "tls", "true or false");
    if (!read_int(body, "streams", 1, GW_WIRE_MAX_STREAMS, &n_streams, error) ||
        !read_int(body, "switchover_goal_ms", 10, 60000, &goal_ms, error) ||
        !read_int(body, "deadline_s", 1, 7 * 24 * 3600, &deadline_s, error))
        return false;
    request.ticket = request.outgoing ? gw_motion_ticket_parse(body, error) : read_listen(body, error);
    if (!request.ticket)
        return false;
    request.n_streams = (unsigned)n_streams;
    request.goal_us = (uint64_t)goal_ms * 1000;
    request.deadline_us = (uint64_t)deadline_s * 1000000;
    *ret_request = request;
    request.ticket = NULL;
    return true;
}

JsonObject *
gw_motion_ticket_to_json(const GwTicket *ticket, bool tls)
{
    g_autofree char *session = gw_hex_encode(ticket->session, sizeof ticket->session);
    g_autofree char *secret = gw_hex_encode(ticket->secret, sizeof ticket->secret);
    JsonObject *object = json_object_new();
    JsonArray *addresses = json_array_new();
    for (guint i = 0; i < ticket->endpoints->len; i++) {
        const GwEndpoint *endpoint = gw_ticket_endpoint(ticket, i);
        JsonObject *each = json_object_new();
        json_object_set_string_member(each, "address", endpoint->address);
        json_object_set_int_member(each, "port", endpoint->port);
        if (endpoint->local)
            json_object_set_string_member(each, "local", endpoint->local);
        json_array_add_object_element(addresses, each);
    }
    json_object_set_string_member(object, "session", session);
    json_object_set_string_member(object, "secret", secret);
    json_object_set_array_member(object, "addresses", addresses);
    json_object_set_boolean_member(object, "tls", tls);
    return object;
}

static void
set_ms(JsonObject *object, const char *member, bool known, uint64_t us)
{
    if (known)
        json_object_set_double_member(object, member, (double)us / 1000);
    else
        json_object_set_null_member(object, member);
}

static void
set_text(JsonObject *object, const char *member, const char *text)
{
    if (text && *text)
        json_object_set_string_member(object, member, text);
    else
        json_object_set_null_member(object, member);
}

static JsonArray *
rounds_to_json(const GwProgressData *p)
{
    JsonArray *rounds = json_array_new();
    for (unsigned i = 0; i < p->n_rounds; i++) {
        JsonObject *round = json_object_new();
        json_object_set_int_member(round, "round", i == 0 ? 0 : i + p->n_left_out);
        json_object_set_int_member(round, "found_pages", (gint64)p->rounds[i].found_pages);
        json_object_set_int_member(round, "sent_bytes", (gint64)p->rounds[i].sent_bytes);
        set_ms(round, "ms", true, p->rounds[i].duration_us);
        json_array_add_object_element(rounds, round);
    }
    return rounds;
}

/* In microseconds since the guest stopped; before that there is none. */
static JsonArray *
timeline_to_json(const GwProgressData *p)
{
    JsonArray *timeline = json_array_new();
    gint64 zero_us = p->stopped_us ? p->stopped_us : p->started_us;
    for (unsigned i = 0; i < p->n_steps; i++) {
        JsonObject *step = json_object_new();
        json_object_set_string_member(step, "step", p->steps[i].step);
        json_object_set_int_member(step, "at_us", p->steps[i].at_us - zero_us);
        json_array_add_object_element(timeline, step);
    }
    return timeline;
}

static void
set_times(JsonObject *object, const GwProgressData *p)
{
    gint64 end_us = p->ended_us ? p->ended_us : g_get_monotonic_time();
    gint64 copied_us = p->stopped_us ? p->stopped_us : end_us;
    set_ms(object, "downtime_ms", p->has_downtime, p->downtime_us);
    set_ms(object, "total_ms", true, (uint64_t)(end_us - p->started_us));
    set_ms(object, "precopy_ms", p->first_round_us != 0, (uint64_t)MAX(copied_us - p->first_round_us, 0));
    json_object_set_int_member(object, "rtt_us", (gint64)p->rtt_us);
    json_object_set_int_member(object, "started_monotonic_us", p->started_us);
    json_object_set_int_member(object, "stopped_monotonic_us", p->stopped_us);
}

static void
set_estimate(JsonObject *object, const GwPaceEstimate *estimate)
{
    json_object_set_int_member(object, "remaining_bytes", (gint64)estimate->remaining_bytes);
    json_object_set_int_member(object, "link_bytes_per_s", (gint64)estimate->link_bytes_per_s);
    json_object_set_int_member(object, "write_bytes_per_s", (gint64)estimate->write_bytes_per_s);
    set_ms(object, "expected_pause_ms", estimate->link_bytes_per_s > 0, estimate->pause_us);
    set_ms(object, "eta_ms", estimate->eta_us != UINT64_MAX && estimate->link_bytes_per_s > 0,
           estimate->eta_us);
}

JsonObject *
gw_motion_progress_to_json(const GwProgressData *p, bool outgoing,
                           const uint8_t session[GW_WIRE_SESSION_BYTES], const GError *error)
{
    g_autofree char *id = gw_hex_encode(session, GW_WIRE_SESSION_BYTES);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "role", outgoing ? "source" : "destination");
    json_object_set_string_member(object, "session", id);
    json_object_set_string_member(object, "state", gw_motion_state_name(p->state));
    set_text(object, "step", p->step);
    if (error) {
        JsonObject *why = json_object_new();
        json_object_set_string_member(why, "code", gw_error_name(error));
        json_object_set_string_member(why, "message", error->message);
        json_object_set_object_member(object, "error", why);
    } else {
        json_object_set_null_member(object, "error");
    }
    json_object_set_boolean_member(object, "encrypted", p->encrypted);
    set_text(object, "cipher", p->cipher);
    set_text(object, "peer", p->peer);
    json_object_set_int_member(object, "streams", p->n_streams);
    json_object_set_boolean_member(object, "converging", p->converging);
    set_text(object, "explanation", p->explanation);
    json_object_set_int_member(object, "round", p->round);
    json_object_set_array_member(object, "rounds", rounds_to_json(p));
    json_object_set_int_member(object, "memory_bytes", (gint64)p->memory_bytes);
    set_estimate(object, &p->estimate);
    set_times(object, p);
    json_object_set_int_member(object, "bytes_on_wire", (gint64)p->bytes_on_wire);
    json_object_set_int_member(object, "pages_sent", (gint64)p->pages_sent);
    json_object_set_int_member(object, "pages_zero", (gint64)p->pages_zero);
    json_object_set_int_member(object, "pages_resent", (gint64)p->pages_resent);
    json_object_set_array_member(object, "timeline", timeline_to_json(p));
    return object;
}
