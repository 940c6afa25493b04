/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sending end. All ways are connected at once, so that dead ones cost three seconds in all; then each is
 * filled in turn for the duration asked for.
 *
 * What counts is what arrives: send(2) is content with filling buffers, which at 1 Gbit/s hold a sixth of
 * what 200 ms carry. A way that connects but carries no data is not reachable: that is how two ends with
 * different MTUs look. */
#include "probe.h"

#include "error.h"
#include "json.h"
#include "probe-internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS     3000
#define ANSWER_MS      3000
#define MIN_DURATION   20
#define MAX_DURATION   2000
#define USUAL_DURATION 200
#define CHUNK          (256 * 1024)
/* A slow link would otherwise have seconds of data before it when the time is over. */
#define UNSENT_BYTES   (256 * 1024)

void
gw_probe_window(const GArray *samples, uint64_t *ret_bytes, uint64_t *ret_us)
{
    *ret_bytes = *ret_us = 0;
    if (samples->len < 2)
        return;
    const GwProbeSample *first = &g_array_index(samples, GwProbeSample, 0);
    const GwProbeSample *last = &g_array_index(samples, GwProbeSample, samples->len - 1);
    const GwProbeSample *from = first;
    while (from->us - first->us < (last->us - first->us) / 4)
        from++;
    if (from->us >= last->us)
        from = first;
    *ret_us = (uint64_t)(last->us - from->us);
    *ret_bytes = *ret_us ? last->bytes - from->bytes : 0;
}

uint64_t
gw_probe_rate(const unsigned char answer[GW_PROBE_ANSWER_BYTES])
{
    uint64_t bytes, us;
    memcpy(&bytes, answer, sizeof bytes);
    memcpy(&us, answer + sizeof bytes, sizeof us);
    bytes = GUINT64_FROM_BE(bytes);
    us = GUINT64_FROM_BE(us);
    bool is_possible = us > 0 && us < G_USEC_PER_SEC * 60 && bytes < (uint64_t)INT64_MAX / 8 / G_USEC_PER_SEC;
    return is_possible ? bytes * 8 * G_USEC_PER_SEC / us : 0;
}

static bool
is_unspecific(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        in_addr_t a = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
        return a == INADDR_ANY || a == INADDR_BROADCAST || IN_MULTICAST(a);
    }
    const struct in6_addr *a = &((const struct sockaddr_in6 *)address)->sin6_addr;
    return IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_MULTICAST(a);
}

bool
gw_probe_address_parse(const char *text, unsigned port, struct sockaddr_storage *ret_address,
                       socklen_t *ret_length)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    g_snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(text, service, &hints, &found) != 0)
        return false;
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_length = found->ai_addrlen;
    freeaddrinfo(found);
    return !is_unspecific(ret_address);
}

/* A way while it is tried. */
typedef struct {
    const char *source, *destination; /* borrowed from the request */
    unsigned port;
    int fd; /* -1: none (any more) */
    bool is_connected;
    uint64_t rtt_us, bits_per_s;
    char *error; /* NULL: so far so good */
} Way;

typedef struct {
    const char *token; /* borrowed */
    int64_t duration_ms;
    GArray *ways; /* of Way */
} Probe;

static void
way_clear(void *data)
{
    Way *way = data;
    if (way->fd >= 0)
        close(way->fd);
    g_free(way->error);
}

static void G_GNUC_PRINTF(2, 3) give_up(Way *way, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!way->error)
        way->error = g_strdup_vprintf(format, args);
    va_end(args);
    if (way->fd >= 0)
        close(way->fd);
    way->fd = -1;
}

static void
begin_connect(Way *way)
{
    struct sockaddr_storage source, destination;
    socklen_t source_length, destination_length;
    if (!gw_probe_address_parse(way->source, 0, &source, &source_length)) {
        give_up(way, "'%s' is no numeric address", way->source);
        return;
    }
    if (!gw_probe_address_parse(way->destination, way->port, &destination, &destination_length)) {
        give_up(way, "'%s' is no numeric address", way->destination);
        return;
    }
    if (source.ss_family != destination.ss_family) {
        give_up(way, "%s and %s are of different families", way->source, way->destination);
        return;
    }
    int unsent = UNSENT_BYTES;
    way->fd = socket(source.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (way->fd < 0)
        give_up(way, "making a socket: %s", g_strerror(errno));
    else if (bind(way->fd, (struct sockaddr *)&source, source_length) < 0)
        give_up(way, errno == EADDRNOTAVAIL ? "%s is no address of this host" : "binding to %s: %s",
                way->source, g_strerror(errno));
    else if (setsockopt(way->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent) < 0 ||
             (connect(way->fd, (struct sockaddr *)&destination, destination_length) < 0 &&
              errno != EINPROGRESS))
        give_up(way, "connecting from %s to %s: %s", way->source, way->destination, g_strerror(errno));
}

/* The kernel measured SYN to SYN-ACK; nothing else has used the connection yet. */
static void
finish_connect(Way *way)
{
    int errnum = 0;
    socklen_t length = sizeof errnum;
    struct tcp_info info = {0};
    getsockopt(way->fd, SOL_SOCKET, SO_ERROR, &errnum, &length);
    if (errnum) {
        give_up(way, "connecting from %s to %s port %u: %s", way->source, way->destination, way->port,
                g_strerror(errnum));
        return;
    }
    way->is_connected = true;
    length = sizeof info;
    if (getsockopt(way->fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
        way->rtt_us = info.tcpi_rtt;
}

static void
connect_all(GArray *ways)
{
    struct pollfd fds[GW_PROBE_MAX_PATHS];
    gint64 until_us = g_get_monotonic_time() + CONNECT_MS * G_TIME_SPAN_MILLISECOND;
    for (guint i = 0; i < ways->len; i++)
        begin_connect(&g_array_index(ways, Way, i));
    for (;;) {
        unsigned n_waiting = 0;
        for (guint i = 0; i < ways->len; i++) {
            const Way *way = &g_array_index(ways, Way, i);
            bool waits = way->fd >= 0 && !way->is_connected;
            fds[i] = (struct pollfd){waits ? way->fd : -1, POLLOUT, 0};
            n_waiting += waits;
        }
        gint64 left_us = until_us - g_get_monotonic_time();
        if (n_waiting == 0 || left_us <= 0)
            break;
        int n = poll(fds, ways->len, (int)(left_us / 1000) + 1);
        for (guint i = 0; n > 0 && i < ways->len; i++)
            if (fds[i].revents)
                finish_connect(&g_array_index(ways, Way, i));
    }
    for (guint i = 0; i < ways->len; i++) {
        Way *way = &g_array_index(ways, Way, i);
        if (way->fd >= 0 && !way->is_connected)
            give_up(way, "connecting from %s to %s port %u: no answer in %d s", way->source, way->destination,
                    way->port, CONNECT_MS / 1000);
    }
}

static bool
wait_for(int fd, short events, gint64 until_us)
{
    for (;;) {
        gint64 left_us = until_us - g_get_monotonic_time();
        struct pollfd poll_fd = {fd, events, 0};
        int n = left_us > 0 ? poll(&poll_fd, 1, (int)(left_us / 1000) + 1) : 0;
        if (n >= 0 || errno != EINTR)
            return n > 0;
    }
}

/* True once the time is over; false if the connection broke. */
static bool
fill(const Way *way, gint64 until_us)
{
    g_autofree char *chunk = g_malloc0(CHUNK);
    while (wait_for(way->fd, POLLOUT, until_us))
        if (send(way->fd, chunk, CHUNK, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != EINTR)
            return false;
    return true;
}

/* 0: all is there; else an errno, ETIMEDOUT among them. */
static int
receive_answer(int fd, unsigned char reply[GW_PROBE_ANSWER_BYTES])
{
    size_t got = 0;
    gint64 until_us = g_get_monotonic_time() + ANSWER_MS * G_TIME_SPAN_MILLISECOND;
    while (got < GW_PROBE_ANSWER_BYTES) {
        if (!wait_for(fd, POLLIN, until_us))
            return ETIMEDOUT;
        ssize_t n = recv(fd, reply + got, GW_PROBE_ANSWER_BYTES - got, 0);
        if (n == 0)
            return ECONNRESET;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno;
        got += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static void
measure(const Probe *self, Way *way)
{
    unsigned char reply[GW_PROBE_ANSWER_BYTES] = {0};
    gint64 until_us = g_get_monotonic_time() + self->duration_ms * G_TIME_SPAN_MILLISECOND;
    if (send(way->fd, self->token, GW_PROBE_TOKEN_CHARS, MSG_NOSIGNAL) != GW_PROBE_TOKEN_CHARS ||
        !fill(way, until_us) || shutdown(way->fd, SHUT_WR) < 0) {
        give_up(way, "sending to %s port %u: %s", way->destination, way->port, g_strerror(errno));
        return;
    }
    int failed = receive_answer(way->fd, reply);
    if (failed == ETIMEDOUT)
        give_up(way,
                "%s answers, but data from %s does not get through: is the MTU the same all along the way?",
                way->destination, way->source);
    else if (failed)
        give_up(way, "%s port %u: %s: the probe is not expected there (any more)", way->destination,
                way->port, g_strerror(failed));
    else
        way->bits_per_s = gw_probe_rate(reply);
}

static JsonObject *
way_to_json(const Way *way)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "source_address", way->source);
    json_object_set_string_member(object, "destination_address", way->destination);
    json_object_set_boolean_member(object, "reachable", way->error == NULL);
    json_object_set_int_member(object, "rtt_us", (gint64)way->rtt_us);
    json_object_set_int_member(object, "bits_per_s", (gint64)way->bits_per_s);
    if (way->error)
        json_object_set_string_member(object, "error", way->error);
    else
        json_object_set_null_member(object, "error");
    return object;
}

static bool
read_way(JsonObject *path, Way *ret_way)
{
    int64_t port = 0;
    if (!path)
        return false;
    *ret_way = (Way){.source = gw_json_get_string(path, "source_address"),
                     .destination = gw_json_get_string(path, "destination_address"),
                     .fd = -1};
    if (!ret_way->source || !ret_way->destination || !gw_json_get_int(path, "port", &port) || port < 1 ||
        port > 65535)
        return false;
    ret_way->port = (unsigned)port;
    return true;
}

static bool
read_request(Probe *self, JsonObject *request, GError **error)
{
    JsonArray *paths = gw_json_get_array(request, "paths");
    guint n = paths ? json_array_get_length(paths) : 0;
    self->token = gw_json_get_string(request, "token");
    self->duration_ms = USUAL_DURATION;
    if (!self->token || strlen(self->token) != GW_PROBE_TOKEN_CHARS) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'token': expected the %d characters of POST /v1/probe/listen", GW_PROBE_TOKEN_CHARS);
        return false;
    }
    if (json_object_has_member(request, "duration_ms") &&
        (!gw_json_get_int(request, "duration_ms", &self->duration_ms) || self->duration_ms < MIN_DURATION ||
         self->duration_ms > MAX_DURATION)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'duration_ms': expected %d to %d",
                    MIN_DURATION, MAX_DURATION);
        return false;
    }
    for (guint i = 0; i < n && n <= GW_PROBE_MAX_PATHS; i++) {
        Way way;
        if (!read_way(gw_json_array_object(paths, i), &way)) {
            g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                        "'paths': element %u: expected 'source_address', 'destination_address' and 'port'",
                        i);
            return false;
        }
        g_array_append_val(self->ways, way);
    }
    if (n < 1 || n > GW_PROBE_MAX_PATHS)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'paths': expected a list of 1 to %d",
                    GW_PROBE_MAX_PATHS);
    return n >= 1 && n <= GW_PROBE_MAX_PATHS;
}

JsonObject *
gw_probe_run(JsonObject *request, GError **error)
{
    g_autoptr(GArray) ways = g_array_new(FALSE, FALSE, sizeof(Way));
    g_array_set_clear_func(ways, way_clear);
    Probe self = {.ways = ways};
    if (!read_request(&self, request, error))
        return NULL;
    connect_all(ways);
    JsonArray *paths = json_array_new();
    for (guint i = 0; i < ways->len; i++) {
        Way *way = &g_array_index(ways, Way, i);
        if (way->is_connected)
            measure(&self, way);
        json_array_add_object_element(paths, way_to_json(way));
    }
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "paths", paths);
    return answer;
}
