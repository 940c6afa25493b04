/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The interfaces that carry motions: what of them decides whether and how fast a VM can move. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* One address of an interface; an interface without one has an entry all the same. */
typedef struct {
    char *name;
    char *address; /* numeric; NULL: none */
    unsigned prefix_length;
    uint64_t speed_bits_per_s; /* of the link as its driver says; 0: not known */
    unsigned mtu;              /* 0: there is no such interface */
    bool is_up;                /* and has a carrier */
} GwHostInterface;

/* IPv4 addresses and global IPv6 ones, in the order of `names` and, of each, the kernel's. An array of
 * GwHostInterface, the caller's; NULL if the kernel does not answer. */
GArray *gw_motion_interfaces_read(char *const *names, GError **error);

/* "motion_interfaces" of GET /v1/host. */
JsonArray *gw_motion_interfaces_to_json(const GArray *interfaces);
