/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TAP devices of a VM's NICs, each in the bridge of its port group. */
#pragma once

#include <glib.h>
#include <net/if.h>

/* "gw" + the first eight digits of the VM's UUID + "." + the NIC's index: fits IFNAMSIZ, and /sys tells whose
 * it is. */
void gw_tap_name(const char *uuid, unsigned index, char ret_name[IFNAMSIZ]);

/* Makes the TAP, puts it into `bridge` with the bridge's MTU, and brings it up. Returns its descriptor: the
 * device lives as long as a copy of that is open, so it goes with QEMU. -1 on error. */
int gw_tap_open(const char *name, const char *bridge, GError **error);
