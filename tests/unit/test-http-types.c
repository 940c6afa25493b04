/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that make their first clients while the main thread makes its first address do not wait for each
 * other for ever. Without gw_http_load_types() some of so many starts do. */
#include "http-client.h"
#include "http-types.h"

#include <gio/gio.h>

#define N_STARTS  150
#define N_THREADS 3

static int n_ready; /* atomic */

static void *
make_client(void *data)
{
    g_atomic_int_inc(&n_ready);
    while (g_atomic_int_get(&n_ready) <= N_THREADS)
        ;
    gw_http_client_free(gw_http_client_new_tcp("127.0.0.1", 1, 1));
    return NULL;
}

static void
test_one_start(void)
{
    GThread *threads[N_THREADS];
    gw_http_load_types();
    for (unsigned i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("client", make_client, NULL);
    g_atomic_int_inc(&n_ready);
    while (g_atomic_int_get(&n_ready) <= N_THREADS)
        ;
    for (gint64 until_us = g_get_monotonic_time() + g_random_int_range(0, 400);
         g_get_monotonic_time() < until_us;)
        ; /* the moment is short, and nobody knows when */
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string("127.0.0.1", 1);
    g_assert_nonnull(address);
    for (unsigned i = 0; i < N_THREADS; i++)
        g_thread_join(threads[i]);
}

static void
test_starts(void)
{
    for (unsigned i = 0; i < N_STARTS; i++) {
        g_test_trap_subprocess("/http-types/subprocess/start", 10 * G_TIME_SPAN_SECOND,
                               G_TEST_SUBPROCESS_DEFAULT);
        g_assert_false(g_test_trap_reached_timeout());
        g_test_trap_assert_passed();
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-types/starts", test_starts);
    g_test_add_func("/http-types/subprocess/start", test_one_start);
    return g_test_run();
}
