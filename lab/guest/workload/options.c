/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Option lists as they stand on the guest's kernel command line. */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
gw_size_parse(const char *text, uint64_t *ret_bytes)
{
    if (!isdigit((unsigned char)*text)) {
        return -EINVAL;
    }
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0) {
        return -errno;
    }
    unsigned shift = 0;
    switch (toupper((unsigned char)*end)) {
    case 'K':
        shift = 10;
        break;
    case 'M':
        shift = 20;
        break;
    case 'G':
        shift = 30;
        break;
    case '\0':
        break;
    default:
        return -EINVAL;
    }
    if (shift != 0 && end[1] != '\0') {
        return -EINVAL;
    }
    if (number > UINT64_MAX >> shift) {
        return -ERANGE;
    }
    *ret_bytes = (uint64_t)number << shift;
    return 0;
}

int
gw_rate_parse(const char *text, uint64_t *ret_bytes_per_s)
{
    if (strcmp(text, "max") == 0) {
        *ret_bytes_per_s = UINT64_MAX;
        return 0;
    }
    return gw_size_parse(text, ret_bytes_per_s);
}

int
gw_options_next(char **list, char **ret_name, char **ret_value)
{
    char *item;
    do {
        item = strsep(list, ",");
        if (item == NULL) {
            return 0;
        }
    } while (*item == '\0');
    *ret_value = item;
    *ret_name = strsep(ret_value, "=");
    if (*ret_value == NULL) {
        *ret_value = item + strlen(item);
    }
    return 1;
}
