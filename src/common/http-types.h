/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For programs that speak HTTP in more than one thread: has to be called before the second one starts. */
#pragma once

void gw_http_load_types(void);
