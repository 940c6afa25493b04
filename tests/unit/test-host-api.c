/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's API: who is let in, what goes to a VM's supervisor and what comes back, streams. */
#include "error.h"
#include "fake-supervisor.h"
#include "host-api.h"
#include "http-rig.h"
#include "json.h"

#include <string.h>

#define TIMEOUT_S 20

typedef struct {
    FakeHost *host;
    HttpTrust *trust;
    HttpRig *rig;
    GwAgent *agent;
    GwHostApi *api;
    char *config, *socket;
    unsigned port, n_reloads;
} Rig;

static bool
reload(void *user_data, GError **error)
{
    Rig *rig = user_data;
    rig->n_reloads++;
    return true;
}

static void
set_up(HttpRig *http, GwHttpServer *server, void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    GwHostConfig *config = gw_host_config_parse(rig->config, "host.conf", &error);
    g_assert_no_error(error);
    rig->agent = gw_agent_new(config, &error);
    g_assert_no_error(error);
    rig->api = gw_host_api_new(server, rig->agent, reload, rig);
    gw_http_server_listen_unix(server, rig->socket, 0600, &error);
    g_assert_no_error(error);
    GwTlsFiles files = http_trust_issue(rig->trust, "host1", "host", false);
    rig->port = gw_http_server_listen_tls(server, "127.0.0.1", 0, &files, true, &error);
    g_assert_no_error(error);
}

static void
close_api(HttpRig *http, GwHttpServer *server, void *user_data)
{
    gw_host_api_close(((Rig *)user_data)->api);
}

static void
rig_init(Rig *rig, const char *script)
{
    *rig = (Rig){.host = fake_host_new(), .trust = http_trust_new()};
    g_autofree char *program = fake_host_program(rig->host, script);
    rig->config = g_strdup_printf("[host]\nname=host1\nlisten=127.0.0.1\nruntime-dir=%s\nvm-program=%s\n"
                                  "qemu=/nowhere/qemu\n[datastore ds]\npath=/\n",
                                  fake_host_runtime_dir(rig->host), program);
    rig->socket = g_build_filename(fake_host_runtime_dir(rig->host), "host.sock", NULL);
    rig->rig = http_rig_new(set_up, rig);
}

static void
rig_clear(Rig *rig)
{
    http_rig_do(rig->rig, close_api, rig);
    http_rig_free(rig->rig);
    gw_host_api_free(rig->api);
    gw_agent_free(rig->agent);
    http_trust_free(rig->trust);
    fake_host_free(rig->host);
    g_free(rig->config);
    g_free(rig->socket);
}

static GwHttpClient *
local_client(Rig *rig)
{
    g_autoptr(GError) error = NULL;
    GwHttpClient *client = gw_http_client_new_unix(rig->socket, TIMEOUT_S, &error);
    g_assert_no_error(error);
    return client;
}

static GwHttpClient *
tls_client(Rig *rig, const GwTlsFiles *files)
{
    g_autoptr(GError) error = NULL;
    GwHttpClient *client = gw_http_client_new_tls("127.0.0.1", rig->port, files, "host1", TIMEOUT_S, &error);
    g_assert_no_error(error);
    return client;
}

/* The answer as text; `json` may be NULL. */
static char *
ask(GwHttpClient *client, const char *method, const char *path, const char *json)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = json ? gw_json_parse_object(json, -1, NULL) : NULL;
    g_autoptr(JsonObject) answer = gw_http_call(client, method, path, body, &error);
    g_assert_no_error(error);
    return gw_json_object_to_line(answer);
}

static void
assert_fails(GwHttpClient *client, const char *method, const char *path, const char *json, const char *code,
             const char *part)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = json ? gw_json_parse_object(json, -1, NULL) : NULL;
    g_autoptr(JsonObject) answer = gw_http_call(client, method, path, body, &error);
    g_assert_null(answer);
    g_assert_cmpstr(gw_error_name(error), ==, code);
    if (!strstr(error->message, part))
        g_error("'%s' is not in '%s'", part, error->message);
}

static void
test_gate(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    GwTlsFiles center = http_trust_issue(rig.trust, "center", "center", false);
    GwTlsFiles other = http_trust_issue(rig.trust, "host2", "host", false);
    g_autoptr(HttpTrust) elsewhere = http_trust_new();
    GwTlsFiles foreign = http_trust_issue(elsewhere, "center", "center", false);
    GwTlsFiles nobody = {center.authority, NULL, NULL};
    foreign.authority = center.authority;

    g_autoptr(GwHttpClient) of_center = tls_client(&rig, &center), of_other = tls_client(&rig, &other),
                            of_foreign = tls_client(&rig, &foreign), of_nobody = tls_client(&rig, &nobody),
                            local = local_client(&rig);
    g_autofree char *a = ask(of_center, "GET", "/v1/vms", NULL), *b = ask(local, "GET", "/v1/vms", NULL);
    g_assert_cmpstr(a, ==, "{\"vms\":[]}");
    g_assert_cmpstr(b, ==, a);
    assert_fails(of_other, "GET", "/v1/vms", NULL, "not-permitted", "host2, role host");
    assert_fails(of_other, "POST", "/v1/reload", NULL, "not-permitted", "only its center may");
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_http_call(of_foreign, "GET", "/v1/vms", NULL, &error));
    g_clear_error(&error);
    g_assert_null(gw_http_call(of_nobody, "GET", "/v1/vms", NULL, &error));
    g_assert_cmpuint(rig.n_reloads, ==, 0);
    g_autofree char *c = ask(of_center, "POST", "/v1/reload", NULL);
    g_assert_cmpuint(rig.n_reloads, ==, 1);
    rig_clear(&rig);
}

static void
test_host(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autofree char *text = ask(client, "GET", "/v1/host", NULL);
    g_assert_nonnull(strstr(text, "\"name\":\"host1\""));
    g_assert_nonnull(strstr(text, "\"started\":\"20"));
    assert_fails(client, "POST", "/v1/probe/listen", "{\"addresses\":[\"203.0.113.7\"]}", "not-found",
                 "203.0.113.7");
    assert_fails(client, "POST", "/v1/probe", "{}", "invalid-argument", "");
    /* One agent a runtime directory. */
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_agent_new(gw_host_config_parse(rig.config, "host.conf", NULL), &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    rig_clear(&rig);
}

static void
test_reconfigure(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    g_autoptr(GError) error = NULL;
    g_autofree char *more = g_strconcat(rig.config, "[datastore more]\npath=/tmp\n", NULL);
    g_assert_true(gw_agent_reconfigure(rig.agent, gw_host_config_parse(more, "host.conf", NULL), &error));
    g_assert_no_error(error);
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autofree char *text = ask(client, "GET", "/v1/host", NULL);
    g_assert_nonnull(strstr(text, "\"name\":\"more\""));
    g_auto(GStrv) lines = g_strsplit(rig.config, "listen=127.0.0.1", 2);
    g_autofree char *moved = g_strjoinv("listen=127.0.0.2", lines);
    g_assert_false(gw_agent_reconfigure(rig.agent, gw_host_config_parse(moved, "host.conf", NULL), &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_assert_nonnull(strstr(error->message, "listen"));
    rig_clear(&rig);
}

static void
await_vm(Rig *rig, const char *name)
{
    gw_registry_notice(gw_agent_registry(rig->agent), name);
    g_assert_true(gw_registry_await_supervised(gw_agent_registry(rig->agent), name, TIMEOUT_S * 1000));
}

static void
test_vm(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    await_vm(&rig, "web1");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autofree char *status = ask(client, "GET", "/v1/vms/web1", NULL);
    g_assert_nonnull(strstr(status, "\"state\":\"running\""));
    g_autofree char *config = ask(client, "GET", "/v1/vms/web1/config", NULL);
    g_assert_cmpstr(config, ==, "{\"answer\":\"yours\"}");
    g_autofree char *check = ask(client, "GET", "/v1/vms/web1/motion/check", NULL);
    g_assert_cmpuint(fake_vm_n_asked(vm, "/v1/motion/check"), ==, 1);
    g_autofree char *power = ask(client, "POST", "/v1/vms/web1/power", "{\"action\":\"pause\",\"x\":[1]}");
    g_autofree char *body = fake_vm_last_body(vm);
    g_assert_cmpstr(body, ==, "{\"action\":\"pause\",\"x\":[1]}");

    assert_fails(client, "POST", "/v1/vms/web1/power", "{\"action\":\"hop\"}", "invalid-argument",
                 "VM 'web1': action: got 'hop'");
    /* Not the code by which a center knows that a host does not answer. */
    assert_fails(client, "POST", "/v1/vms/web1/power", "{\"action\":\"slow\"}", "vmm-failed",
                 "QEMU does not answer");
    assert_fails(client, "GET", "/v1/vms/web1/motion", NULL, "not-found", "no motion");
    assert_fails(client, "GET", "/v1/vms/web2", NULL, "not-found", "web2");
    assert_fails(client, "DELETE", "/v1/vms/web2", NULL, "not-found", "web2");
    assert_fails(client, "GET", "/v1/vms/.lock", NULL, "invalid-argument", "cannot be a VM's name");
    assert_fails(client, "GET", "/v1/vms/..%2fweb1", NULL, "protocol", "400"); /* libsoup's own refusal */
    assert_fails(client, "GET", "/v1/vms/x%2fconfig", NULL, "not-found", "x");
    assert_fails(client, "DELETE", "/v1/vms/web1", NULL, "wrong-state", "power it off first");
    g_autofree char *stopped = ask(client, "POST", "/v1/vms/web1/power", "{\"action\":\"stop\"}");
    g_autofree char *removed = ask(client, "DELETE", "/v1/vms/web1", NULL);
    assert_fails(client, "GET", "/v1/vms/web1", NULL, "not-found", "web1");
    rig_clear(&rig);
}

static void
test_incoming_is_removed(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    fake_vm_set_state(vm, "incoming");
    await_vm(&rig, "web1");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autofree char *removed = ask(client, "DELETE", "/v1/vms/web1", NULL);
    assert_fails(client, "GET", "/v1/vms/web1", NULL, "not-found", "web1");
    rig_clear(&rig);
}

static void
test_supervisor_lost(void)
{
    Rig rig;
    rig_init(&rig, "echo 'godwit-vm: it cannot be' >&2; exit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    await_vm(&rig, "web1");
    fake_vm_die(vm);
    g_autoptr(GwHttpClient) client = local_client(&rig);
    assert_fails(client, "POST", "/v1/vms/web1/power", "{\"action\":\"pause\"}", "wrong-state", "VM 'web1'");
    /* The agent notices by the end of a stream, in a thread of its own. */
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_S * G_TIME_SPAN_SECOND;
    g_autofree char *status = NULL;
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_free(status);
        status = ask(client, "GET", "/v1/vms/web1", NULL);
    } while (!strstr(status, "\"supervised\":false"));
    rig_clear(&rig);
}

#define CONFIG                                                                                               \
    "{\"name\":\"web1\",\"uuid\":\"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\",\"vcpus\":1,"                      \
    "\"memory_mib\":128,\"machine\":\"pc-q35-7.2\",\"cpu_model\":\"qemu64\",\"boot\":{\"kind\":\"bios\"}}"

static void
test_start(void)
{
    Rig rig;
    rig_init(&rig,
             "case \"$*\" in *--incoming*) kill -9 $$;; *--paused*) cat /dev/stdin >\"$(dirname $0)/given\";"
             " echo 'godwit-vm: no such bridge' >&2; echo '  in two lines' >&2; exit 1;; esac;"
             "echo 'godwit-vm: a mistake' >&2; exit 2");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG "}", "invalid-config",
                 "VM 'web1': a mistake");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG ",\"mode\":\"paused\"}", "failed",
                 "no such bridge\n  in two lines");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG ",\"mode\":\"incoming\"}", "failed",
                 "killed by signal 9");
    g_autofree char *path = g_build_filename(fake_host_runtime_dir(rig.host), "given", NULL);
    g_autofree char *given = NULL, *calls = fake_host_calls(rig.host);
    g_assert_true(g_file_get_contents(path, &given, NULL, NULL));
    g_assert_cmpstr(given, ==, CONFIG);
    g_assert_nonnull(strstr(calls, "run --detach --paused --runtime-dir"));
    g_assert_nonnull(strstr(calls, "--datastore ds=/ /dev/stdin"));

    assert_fails(client, "POST", "/v1/vms", "{}", "invalid-argument", "config");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":{\"name\":\"../x\"}}", "invalid-config", "/name");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG ",\"mode\":\"hop\"}", "invalid-argument",
                 "mode: got 'hop'");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG ",\"mode\":7}", "invalid-argument", "mode");
    fake_vm_new(rig.host, "web1", false);
    await_vm(&rig, "web1");
    assert_fails(client, "POST", "/v1/vms", "{\"config\":" CONFIG "}", "exists", "web1");
    rig_clear(&rig);
}

typedef struct {
    Rig *rig;
    FakeVm *vm;
    unsigned n_events;
} Listener;

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    Listener *self = user_data;
    g_autofree char *text = gw_json_object_to_line(data);
    if (self->n_events++ == 0) {
        g_assert_cmpstr(type, ==, "host.hello");
        g_assert_nonnull(strstr(text, "\"name\":\"host1\""));
        g_assert_nonnull(strstr(text, "\"vms\":[{\"name\":\"web1\""));
        fake_vm_tell(self->vm, "vm.reset", "{\"why\":\"so\"}");
    }
    g_assert_nonnull(gw_json_get_string(data, "at"));
    return strcmp(type, "vm.reset") != 0;
}

static void
test_events(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    Listener listener = {&rig, fake_vm_new(rig.host, "web1", false), 0};
    await_vm(&rig, "web1");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_http_follow(client, "/v1/events", NULL, on_event, &listener, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(listener.n_events, >=, 2);
    rig_clear(&rig);
}

static void
test_console(void)
{
    Rig rig;
    rig_init(&rig, "exit 1");
    FakeVm *vm = fake_vm_new(rig.host, "web1", false);
    await_vm(&rig, "web1");
    g_autoptr(GwHttpClient) client = local_client(&rig);
    g_autoptr(GError) error = NULL;
    g_autoptr(GInputStream) stream = gw_http_open(client, "/v1/vms/web1/console/0?follow=1", &error);
    g_assert_no_error(error);
    char text[64];
    gsize n = 0;
    g_assert_true(g_input_stream_read_all(stream, text, sizeof text, &n, NULL, &error));
    g_assert_cmpmem(text, n, "login: ", 7);
    g_assert_true(gw_http_post_bytes(client, "/v1/vms/web1/console/0", "root\n", 5, &error));
    g_autofree char *typed = fake_vm_last_body(vm);
    g_assert_cmpstr(typed, ==, "root\n");
    g_assert_null(gw_http_open(client, "/v1/vms/web2/console/0", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(gw_http_open(client, "/v1/vms/web1/console/0%2fx", &error));
    g_assert_nonnull(error);
    rig_clear(&rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_FATAL_MASK); /* warnings are what is asked for here */
    g_test_add_func("/host-api/gate", test_gate);
    g_test_add_func("/host-api/host", test_host);
    g_test_add_func("/host-api/reconfigure", test_reconfigure);
    g_test_add_func("/host-api/vm", test_vm);
    g_test_add_func("/host-api/incoming-is-removed", test_incoming_is_removed);
    g_test_add_func("/host-api/supervisor-lost", test_supervisor_lost);
    g_test_add_func("/host-api/start", test_start);
    g_test_add_func("/host-api/events", test_events);
    g_test_add_func("/host-api/console", test_console);
    return g_test_run();
}
