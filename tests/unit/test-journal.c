/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal: what is written, what a new supervisor makes of it, and a crash at every byte of it. */
#include "journal.h"

#include "error.h"
#include "json.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
assert_summary(const char *text, size_t length, const GwJournalSummary *expected)
{
    GwJournalSummary got = gw_journal_summarize(text, length);
    g_autofree char *piece = g_strndup(text, length);
    g_autofree char *escaped = g_strescape(piece, NULL);
    g_test_message("%s", escaped);
    g_assert_cmpint(got.qemu_pid, ==, expected->qemu_pid);
    g_assert_cmpint(got.start_paused, ==, expected->start_paused);
    g_assert_cmpint(got.ran, ==, expected->ran);
    g_assert_cmpint(got.kill_intended, ==, expected->kill_intended);
    g_assert_cmpint(got.power_intended, ==, expected->power_intended);
    g_assert_cmpstr(got.accel, ==, expected->accel);
}

/* --- summaries ---------------------------------------------------------------------------------------- */

#define CREATE  "{\"step\":\"create\"}\n"
#define START   "{\"accel\":\"kvm\",\"paused\":false,\"step\":\"start\"}\n"
#define PAUSED  "{\"accel\":\"tcg\",\"paused\":true,\"step\":\"start\"}\n"
#define SPAWNED "{\"step\":\"spawned\",\"at\":\"x\",\"pid\":812}\n"
#define RUN     "{\"step\":\"run\"}\n"
#define KILL    "{\"step\":\"kill\"}\n"
#define POWER   "{\"step\":\"power-button\"}\n"
#define ENDED   "{\"how\":\"exit status 0\",\"step\":\"ended\"}\n"
#define ADOPT   "{\"step\":\"adopt\"}\n"
#define OTHERS                                                                                               \
    "{\"step\":\"pause\"}\n{\"step\":\"reset\"}\n{\"step\":\"remove\"}\n{\"step\":\"not yet known\"}\n"

static void
test_summaries(void)
{
    static const struct {
        const char *text;
        GwJournalSummary expected;
    } cases[] = {
        {"", {0}},
        {"\n\n", {0}},
        {CREATE, {0}},
        {CREATE OTHERS, {0}},
        /* a crash behind each step of a start */
        {START, {.accel = "kvm"}},
        {PAUSED, {.accel = "tcg", .start_paused = true}},
        {START SPAWNED, {.qemu_pid = 812, .accel = "kvm"}},
        {PAUSED SPAWNED, {.qemu_pid = 812, .accel = "tcg", .start_paused = true}},
        {START SPAWNED RUN, {.qemu_pid = 812, .accel = "kvm", .ran = true}},
        {PAUSED SPAWNED RUN, {.qemu_pid = 812, .accel = "tcg", .start_paused = true, .ran = true}},
        {START SPAWNED RUN OTHERS, {.qemu_pid = 812, .accel = "kvm", .ran = true}},
        /* an end that was intended */
        {START SPAWNED RUN KILL, {.qemu_pid = 812, .accel = "kvm", .ran = true, .kill_intended = true}},
        {START SPAWNED KILL, {.qemu_pid = 812, .accel = "kvm", .kill_intended = true}},
        {START SPAWNED RUN POWER, {.qemu_pid = 812, .accel = "kvm", .ran = true, .power_intended = true}},
        {START SPAWNED RUN POWER KILL,
         {.qemu_pid = 812, .accel = "kvm", .ran = true, .power_intended = true, .kill_intended = true}},
        /* ended */
        {START ENDED, {.accel = "kvm"}},
        {START SPAWNED RUN KILL ENDED, {.accel = "kvm", .ran = true, .kill_intended = true}},
        {ENDED, {0}},
        /* the next life knows nothing of the last one's orders */
        {START SPAWNED RUN POWER KILL ENDED PAUSED, {.accel = "tcg", .start_paused = true}},
        {PAUSED SPAWNED RUN KILL ENDED START SPAWNED, {.qemu_pid = 812, .accel = "kvm"}},
        {START SPAWNED RUN ADOPT, {.qemu_pid = 812, .accel = "kvm", .ran = true}},
        {START SPAWNED ADOPT ADOPT RUN, {.qemu_pid = 812, .accel = "kvm", .ran = true}},
        /* a supervisor that died before it could write "ended": the last one counts */
        {START SPAWNED START "{\"step\":\"spawned\",\"pid\":900}\n", {.qemu_pid = 900, .accel = "kvm"}},
        {START SPAWNED START, {.accel = "kvm"}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_summary(cases[i].text, strlen(cases[i].text), &cases[i].expected);
}

/* --- motions ------------------------------------------------------------------------------------------ */

#define OUT(runs)  "{\"step\":\"motion-out\",\"session\":\"s1\",\"runs\":" runs "}\n"
#define IN         "{\"step\":\"motion-in\",\"session\":\"s2\"}\n"
#define STEP(name) "{\"step\":\"" name "\"}\n"
#define GO(runs)   "{\"step\":\"go\",\"runs\":" runs "}\n"
#define MOTION_END STEP("motion-end")
#define LIFE       START SPAWNED RUN

static void
test_motions(void)
{
    static const struct {
        const char *text, *session; /* of the ticket; NULL: no motion */
        GwJournalMotion expected;
    } cases[] = {
        {"", NULL, {0}},
        {LIFE, NULL, {0}},
        /* a source, step by step */
        {LIFE OUT("true"), "s1", {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {LIFE OUT("false"), "s1", {.kind = GW_JOURNAL_MOTION_OUT}},
        {LIFE OUT("true") STEP("handed-over"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true, .handed_over = true}},
        {LIFE OUT("true") STEP("handed-over") STEP("owns"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true, .handed_over = true, .owns = true}},
        {LIFE OUT("true") STEP("handed-over") STEP("released"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true, .handed_over = true, .released = true}},
        {LIFE OUT("true") STEP("handed-over") STEP("released") MOTION_END, NULL, {0}},
        {LIFE OUT("true") MOTION_END, NULL, {0}},
        {LIFE OUT("true") ADOPT STEP("handed-over") ADOPT,
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true, .handed_over = true}},
        /* a destination; whether the guest is to run stands in "go" */
        {START SPAWNED IN, "s2", {.kind = GW_JOURNAL_MOTION_IN}},
        {START SPAWNED IN STEP("ready"), "s2", {.kind = GW_JOURNAL_MOTION_IN, .ready = true}},
        {START SPAWNED IN STEP("ready") GO("true"),
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true, .runs = true}},
        {START SPAWNED IN STEP("ready") GO("false"),
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true}},
        /* paused after it had arrived, which a source that was lost has never heard of */
        {START SPAWNED IN STEP("ready") GO("true") STEP("pause"),
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true}},
        {START SPAWNED IN STEP("ready") GO("true") STEP("pause") RUN,
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true, .runs = true}},
        {START SPAWNED IN STEP("ready") GO("true") KILL ENDED START,
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true}},
        {LIFE STEP("pause") OUT("true"), "s1", {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {START SPAWNED IN STEP("ready") STEP("refused"),
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .refused = true}},
        /* "go" that may not have been synced, and the refusal behind it */
        {START SPAWNED IN STEP("ready") GO("true") STEP("refused"),
         "s2",
         {.kind = GW_JOURNAL_MOTION_IN, .ready = true, .go = true, .runs = true, .refused = true}},
        {START SPAWNED IN STEP("ready") STEP("refused") MOTION_END, NULL, {0}},
        /* the next one knows nothing of the one before, whether that was ended or not */
        {LIFE OUT("true") STEP("handed-over") STEP("owns") MOTION_END OUT("false"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT}},
        {LIFE OUT("true") STEP("handed-over") STEP("owns") OUT("false"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT}},
        {START SPAWNED IN STEP("ready") GO("true") OUT("true"),
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {LIFE OUT("true") STEP("released") IN, "s2", {.kind = GW_JOURNAL_MOTION_IN}},
        /* steps of no motion */
        {LIFE STEP("handed-over") GO("true") STEP("refused"), NULL, {0}},
        {LIFE STEP("go") OUT("true"), "s1", {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {LIFE OUT("true") MOTION_END STEP("handed-over"), NULL, {0}},
        /* what is not there, or is no truth value */
        {"{\"step\":\"motion-out\",\"session\":\"s1\"}\n", "s1", {.kind = GW_JOURNAL_MOTION_OUT}},
        {"{\"step\":\"motion-out\",\"session\":\"s1\",\"runs\":1}\n", "s1", {.kind = GW_JOURNAL_MOTION_OUT}},
        /* a line that was cut short was never acted upon */
        {LIFE OUT("true") "{\"step\":\"handed-over\"}", "s1", {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {LIFE OUT("true") "{\"step\":\"handed-ov\n", "s1", {.kind = GW_JOURNAL_MOTION_OUT, .runs = true}},
        {LIFE OUT("true") STEP("handed-over") "{\"step\":\"motion-end\"}",
         "s1",
         {.kind = GW_JOURNAL_MOTION_OUT, .runs = true, .handed_over = true}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].text);
        const GwJournalMotion *expected = &cases[i].expected;
        g_auto(GwJournalMotion) got = gw_journal_find_motion(cases[i].text, strlen(cases[i].text));
        g_assert_cmpint(got.kind, ==, expected->kind);
        g_assert_cmpint(got.runs, ==, expected->runs);
        g_assert_cmpint(got.handed_over, ==, expected->handed_over);
        g_assert_cmpint(got.owns, ==, expected->owns);
        g_assert_cmpint(got.released, ==, expected->released);
        g_assert_cmpint(got.ready, ==, expected->ready);
        g_assert_cmpint(got.go, ==, expected->go);
        g_assert_cmpint(got.refused, ==, expected->refused);
        g_assert_cmpint(got.ticket != NULL, ==, cases[i].session != NULL);
        if (got.ticket)
            g_assert_cmpstr(gw_json_get_string(got.ticket, "session"), ==, cases[i].session);
    }
}

/* A motion is the summary's business no more than the summary's steps are a motion's. */
static void
test_motion_and_summary(void)
{
    static const char text[] = LIFE OUT("true") STEP("handed-over") KILL ENDED;
    GwJournalSummary summary = gw_journal_summarize(text, strlen(text));
    g_auto(GwJournalMotion) motion = gw_journal_find_motion(text, strlen(text));
    g_assert_cmpint(summary.qemu_pid, ==, 0);
    g_assert_true(summary.kill_intended);
    g_assert_true(motion.handed_over);
    static const char incoming[] = "{\"step\":\"start\",\"accel\":\"kvm\",\"incoming\":true}\n" SPAWNED IN;
    summary = gw_journal_summarize(incoming, strlen(incoming));
    g_assert_true(summary.incoming);
    g_assert_cmpint(summary.qemu_pid, ==, 812);
    gw_journal_motion_clear(&motion);
    gw_journal_motion_clear(&motion);
}

static void
test_foreign_lines(void)
{
    static const char *const lines[] = {
        "garbage\n",
        "{\"step\":\n",
        "{\"step\":\"kill\"\n",
        "[\"step\",\"kill\"]\n",
        "\"kill\"\n",
        "{\"step\":7}\n",
        "{\"step\":null}\n",
        "{\"stop\":\"kill\"}\n",
        "{\"step\":\"KILL\"}\n",
        "{\"step\":\"\"}\n",
        "{}\n",
        "\xff\xfe\n",
        "{\"step\":\"kill\"}{\"step\":\"kill\"}\n",
        "{\"step\":\"spawned\"}\n",
        "{\"step\":\"spawned\",\"pid\":\"813\"}\n",
        "{\"step\":\"spawned\",\"pid\":813.5}\n",
        "{\"step\":\"spawned\",\"pid\":1}\n",
        "{\"step\":\"spawned\",\"pid\":0}\n",
        "{\"step\":\"spawned\",\"pid\":-1}\n",
        "{\"step\":\"spawned\",\"pid\":2147483648}\n",
        "{\"step\":\"spawned\",\"pid\":4294967296813}\n",
    };
    GwJournalSummary expected = {.qemu_pid = 812, .accel = "kvm", .ran = true};
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *text =
            g_strconcat(lines[i], START, lines[i], SPAWNED, lines[i], RUN, lines[i], NULL);
        assert_summary(text, strlen(text), &expected);
    }
    static const char with_nul[] = START "{\"step\":\"kill\"}\0\n" SPAWNED "\0" RUN RUN;
    assert_summary(with_nul, sizeof with_nul - 1, &expected);
}

static void
test_odd_starts(void)
{
    GwJournalSummary no_accel = {.qemu_pid = 812};
    static const char text[] = "{\"step\":\"start\",\"paused\":\"true\",\"accel\":5}\n" SPAWNED;
    assert_summary(text, strlen(text), &no_accel);
    GwJournalSummary cut_accel = {.accel = "some-ac"};
    static const char long_name[] = "{\"step\":\"start\",\"accel\":\"some-accelerator\"}\n";
    assert_summary(long_name, strlen(long_name), &cut_accel);
}

/* --- the file ----------------------------------------------------------------------------------------- */

typedef struct {
    char *directory, *path;
} Place;

static void
place_init(Place *self)
{
    g_autoptr(GError) error = NULL;
    self->directory = g_dir_make_tmp("godwit-journal-XXXXXX", &error);
    g_assert_no_error(error);
    self->path = g_build_filename(self->directory, "journal", NULL);
}

static void
place_clear(Place *self)
{
    g_unlink(self->path);
    g_assert_cmpint(g_rmdir(self->directory), ==, 0);
    g_free(self->path);
    g_free(self->directory);
}

static GwJournal *
open_journal(const Place *place)
{
    g_autoptr(GError) error = NULL;
    GwJournal *journal = gw_journal_open(place->path, &error);
    g_assert_no_error(error);
    return journal;
}

static char *
contents(const Place *place)
{
    char *text = NULL;
    g_assert_true(g_file_get_contents(place->path, &text, NULL, NULL));
    return text;
}

static void
write_step(GwJournal *journal, const char *step, JsonObject *fields)
{
    g_autoptr(GError) error = NULL;
    gw_journal_write(journal, step, fields, &error);
    g_assert_no_error(error);
}

static void
test_write(void)
{
    Place place;
    struct stat st;
    place_init(&place);
    g_autoptr(GwJournal) journal = open_journal(&place);
    g_assert_cmpint(stat(place.path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(fcntl(gw_journal_fd(journal), F_GETFD), ==, FD_CLOEXEC);
    g_assert_true(fcntl(gw_journal_fd(journal), F_GETFL) & O_APPEND);

    JsonObject *fields = json_object_new();
    json_object_set_string_member(fields, "accel", "tcg");
    json_object_set_string_member(fields, "note", "two\nlines");
    json_object_set_boolean_member(fields, "paused", TRUE);
    write_step(journal, "create", NULL);
    write_step(journal, "start", fields);
    g_autofree char *prefix = gw_journal_spawn_prefix(journal);
    g_autofree char *spawned = g_strconcat(prefix, "4711", GW_JOURNAL_SPAWN_SUFFIX, NULL);
    ssize_t n = write(gw_journal_fd(journal), spawned, strlen(spawned));
    g_assert_cmpint((int)n, ==, (int)strlen(spawned));
    write_step(journal, "run", NULL);

    g_autofree char *text = contents(&place);
    GwJournalSummary expected = {.qemu_pid = 4711, .accel = "tcg", .start_paused = true, .ran = true};
    assert_summary(text, strlen(text), &expected);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 5);
    g_assert_cmpstr(lines[4], ==, "");
    static const char *const steps[] = {"create", "start", "spawned", "run"};
    for (unsigned i = 0; i < 4; i++) {
        g_autoptr(JsonObject) entry = gw_json_parse_object(lines[i], -1, NULL);
        g_assert_nonnull(entry);
        g_assert_cmpstr(gw_json_get_string(entry, "step"), ==, steps[i]);
        g_assert_true(g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$",
                                           gw_json_get_string(entry, "at"), 0, 0));
    }
    place_clear(&place);
}

static void
test_opened_again(void)
{
    Place place;
    place_init(&place);
    GwJournal *journal = open_journal(&place);
    write_step(journal, "create", NULL);
    gw_journal_free(journal);
    g_autofree char *before = contents(&place);
    gw_journal_free(open_journal(&place)); /* a whole line needs no fence */
    g_autofree char *after = contents(&place);
    g_assert_cmpstr(after, ==, before);
    journal = open_journal(&place);
    write_step(journal, "adopt", NULL);
    gw_journal_free(journal);
    g_autofree char *longer = contents(&place);
    g_assert_true(g_str_has_prefix(longer, before));
    gw_journal_free(NULL);
    place_clear(&place);
}

/* The summary of the whole lines of `text`. */
static GwJournalSummary
of_whole_lines(const char *text, size_t length)
{
    while (length > 0 && text[length - 1] != '\n')
        length--;
    return gw_journal_summarize(text, length);
}

/* Cut at any byte, the journal tells of its whole lines only, before and after it is opened and goes on. */
static void
check_torn_at(const Place *place, const char *text, size_t length)
{
    g_assert_true(g_file_set_contents(place->path, text, (gssize)length, NULL));
    GwJournalSummary expected = of_whole_lines(text, length);
    assert_summary(text, length, &expected);

    g_autoptr(GwJournal) journal = open_journal(place);
    g_autofree char *opened = contents(place);
    assert_summary(opened, strlen(opened), &expected);
    write_step(journal, "power-button", NULL); /* not swallowed by the torn line */
    expected.power_intended = true;
    g_autofree char *later = contents(place);
    assert_summary(later, strlen(later), &expected);
}

static void
test_torn_lines(void)
{
    static const char text[] = CREATE PAUSED SPAWNED RUN KILL ENDED START SPAWNED RUN;
    Place place;
    place_init(&place);
    for (size_t length = 0; length <= strlen(text); length++)
        if (text[length] != '\n')
            check_torn_at(&place, text, length);
    place_clear(&place);
}

static void
test_torn_line_end(void)
{
    static const char text[] = CREATE START SPAWNED RUN KILL;
    Place place;
    place_init(&place);
    check_torn_at(&place, text, strlen(text) - 1);
    place_clear(&place);
}

/* --- failures ----------------------------------------------------------------------------------------- */

static void
test_write_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwJournal) full = gw_journal_open("/dev/full", &error);
    g_assert_no_error(error);
    g_assert_false(gw_journal_write(full, "run", NULL, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, "writing the journal /dev/full: No space left on device");
    g_clear_error(&error);
    g_assert_false(gw_journal_write(full, "run", json_object_new(), NULL));

    g_autoptr(GwJournal) unsafe = gw_journal_open("/dev/null", &error);
    g_assert_no_error(error);
    g_assert_false(gw_journal_write(unsafe, "run", NULL, &error));
    g_assert_cmpstr(error->message, ==, "syncing the journal /dev/null: Invalid argument");
    g_clear_error(&error);

    g_assert_null(gw_journal_open("/proc/absent/journal", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==,
                    "opening the journal /proc/absent/journal: No such file or directory");
}

/* In a child, whose files may then not grow any more behind byte `limit`. */
static void
limit_file_size(rlim_t limit)
{
    struct rlimit size = {limit, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &size);
}

static int
in_child(int (*run)(const Place *place), const Place *place)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(place));
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Room for half a line, then for more. 0: the first write failed, the second did not. */
static int
write_short(const Place *place)
{
    g_autoptr(GwJournal) journal = open_journal(place);
    write_step(journal, "create", NULL);
    off_t size = lseek(gw_journal_fd(journal), 0, SEEK_END);
    limit_file_size((rlim_t)size + 10);
    bool first = gw_journal_write(journal, "kill", NULL, NULL);
    limit_file_size(RLIM_INFINITY);
    bool second = gw_journal_write(journal, "power-button", NULL, NULL);
    return first || !second;
}

static void
test_short_write(void)
{
    Place place;
    place_init(&place);
    g_assert_cmpint(in_child(write_short, &place), ==, 0);
    g_autofree char *text = contents(&place);
    GwJournalSummary summary = gw_journal_summarize(text, strlen(text));
    g_assert_false(summary.kill_intended); /* it was refused */
    g_assert_true(summary.power_intended);
    place_clear(&place);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/journal/summaries", test_summaries);
    g_test_add_func("/journal/motions", test_motions);
    g_test_add_func("/journal/motion-and-summary", test_motion_and_summary);
    g_test_add_func("/journal/foreign-lines", test_foreign_lines);
    g_test_add_func("/journal/odd-starts", test_odd_starts);
    g_test_add_func("/journal/write", test_write);
    g_test_add_func("/journal/opened-again", test_opened_again);
    g_test_add_func("/journal/torn-lines", test_torn_lines);
    g_test_add_func("/journal/torn-line-end", test_torn_line_end);
    g_test_add_func("/journal/write-fails", test_write_fails);
    g_test_add_func("/journal/short-write", test_short_write);
    return g_test_run();
}
