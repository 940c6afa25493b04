/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Agents that are played.
 *
 * Each has a thread with its server, whose works run in the server's pool; all they know is behind one lock.
 * In front of each is a wire that can be cut (tcp-proxy.h). */
#include "fake-agent-internal.h"

#include "certificate.h"
#include "vm-config.h"

#include <glib/gstdio.h>
#include <string.h>

void
fake_vm_free(void *data)
{
    FakeVm *vm = data;
    g_free(vm->name);
    g_free(vm->state);
    g_free(vm->config);
    g_free(vm->session);
    g_free(vm->secret);
    g_free(vm->motion);
    g_free(vm->error_code);
    g_free(vm->uuid);
    g_free(vm);
}

void
fake_set_text(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

static JsonObject *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return object;
}

static JsonObject *
facts(const FakeAgent *self)
{
    g_autofree char *text = g_strdup_printf(
        "{\"name\": \"%s\", \"version\": \"0.1.0\", \"kernel\": \"6.18.44\","
        " \"qemu\": {\"version\": \"7.2.22\", \"machines\": [\"pc-q35-7.2\"], \"accel\": \"tcg\","
        "  \"cpu_models\": [{\"name\": \"qemu64\", \"missing\": []}]},"
        " \"cpu\": {\"model\": \"a CPU\", \"vendor\": \"GenuineIntel\", \"count\": 8, \"features\": [\"sse2\"]},"
        " \"memory\": {\"total_bytes\": 25769803776, \"available_bytes\": 17179869184},"
        " \"switches\": [{\"name\": \"guests\", \"bridge\": \"br0\", \"uplinks\": [\"eth1\"], \"up\": true}],"
        " \"port_groups\": [{\"name\": \"lan\", \"switch\": \"guests\"}],"
        " \"motion_interfaces\": [{\"name\": \"motion0\", \"address\": \"10.71.0.%s\", \"prefix_length\": 24,"
        "  \"speed_bits_per_s\": 1000000000, \"up\": true}],"
        " \"datastores\": [{\"name\": \"ds\", \"path\": \"/srv/ds\", \"identity\": \"nfs:a\", \"error\": null,"
        "  \"read_only\": false, \"capacity_bytes\": 1000000, \"free_bytes\": 500000}], \"problems\": []}",
        self->name, self->n);
    return parse(text);
}

static JsonObject *
motion_json(const FakeVm *vm)
{
    JsonObject *error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{\"role\": \"%s\", \"session\": \"%s\", \"state\": \"%s\", \"step\": \"x\", \"error\": null,"
        " \"rounds\": [{\"round\": 0, \"found_pages\": 0, \"sent_bytes\": 4096000, \"ms\": 12.5},"
        "  {\"round\": 1, \"found_pages\": 7, \"sent_bytes\": 28672, \"ms\": 1.5}],"
        " \"downtime_ms\": 4.25, \"total_ms\": 80.5, \"precopy_ms\": 70, \"bytes_on_wire\": 4200000,"
        " \"pages_sent\": 1007, \"pages_zero\": 99, \"pages_resent\": 7, \"streams\": 2, \"encrypted\": true,"
        " \"cipher\": \"TLS_AES_128_GCM_SHA256\", \"rtt_us\": 130, \"link_bytes_per_s\": 100000000}",
        vm->is_source ? "source" : "destination", vm->session, vm->motion);
    JsonObject *object = parse(text);
    if (vm->error_code) {
        error = json_object_new();
        json_object_set_string_member(error, "code", vm->error_code);
        json_object_set_string_member(error, "message", "the engine's own words");
        json_object_set_object_member(object, "error", error);
    }
    return object;
}

static char *
uuid_of(const FakeVm *vm)
{
    g_autoptr(JsonObject) config = parse(vm->config);
    return g_strdup(vm->uuid ? vm->uuid : gw_json_get_string(config, "uuid"));
}

static JsonObject *
status(const FakeVm *vm)
{
    g_autofree char *uuid = uuid_of(vm);
    g_autofree char *text = g_strdup_printf(
        "{\"name\": \"%s\", \"uuid\": \"%s\", \"state\": \"%s\", \"vcpus\": 1,"
        " \"supervised\": true, \"supervisor\": {\"pid\": %d}, \"qemu\": {\"version\": \"7.2.22\", \"accel\":"
        " \"tcg\"}, \"memory\": {\"size_bytes\": 1073741824, \"resident_bytes\": 4096, \"trace_armed\": false}}",
        vm->name, uuid, vm->state, vm->pid);
    JsonObject *object = parse(text);
    if (vm->motion)
        json_object_set_object_member(object, "motion", motion_json(vm));
    else
        json_object_set_null_member(object, "motion");
    return object;
}

/* -- Events */
typedef struct {
    FakeAgent *agent;
    char *text;
} Telling;

static gboolean
send_event(void *data)
{
    Telling *telling = data;
    for (guint i = telling->agent->streams->len; i-- > 0;)
        gw_http_stream_send(telling->agent->streams->pdata[i], telling->text, strlen(telling->text));
    g_free(telling->text);
    g_free(telling);
    return G_SOURCE_REMOVE;
}

static char *
event_text(const char *type, JsonObject *data)
{
    g_autofree char *line = gw_json_object_to_line(data);
    json_object_unref(data);
    return g_strdup_printf("event: %s\ndata: %s\n\n", type, line);
}

static void
tell(FakeAgent *self, const char *type, JsonObject *data)
{
    Telling *telling = g_new(Telling, 1);
    *telling = (Telling){self, event_text(type, data)};
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, send_event, telling, NULL);
    g_source_attach(source, self->context);
    g_source_unref(source);
}

void
fake_tell_status_locked(FakeAgent *self, const char *vm)
{
    const FakeVm *found = g_hash_table_lookup(self->vms, vm);
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "vm", vm);
    if (found)
        json_object_set_object_member(data, "status", status(found));
    else
        json_object_set_null_member(data, "status");
    tell(self, "vm.status", data);
}

void
fake_tell_motion(FakeAgent *self, const char *vm)
{
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "vm", vm);
    tell(self, "motion.ended", data); /* whether it has or not: somebody is to look */
}

static void
on_stream_closed(GwHttpRequest *request, void *user_data)
{
    FakeAgent *self = user_data;
    if (g_ptr_array_remove(self->streams, request))
        gw_http_request_unref(request);
}

static JsonArray *
vms_locked(FakeAgent *self)
{
    JsonArray *array = json_array_new();
    GHashTableIter iter;
    void *vm;
    g_hash_table_iter_init(&iter, self->vms);
    while (g_hash_table_iter_next(&iter, NULL, &vm))
        json_array_add_object_element(array, status(vm));
    return array;
}

static void
show_events(GwHttpRequest *request, void *user_data)
{
    FakeAgent *self = user_data;
    JsonObject *hello = facts(self);
    g_mutex_lock(&self->cluster->lock);
    json_object_set_array_member(hello, "vms", vms_locked(self));
    g_mutex_unlock(&self->cluster->lock);
    g_autofree char *text = event_text("host.hello", hello);
    g_ptr_array_add(self->streams, gw_http_request_ref(request));
    gw_http_stream_begin(request, "text/event-stream", on_stream_closed, self);
    gw_http_stream_send(request, text, strlen(text));
}

/* -- Calls */
static bool
set_error(GError **error, GwError code, const char *text)
{
    g_set_error_literal(error, GW_ERROR, (int)code, text);
    return false;
}

/* Whether there is a fault for this call, which is used up. */
static bool
take_fault(FakeAgent *self, GwHttpRequest *request, FakeFaultCase *ret_fault)
{
    FakeCluster *cluster = self->cluster;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&cluster->lock);
    const char *method = gw_http_request_method(request), *path = gw_http_request_path(request);
    g_ptr_array_add(cluster->calls, g_strdup_printf("%s %s %s", self->name, method, path));
    for (guint i = 0; i < cluster->faults->len; i++) {
        const FakeFaultCase *fault = &g_array_index(cluster->faults, FakeFaultCase, i);
        if (strcmp(fault->host, self->name) != 0 || strcmp(fault->method, method) != 0 ||
            !g_str_has_suffix(path, fault->path_end))
            continue;
        *ret_fault = (FakeFaultCase){.fault = fault->fault, .code = fault->code};
        cluster->fault_was_met = true;
        g_array_remove_index(cluster->faults, i);
        return true;
    }
    return false;
}

static void
cut(FakeAgent *self)
{
    tcp_proxy_set(self->proxy, PROXY_CUTS_ONCE);
}

typedef JsonObject *(*Call)(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error);

/* `call` with the lock held, and with what may go wrong around it. */
/* With the lock held. `uuid` NULL: whichever has the name. */
static FakeVm *
find_meant(FakeAgent *self, const char *name, const char *uuid)
{
    FakeVm *vm = g_hash_table_lookup(self->vms, name);
    g_autofree char *own = vm ? uuid_of(vm) : NULL;
    return uuid && g_strcmp0(uuid, own) != 0 ? NULL : vm;
}

static JsonObject *
answer(FakeAgent *self, GwHttpRequest *request, Call call, GError **error)
{
    FakeFaultCase fault;
    JsonObject *reply = NULL;
    bool is_faulty = take_fault(self, request, &fault);
    if (is_faulty && fault.fault == FAKE_ANSWERS_ERROR) {
        set_error(error, fault.code, "it was told to fail");
        return NULL;
    }
    const char *name = gw_http_request_param(request, "vm");
    if (!is_faulty || fault.fault == FAKE_CUT_BEHIND) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->cluster->lock);
        FakeVm *vm = name ? find_meant(self, name, gw_http_request_query(request, "uuid")) : NULL;
        if (name && !vm)
            set_error(error, GW_ERROR_NOT_FOUND, "no such VM here");
        else
            reply = call(self, vm, request, error);
    }
    if (is_faulty) {
        cut(self);
        if (!reply && !*error)
            set_error(error, GW_ERROR_FAILED, "this never arrives");
    }
    return reply;
}

#define WORK(name)                                                                                           \
    static JsonObject *work_##name(GwHttpRequest *request, void *user_data, GError **error)                  \
    {                                                                                                        \
        return answer(user_data, request, name, error);                                                      \
    }

static JsonObject *
show_host(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    return facts(self);
}
WORK(show_host)

static JsonObject *
show_vm(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    return status(vm);
}
WORK(show_vm)

static JsonObject *
show_config(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    return parse(vm->config);
}
WORK(show_config)

static JsonObject *
show_check(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    return parse("{\"findings\": []}");
}
WORK(show_check)

static JsonObject *
start_vm(FakeAgent *self, FakeVm *none, GwHttpRequest *request, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    JsonObject *config = body ? gw_json_get_object(body, "config") : NULL;
    const char *mode = body ? gw_json_get_string(body, "mode") : NULL;
    g_assert_nonnull(config);
    g_autofree char *text = gw_json_object_to_line(config);
    g_autoptr(GwVmConfig) parsed = gw_vm_config_parse(text, -1, error);
    g_assert_nonnull(parsed);
    if (g_hash_table_contains(self->vms, parsed->name)) {
        set_error(error, GW_ERROR_EXISTS, "there is one");
        return NULL;
    }
    FakeVm *vm = g_new0(FakeVm, 1);
    vm->name = g_strdup(parsed->name);
    vm->state = g_strdup(strcmp(mode, "incoming") == 0 ? "incoming" : "running");
    vm->config = g_strdup(text);
    vm->pid = self->cluster->next_pid++;
    g_hash_table_insert(self->vms, g_strdup(vm->name), vm);
    fake_tell_status_locked(self, vm->name);
    return status(vm);
}
WORK(start_vm)

static JsonObject *
remove_vm(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    g_autofree char *name = g_strdup(vm->name);
    if (strcmp(vm->state, "running") == 0 || strcmp(vm->state, "paused") == 0) {
        set_error(error, GW_ERROR_WRONG_STATE, "the VM is running: power it off first");
        return NULL;
    }
    g_hash_table_remove(self->vms, name);
    fake_tell_status_locked(self, name);
    return json_object_new();
}
WORK(remove_vm)

static JsonObject *
power(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    const char *action = body ? gw_json_get_string(body, "action") : NULL;
    bool starts = g_strcmp0(action, "start") == 0 || g_strcmp0(action, "resume") == 0;
    fake_set_text(&vm->state, starts ? "running" : g_strcmp0(action, "pause") == 0 ? "paused" : "off");
    fake_tell_status_locked(self, vm->name);
    JsonObject *reply = json_object_new();
    json_object_set_string_member(reply, "state", vm->state);
    return reply;
}
WORK(power)

static JsonObject *
receive(FakeAgent *self, FakeVm *vm, JsonObject *body, GError **error)
{
    JsonArray *listen = gw_json_get_array(body, "listen");
    g_autofree char *own = g_strconcat("10.71.0.", self->n, NULL);
    g_assert_cmpuint(json_array_get_length(listen), ==, 1);
    g_assert_cmpstr(json_array_get_string_element(listen, 0), ==, own);
    if (strcmp(vm->state, "incoming") != 0) {
        set_error(error, GW_ERROR_WRONG_STATE, "it does not wait");
        return NULL;
    }
    g_free(vm->session);
    g_free(vm->secret);
    vm->session = g_strdup_printf("%032x", ++self->cluster->n_sessions);
    vm->secret = g_strdup_printf("%064x", 0xbeef0000 + self->cluster->n_sessions);
    fake_set_text(&vm->motion, "waiting");
    fake_set_text(&self->cluster->secret, vm->secret);
    g_autofree char *text = g_strdup_printf("{\"session\": \"%s\", \"secret\": \"%s\", \"addresses\": "
                                            "[{\"address\": \"%s\", \"port\": 40125}], \"tls\": true}",
                                            vm->session, vm->secret, own);
    return parse(text);
}

static JsonObject *
send_vm(FakeAgent *self, FakeVm *vm, JsonObject *body, GError **error)
{
    JsonObject *address = gw_json_array_object(gw_json_get_array(body, "addresses"), 0);
    g_autofree char *own = g_strconcat("10.71.0.", self->n, NULL);
    g_assert_cmpstr(gw_json_get_string(address, "local"), ==, own);
    fake_set_text(&vm->session, gw_json_get_string(body, "session"));
    FakeAgent *there = fake_destination_of(self->cluster, vm);
    const FakeVm *waiting = there ? g_hash_table_lookup(there->vms, vm->name) : NULL;
    if (waiting)
        g_assert_cmpstr(gw_json_get_string(body, "secret"), ==, waiting->secret);
    fake_set_text(&vm->motion, "connecting");
    g_clear_pointer(&vm->error_code, g_free);
    vm->is_source = true;
    return motion_json(vm);
}

static JsonObject *
begin_motion(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    return strcmp(gw_json_get_string(body, "action"), "receive") == 0 ? receive(self, vm, body, error)
                                                                      : send_vm(self, vm, body, error);
}
WORK(begin_motion)

static JsonObject *
show_motion(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    if (!vm->motion) {
        set_error(error, GW_ERROR_NOT_FOUND, "there was none");
        return NULL;
    }
    JsonObject *reply = motion_json(vm);
    fake_advance_locked(self, vm);
    return reply;
}
WORK(show_motion)

static JsonObject *
cancel_motion(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    if (!vm->motion || strcmp(vm->motion, "handing-over") == 0 || strcmp(vm->motion, "completed") == 0) {
        set_error(error, GW_ERROR_WRONG_STATE, "too late to cancel");
        return NULL;
    }
    fake_set_text(&vm->motion, "cancelled");
    fake_set_text(&vm->error_code, "cancelled");
    fake_end_destination_locked(self->cluster, vm);
    fake_tell_motion(self, vm->name);
    return json_object_new();
}
WORK(cancel_motion)

static JsonObject *
resolve_motion(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    bool discard = g_strcmp0(gw_json_get_string(body, "outcome"), "discard") == 0;
    fake_set_text(&vm->motion, discard ? "completed" : "failed");
    fake_set_text(&vm->state, discard ? "moved" : "running");
    fake_tell_status_locked(self, vm->name);
    return json_object_new();
}
WORK(resolve_motion)

static JsonObject *
listen_probe(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "{\"token\": \"t\", \"listening\": [{\"address\": \"10.71.0.%s\", \"port\": 40001}]}", self->n);
    return parse(text);
}
WORK(listen_probe)

static JsonObject *
probe(FakeAgent *self, FakeVm *vm, GwHttpRequest *request, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    JsonObject *path = gw_json_array_object(gw_json_get_array(body, "paths"), 0);
    g_autofree char *text = g_strdup_printf(
        "{\"paths\": [{\"source_address\": \"%s\", \"destination_address\": \"%s\", \"reachable\": true,"
        " \"rtt_us\": 130, \"bits_per_s\": 900000000, \"error\": null}]}",
        gw_json_get_string(path, "source_address"), gw_json_get_string(path, "destination_address"));
    return parse(text);
}
WORK(probe)

/* -- Life */
static void
add_routes(FakeAgent *self)
{
    GwHttpServer *server = self->server;
    gw_http_server_add_route(server, "GET", "/v1/events", show_events, self);
    gw_http_server_add_work(server, "GET", "/v1/host", work_show_host, self);
    gw_http_server_add_work(server, "POST", "/v1/vms", work_start_vm, self);
    gw_http_server_add_work(server, "GET", "/v1/vms/{vm}", work_show_vm, self);
    gw_http_server_add_work(server, "DELETE", "/v1/vms/{vm}", work_remove_vm, self);
    gw_http_server_add_work(server, "GET", "/v1/vms/{vm}/config", work_show_config, self);
    gw_http_server_add_work(server, "POST", "/v1/vms/{vm}/power", work_power, self);
    gw_http_server_add_work(server, "GET", "/v1/vms/{vm}/motion/check", work_show_check, self);
    gw_http_server_add_work(server, "POST", "/v1/vms/{vm}/motion/resolve", work_resolve_motion, self);
    gw_http_server_add_work(server, "GET", "/v1/vms/{vm}/motion", work_show_motion, self);
    gw_http_server_add_work(server, "POST", "/v1/vms/{vm}/motion", work_begin_motion, self);
    gw_http_server_add_work(server, "DELETE", "/v1/vms/{vm}/motion", work_cancel_motion, self);
    gw_http_server_add_work(server, "POST", "/v1/probe/listen", work_listen_probe, self);
    gw_http_server_add_work(server, "POST", "/v1/probe", work_probe, self);
}

static char *
in_directory(const FakeAgent *self, const char *what)
{
    return g_strdup_printf("%s/%s-%s.pem", self->cluster->directory, self->name, what);
}

static void
write_identity(FakeAgent *self)
{
    g_autoptr(GError) error = NULL;
    const GwAuthority *authority = self->cluster->authority;
    g_autofree char *key = gw_key_new(&error), *key_path = in_directory(self, "key"),
                    *path = in_directory(self, "cert");
    g_autofree char *request = gw_certificate_request_new(key, self->name, &error);
    g_autofree char *pem = gw_authority_sign_host(authority, request, self->name, "127.0.0.1", &error);
    g_assert_no_error(error);
    g_assert_true(g_file_set_contents_full(key_path, key, -1, G_FILE_SET_CONTENTS_NONE, 0600, &error));
    g_assert_true(g_file_set_contents(path, pem, -1, &error));
}

static void *
agent_main(void *data)
{
    FakeAgent *self = data;
    g_main_context_push_thread_default(self->context);
    g_main_loop_run(self->loop);
    for (guint i = self->streams->len; i-- > 0;) {
        gw_http_stream_end(self->streams->pdata[i]);
        gw_http_request_unref(self->streams->pdata[i]);
    }
    gw_http_server_free(self->server);
    while (g_main_context_iteration(self->context, FALSE))
        ;
    g_main_context_pop_thread_default(self->context);
    return NULL;
}

static gboolean
quit(void *data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

void
fake_agent_free(void *data)
{
    FakeAgent *self = data;
    g_autoptr(GSource) source = g_idle_source_new();
    tcp_proxy_free(self->proxy);
    g_source_set_callback(source, quit, self->loop, NULL);
    g_source_attach(source, self->context);
    g_thread_join(self->thread);
    g_main_loop_unref(self->loop);
    g_main_context_unref(self->context);
    g_ptr_array_unref(self->streams);
    g_hash_table_unref(self->vms);
    g_autofree char *key = in_directory(self, "key"), *certificate = in_directory(self, "cert");
    g_unlink(key);
    g_unlink(certificate);
    g_free(self->name);
    g_free(self->n);
    g_free(self);
}

unsigned
fake_cluster_add_host(FakeCluster *cluster, unsigned n)
{
    g_autoptr(GError) error = NULL;
    FakeAgent *self = g_new0(FakeAgent, 1);
    self->cluster = cluster;
    self->name = g_strdup_printf("host%u", n);
    self->n = g_strdup_printf("%u", n);
    self->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, fake_vm_free);
    self->streams = g_ptr_array_new();
    self->context = g_main_context_new();
    self->loop = g_main_loop_new(self->context, FALSE);
    write_identity(self);
    g_autofree char *key = in_directory(self, "key"), *certificate = in_directory(self, "cert");
    GwTlsFiles files = {.authority = gw_authority_files(cluster->authority)->authority,
                        .certificate = certificate,
                        .key = key};
    g_main_context_push_thread_default(self->context);
    self->server = gw_http_server_new("fake");
    add_routes(self);
    self->port = gw_http_server_listen_tls(self->server, "127.0.0.1", 0, &files, true, &error);
    g_main_context_pop_thread_default(self->context);
    g_assert_no_error(error);
    self->proxy = tcp_proxy_new(self->port, &self->proxy_port);
    self->thread = g_thread_new("fake-agent", agent_main, self);
    g_ptr_array_add(cluster->agents, self);
    return self->proxy_port;
}
