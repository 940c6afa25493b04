/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-host */
#include "version.h"

#include <stdio.h>

int
main(void)
{
    printf("godwit-host %s\n", GW_VERSION);
    return 0;
}
