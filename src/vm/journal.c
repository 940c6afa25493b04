/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal: append-only, one write(2) a line, so that lines of the supervisor and of a child never mix. */
#include "journal.h"

#include "error.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct GwJournal {
    int fd;
    char *path;
    GMutex lock; /* around write and mending; a child writes without it, see gw_journal_mend() */
};

static char *
now_text(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
}

/* A line that was cut short (a full disk, a child that died in it) is taken off: what was not written whole
 * was not acted upon, and the next line must not grow onto it. */
static bool
cut_torn_line(GwJournal *self, GError **error)
{
    off_t end = lseek(self->fd, 0, SEEK_END), keep = end;
    char c = '\n';
    while (keep > 0 && pread(self->fd, &c, 1, keep - 1) == 1 && c != '\n')
        keep--;
    if (keep < end && ftruncate(self->fd, keep) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "mending the journal %s", self->path);
    return true;
}

static bool
write_line(GwJournal *self, const char *line, GError **error)
{
    size_t length = strlen(line);
    ssize_t n;
    do
        n = write(self->fd, line, length);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)length) {
        gw_set_errno(error, GW_ERROR_IO, n < 0 ? errno : ENOSPC, "writing the journal %s", self->path);
        cut_torn_line(self, NULL);
        return false;
    }
    if (fdatasync(self->fd) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "syncing the journal %s", self->path);
    return true;
}

GwJournal *
gw_journal_open(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "opening the journal %s", path);
        return NULL;
    }
    g_autoptr(GwJournal) self = g_new0(GwJournal, 1);
    self->fd = fd;
    self->path = g_strdup(path);
    g_mutex_init(&self->lock);
    return cut_torn_line(self, error) ? g_steal_pointer(&self) : NULL;
}

static void
copy_member(JsonObject *from, const char *name, JsonNode *node, void *to)
{
    json_object_set_member(to, name, json_node_copy(node));
}

bool
gw_journal_write(GwJournal *self, const char *step, JsonObject *fields, GError **error)
{
    g_autoptr(JsonObject) taken = fields;
    g_autoptr(JsonObject) entry = json_object_new();
    g_autofree char *now = now_text();
    json_object_set_string_member(entry, "step", step);
    json_object_set_string_member(entry, "at", now);
    if (taken)
        json_object_foreach_member(taken, copy_member, entry);
    g_autofree char *text = gw_json_object_to_line(entry);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    g_mutex_lock(&self->lock);
    bool ok = write_line(self, line, error);
    g_mutex_unlock(&self->lock);
    return ok;
}

bool
gw_journal_mend(GwJournal *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool ok = cut_torn_line(self, error);
    g_mutex_unlock(&self->lock);
    return ok;
}

int
gw_journal_fd(const GwJournal *self)
{
    return self->fd;
}

char *
gw_journal_spawn_prefix(GwJournal *self)
{
    g_autofree char *now = now_text();
    return g_strdup_printf("{\"step\":\"spawned\",\"at\":\"%s\",\"pid\":", now);
}

static void
apply(void *to, JsonObject *entry)
{
    GwJournalSummary *summary = to;
    const char *step = gw_json_get_string(entry, "step");
    int64_t pid = 0;
    if (strcmp(step, "start") == 0) {
        const char *accel = gw_json_get_string(entry, "accel");
        *summary = (GwJournalSummary){0};
        gw_json_get_bool(entry, "paused", &summary->start_paused);
        gw_json_get_bool(entry, "incoming", &summary->incoming);
        g_strlcpy(summary->accel, accel ? accel : "", sizeof summary->accel);
    } else if (strcmp(step, "spawned") == 0) {
        if (gw_json_get_int(entry, "pid", &pid) && pid > 1 && pid <= G_MAXINT32)
            summary->qemu_pid = (pid_t)pid;
    } else if (strcmp(step, "ended") == 0) {
        summary->qemu_pid = 0;
    } else if (strcmp(step, "run") == 0) {
        summary->ran = true;
    } else if (strcmp(step, "kill") == 0) {
        summary->kill_intended = true;
    } else if (strcmp(step, "power-button") == 0) {
        summary->power_intended = true;
    }
}

/* Calls `apply` with each line that is a step. */
static void
for_each_step(const char *text, size_t length, void (*apply_step)(void *, JsonObject *), void *to)
{
    for (const char *end; length > 0 && (end = memchr(text, '\n', length));) {
        size_t n = (size_t)(end - text);
        g_autoptr(JsonObject) entry = n > 0 ? gw_json_parse_object(text, (gssize)n, NULL) : NULL;
        if (entry && gw_json_get_string(entry, "step"))
            apply_step(to, entry);
        text = end + 1;
        length -= n + 1;
    }
}

GwJournalSummary
gw_journal_summarize(const char *text, size_t length)
{
    GwJournalSummary summary = {0};
    for_each_step(text, length, apply, &summary);
    return summary;
}

void
gw_journal_motion_clear(GwJournalMotion *self)
{
    g_clear_pointer(&self->ticket, json_object_unref);
    *self = (GwJournalMotion){0};
}

static void
begin_motion(GwJournalMotion *motion, GwJournalMotionKind kind, JsonObject *entry)
{
    gw_journal_motion_clear(motion);
    motion->kind = kind;
    motion->ticket = json_object_ref(entry);
    gw_json_get_bool(entry, "runs", &motion->runs);
}

static void
apply_to_motion(void *to, JsonObject *entry)
{
    GwJournalMotion *motion = to;
    const char *step = gw_json_get_string(entry, "step");
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"handed-over", &motion->handed_over},
        {"owns", &motion->owns},
        {"released", &motion->released},
        {"ready", &motion->ready},
        {"go", &motion->go},
        {"refused", &motion->refused},
    };
    if (strcmp(step, "motion-out") == 0)
        begin_motion(motion, GW_JOURNAL_MOTION_OUT, entry);
    else if (strcmp(step, "motion-in") == 0)
        begin_motion(motion, GW_JOURNAL_MOTION_IN, entry);
    else if (strcmp(step, "motion-end") == 0)
        gw_journal_motion_clear(motion);
    for (size_t i = 0; i < G_N_ELEMENTS(flags) && motion->kind != GW_JOURNAL_NO_MOTION; i++)
        if (strcmp(step, flags[i].name) == 0)
            *flags[i].flag = true;
    if (motion->kind != GW_JOURNAL_NO_MOTION && strcmp(step, "go") == 0)
        gw_json_get_bool(entry, "runs", &motion->runs);
    else if (motion->go && (strcmp(step, "pause") == 0 || strcmp(step, "start") == 0))
        motion->runs = false; /* it has arrived, and somebody has paused it since, or ended it */
    else if (motion->go && strcmp(step, "run") == 0)
        motion->runs = true;
}

GwJournalMotion
gw_journal_find_motion(const char *text, size_t length)
{
    GwJournalMotion motion = {0};
    for_each_step(text, length, apply_to_motion, &motion);
    return motion;
}

void
gw_journal_free(GwJournal *self)
{
    if (!self)
        return;
    close(self->fd);
    g_mutex_clear(&self->lock);
    g_free(self->path);
    g_free(self);
}
