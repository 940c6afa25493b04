/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's main loop. */
#include "supervise.h"

#include "error.h"
#include "version.h"
#include "vm-api.h"
#include "vm.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    const GwSuperviseOptions *options;
    GMainLoop *loop;
    GwHttpServer *server;
    GwVmApi *api;
    GwEventLog *events;
    GwVm *vm;
    const GwVmDir *dir; /* the VM's */
    int ready_fd;
    int exit_status;
    bool terminating; /* we were told to end */
    bool removed;     /* the VM's directory is gone */
} Supervisor;

static void
on_event(guint64 id, const char *type, const char *text, void *user_data)
{
    Supervisor *self = user_data;
    gw_vm_api_on_event(id, type, text, self->api);
}

static gboolean
quit(void *user_data)
{
    Supervisor *self = user_data;
    g_main_loop_quit(self->loop);
    return G_SOURCE_REMOVE;
}

static void
on_removed(void *user_data)
{
    Supervisor *self = user_data;
    self->removed = true;
    /* Not at once: the answer to who removed it, and the last events, are still to be sent. */
    g_timeout_add(50, quit, user_data);
}

static void
remove_and_quit(Supervisor *self)
{
    g_autoptr(GError) error = NULL;
    if (self->removed)
        return;
    self->removed = true;
    if (!gw_vm_remove(self->vm, &error))
        g_warning("%s", error->message);
    on_removed(self);
}

static bool
is_off(Supervisor *self)
{
    GwVmState state = gw_vm_state(self->vm);
    return state == GW_VM_OFF || state == GW_VM_CRASHED || state == GW_VM_MOVED;
}

/* Nothing is under way: what was asked for meanwhile can be decided now. */
static void
on_settled(GwVm *vm, void *user_data)
{
    Supervisor *self = user_data;
    if (is_off(self) && gw_vm_never_came(vm)) {
        self->exit_status = 1;
        remove_and_quit(self);
    } else if (is_off(self) && (self->terminating || self->options->exit_when_off)) {
        if (!self->terminating)
            self->exit_status = gw_vm_state(vm) == GW_VM_CRASHED ? 1 : 0;
        remove_and_quit(self);
    } else if (self->terminating) {
        g_message("ending; the guest runs on, 'godwit-vm adopt %s' takes it over", gw_vm_config(vm)->name);
        g_main_loop_quit(self->loop);
    }
}

static gboolean
on_terminate(void *user_data)
{
    Supervisor *self = user_data;
    self->terminating = true;
    gw_vm_motion_leave(self->vm);
    if (!gw_vm_is_busy(self->vm))
        on_settled(self->vm, self);
    return G_SOURCE_CONTINUE;
}

/* A detached supervisor must not hold on to the terminal, or the pipe, of who started it; until the VM is up
 * its words still belong there. */
static void
leave_terminal(const GwVmDir *dir)
{
    g_autofree char *path = gw_vm_dir_file(dir, "supervisor.log");
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (null_fd >= 0) {
        dup2(null_fd, STDIN_FILENO);
        dup2(null_fd, STDOUT_FILENO);
        dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
        close(null_fd);
    }
    if (log_fd >= 0)
        close(log_fd);
}

static void
say_ready(Supervisor *self)
{
    if (self->ready_fd < 0)
        return;
    leave_terminal(self->dir);
    if (write(self->ready_fd, "1", 1) != 1)
        g_debug("nobody waits for the VM to be up, ignoring");
    close(self->ready_fd);
    self->ready_fd = -1;
}

static void
on_up(JsonObject *result, const GError *error, void *user_data)
{
    Supervisor *self = user_data;
    if (!error) {
        say_ready(self);
        return;
    }
    fprintf(stderr, "godwit-vm: %s\n", error->message);
    self->exit_status = 1;
    if (self->options->adopt)
        g_main_loop_quit(self->loop); /* nothing is removed: the guest may be there */
    else
        self->terminating = true; /* and removed, as soon as the VM has settled */
}

static bool
set_up(Supervisor *self, GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, GError **error)
{
    g_autofree char *control = gw_vm_dir_file(dir, "control.sock");
    self->server = gw_http_server_new("godwit-vm/" GW_VERSION);
    self->events = gw_event_log_new((guint64)g_get_real_time(), on_event, self);
    self->api = gw_vm_api_new(self->server, self->events, on_removed, self);
    self->vm = gw_vm_new(dir, setup, config, self->events, error);
    if (!self->vm)
        return false;
    gw_vm_api_set_vm(self->api, self->vm);
    gw_vm_set_settled_callback(self->vm, on_settled, self);
    return gw_http_server_listen_unix(self->server, control, 0600, error);
}

int
gw_supervise(GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, const GwSuperviseOptions *options)
{
    Supervisor self = {.options = options, .dir = dir, .ready_fd = options->ready_fd};
    g_autoptr(GError) error = NULL;
    self.loop = g_main_loop_new(NULL, FALSE);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* the terminal from which it was started may go */

    if (set_up(&self, dir, setup, config, &error)) {
        guint watches[] = {g_unix_signal_add(SIGTERM, on_terminate, &self),
                           g_unix_signal_add(SIGINT, on_terminate, &self)};
        JsonObject *arguments = json_object_new();
        json_object_set_boolean_member(arguments, "paused", options->paused);
        json_object_set_boolean_member(arguments, "incoming", options->incoming);
        gw_vm_submit(self.vm, options->adopt ? GW_VM_OP_ADOPT : GW_VM_OP_START, arguments, on_up, &self);
        json_object_unref(arguments);
        g_main_loop_run(self.loop);
        for (size_t i = 0; i < G_N_ELEMENTS(watches); i++)
            g_source_remove(watches[i]);
    } else {
        fprintf(stderr, "godwit-vm: %s\n", error->message);
        self.exit_status = 1;
    }

    /* The VM gives its last answers while it ends: to nobody who asks only now, and by an API that is there.
     */
    gw_http_server_close(self.server);
    gw_vm_api_close(self.api);
    gw_vm_free(self.vm);
    gw_vm_api_free(self.api);
    gw_event_log_free(self.events);
    gw_http_server_free(self.server);
    g_main_loop_unref(self.loop);
    if (self.ready_fd >= 0)
        close(self.ready_fd);
    return self.exit_status;
}
