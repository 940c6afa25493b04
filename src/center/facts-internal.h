/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For those who fill facts in. */
#pragma once

#include "facts.h"

/* Nothing known; its lists are empty but for `problems`, `machines` and `cpu_features`, which are NULL. */
GwHostFacts *gw_host_facts_new(void);
