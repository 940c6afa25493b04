/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ways between motion interfaces: which to try, and which of them a motion takes.
 *
 * Which interfaces are of one network the addresses tell: each lies in the network of the other. Where an
 * interface has nobody in its network, a router may lead somewhere, so everybody is tried.
 *
 * Of what was measured a motion takes the set with the greatest sum of bandwidth in which no interface stands
 * twice: an assignment problem. The ways were measured one after another, so an interface's bandwidth counts
 * once. Solved exactly (the Hungarian method with potentials, cubic in the number of interfaces, which is
 * small), since the greedy way takes A-B at 10 and leaves C-D at 1 where A-D at 9 and C-B at 9 were to be
 * had. */
#include "check.h"

#include <gio/gio.h>
#include <string.h>

static bool
is_usable(const GwMotionInterface *interface)
{
    if (!interface->is_up || !interface->address)
        return false;
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(interface->address);
    /* An IPv6 address of the link alone needs the interface's name with it, which no other host knows. */
    return address && !(g_inet_address_get_family(address) == G_SOCKET_FAMILY_IPV6 &&
                        g_inet_address_get_is_link_local(address));
}

static bool
same_family(const GwMotionInterface *a, const GwMotionInterface *b)
{
    return (strchr(a->address, ':') == NULL) == (strchr(b->address, ':') == NULL);
}

/* Whether `b` lies in the network of `a`. */
static bool
network_has(const GwMotionInterface *a, const GwMotionInterface *b)
{
    g_autoptr(GInetAddress) own = g_inet_address_new_from_string(a->address);
    g_autoptr(GInetAddress) other = g_inet_address_new_from_string(b->address);
    guint length = MIN(a->prefix_length, (guint)g_inet_address_get_native_size(own) * 8);
    if (length == 0)
        return false; /* not known */
    const guint8 *x = g_inet_address_to_bytes(own), *y = g_inet_address_to_bytes(other);
    guint n_bytes = length / 8, rest = length % 8;
    if (memcmp(x, y, n_bytes) != 0)
        return false;
    return rest == 0 || (x[n_bytes] ^ y[n_bytes]) >> (8 - rest) == 0;
}

static bool
same_network(const GwMotionInterface *a, const GwMotionInterface *b)
{
    return same_family(a, b) && network_has(a, b) && network_has(b, a);
}

static GPtrArray *
usable_interfaces(const GwHostFacts *host)
{
    GPtrArray *usable = g_ptr_array_new();
    for (guint i = 0; i < MIN(host->interfaces->len, GW_FACTS_MAX_INTERFACES); i++) {
        GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, i);
        if (is_usable(interface))
            g_ptr_array_add(usable, interface);
    }
    return usable;
}

static bool
has_partner(const GwMotionInterface *interface, const GPtrArray *others)
{
    for (guint i = 0; i < others->len; i++)
        if (same_network(interface, others->pdata[i]))
            return true;
    return false;
}

GArray *
gw_check_pair_interfaces(const GwHostFacts *source, const GwHostFacts *destination)
{
    GArray *paths = gw_paths_new();
    g_autoptr(GPtrArray) near = usable_interfaces(source);
    g_autoptr(GPtrArray) far = usable_interfaces(destination);
    for (guint i = 0; i < near->len; i++) {
        const GwMotionInterface *a = near->pdata[i];
        bool alone = !has_partner(a, far);
        for (guint j = 0; j < far->len; j++) {
            const GwMotionInterface *b = far->pdata[j];
            if (!same_family(a, b) || !(alone || same_network(a, b) || !has_partner(b, near)))
                continue;
            GwPath path = {
                .source_interface = g_strdup(a->name),
                .source_address = g_strdup(a->address),
                .destination_interface = g_strdup(b->name),
                .destination_address = g_strdup(b->address),
            };
            g_array_append_val(paths, path);
        }
    }
    return paths;
}

/* --- which of them ------------------------------------------------------------------------------------- */

typedef struct {
    GPtrArray *rows, *columns; /* interfaces of the source, and of the destination, by name */
    const GwPath **best;       /* [row * n_columns + column]: the fastest way between the two, NULL: none */
} Matrix;

/* Who is not named is known by the address. */
static const char *
interface_of(const char *name, const char *address)
{
    return name ? name : address;
}

/* GW_FACTS_MAX_INTERFACES: there are enough already. */
static guint
index_of(GPtrArray *names, const char *name)
{
    guint index = 0;
    if (g_ptr_array_find_with_equal_func(names, name, g_str_equal, &index))
        return index;
    if (names->len == GW_FACTS_MAX_INTERFACES)
        return GW_FACTS_MAX_INTERFACES;
    g_ptr_array_add(names, (void *)name);
    return names->len - 1;
}

/* What was not measured is still better than nothing. */
static double
worth(const GwPath *path)
{
    return path ? (double)MAX(path->bits_per_s, 1) : 0;
}

static bool
is_candidate(const GwPath *path)
{
    return path->is_reachable && path->source_address && path->destination_address;
}

static void
fill_matrix(Matrix *matrix, const GArray *paths)
{
    for (guint pass = 0; pass < 2; pass++) { /* first the size, then what stands in it */
        for (guint i = 0; i < paths->len; i++) {
            const GwPath *path = &g_array_index(paths, GwPath, i);
            if (!is_candidate(path))
                continue;
            guint row = index_of(matrix->rows, interface_of(path->source_interface, path->source_address));
            guint column = index_of(matrix->columns,
                                    interface_of(path->destination_interface, path->destination_address));
            if (pass == 0 || row == GW_FACTS_MAX_INTERFACES || column == GW_FACTS_MAX_INTERFACES)
                continue;
            const GwPath **best = &matrix->best[(size_t)row * matrix->columns->len + column];
            if (worth(path) > worth(*best))
                *best = path;
        }
        if (pass == 0)
            matrix->best = g_new0(const GwPath *, (size_t)matrix->rows->len * matrix->columns->len);
    }
}

static double
cost(const Matrix *matrix, guint row, guint column)
{
    if (row >= matrix->rows->len || column >= matrix->columns->len)
        return 0;
    return -worth(matrix->best[(size_t)row * matrix->columns->len + column]);
}

/* One row more is given a column, others make room along the cheapest way of alternating rows and columns.
 * Columns are counted from 1: column 0 stands for the new row's own. */
static void
place_row(const Matrix *matrix, guint n, guint row, double *row_price, double *column_price, guint *row_at)
{
    g_autofree double *slack = g_new(double, n + 1);
    g_autofree guint *came_from = g_new0(guint, n + 1);
    g_autofree bool *visited = g_new0(bool, n + 1);
    for (guint j = 0; j <= n; j++)
        slack[j] = G_MAXDOUBLE;
    row_at[0] = row;
    guint column = 0;
    do {
        visited[column] = true;
        guint i = row_at[column], next = 0;
        double least = G_MAXDOUBLE;
        for (guint j = 1; j <= n; j++) {
            if (visited[j])
                continue;
            double reduced = cost(matrix, i - 1, j - 1) - row_price[i] - column_price[j];
            if (reduced < slack[j]) {
                slack[j] = reduced;
                came_from[j] = column;
            }
            if (slack[j] < least) {
                least = slack[j];
                next = j;
            }
        }
        for (guint j = 0; j <= n; j++) {
            if (visited[j]) {
                row_price[row_at[j]] += least;
                column_price[j] -= least;
            } else {
                slack[j] -= least;
            }
        }
        column = next;
    } while (row_at[column] != 0);
    for (; column != 0; column = came_from[column])
        row_at[column] = row_at[came_from[column]];
}

/* row_at[column], both from 1. */
static guint *
assign(const Matrix *matrix)
{
    guint n = MAX(matrix->rows->len, matrix->columns->len);
    g_autofree double *row_price = g_new0(double, n + 1);
    g_autofree double *column_price = g_new0(double, n + 1);
    guint *row_at = g_new0(guint, n + 1);
    for (guint row = 1; row <= n; row++)
        place_row(matrix, n, row, row_price, column_price, row_at);
    return row_at;
}

static void
append_copy(GArray *paths, const GwPath *path)
{
    GwPath copy = {
        .source_interface = g_strdup(path->source_interface),
        .source_address = g_strdup(path->source_address),
        .destination_interface = g_strdup(path->destination_interface),
        .destination_address = g_strdup(path->destination_address),
        .is_reachable = path->is_reachable,
        .error = g_strdup(path->error),
        .rtt_us = path->rtt_us,
        .bits_per_s = path->bits_per_s,
    };
    g_array_append_val(paths, copy);
}

GArray *
gw_check_choose_paths(const GArray *paths)
{
    GArray *chosen = gw_paths_new();
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    g_autoptr(GPtrArray) columns = g_ptr_array_new();
    Matrix matrix = {.rows = rows, .columns = columns};
    fill_matrix(&matrix, paths);
    g_autofree const GwPath **best = matrix.best;
    if (rows->len == 0)
        return chosen;
    g_autofree guint *row_at = assign(&matrix);
    /* In the order in which they were given, which is the host's own. */
    for (guint row = 1; row <= rows->len; row++)
        for (guint column = 1; column <= columns->len; column++) {
            const GwPath *path = best[(size_t)(row - 1) * columns->len + column - 1];
            if (row_at[column] == row && path)
                append_copy(chosen, path);
        }
    return chosen;
}
