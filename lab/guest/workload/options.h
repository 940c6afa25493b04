/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Option lists as they stand on the guest's kernel command line: "ws=64M,rate=50M,fill=random". */
#pragma once

#include <stdint.h>

/* A number of bytes with an optional suffix K, M or G (powers of 1024). 0, or -EINVAL or -ERANGE. */
int gw_size_parse(const char *text, uint64_t *ret_bytes);

/* As gw_size_parse(), and "max" for UINT64_MAX: as fast as possible. */
int gw_rate_parse(const char *text, uint64_t *ret_bytes_per_s);

/* Takes one item off the list, which it cuts up. An item without "=" is all name, with an empty value.
 * Returns 1, or 0 at the end. */
int gw_options_next(char **list, char **ret_name, char **ret_value);
