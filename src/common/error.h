/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one error domain of godwit's control path: codes that an operator or a program can act on. */
#pragma once

#include <glib.h>

#define GW_ERROR (gw_error_quark())

/* Their numbers are part of the motion protocol (docs/protocol.md): new ones come behind. */
typedef enum {
    GW_ERROR_FAILED,            /* nothing more exact is known */
    GW_ERROR_INVALID_ARGUMENT,  /* the request itself is wrong: do not repeat it unchanged */
    GW_ERROR_INVALID_CONFIG,    /* a VM's configuration is wrong; the message lists every place */
    GW_ERROR_NOT_FOUND,         /* what was named does not exist */
    GW_ERROR_EXISTS,            /* what was to be made exists already */
    GW_ERROR_WRONG_STATE,       /* right request, wrong moment: the VM is not in a state that allows it */
    GW_ERROR_NOT_SUPPORTED,     /* this host's kernel, QEMU or rights lack something; the message says what */
    GW_ERROR_NOT_PERMITTED,     /* refused by the kernel or by a rule */
    GW_ERROR_TIMED_OUT,         /* no answer in the time allowed */
    GW_ERROR_PEER_LOST,         /* the other end closed or died */
    GW_ERROR_PROTOCOL,          /* the other end sent what it must not send */
    GW_ERROR_VMM_FAILED,        /* QEMU refused or died; the message carries its own words */
    GW_ERROR_IO,                /* a file, socket or device failed */
    GW_ERROR_NOT_CONVERGING,    /* a motion: the guest writes faster than the link carries */
    GW_ERROR_CANCELLED,         /* somebody asked for it to be given up */
    GW_ERROR_CHECK_FAILED,      /* a check before a motion found what stops it; the message lists all */
    GW_ERROR_NOT_AUTHENTICATED, /* who asks is not known: no token, a wrong or an expired one, a wrong
                                   password */
    GW_ERROR_BUSY,              /* too much at once: try again later */
    GW_N_ERRORS,
} GwError;

GQuark gw_error_quark(void);

/* The stable name of a code in JSON and logs, such as "wrong-state". */
const char *gw_error_code_name(int code);

/* The name of an error of any domain: errors from GIO and GLib are mapped to the nearest code. */
const char *gw_error_name(const GError *error);

/* The code behind a stable name; GW_ERROR_FAILED for names that this version does not know. */
GwError gw_error_code_from_name(const char *name);

/* HTTP status that tells a client the same (RFC 9110); 500 for what is our fault or unknown. */
unsigned gw_error_http_status(const GError *error);

/* Sets GW_ERROR/code with "…: strerror(errnum)" behind the formatted text. Always returns FALSE. */
gboolean gw_set_errno(GError **error, GwError code, int errnum, const char *format, ...) G_GNUC_PRINTF(4, 5);
