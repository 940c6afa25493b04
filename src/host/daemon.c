/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The main loop: signals, and where the agent listens. A host that has joined no center yet listens on its
 * Unix socket alone. Where TLS cannot be had (the address is not there yet, a certificate is broken) the
 * agent goes on with its VMs, says so, and tries again. */
#include "daemon.h"

#include "agent.h"
#include "error.h"
#include "host-api.h"
#include "http-types.h"
#include "join.h"
#include "log.h"
#include "program.h"
#include "version.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>

#define LISTEN_AGAIN_S 5

typedef struct {
    const char *config_path;
    GMainLoop *loop;
    GwAgent *agent;
    GwHttpServer *server;
    GwHostApi *api;
    unsigned port; /* where it listens with TLS; 0: not yet */
    guint listen_again;
    char *trouble; /* why it does not, as said last */
} Daemon;

typedef struct {
    char *authority, *certificate, *key;
} Paths;

static void
paths_clear(Paths *paths)
{
    g_free(paths->authority);
    g_free(paths->certificate);
    g_free(paths->key);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Paths, paths_clear)

static bool
listen_tls(Daemon *self, GError **error)
{
    g_autoptr(GwAgentConfig) config = gw_agent_config(self->agent);
    const GwHostConfig *host = config->host;
    if (!gw_join_is_done(host->tls_dir)) {
        g_message("this host has joined no center yet: 'godwit-host join' does that");
        return true;
    }
    g_auto(Paths) paths = {
        .authority = g_build_filename(host->tls_dir, "ca.pem", NULL),
        .certificate = g_build_filename(host->tls_dir, "cert.pem", NULL),
        .key = g_build_filename(host->tls_dir, "key.pem", NULL),
    };
    GwTlsFiles files = {paths.authority, paths.certificate, paths.key};
    if (self->port)
        return gw_http_server_reload_tls(self->server, &files, error);
    self->port = gw_http_server_listen_tls(self->server, host->listen, host->port, &files, true, error);
    if (self->port)
        g_message("listening on %s port %u", host->listen, self->port);
    return self->port != 0;
}

static gboolean
on_listen_again(void *user_data)
{
    Daemon *self = user_data;
    g_autoptr(GError) error = NULL;
    if (listen_tls(self, &error)) {
        self->listen_again = 0;
        return G_SOURCE_REMOVE;
    }
    if (g_strcmp0(self->trouble, error->message) != 0)
        g_warning("%s", error->message);
    g_free(self->trouble);
    self->trouble = g_strdup(error->message);
    return G_SOURCE_CONTINUE;
}

static void
listen_or_try_again(Daemon *self)
{
    g_clear_handle_id(&self->listen_again, g_source_remove);
    if (on_listen_again(self))
        self->listen_again = g_timeout_add_seconds(LISTEN_AGAIN_S, on_listen_again, self);
}

static bool
reload(void *user_data, GError **error)
{
    Daemon *self = user_data;
    GwHostConfig *config = gw_host_config_load(self->config_path, error);
    if (!config || !gw_agent_reconfigure(self->agent, config, error))
        return false;
    g_message("the configuration has been read again");
    if (self->port)
        return listen_tls(self, error);
    listen_or_try_again(self);
    return true;
}

static gboolean
on_hangup(void *user_data)
{
    g_autoptr(GError) error = NULL;
    if (!reload(user_data, &error))
        g_warning("reload: %s", error->message);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_terminate(void *user_data)
{
    Daemon *self = user_data;
    g_message("ending; VMs and their supervisors run on");
    g_main_loop_quit(self->loop);
    return G_SOURCE_CONTINUE;
}

static bool
set_up(Daemon *self, GError **error)
{
    GwHostConfig *config = gw_host_config_load(self->config_path, error);
    if (!config)
        return false;
    if (!gw_log_init("godwit-host", config->log_level, error)) {
        gw_host_config_free(config);
        return false;
    }
    g_autofree char *path = g_build_filename(config->runtime_dir, GW_HOST_SOCKET, NULL);
    self->agent = gw_agent_new(config, error);
    if (!self->agent)
        return false;
    self->server = gw_http_server_new("godwit-host/" GW_VERSION);
    self->api = gw_host_api_new(self->server, self->agent, reload, self);
    if (!gw_http_server_listen_unix(self->server, path, 0600, error))
        return false;
    listen_or_try_again(self);
    return true;
}

int
gw_daemon_run(const char *config_path)
{
    Daemon self = {.config_path = config_path, .loop = g_main_loop_new(NULL, FALSE)};
    g_autoptr(GError) error = NULL;
    signal(SIGPIPE, SIG_IGN);
    gw_program_step_back();
    gw_http_load_types();
    bool up = set_up(&self, &error);
    if (up) {
        guint watches[] = {g_unix_signal_add(SIGTERM, on_terminate, &self),
                           g_unix_signal_add(SIGINT, on_terminate, &self),
                           g_unix_signal_add(SIGHUP, on_hangup, &self)};
        g_message("godwit-host %s is up", GW_VERSION);
        g_main_loop_run(self.loop);
        for (size_t i = 0; i < G_N_ELEMENTS(watches); i++)
            g_source_remove(watches[i]);
    } else {
        fprintf(stderr, "godwit-host: %s\n", error->message);
    }
    g_clear_handle_id(&self.listen_again, g_source_remove);
    if (self.api)
        gw_host_api_close(self.api);
    gw_http_server_free(self.server);
    gw_host_api_free(self.api);
    gw_agent_free(self.agent);
    g_main_loop_unref(self.loop);
    g_free(self.trouble);
    return up ? 0 : error->domain == GW_ERROR && error->code == GW_ERROR_INVALID_CONFIG ? 2 : 1;
}
