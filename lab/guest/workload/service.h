/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Goes to the background in a way that lets init wait until the work is really under way. */
#pragma once

/* Forks. The parent stays until the child calls gw_service_ready(), then exits with 0; if the child dies
 * before, with 1. Only the child returns; with the descriptor for gw_service_ready(), or -errno. */
int gw_service_detach(void);

void gw_service_ready(int ready_fd);
