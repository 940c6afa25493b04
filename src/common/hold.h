/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of what happens when something dies at a certain step: a program stands still there.
 *
 * PREFIX_HOLD_FILE names a file, and PREFIX_HOLD a step; without the latter the step is what stands in the
 * file. At that step the caller waits while the file exists, at most a minute; meanwhile there is
 * FILE.reached. Without the variables nothing happens. */
#pragma once

#include <stdbool.h>

/* Whether a wait should end early; may be NULL. */
typedef bool (*GwHoldEnds)(void *user_data);

void gw_hold(const char *prefix, const char *step, GwHoldEnds ends, void *user_data);
