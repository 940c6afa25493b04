/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-center */
#include "version.h"

#include <stdio.h>

int
main(void)
{
    printf("godwit-center %s\n", GW_VERSION);
    return 0;
}
