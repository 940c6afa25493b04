/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waits for a task's end.
 *
 * Progress goes to standard error: on a terminal one line that is written over, elsewhere a line for each
 * step. So standard output is the result's alone, JSON or not.
 *
 * Ctrl-C (SIGINT) on a terminal asks whether to cancel; a second one, or any elsewhere, leaves the motion to
 * itself: it is the center's, and does not need us. A handler hears it, not a signalfd: libraries have begun
 * threads by then that do not block the signal, and it would end us there. */
#include "follow.h"

#include "error.h"
#include "json.h"
#include "progress.h"
#include "prompt.h"
#include "task-id.h"
#include "task-watch.h"
#include "text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int interrupt_fd = -1; /* for the handler, which is given nothing */

static void
on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    if (write(interrupt_fd, &one, sizeof one) != sizeof one)
        errno = 0; /* full: there are enough of them */
    errno = saved;
}

typedef struct {
    GwCli *cli;
    const char *task;
    GwTaskWatch *watch;
    int interrupts;   /* eventfd, counts them */
    bool is_tty;      /* standard error */
    char *shown;      /* what stands on the terminal's line, or was printed last */
    char *explained;  /* the explanation that was printed last */
    bool away;        /* it was said that the center does not answer */
    bool asking;      /* "cancel the motion?" stands there, unanswered */
    bool leaves;      /* it is left to go on */
    JsonObject *last; /* the task as it was seen last */
} Follow;

static unsigned
error_width(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79;
}

static void
wipe_line(Follow *self)
{
    if (self->is_tty && self->shown)
        fputs("\r\033[K", stderr);
}

/* A line that stays. */
static void
say(Follow *self, const char *text)
{
    g_autofree char *plain = gw_text_plain(text);
    wipe_line(self);
    fprintf(stderr, "%s\n", plain);
    if (self->is_tty)
        g_clear_pointer(&self->shown, g_free);
}

static void
show(Follow *self, JsonObject *task)
{
    g_autofree char *line = self->is_tty ? gw_progress_line(task, error_width()) : gw_progress_step(task);
    g_autofree char *explanation = gw_progress_explanation(task);
    if (explanation && g_strcmp0(explanation, self->explained) != 0) {
        say(self, explanation);
        g_free(self->explained);
        self->explained = g_steal_pointer(&explanation);
    }
    if (g_strcmp0(line, self->shown) == 0)
        return;
    wipe_line(self);
    fprintf(stderr, self->is_tty ? "%s" : "%s\n", line);
    fflush(stderr);
    g_free(self->shown);
    self->shown = g_steal_pointer(&line);
}

/* What the checks found and did not stop it, once. */
static void
show_warnings(Follow *self, JsonObject *task)
{
    for (guint i = 0; i < gw_field_count(task, "findings"); i++) {
        JsonObject *finding = gw_field_element(task, "findings", i);
        g_autofree char *line =
            g_strdup_printf("%s: %s (%s)", gw_field_text(finding, "severity", "warning"),
                            gw_field_text(finding, "text", "?"), gw_field_text(finding, "id", "?"));
        if (strcmp(gw_field_text(finding, "severity", ""), "error") != 0)
            say(self, line);
    }
}

/* Returns true at the end. */
static bool
on_news(Follow *self, GError **error)
{
    g_auto(GwTaskNews) news = {0};
    gw_task_watch_take(self->watch, &news);
    if (news.error) {
        g_propagate_error(error, g_steal_pointer(&news.error));
        gw_cli_explain(self->cli, error);
        return true;
    }
    if (news.trouble && !self->away) {
        g_autofree char *text =
            g_strdup_printf("the center does not answer, trying again (%s)", news.trouble->message);
        say(self, text);
        self->away = true;
    }
    if (!news.task)
        return false;
    if (self->away)
        say(self, "the center answers again");
    self->away = false;
    bool had_findings = gw_field_count(self->last, "findings") > 0;
    if (self->last)
        json_object_unref(self->last);
    self->last = g_steal_pointer(&news.task);
    if (!self->asking && !had_findings)
        show_warnings(self, self->last);
    bool ended = gw_progress_has_ended(self->last);
    if (!self->asking && !ended)
        show(self, self->last);
    return ended;
}

static void
cancel_task(Follow *self)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = gw_cli_path("tasks", self->task, NULL);
    g_autoptr(GwHttpClient) client = gw_session_connect(self->cli->session, 20, &error);
    g_autoptr(JsonObject) reply = client ? gw_http_call(client, "DELETE", path, NULL, &error) : NULL;
    g_autofree char *text =
        reply ? g_strdup("cancelling") : g_strdup_printf("it is not cancelled: %s", error->message);
    say(self, text);
}

static void
on_interrupt(Follow *self)
{
    uint64_t n = 0;
    if (read(self->interrupts, &n, sizeof n) != sizeof n)
        return;
    if (!self->cli->can_ask || self->asking || n > 1) {
        if (self->asking)
            fputc('\n', stderr);
        self->leaves = true;
        return;
    }
    wipe_line(self);
    fputs("cancel the motion? [y/N] ", stderr);
    fflush(stderr);
    g_clear_pointer(&self->shown, g_free);
    self->asking = true;
}

/* The terminal gives a whole line. */
static void
on_answer(Follow *self)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
    if (n < 0 && errno == EINTR)
        return;
    line[MAX(n, 0)] = '\0';
    g_strstrip(line);
    self->asking = false;
    if (g_ascii_strcasecmp(line, "y") == 0 || g_ascii_strcasecmp(line, "yes") == 0)
        cancel_task(self);
}

static void
wait_for_end(Follow *self, GError **error)
{
    for (;;) {
        struct pollfd fds[] = {{gw_task_watch_fd(self->watch), POLLIN, 0},
                               {self->interrupts, POLLIN, 0},
                               {self->asking ? STDIN_FILENO : -1, POLLIN, 0}};
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents && on_news(self, error))
            break;
        if (fds[1].revents)
            on_interrupt(self);
        if (self->leaves)
            break;
        if (fds[2].revents)
            on_answer(self);
    }
    if (self->asking && !self->leaves)
        fputc('\n', stderr);
    wipe_line(self);
}

JsonObject *
gw_follow_task(GwCli *cli, const char *task, GError **error)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    if (!gw_cli_session(cli, error))
        return NULL;
    Follow self = {.cli = cli, .task = task, .is_tty = isatty(STDERR_FILENO)};
    interrupt_fd = self.interrupts = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigaction(SIGINT, &action, &before);
    self.watch = gw_task_watch_new(cli->session, task, GW_FOLLOW_PATIENCE_S);
    wait_for_end(&self, error);
    gw_task_watch_free(self.watch);
    sigaction(SIGINT, &before, NULL);
    close(self.interrupts);
    if (self.leaves) {
        g_autofree char *id = gw_task_id_short(task);
        fprintf(stderr,
                "It goes on in the background. 'godwit task watch %s' shows it, 'godwit task cancel %s' "
                "ends it.\n",
                id, id);
        cli->status = GW_EXIT_INTERRUPTED;
    }
    bool ended = !self.leaves && self.last && gw_progress_has_ended(self.last);
    if (!ended)
        g_clear_pointer(&self.last, json_object_unref);
    g_free(self.shown);
    g_free(self.explained);
    return self.last;
}

/* What a person does next, by the kind of failure. */
static const char *
advice(const char *code)
{
    static const struct {
        const char *code, *text;
    } all[] = {
        {"check-failed",
         "Remove what stands in the way, or allow it with --override ID where that is possible."},
        {"not-converging",
         "Try again when the guest writes less, with a larger --goal, or over faster motion "
         "interfaces."},
        {"peer-lost", "See what became of the hosts ('godwit host ls', 'godwit event ls'), then try again."},
        {"timed-out",
         "See whether both hosts and the network between them are well ('godwit host probe'), then try "
         "again."},
        {"not-permitted", "See the certificates of both hosts; 'godwit-host join' gets new ones."},
        {"vmm-failed", "See the host's log for what QEMU said."},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        if (strcmp(all[i].code, code) == 0)
            return all[i].text;
    return "'godwit task show' has the details.";
}

static void
print_finding_errors(JsonObject *task)
{
    for (guint i = 0; i < gw_field_count(task, "findings"); i++) {
        JsonObject *finding = gw_field_element(task, "findings", i);
        if (strcmp(gw_field_text(finding, "severity", ""), "error") != 0)
            continue;
        const char *repair = gw_field_text(finding, "repair", NULL);
        fprintf(stderr, "  %s: %s\n", gw_field_text(finding, "id", "?"), gw_field_text(finding, "text", "?"));
        if (repair)
            fprintf(stderr, "    repair: %s\n", repair);
    }
}

/* Where the VM is now is asked for, not concluded. */
static void
print_whereabouts(GwCli *cli, JsonObject *task)
{
    const char *name = gw_field_text(task, "vm", "?");
    g_autofree char *path = gw_cli_path("vms", name, NULL);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", path, NULL, NULL);
    g_autoptr(JsonObject) vm = reply ? gw_text_plain_object(reply) : NULL;
    if (vm)
        fprintf(stderr, "%s is %s on %s.\n", name, gw_field_text(vm, "state", "?"),
                gw_field_text(vm, "host", "?"));
}

static void
print_failure(GwCli *cli, JsonObject *task, bool cancelled)
{
    JsonObject *why = gw_field_object(task, "error");
    const char *code = gw_field_text(why, "code", "failed"), *step = gw_field_text(task, "step", NULL);
    bool checked = strcmp(code, "check-failed") == 0 && gw_field_count(task, "findings") > 0;
    fprintf(stderr, "%s: the motion to %s %s%s%s", gw_field_text(task, "vm", "?"),
            gw_field_text(task, "destination", "?"), cancelled ? "was cancelled" : "failed",
            step ? " in step " : "", step ? step : "");
    if (checked || (cancelled && !why))
        fputc('\n', stderr);
    else
        fprintf(stderr, ": %s\n", gw_field_text(why, "message", "no reason is known"));
    if (checked)
        print_finding_errors(task);
    print_whereabouts(cli, task);
    if (!cancelled)
        fprintf(stderr, "%s\n", advice(code));
}

void
gw_follow_print_end(GwCli *cli, JsonObject *task)
{
    g_autoptr(JsonObject) plain = gw_text_plain_object(task);
    const char *state = gw_field_text(plain, "state", "?");
    cli->status = gw_exit_of_task(state, gw_field_text(gw_field_object(plain, "error"), "code", NULL));
    if (cli->status != GW_EXIT_DONE)
        print_failure(cli, plain, cli->status == GW_EXIT_CANCELLED);
    if (cli->json) {
        g_autoptr(JsonObject) result = gw_progress_result(task);
        gw_cli_print_json(result);
    } else if (cli->status == GW_EXIT_DONE) {
        g_autofree char *summary = gw_progress_summary(plain);
        puts(summary);
    }
}
