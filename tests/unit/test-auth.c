/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users, logins, sessions, join tokens; secrets and passwords; who guesses is slowed down. */
#include "auth-internal.h"

#include "certificate.h"
#include "login-throttle.h"
#include "password.h"
#include "secret.h"
#include "store-rig.h"

#include <string.h>
#include <time.h>

typedef struct {
    GwStoreRig store;
    GwAuth *auth;
} Rig;

static int64_t fake_now_us;

static int64_t
fake_clock(void)
{
    return fake_now_us;
}

static void
set_up(Rig *rig, const void *data)
{
    gw_store_rig_set_up(&rig->store, NULL);
    rig->auth = gw_auth_new(rig->store.store);
    fake_now_us = 1000 * G_USEC_PER_SEC;
    gw_auth_set_clock(rig->auth, fake_clock);
}

static void
tear_down(Rig *rig, const void *data)
{
    gw_auth_free(rig->auth);
    gw_store_rig_tear_down(&rig->store, NULL);
}

static void
add(Rig *rig, const char *name, GwRole role, const char *password)
{
    g_autoptr(GError) error = NULL;
    gw_auth_add_user(rig->auth, name, role, password, &error);
    g_assert_no_error(error);
}

static char *
log_in(Rig *rig, const char *name, const char *password, const char *address)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_us = 0;
    GwRole role = GW_ROLE_READ_ONLY;
    char *token = gw_auth_login(rig->auth, name, password, address, &expires_us, &role, &error);
    g_assert_no_error(error);
    g_assert_cmpint(expires_us, ==, fake_now_us + GW_SESSION_US);
    return token;
}

static void
assert_refused(Rig *rig, const char *name, const char *password, const char *address, GwError code,
               const char *words)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_us = 0;
    GwRole role = GW_ROLE_READ_ONLY;
    g_assert_null(gw_auth_login(rig->auth, name, password, address, &expires_us, &role, &error));
    gw_assert_error_says(&error, code, words);
}

static void
assert_token(Rig *rig, const char *token, const char *user, GwRole role)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *got = NULL;
    GwRole got_role = GW_ROLE_READ_ONLY;
    gw_auth_check(rig->auth, token, &got, &got_role, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(got, ==, user);
    g_assert_cmpint(got_role, ==, role);
}

static void
assert_no_token(Rig *rig, const char *token, const char *words)
{
    g_autoptr(GError) error = NULL;
    char *got = NULL;
    GwRole role;
    g_assert_false(gw_auth_check(rig->auth, token, &got, &role, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_AUTHENTICATED, words);
    g_assert_null(got);
}

static void
test_roles(void)
{
    GwRole role;
    for (int i = GW_ROLE_READ_ONLY; i <= GW_ROLE_ADMINISTRATOR; i++) {
        g_assert_true(gw_role_parse(gw_role_name((GwRole)i), &role));
        g_assert_cmpint(role, ==, i);
    }
    g_assert_false(gw_role_parse("root", &role));
    g_assert_false(gw_role_parse(NULL, &role));
}

static void
test_first_start(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    char *password = gw_auth_first_start(rig->auth, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(password), ==, 20);
    char *token = log_in(rig, "admin", password, "10.0.0.1");
    assert_token(rig, token, "admin", GW_ROLE_ADMINISTRATOR);
    g_assert_null(gw_auth_first_start(rig->auth, &error));
    g_assert_no_error(error);
    gw_secret_free(token);
    gw_secret_free(password);
}

static void
test_names(Rig *rig, const void *data)
{
    static const char *const good[] = {"a", "_", "anna.b-c_9", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {"",
                                      "Anna",
                                      "9a",
                                      "-a",
                                      ".a",
                                      "a b",
                                      "a\n",
                                      "ä",
                                      "a'",
                                      "a@local",
                                      "abcdefghijklmnopqrstuvwxyz0123456",
                                      NULL};
    g_autoptr(GError) error = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        add(rig, good[i], GW_ROLE_READ_ONLY, "12345678");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(gw_auth_add_user(rig->auth, bad[i], GW_ROLE_READ_ONLY, "12345678", &error));
        gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "no user name");
    }
    g_assert_false(gw_auth_add_user(rig->auth, "a", GW_ROLE_OPERATOR, "12345678", &error));
    gw_assert_error_says(&error, GW_ERROR_EXISTS, "user 'a'");
    g_assert_false(gw_auth_add_user(rig->auth, "b", GW_ROLE_OPERATOR, "1234567", &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "this one has 7");
}

static void
test_login(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    char *token = log_in(rig, "anna", "correct horse", "10.0.0.1"),
         *other = log_in(rig, "anna", "correct horse", "");
    g_assert_true(g_str_has_prefix(token, "gws_"));
    g_assert_cmpuint(strlen(token), ==, 47);
    g_assert_cmpstr(token, !=, other);
    assert_token(rig, token, "anna", GW_ROLE_OPERATOR);
    assert_refused(rig, "anna", "correct horse ", "10.0.0.1", GW_ERROR_NOT_AUTHENTICATED,
                   "wrong name or password");
    assert_refused(rig, "berta", "correct horse", "10.0.0.1", GW_ERROR_NOT_AUTHENTICATED,
                   "wrong name or password");
    assert_refused(rig, "ANNA", NULL, NULL, GW_ERROR_NOT_AUTHENTICATED, "wrong name or password");
    assert_refused(rig, NULL, "x", NULL, GW_ERROR_NOT_AUTHENTICATED, "wrong name or password");
    /* a role is the user's, not the session's */
    add(rig, "boss", GW_ROLE_ADMINISTRATOR, "correct horse");
    g_assert_true(gw_store_set_role(rig->store.store, "anna", "read-only", &error));
    assert_token(rig, token, "anna", GW_ROLE_READ_ONLY);
    g_assert_true(gw_auth_logout(rig->auth, token, &error));
    assert_no_token(rig, token, "no such session");
    assert_token(rig, other, "anna", GW_ROLE_READ_ONLY);
    g_assert_false(gw_auth_logout(rig->auth, token, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "session");
    gw_secret_free(token);
    gw_secret_free(other);
}

static void
test_tokens(Rig *rig, const void *data)
{
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    char *token = log_in(rig, "anna", "correct horse", "10.0.0.1");
    g_autofree char *hash = gw_secret_hash(token), *longer = g_strconcat(token, "x", NULL);
    assert_no_token(rig, NULL, "no session's token");
    assert_no_token(rig, "", "no session's token");
    assert_no_token(rig, hash, "no session's token"); /* what a stolen store has is of no use */
    assert_no_token(rig, longer, "no session's token");
    assert_no_token(rig, "gws_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "no such session");
    fake_now_us += GW_SESSION_US - 1;
    assert_token(rig, token, "anna", GW_ROLE_OPERATOR);
    fake_now_us += 1;
    assert_no_token(rig, token, "expired");
    gw_secret_free(token);
}

static void
test_set_password(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    char *token = log_in(rig, "anna", "correct horse", "10.0.0.1");
    g_assert_false(gw_auth_set_password(rig->auth, "anna", "short", &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "8 to 511 bytes");
    g_assert_false(gw_auth_set_password(rig->auth, "berta", "battery staple", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "user 'berta'");
    assert_token(rig, token, "anna", GW_ROLE_OPERATOR);
    g_assert_true(gw_auth_set_password(rig->auth, "anna", "battery staple", &error));
    assert_no_token(rig, token, "no such session");
    assert_refused(rig, "anna", "correct horse", "10.0.0.1", GW_ERROR_NOT_AUTHENTICATED, "wrong");
    gw_secret_free(token);
    token = log_in(rig, "anna", "battery staple", "10.0.0.1");
    gw_secret_free(token);
}

static void
test_throttled(Rig *rig, const void *data)
{
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    add(rig, "berta", GW_ROLE_OPERATOR, "correct horse");
    for (int i = 0; i < 5; i++)
        assert_refused(rig, "anna", "guess", "10.0.0.1", GW_ERROR_NOT_AUTHENTICATED, "wrong");
    /* from then on not even the right one, for the name from anywhere, and from the address for any name */
    assert_refused(rig, "anna", "correct horse", "10.0.0.2", GW_ERROR_BUSY, " seconds");
    assert_refused(rig, "berta", "correct horse", "10.0.0.1", GW_ERROR_BUSY, " seconds");
    char *token = log_in(rig, "berta", "correct horse", "10.0.0.2");
    gw_secret_free(token);
    /* names that nobody can have share one count */
    for (int i = 0; i < 5; i++)
        assert_refused(rig, i % 2 ? "No Body" : "x'--", "guess", NULL, GW_ERROR_NOT_AUTHENTICATED, "wrong");
    assert_refused(rig, "Nobody", "guess", NULL, GW_ERROR_BUSY, "too many");
}

#define N_AT_ONCE 24 /* more than may wait */

static void *
log_in_at_once(void *data)
{
    Rig *rig = data;
    g_autoptr(GError) error = NULL;
    int64_t expires_us = 0;
    GwRole role = GW_ROLE_READ_ONLY;
    char *token = gw_auth_login(rig->auth, "anna", "correct horse", "10.0.0.1", &expires_us, &role, &error);
    bool done = token != NULL;
    if (!done)
        gw_assert_error_says(&error, GW_ERROR_BUSY, "too many logins at once");
    gw_secret_free(token);
    return GINT_TO_POINTER(done);
}

static void
test_many_at_once(Rig *rig, const void *data)
{
    GThread *threads[N_AT_ONCE];
    int n_done = 0;
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    for (int i = 0; i < N_AT_ONCE; i++)
        threads[i] = g_thread_new("login", log_in_at_once, rig);
    for (int i = 0; i < N_AT_ONCE; i++)
        n_done += GPOINTER_TO_INT(g_thread_join(threads[i]));
    g_test_message("%d of %d", n_done, N_AT_ONCE);
    g_assert_cmpint(n_done, >=, 16);
    for (int i = 0; i < 3; i++) { /* the queue is empty again */
        char *token = log_in(rig, "anna", "correct horse", "10.0.0.1");
        gw_secret_free(token);
    }
}

/* A name that nobody has costs as much as a wrong password. What is compared is work, by the thread's own CPU
 * time: neither the machine's other programs nor the store's locks are in it. */
static int64_t
cost_us(Rig *rig, const char *name, const char *address)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    assert_refused(rig, name, "guess", address, GW_ERROR_NOT_AUTHENTICATED, "wrong");
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (end.tv_sec - begin.tv_sec) * G_USEC_PER_SEC + (end.tv_nsec - begin.tv_nsec) / 1000;
}

static void
test_equal_work(Rig *rig, const void *data)
{
    int64_t known = G_MAXINT64, unknown = G_MAXINT64;
    add(rig, "anna", GW_ROLE_OPERATOR, "correct horse");
    for (int i = 0; i < 4; i++) {
        int64_t anna = cost_us(rig, "anna", NULL), berta = cost_us(rig, "berta", NULL);
        known = MIN(known, anna);
        unknown = MIN(unknown, berta);
    }
    g_test_message("known %d us, unknown %d us", (int)known, (int)unknown);
    g_assert_cmpint(unknown, >, known / 2);
    g_assert_cmpint(unknown, <, known * 2);
}

static void
test_join_tokens(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_us = 0;
    char *token = gw_auth_new_join_token(rig->auth, "f00f", "admin", 60, &expires_us, &error);
    g_assert_no_error(error);
    g_assert_cmpint(expires_us, ==, fake_now_us + 60 * G_USEC_PER_SEC);
    g_assert_cmpuint(strspn(token, "0123456789abcdef"), ==, 32);
    g_assert_cmpstr(token + 32, ==, ".f00f");
    g_assert_false(gw_auth_use_join_token(rig->auth, "x.f00f", "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "no join token");
    g_assert_false(gw_auth_use_join_token(rig->auth, NULL, "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "no join token");
    g_assert_false(
        gw_auth_use_join_token(rig->auth, "00000000000000000000000000000000.f00f", "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "no such join token");
    g_assert_true(gw_auth_use_join_token(rig->auth, token, "host1", &error));
    g_assert_false(gw_auth_use_join_token(rig->auth, token, "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "used already");
    gw_secret_free(token);
    token = gw_auth_new_join_token(rig->auth, "f00f", "admin", 60, &expires_us, &error);
    token[32] = 0; /* a host sends the secret alone */
    fake_now_us += 60 * G_USEC_PER_SEC;
    g_assert_false(gw_auth_use_join_token(rig->auth, token, "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "expired");
    fake_now_us -= 1;
    g_assert_true(gw_auth_use_join_token(rig->auth, token, "host1", &error));
    gw_secret_free(token);
}

/* -- Its parts */

static void
test_throttle(void)
{
    g_autoptr(GwLoginThrottle) throttle = gw_login_throttle_new(3);
    const int64_t s = G_USEC_PER_SEC;
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 0), ==, 0);
    for (int i = 0; i < 4; i++)
        gw_login_throttle_failed(throttle, "a", i * s);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 4 * s), ==, 0);
    gw_login_throttle_failed(throttle, "a", 4 * s);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 4 * s), ==, 60 * s);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 63 * s), ==, s);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 64 * s), ==, 0);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "b", 4 * s), ==, 0);
    /* one every 16 seconds is no guessing: five never fall within a minute */
    for (int i = 0; i < 20; i++) {
        gw_login_throttle_failed(throttle, "slow", 1000 * s + i * 16 * s);
        g_assert_cmpint(gw_login_throttle_wait_us(throttle, "slow", 1000 * s + i * 16 * s), ==, 0);
    }
}

static void
test_throttle_bound(void)
{
    g_autoptr(GwLoginThrottle) throttle = gw_login_throttle_new(3);
    const int64_t s = G_USEC_PER_SEC;
    for (int i = 0; i < 5; i++)
        gw_login_throttle_failed(throttle, "a", i * s);
    gw_login_throttle_failed(throttle, "b", 3 * s);
    gw_login_throttle_failed(throttle, "c", 6 * s);
    gw_login_throttle_failed(throttle, "d", 7 * s); /* in the place of b, the oldest */
    g_assert_cmpuint(gw_login_throttle_n_keys(throttle), ==, 3);
    g_assert_cmpint(gw_login_throttle_wait_us(throttle, "a", 7 * s), >, 0);
    gw_login_throttle_failed(throttle, "e", 100 * s); /* everything else is over */
    g_assert_cmpuint(gw_login_throttle_n_keys(throttle), ==, 1);
}

static void
test_password(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *longest = g_strnfill(511, 'x'), *too_long = g_strnfill(512, 'x');
    g_autofree char *hash = gw_password_hash(longest, &error), *again = gw_password_hash(longest, &error);
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(hash, "$y$"));
    g_assert_cmpstr(hash, !=, again); /* a salt of its own */
    g_assert_true(gw_password_matches(longest, hash));
    g_assert_true(gw_password_matches(longest, again));
    g_assert_false(gw_password_matches(too_long, hash)); /* nor its first 511 bytes */
    g_assert_false(gw_password_matches("", hash));
    g_assert_false(gw_password_matches(NULL, hash));
    g_assert_false(gw_password_matches(longest, NULL));
    g_assert_false(gw_password_matches(longest, ""));
    g_assert_false(gw_password_matches(longest, "*0"));
    g_assert_false(gw_password_matches(longest, "$y$"));
    g_assert_null(gw_password_hash(too_long, &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "this one has 512");
    g_assert_null(gw_password_hash(NULL, &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "this one has 0");
}

/* Each of 55 letters as likely as another. 40,000 letters are 727 a letter with a standard deviation of 27:
 * six of them are never exceeded by chance, and a remainder by division would be off by a fifth. */
static void
test_secrets(void)
{
    unsigned seen[256] = {0}, n_letters = 0;
    for (int i = 0; i < 2000; i++) {
        char *password = gw_secret_new_password();
        g_assert_cmpuint(strlen(password), ==, 20);
        for (char *c = password; *c; c++)
            seen[(unsigned char)*c]++;
        gw_secret_free(password);
    }
    for (int c = 0; c < 256; c++) {
        n_letters += seen[c] > 0;
        if (seen[c] > 0)
            g_assert_cmpint(ABS((int)seen[c] - 727), <, 6 * 27);
    }
    g_assert_cmpuint(n_letters, ==, 55);
    for (const char *c = "iloIO01"; *c; c++)
        g_assert_cmpuint(seen[(unsigned char)*c], ==, 0);
    char *a = gw_secret_new_hex(), *b = gw_secret_new_hex();
    g_assert_cmpuint(strspn(a, "0123456789abcdef"), ==, 32);
    g_assert_cmpstr(a, !=, b);
    g_autofree char *hash = gw_secret_hash("abc"); /* FIPS 180-2, appendix B.1 */
    g_assert_cmpstr(hash, ==, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gw_secret_free(a);
    gw_secret_free(b);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Rig, NULL, set_up, function, tear_down)
    g_test_add_func("/auth/roles", test_roles);
    ADD("/auth/first-start", test_first_start);
    ADD("/auth/names", test_names);
    ADD("/auth/login", test_login);
    ADD("/auth/tokens", test_tokens);
    ADD("/auth/set-password", test_set_password);
    ADD("/auth/throttled", test_throttled);
    ADD("/auth/many-at-once", test_many_at_once);
    ADD("/auth/equal-work", test_equal_work);
    ADD("/auth/join-tokens", test_join_tokens);
    g_test_add_func("/auth/throttle", test_throttle);
    g_test_add_func("/auth/throttle-bound", test_throttle_bound);
    g_test_add_func("/auth/password", test_password);
    g_test_add_func("/auth/secrets", test_secrets);
    return g_test_run();
}
