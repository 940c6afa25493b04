/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's file: whose it is, its versions, damage, full disks, death in the middle, many threads. */
#include "store-rig.h"
#include "store-schema.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
assert_refused(const char *url, GwError code, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_store_open(url, &error));
    gw_assert_error_says(&error, code, words);
}

static GBytes *
bytes_of(const char *path)
{
    char *text = NULL;
    gsize length = 0;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    return g_bytes_new_take(text, length);
}

/* Refused, and not a byte of it changed. */
static void
assert_left_alone(GwStoreRig *rig, GwError code, const char *words)
{
    g_autoptr(GBytes) before = bytes_of(rig->path);
    assert_refused(rig->path, code, words);
    g_autoptr(GBytes) after = bytes_of(rig->path);
    g_assert_true(g_bytes_equal(before, after));
}

/* -- Where it is, and who may */

static void
test_urls(GwStoreRig *rig, const void *data)
{
    g_autofree char *url = g_strconcat("sqlite:", rig->path, NULL),
                    *slashes = g_strconcat("sqlite://", rig->path, NULL);
    g_autofree char *missing = g_build_filename(rig->directory, "missing", "center.db", NULL);
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_close(rig);
    const char *const urls[] = {url, slashes};
    for (size_t i = 0; i < G_N_ELEMENTS(urls); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GwStore) store = gw_store_open(urls[i], &error);
        g_assert_no_error(error);
        g_autoptr(GArray) hosts = gw_store_hosts(store, &error);
        g_assert_cmpuint(hosts->len, ==, 1);
    }
    assert_refused("postgresql://db/godwit", GW_ERROR_NOT_SUPPORTED, "expected sqlite:FILE");
    assert_refused("sqlite:", GW_ERROR_INVALID_ARGUMENT, "no file");
    assert_refused(missing, GW_ERROR_IO, missing);
    g_autofree char *beside = g_strconcat(rig->directory, "-lock", NULL);
    assert_refused(rig->directory, GW_ERROR_IO, "is no regular file");
    g_assert_false(g_file_test(beside, G_FILE_TEST_EXISTS));
    gw_store_close(NULL);
}

static void
assert_mode(GwStoreRig *rig, const char *suffix)
{
    struct stat st;
    g_autofree char *path = g_strconcat(rig->path, suffix, NULL);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
}

static void
test_modes(GwStoreRig *rig, const void *data)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
    mode_t mask = umask(0);
    gw_store_rig_add_host(rig, "host1");
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++)
        assert_mode(rig, suffixes[i]);
    gw_store_rig_close(rig);
    g_assert_cmpint(g_chmod(rig->path, 0644), ==, 0); /* by a careless copy */
    gw_store_rig_open(rig);
    gw_store_rig_add_host(rig, "host2");
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++)
        assert_mode(rig, suffixes[i]);
    umask(mask);
}

/* In a child: status 0 if the store is refused as open in process `holder`. */
static void
try_to_open(const char *path, pid_t holder)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *process = g_strdup_printf("process %d:", (int)holder);
    GwStore *store = gw_store_open(path, &error);
    _exit(!store && g_error_matches(error, GW_ERROR, GW_ERROR_EXISTS) && strstr(error->message, process) &&
                  strstr(error->message, path)
              ? 0
              : 1);
}

static int
wait_for(pid_t pid)
{
    int status = 0;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

static void
test_two_opens(GwStoreRig *rig, const void *data)
{
    pid_t pid = fork();
    if (pid == 0)
        try_to_open(rig->path, getppid());
    g_assert_cmpint(wait_for(pid), ==, 0);
    assert_refused(rig->path, GW_ERROR_EXISTS, "only one center"); /* nor twice in one process */
    gw_store_rig_add_host(rig, "host1");                           /* the first one did not suffer */
    gw_store_rig_close(rig);
    /* what a dead one left in the lock file means nothing */
    g_autofree char *lock = g_strconcat(rig->path, "-lock", NULL);
    g_assert_true(g_file_set_contents(lock, "1\n", -1, NULL));
    gw_store_rig_open(rig);
    assert_refused(rig->path, GW_ERROR_EXISTS, "only one center");
}

/* Another program that has the file locked for a moment is waited for. */
static void *
write_event(void *data)
{
    g_autoptr(GError) error = NULL;
    GwEventRecord event = {.type = (char *)"x"};
    gw_store_add_event(data, &event, &error);
    g_assert_no_error(error);
    return NULL;
}

static void
test_waits_for_others(GwStoreRig *rig, const void *data)
{
    sqlite3 *other = NULL;
    g_assert_cmpint(sqlite3_open(rig->path, &other), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
    GThread *thread = g_thread_new("writer", write_event, rig->store);
    g_assert_cmpint(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), ==, SQLITE_OK);
    g_thread_join(thread);
    g_assert_cmpint(sqlite3_close(other), ==, SQLITE_OK);
}

/* What `sqlite3 FILE .backup COPY` does, while the store is open and has written. */
static void
test_backup(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    sqlite3 *from = NULL, *to = NULL;
    g_autofree char *copy = g_strconcat(rig->path, ".copy", NULL);
    gw_store_rig_add_host(rig, "host1");
    g_assert_cmpint(sqlite3_open_v2(rig->path, &from, SQLITE_OPEN_READONLY, NULL), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_open(copy, &to), ==, SQLITE_OK);
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    g_assert_cmpint(sqlite3_backup_step(backup, 1), ==, SQLITE_OK);
    gw_store_rig_add_host(rig, "host2"); /* into the middle of it */
    g_assert_cmpint(sqlite3_backup_step(backup, -1), ==, SQLITE_DONE);
    g_assert_cmpint(sqlite3_backup_finish(backup), ==, SQLITE_OK);
    sqlite3_close(from);
    sqlite3_close(to);
    g_autoptr(GwStore) store = gw_store_open(copy, &error);
    g_assert_no_error(error);
    g_autoptr(GArray) hosts = gw_store_hosts(store, &error);
    g_assert_cmpuint(hosts->len, ==, 2);
}

/* -- Versions */

static char *
schema_of(GwStoreRig *rig)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    GString *text = g_string_new(NULL);
    g_assert_cmpint(sqlite3_open(rig->path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_prepare_v2(db,
                                       "SELECT sql FROM sqlite_schema UNION ALL"
                                       " SELECT user_version FROM pragma_user_version ORDER BY 1",
                                       -1, &stmt, NULL),
                    ==, SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        g_string_append_printf(text, "%s\n", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return g_string_free(text, FALSE);
}

/* A file as the program of that version left it. */
static void
make_version(GwStoreRig *rig, int version)
{
    g_autofree char *stamp = g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d",
                                             version > 0 ? GW_STORE_APPLICATION_ID : 0, version);
    gw_store_rig_close(rig);
    g_assert_cmpint(g_unlink(rig->path), ==, 0);
    for (int step = 1; step <= MIN(version, gw_store_schema_version()); step++)
        gw_store_rig_execute(rig, gw_store_schema_step(step));
    gw_store_rig_execute(rig, stamp);
    if (version > 0)
        gw_store_rig_execute(rig, "INSERT INTO hosts VALUES ('old', 'default', '10.70.0.1', 7441, 0, 5)");
}

static void
test_older_versions(GwStoreRig *rig, const void *data)
{
    gw_store_rig_close(rig);
    g_autofree char *newest = schema_of(rig);
    for (int version = 0; version <= gw_store_schema_version(); version++) {
        g_autoptr(GError) error = NULL;
        make_version(rig, version);
        gw_store_rig_open(rig);
        g_autoptr(GArray) hosts = gw_store_hosts(rig->store, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(hosts->len, ==, version > 0 ? 1 : 0);
        gw_store_rig_add_host(rig, "host1");
        gw_store_rig_close(rig);
        g_autofree char *got = schema_of(rig);
        g_assert_cmpstr(got, ==, newest);
    }
}

static void
test_not_ours(GwStoreRig *rig, const void *data)
{
    make_version(rig, gw_store_schema_version() + 1);
    assert_left_alone(rig, GW_ERROR_NOT_SUPPORTED,
                      "schema version 2, and this center knows versions up to 1");
    gw_store_rig_execute(rig, "PRAGMA user_version = -1");
    assert_left_alone(rig, GW_ERROR_IO, "another program");
    gw_store_rig_execute(rig, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert_left_alone(rig, GW_ERROR_IO, "another program");
    gw_store_rig_execute(rig, "PRAGMA user_version = 0; PRAGMA application_id = 0"); /* with tables */
    assert_left_alone(rig, GW_ERROR_IO, "another program");
}

/* -- Damage */

static void
overwrite(GwStoreRig *rig, off_t at, size_t length)
{
    g_autofree char *rubbish = g_strnfill(length, 0x5a);
    int fd = open(rig->path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, rubbish, length, at), ==, length);
    close(fd);
}

static void
fill(GwStoreRig *rig, int n)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strnfill(500, 'x');
    for (int i = 0; i < n; i++) {
        GwEventRecord event = {.type = (char *)"x", .data = text};
        gw_store_add_event(rig->store, &event, &error);
        g_assert_no_error(error);
    }
}

static void
test_damage(GwStoreRig *rig, const void *data)
{
    fill(rig, 200);
    gw_store_rig_close(rig);
    g_autoptr(GBytes) good = bytes_of(rig->path);
    gsize size;
    const char *content = g_bytes_get_data(good, &size);
    g_assert_cmpint(size, >, 20 * 4096);
    const struct {
        off_t at;
        size_t length;
    } cases[] = {{0, 100}, {0, 4096}, {4096, 4096}, {(off_t)size - 8192, 64}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        overwrite(rig, cases[i].at, cases[i].length);
        assert_left_alone(rig, GW_ERROR_IO, "is damaged");
        g_assert_true(g_file_set_contents(rig->path, content, (gssize)size, NULL));
    }
    g_assert_cmpint(truncate(rig->path, (off_t)size / 2), ==, 0);
    assert_left_alone(rig, GW_ERROR_IO, "is damaged");
    g_assert_true(g_file_set_contents(rig->path, content, (gssize)size, NULL));
    gw_store_rig_open(rig);
}

/* -- A full disk */

/* A disk of our own, seen by this process alone. NULL: it has one; else why not. */
static const char *
mount_small_disk(const char *path)
{
    if (geteuid() != 0)
        return "mounting a small disk needs root";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("small", path, "tmpfs", 0, "size=1m") < 0)
        return "this place lets root mount nothing";
    return NULL;
}

/* Writes events until it fails, which has to be soon. */
static int
fill_up(GwStoreRig *rig)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strnfill(10000, 'x');
    int n = 0;
    for (GwEventRecord event = {.type = (char *)"x", .data = text};
         gw_store_add_event(rig->store, &event, &error); n++)
        g_assert_cmpint(n, <, 1000);
    gw_assert_error_says(&error, GW_ERROR_IO, "center.db: the disk is full");
    return n;
}

static void
fill_disk(const char *path)
{
    char block[4096] = {1};
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) == sizeof block)
        ;
    g_assert_cmpint(errno, ==, ENOSPC);
    close(fd);
}

static void
use_small_disk(GwStoreRig *rig)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *filler = g_build_filename(rig->directory, "filler", NULL);
    fill_disk(filler);
    assert_refused(rig->path, GW_ERROR_IO, "disk is full"); /* no room for the first schema */
    g_assert_cmpint(truncate(filler, 100000), ==, 0);
    gw_store_rig_open(rig);
    int n = fill_up(rig);
    g_autoptr(GArray) events = gw_store_events(rig->store, 0, 1000, &error);
    g_assert_cmpuint(events->len, ==, n); /* it can be read, and has what it said it has */
    g_assert_cmpint(g_unlink(filler), ==, 0);
    fill(rig, 3); /* goes on as soon as there is room */
    fill_up(rig);
    gw_store_rig_close(rig);
    gw_store_rig_open(rig);
    g_autoptr(GArray) kept = gw_store_events(rig->store, 0, 1000, &error);
    g_assert_cmpuint(kept->len, >, n + 3);
    g_assert_cmpint(g_array_index(kept, GwEventRecord, kept->len - 1).id, ==, kept->len);
    gw_store_rig_close(rig);
}

static void
test_full_disk(GwStoreRig *rig, const void *data)
{
    gw_store_rig_close(rig);
    const char *why = mount_small_disk(rig->directory);
    if (why) {
        g_test_skip(why);
        return;
    }
    use_small_disk(rig);
    g_assert_cmpint(umount(rig->directory), ==, 0);
}

/* -- Death in the middle */

#define N_DEATHS 25

static void
move_back_and_forth(GwStoreRig *rig, unsigned i)
{
    g_autoptr(GError) error = NULL;
    const char *host = i % 2 ? "host1" : "host2";
    GwTaskRecord task = {.id = (char *)"t",
                         .kind = (char *)"vm.migrate",
                         .state = (char *)"completed",
                         .destination = (char *)host,
                         .created_us = i};
    GwEventRecord event = {.type = (char *)"moved", .at_us = i};
    if (!gw_store_record_home(rig->store, &task, "web1", host, &error) ||
        !gw_store_add_event(rig->store, &event, &error))
        _exit(1);
}

/* A child that writes, and says which round is done. */
static pid_t
start_writer(GwStoreRig *rig, unsigned first, int *ret_fd)
{
    int fds[2];
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        gw_store_rig_open(rig);
        for (unsigned i = first;; i++) {
            move_back_and_forth(rig, i);
            if (write(fds[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

/* The last round that the child has said to be done when it was killed. */
static unsigned
kill_within(GwStoreRig *rig, unsigned first, int n_rounds)
{
    int fd;
    unsigned done = first;
    pid_t pid = start_writer(rig, first, &fd);
    for (int i = 0; i < n_rounds; i++)
        g_assert_cmpint(read(fd, &done, sizeof done), ==, sizeof done);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_true(WIFSIGNALED(wait_for(pid)));
    while (read(fd, &done, sizeof done) == sizeof done)
        ;
    close(fd);
    return done;
}

/* Both or none of each transaction, and nothing lost that was said to be kept. Returns the last round. */
static unsigned
check_consistent(GwStoreRig *rig, unsigned done)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwVmRecord) vm = {0};
    g_auto(GwTaskRecord) task = {0};
    g_assert_true(gw_store_get_vm(rig->store, "web1", &vm, &error));
    g_assert_true(gw_store_get_task(rig->store, "t", &task, &error));
    g_assert_cmpstr(task.destination, ==, vm.host);
    g_assert_cmpint(task.created_us, >=, done);
    g_assert_cmpint(task.created_us, <=, done + 1);
    g_autoptr(GArray) events = gw_store_events(rig->store, -1, 1, &error);
    int64_t event = g_array_index(events, GwEventRecord, 0).at_us;
    g_assert_cmpint(event, >=, done);
    g_assert_cmpint(event, <=, task.created_us);
    return (unsigned)task.created_us;
}

static void
test_killed(GwStoreRig *rig, const void *data)
{
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_host(rig, "host2");
    gw_store_rig_add_vm(rig, "web1", "host1");
    gw_store_rig_close(rig);
    unsigned last = 0;
    for (int i = 0; i < N_DEATHS; i++) {
        unsigned done = kill_within(rig, last + 1, g_test_rand_int_range(1, 40));
        gw_store_rig_open(rig);
        last = check_consistent(rig, done);
        gw_store_rig_close(rig);
    }
}

/* -- Many threads */

#define N_THREADS 8
#define N_EACH    40

typedef struct {
    GwStoreRig *rig;
    int number;
} Writer;

static void *
write_many(void *data)
{
    Writer *writer = data;
    GwStore *store = writer->rig->store;
    for (int i = 0; i < N_EACH; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(GwTaskRecord) got = {0};
        g_autofree char *id = g_strdup_printf("%d-%d", writer->number, i);
        GwTaskRecord task = {
            .id = id, .kind = (char *)"vm.migrate", .state = (char *)"completed", .created_us = i};
        GwEventRecord event = {.type = id, .at_us = i};
        GwAuditRecord audit = {.at_us = i, .user = (char *)"u", .action = id, .result = (char *)"done"};
        g_assert_true(
            gw_store_record_home(store, &task, "web1", writer->number % 2 ? "host1" : "host2", &error));
        g_assert_true(gw_store_add_event(store, &event, &error));
        g_assert_true(gw_store_add_audit(store, &audit, &error));
        g_assert_true(gw_store_get_task(store, id, &got, &error));
        /* a transaction that is given up takes nobody else's with it */
        g_assert_false(gw_store_record_home(store, &task, "web9", "host1", &error));
    }
    return NULL;
}

static void
test_threads(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    GThread *threads[N_THREADS];
    Writer writers[N_THREADS];
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_host(rig, "host2");
    gw_store_rig_add_vm(rig, "web1", "host1");
    for (int i = 0; i < N_THREADS; i++) {
        writers[i] = (Writer){rig, i};
        threads[i] = g_thread_new("writer", write_many, &writers[i]);
    }
    for (int i = 0; i < N_THREADS; i++)
        g_thread_join(threads[i]);
    GwTaskFilter filter = {.limit = 1000};
    g_autoptr(GArray) tasks = gw_store_tasks(rig->store, &filter, &error);
    g_assert_cmpuint(tasks->len, ==, N_THREADS * N_EACH);
    g_autoptr(GArray) audit = gw_store_audit(rig->store, 0, 1000, &error);
    g_assert_cmpuint(audit->len, ==, N_THREADS * N_EACH);
    g_autoptr(GArray) events = gw_store_events(rig->store, 0, 1000, &error);
    g_assert_cmpuint(events->len, ==, N_THREADS * N_EACH);
    int64_t next[N_THREADS] = {0};
    for (guint i = 0; i < events->len; i++) {
        GwEventRecord *event = &g_array_index(events, GwEventRecord, i);
        g_assert_cmpint(event->id, ==, i + 1);
        g_assert_cmpint(event->at_us, ==, next[event->type[0] - '0']++);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store/urls", test_urls);
    GW_STORE_RIG_ADD("/store/modes", test_modes);
    GW_STORE_RIG_ADD("/store/two-opens", test_two_opens);
    GW_STORE_RIG_ADD("/store/waits-for-others", test_waits_for_others);
    GW_STORE_RIG_ADD("/store/backup", test_backup);
    GW_STORE_RIG_ADD("/store/older-versions", test_older_versions);
    GW_STORE_RIG_ADD("/store/not-ours", test_not_ours);
    GW_STORE_RIG_ADD("/store/damage", test_damage);
    GW_STORE_RIG_ADD("/store/full-disk", test_full_disk);
    GW_STORE_RIG_ADD("/store/killed", test_killed);
    GW_STORE_RIG_ADD("/store/threads", test_threads);
    return g_test_run();
}
