/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: what the other end of a probe answers, addresses out of requests, and samples of any times. */
#include "probe-internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_window(const uint8_t *data, size_t size)
{
    g_autoptr(GArray) samples = g_array_new(FALSE, FALSE, sizeof(GwProbeSample));
    GwProbeSample sample = {0};
    uint64_t bytes, us;
    for (size_t i = 0; i + 1 < size; i += 2) { /* clocks do not run back */
        sample.us += data[i] * 100;
        sample.bytes += (uint64_t)data[i + 1] << 12;
        g_array_append_val(samples, sample);
    }
    gw_probe_window(samples, &bytes, &us);
    g_assert_cmpuint(bytes, <=, sample.bytes);
    g_assert_cmpuint(us, <=, (uint64_t)sample.us);
    g_assert_true(us > 0 || bytes == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    struct sockaddr_storage address;
    socklen_t length = 0;
    if (size >= GW_PROBE_ANSWER_BYTES) {
        g_autofree uint8_t *answer = g_memdup2(data, GW_PROBE_ANSWER_BYTES);
        g_assert_cmpuint(gw_probe_rate(answer), <=, (uint64_t)INT64_MAX); /* as JSON carries it */
    }
    if (gw_probe_address_parse(text, 1, &address, &length)) {
        g_assert_true(address.ss_family == AF_INET || address.ss_family == AF_INET6);
        g_assert_cmpuint(length, <=, sizeof address);
    }
    check_window(data, size);
    return 0;
}
