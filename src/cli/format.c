/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and times as people read them. */
#include "format.h"

#include <math.h>

/* Three digits or a little more, in the largest unit that leaves something before the point. */
static char *
scaled(double value, double step, const char *const *units, const char *suffix)
{
    if (!isfinite(value) || value < 0)
        return g_strdup("-");
    unsigned i = 0;
    /* 999.7 would be written "1000". */
    while (units[i + 1] && value >= step - 0.5) {
        value /= step;
        i++;
    }
    return g_strdup_printf(i > 0 && value < 9.95 ? "%.1f %s%s" : "%.0f %s%s", value, units[i], suffix);
}

char *
gw_format_bytes(double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", NULL};
    return scaled(bytes, 1000, units, "");
}

char *
gw_format_memory(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", NULL};
    return scaled(bytes, 1024, units, "");
}

char *
gw_format_bytes_per_s(double bytes_per_s)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", NULL};
    return scaled(bytes_per_s, 1000, units, "/s");
}

char *
gw_format_bits_per_s(double bits_per_s)
{
    static const char *const units[] = {"bit", "kbit", "Mbit", "Gbit", "Tbit", NULL};
    return scaled(bits_per_s, 1000, units, "/s");
}

char *
gw_format_ms(double ms)
{
    if (!isfinite(ms) || ms < 0)
        return g_strdup("-");
    if (ms > 0 && ms < 0.95)
        return g_strdup_printf("%.0f µs", ms * 1000);
    if (ms < 99.95)
        return g_strdup_printf("%.1f ms", ms);
    if (ms < 999.5)
        return g_strdup_printf("%.0f ms", ms);
    if (ms < 9995)
        return g_strdup_printf("%.2f s", ms / 1000);
    if (ms < 59950)
        return g_strdup_printf("%.1f s", ms / 1000);
    double s = round(ms / 1000);
    if (s < 3600)
        return g_strdup_printf("%.0f min %.0f s", floor(s / 60), fmod(s, 60));
    if (s < 86400)
        return g_strdup_printf("%.0f h %.0f min", floor(s / 3600), floor(fmod(s, 3600) / 60));
    return g_strdup_printf("%.0f d %.0f h", floor(s / 86400), floor(fmod(s, 86400) / 3600));
}

static GDateTime *
parse_time(const char *iso8601)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    return g_date_time_new_from_iso8601(iso8601, utc);
}

char *
gw_format_time(const char *iso8601, GTimeZone *zone)
{
    g_autoptr(GDateTime) time = iso8601 ? parse_time(iso8601) : NULL;
    g_autoptr(GDateTime) local = time ? g_date_time_to_timezone(time, zone) : NULL;
    return local ? g_date_time_format(local, "%Y-%m-%d %H:%M:%S") : g_strdup(iso8601 ? iso8601 : "-");
}

char *
gw_format_ago(const char *iso8601, GDateTime *now)
{
    g_autoptr(GDateTime) time = iso8601 ? parse_time(iso8601) : NULL;
    if (!time)
        return g_strdup(iso8601 ? iso8601 : "-");
    double seconds = round((double)g_date_time_difference(now, time) / G_TIME_SPAN_SECOND);
    if (seconds < 60) /* clocks differ: what is a little in the future is now */
        return g_strdup_printf("%.0f s ago", fmax(seconds, 0));
    g_autofree char *duration = gw_format_ms(seconds * 1000);
    return g_strconcat(duration, " ago", NULL);
}
