/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Start, main loop, end.
 *
 * From the bottom: store, authority, users, events, inventory, tasks, the links to hosts, the API, the
 * server. What was going on when the last center ended is taken up again before the server listens: nobody is
 * answered by a center that does not know yet. The end is the same way back. */
#include "center.h"

#include "api.h"
#include "center-setup.h"
#include "certificate.h"
#include "error.h"
#include "host-link.h"
#include "http-client.h"
#include "http-types.h"
#include "program.h"
#include "secret.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define CALL_TIMEOUT_S 10

typedef struct {
    const GwCenterConfig *config; /* borrowed */
    char *name, *initial_password;
    GwStore *store;
    GwAuthority *authority;
    GwAuth *auth;
    GwEventHub *hub;
    GwInventory *inventory;
    GwTasks *tasks;
    GwHostLinks *links;
    GwHttpServer *server;
    GwApi *api;
    GMainLoop *loop;
} Center;

/* Requests that are being worked on are ended when they take longer than that. */
#define GRACE_US (5 * G_TIME_SPAN_SECOND)

typedef struct {
    GwApi *api;
    GMutex lock;
    GCond wake;
    bool is_over;
} Grace;

static void *
wait_and_end_calls(void *user_data)
{
    Grace *grace = user_data;
    gint64 until = g_get_monotonic_time() + GRACE_US;
    bool in_time = true;
    g_mutex_lock(&grace->lock);
    while (!grace->is_over && in_time)
        in_time = g_cond_wait_until(&grace->wake, &grace->lock, until);
    g_mutex_unlock(&grace->lock);
    if (!in_time)
        gw_api_end_calls(grace->api);
    return NULL;
}

/* Freeing the server waits for its works, and a work may wait for a host that does not answer. */
static void
end_server(Center *self)
{
    if (!self->server)
        return;
    Grace grace = {.api = self->api};
    g_mutex_init(&grace.lock);
    g_cond_init(&grace.wake);
    GThread *thread = g_thread_new("grace", wait_and_end_calls, &grace);
    gw_http_server_free(self->server);
    g_mutex_lock(&grace.lock);
    grace.is_over = true;
    g_cond_signal(&grace.wake);
    g_mutex_unlock(&grace.lock);
    g_thread_join(thread);
    g_mutex_clear(&grace.lock);
    g_cond_clear(&grace.wake);
    gw_api_end_calls(self->api); /* what prepares streams is not the server's */
}

static void
center_clear(Center *self)
{
    end_server(self);
    gw_api_free(self->api);
    gw_host_links_free(self->links);
    gw_tasks_free(self->tasks);
    gw_inventory_free(self->inventory);
    gw_event_hub_free(self->hub);
    gw_auth_free(self->auth);
    gw_authority_free(self->authority);
    gw_store_close(self->store);
    g_clear_pointer(&self->loop, g_main_loop_unref);
    g_free(self->name);
    g_free(self->initial_password);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Center, center_clear)

/* Connections that do nothing cost a descriptor each, of which 1,024 are soon used up. */
static void
allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool
open_store(Center *self, GError **error)
{
    g_autoptr(GError) failure = NULL;
    self->store = gw_store_open(self->config->store, error);
    if (!self->store || !gw_store_end_open_audits(self->store, error))
        return false;
    if (!gw_store_remove_expired(self->store, g_get_real_time(), &failure))
        g_warning("expired sessions are not removed, ignoring: %s", failure->message);
    return true;
}

static bool
open_authority(Center *self, GError **error)
{
    const GwCenterConfig *config = self->config;
    g_autofree char *directory = g_build_filename(config->data_dir, "tls", NULL);
    self->name = g_strdup(config->names[0] ? config->names[0] : g_get_host_name());
    const char *const own_name[] = {self->name, NULL};
    self->authority =
        gw_authority_open(directory, config->names[0] ? (const char *const *)config->names : own_name,
                          (const char *const *)config->addresses, error);
    return self->authority != NULL;
}

/* Written anew, readable by nobody else from the first byte on. */
static bool
write_password(const char *file, const char *password, GError **error)
{
    unlink(file);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "%s", file);
    bool good = dprintf(fd, "%s\n", password) > 0 && fsync(fd) == 0;
    if (!good)
        gw_set_errno(error, GW_ERROR_IO, errno, "%s", file);
    close(fd);
    return good;
}

/* Once, and never in the log. */
static bool
tell_first_password(Center *self, const char *password, bool show, GError **error)
{
    if (show) {
        printf("The administrator's name is 'admin', the password is\n\n    %s\n\n"
               "It is not shown again. 'godwit user passwd admin' changes it.\n",
               password);
        return fflush(stdout) == 0;
    }
    if (!write_password(self->initial_password, password, error)) {
        g_prefix_error(error, "keeping the administrator's first password ('godwit-center reset-password "
                              "admin' makes another one): ");
        return false;
    }
    g_message("the password of the administrator 'admin' is in %s, until it is changed",
              self->initial_password);
    return true;
}

static bool
open_users(Center *self, bool show_password, GError **error)
{
    g_autoptr(GError) failure = NULL;
    self->auth = gw_auth_new(self->store);
    self->initial_password = gw_center_initial_password_file(self->config);
    char *password = gw_auth_first_start(self->auth, &failure);
    bool good = !failure;
    if (password)
        good = tell_first_password(self, password, show_password || isatty(STDOUT_FILENO), &failure);
    gw_secret_free(password);
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    return good;
}

static bool
open_inventory(Center *self, GError **error)
{
    self->hub = gw_event_hub_new(self->store);
    self->inventory = gw_inventory_new(self->store, self->hub, self->authority, error);
    if (!self->inventory)
        return false;
    self->tasks = gw_tasks_new(self->store, self->hub, self->inventory);
    self->links = gw_host_links_new(self->inventory, self->tasks, self->hub);
    return gw_tasks_resume(self->tasks, error);
}

static bool
open_server(Center *self, GError **error)
{
    const GwCenterConfig *config = self->config;
    const GwApiParts parts = {
        .store = self->store,
        .auth = self->auth,
        .authority = self->authority,
        .hub = self->hub,
        .inventory = self->inventory,
        .tasks = self->tasks,
        .name = self->name,
        .cluster = config->cluster,
        .initial_password = self->initial_password,
    };
    self->server = gw_http_server_new("godwit-center/" GW_VERSION);
    self->api = gw_api_new(self->server, &parts);
    return gw_http_server_listen_unix(self->server, config->socket, 0600, error) &&
           gw_http_server_listen_tls(self->server, config->listen, config->port,
                                     gw_authority_files(self->authority), false, error) != 0;
}

static gboolean
on_end(void *user_data)
{
    Center *self = user_data;
    g_main_loop_quit(self->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_reload(void *user_data)
{
    Center *self = user_data;
    g_autoptr(GError) error = NULL;
    if (gw_http_server_reload_tls(self->server, gw_authority_files(self->authority), &error))
        g_message("the certificates were read anew");
    else
        g_warning("the certificates were not read anew, the present ones stay: %s", error->message);
    return G_SOURCE_CONTINUE;
}

bool
gw_center_run(const GwCenterConfig *config, bool show_password, GError **error)
{
    g_auto(Center) self = {.config = config};
    allow_descriptors();
    gw_program_step_back();
    gw_http_load_types();
    if (!gw_center_set_up(config, error) || !open_store(&self, error) || !open_authority(&self, error) ||
        !open_users(&self, show_password, error) || !open_inventory(&self, error) ||
        !open_server(&self, error))
        return false;
    self.loop = g_main_loop_new(NULL, FALSE);
    guint signals[] = {
        g_unix_signal_add(SIGTERM, on_end, &self),
        g_unix_signal_add(SIGINT, on_end, &self),
        g_unix_signal_add(SIGHUP, on_reload, &self),
    };
    g_message("godwit-center %s: listening on %s port %u and on %s", GW_VERSION, config->listen, config->port,
              config->socket);
    g_main_loop_run(self.loop);
    g_message("ending");
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        g_source_remove(signals[i]);
    return true;
}

/* False without an error: no center runs. */
static bool
reset_through_socket(const GwCenterConfig *config, const char *user, const char *password, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *name = g_uri_escape_string(user, NULL, FALSE);
    g_autofree char *path = g_strdup_printf("/v1/users/%s/password", name);
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "password", password);
    json_object_set_string_member(body, "reason", "godwit-center reset-password");
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(config->socket, CALL_TIMEOUT_S, &failure);
    g_autoptr(JsonObject) answer = NULL;
    if (client)
        answer = gw_http_call(client, "POST", path, body, &failure);
    else
        json_object_unref(body);
    if (!answer && !g_error_matches(failure, GW_ERROR, GW_ERROR_PEER_LOST) &&
        g_file_test(config->socket, G_FILE_TEST_EXISTS))
        g_propagate_error(error, g_steal_pointer(&failure));
    return answer != NULL;
}

static bool
reset_in_store(const GwCenterConfig *config, const char *user, const char *password, GError **error)
{
    if (!gw_center_become_owner(config, error))
        return false;
    g_autoptr(GwStore) store = gw_store_open(config->store, error);
    if (!store)
        return false;
    g_autoptr(GwAuth) auth = gw_auth_new(store);
    g_autofree char *object = g_strconcat("user/", user, NULL);
    GwAuditRecord record = {.at_us = g_get_real_time(),
                            .user = (char *)"root@local",
                            .address = (char *)"",
                            .action = (char *)"user.password",
                            .object = object,
                            .reason = (char *)"godwit-center reset-password"};
    int64_t id = 0;
    g_autoptr(GError) failure = NULL;
    if (!gw_store_begin_audit(store, &record, &id, error))
        return false;
    bool done = gw_auth_set_password(auth, user, password, &failure);
    if (!gw_store_end_audit(store, id, done ? "done" : gw_error_name(failure), done ? NULL : failure->message,
                            error))
        return false;
    if (!done)
        g_propagate_error(error, g_steal_pointer(&failure));
    return done;
}

char *
gw_center_reset_password(const GwCenterConfig *config, const char *user, GError **error)
{
    g_autoptr(GError) failure = NULL;
    char *password = gw_secret_new_password();
    if (!reset_through_socket(config, user, password, &failure) &&
        (failure || !reset_in_store(config, user, password, &failure)))
        g_clear_pointer(&password, gw_secret_free);
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    return password;
}
