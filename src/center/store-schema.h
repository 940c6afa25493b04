/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schema's versions. Step N makes version N of version N-1; a step that was released is never changed. */
#pragma once

#include "store.h"

#define GW_STORE_APPLICATION_ID 0x47574354 /* "GWCT": which program's file this is */

int gw_store_schema_version(void);             /* the newest that this program knows */
const char *gw_store_schema_step(int version); /* its SQL; 1 … newest */
