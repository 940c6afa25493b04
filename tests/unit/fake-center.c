/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A center with one VM and one motion. */
#include "fake-center.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define TASK                                                                                                 \
    "\"id\":\"t-7\",\"kind\":\"vm.migrate\",\"vm\":\"web1\",\"source\":\"host1\",\"destination\":\"host2\"," \
    "\"priority\":\"normal\",\"user\":\"ops\",\"reason\":null,\"created\":\"2026-11-26T03:10:00Z\","         \
    "\"started\":\"2026-11-26T03:10:01Z\",\"ended\":null"
#define WARNING                                                                                              \
    "\"findings\":[{\"id\":\"motion.path.slow\",\"severity\":\"warning\",\"text\":\"\\u001b]0;owned\\u0007 " \
    "slow\",\"source\":null,\"destination\":null,\"repair\":null,\"override\":\"refused\"}]"
#define PROGRESS                                                                                             \
    "\"progress\":{\"state\":\"pre-copy\",\"round\":1,\"link_bytes_per_s\":118000000,"                       \
    "\"bytes_on_wire\":5000000,\"remaining_bytes\":1000000,\"eta_ms\":20.5,\"expected_pause_ms\":3.5,"       \
    "\"converging\":true,\"explanation\":null}"
#define MOTION                                                                                               \
    "\"motion\":{\"session\":\"6f\",\"downtime_ms\":9.84,\"total_ms\":1234.5,\"precopy_ms\":1100.5,"         \
    "\"rounds\":[{\"dirty_pages\":5,\"sent_bytes\":10,\"ms\":1.5}],\"bytes_on_wire\":152000000,"             \
    "\"pages_sent\":3,\"pages_zero\":4,\"streams\":2,\"client\":null}"

static const char *const steps[] = {
    "{" TASK
    ",\"state\":\"queued\",\"step\":\"queued\",\"waits_for\":\"host1 has 8 of 8 motions\",\"error\":null,"
    "\"findings\":[]}",
    "{" TASK ",\"state\":\"running\",\"step\":\"check\",\"waits_for\":null,\"error\":null,\"findings\":[]}",
    "{" TASK ",\"state\":\"running\",\"step\":\"prepare\",\"error\":null," WARNING "}",
    "{" TASK ",\"state\":\"running\",\"step\":\"copy\",\"error\":null," PROGRESS "," WARNING "}",
};
static const char *const ends[] = {
    [FAKE_COMPLETES] =
        "{" TASK ",\"state\":\"completed\",\"step\":\"clean-up\",\"error\":null," WARNING "," MOTION "}",
    [FAKE_FAILS] =
        "{" TASK ",\"state\":\"failed\",\"step\":\"copy\",\"error\":{\"code\":\"peer-lost\",\"message\":"
        "\"the destination was lost\\u001b[2J\"}," WARNING "," PROGRESS ",\"motion\":null}",
    [FAKE_CHECK_FAILS] =
        "{" TASK
        ",\"state\":\"failed\",\"step\":\"check\",\"error\":{\"code\":\"check-failed\",\"message\":\"1 "
        "error\"},\"motion\":null,\"findings\":[{\"id\":\"motion.interface.missing\",\"severity\":\"error\",\"text\":"
        "\"host2 has no motion interface\",\"repair\":\"add one to host.conf\",\"override\":\"refused\"}]}",
};
static const char cancelled[] =
    "{" TASK
    ",\"state\":\"cancelled\",\"step\":\"copy\",\"error\":{\"code\":\"cancelled\",\"message\":\"ops asked for "
    "it\"},\"findings\":[],\"motion\":null}";
static const char vm[] =
    "{\"name\":\"web1\",\"uuid\":\"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\",\"host\":\"host1\","
    "\"state\":\"running\",\"vcpus\":1,\"memory_mib\":256,\"status\":null,\"task\":null,"
    "\"created\":\"2026-11-26T03:00:00Z\"}";

static void
reply_text(GwHttpRequest *request, unsigned status, const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    gw_http_reply(request, status, object);
}

static bool
refused(GwHttpRequest *request)
{
    if (g_strcmp0(gw_http_request_bearer(request), FAKE_TOKEN) == 0)
        return false;
    reply_text(request, 401,
               "{\"error\":{\"code\":\"not-authenticated\",\"message\":\"the session is over\"}}");
    return true;
}

static void
on_about(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    JsonObject *about = json_object_new();
    json_object_set_string_member(about, "ca", self->trust->authority);
    gw_http_reply(request, 200, about);
}

static void
on_login(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    JsonObject *body = gw_http_request_json(request, NULL);
    bool right = body && g_strcmp0(gw_json_get_string(body, "password"), FAKE_PASSWORD) == 0;
    g_mutex_lock(&self->lock);
    self->n_logins++;
    g_mutex_unlock(&self->lock);
    if (right)
        reply_text(request, 200,
                   "{\"token\":\"" FAKE_TOKEN "\",\"user\":\"ops\",\"role\":\"operator\",\"expires\":"
                   "\"2026-11-27T00:00:00Z\"}");
    else
        reply_text(request, 401,
                   "{\"error\":{\"code\":\"not-authenticated\",\"message\":\"wrong password\"}}");
}

static void
on_vm(GwHttpRequest *request, void *data)
{
    if (!refused(request))
        reply_text(request, 200, vm);
}

static void
on_migrate(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    size_t length = 0;
    if (refused(request))
        return;
    const char *body = g_bytes_get_data(gw_http_request_body(request), &length);
    g_mutex_lock(&self->lock);
    self->ordered = true;
    g_free(self->request);
    self->request = g_strndup(body, length);
    g_mutex_unlock(&self->lock);
    if (self->loses_order)
        reply_text(request, 502, "{\"error\":{\"code\":\"peer-lost\",\"message\":\"lost\"}}");
    else
        reply_text(request, 202, steps[0]);
}

static void
on_tasks(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    g_mutex_lock(&self->lock);
    g_autofree char *text = g_strdup_printf("{\"tasks\":[%s]}", self->ordered ? steps[0] : "");
    g_mutex_unlock(&self->lock);
    reply_text(request, 200, text);
}

static void
on_task(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    if (refused(request))
        return;
    g_mutex_lock(&self->lock);
    unsigned n = self->n_asked++;
    const char *text = n < G_N_ELEMENTS(steps) || self->fate == FAKE_HANGS
                           ? steps[MIN(n, G_N_ELEMENTS(steps) - 1)]
                           : ends[self->fate];
    if (self->cancelled)
        text = cancelled;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    reply_text(request, 200, text);
}

static void
on_cancel(GwHttpRequest *request, void *data)
{
    FakeCenter *self = data;
    g_mutex_lock(&self->lock);
    self->cancelled = true;
    g_mutex_unlock(&self->lock);
    reply_text(request, 200, steps[3]);
}

static void
on_other(GwHttpRequest *request, void *data)
{
    const FakeAnswer *answer = data;
    if (!refused(request))
        reply_text(request, 200, answer->text);
}

static void
set_up(HttpRig *rig, GwHttpServer *server, void *data)
{
    FakeCenter *self = data;
    g_autoptr(GError) error = NULL;
    for (const FakeAnswer *answer = self->answers; answer && answer->method; answer++)
        gw_http_server_add_route(server, answer->method, answer->path, on_other, (void *)answer);
    gw_http_server_add_route(server, "GET", "/v1/about", on_about, self);
    gw_http_server_add_route(server, "POST", "/v1/login", on_login, self);
    gw_http_server_add_route(server, "GET", "/v1/vms/{vm}", on_vm, self);
    gw_http_server_add_route(server, "POST", "/v1/vms/{vm}/migrate", on_migrate, self);
    gw_http_server_add_route(server, "GET", "/v1/tasks", on_tasks, self);
    gw_http_server_add_route(server, "GET", "/v1/tasks/{task}", on_task, self);
    gw_http_server_add_route(server, "DELETE", "/v1/tasks/{task}", on_cancel, self);
    GwTlsFiles files = http_trust_issue(self->trust, "localhost", "center", false);
    self->port = gw_http_server_listen_tls(server, "127.0.0.1", self->port, &files, false, &error);
    g_assert_no_error(error);
}

FakeCenter *
fake_center_new(FakeFate fate)
{
    return fake_center_new_with(fate, NULL);
}

FakeCenter *
fake_center_new_with(FakeFate fate, const FakeAnswer *answers)
{
    FakeCenter *self = g_new0(FakeCenter, 1);
    self->answers = answers;
    self->fate = fate;
    self->trust = http_trust_new();
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    fake_center_return(self);
    self->url = g_strdup_printf("https://localhost:%u", self->port);
    return self;
}

void
fake_center_leave(FakeCenter *self)
{
    g_clear_pointer(&self->rig, http_rig_free);
}

void
fake_center_return(FakeCenter *self)
{
    self->rig = http_rig_new(set_up, self);
}

void
fake_center_await_asked(FakeCenter *self, unsigned n)
{
    g_mutex_lock(&self->lock);
    while (self->n_asked < n)
        g_cond_wait(&self->changed, &self->lock);
    g_mutex_unlock(&self->lock);
}

void
fake_center_free(FakeCenter *self)
{
    fake_center_leave(self);
    http_trust_free(self->trust);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self->url);
    g_free(self->request);
    g_free(self);
}
