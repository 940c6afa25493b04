/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The story of one motion, from its checks to the removal of what is left at the source. */
#pragma once

#include "task.h"

/* Runs in the calling thread and ends the task; or returns with the task open because the center ends. */
void gw_motion_run(GwTask *task);
