/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Placeholder until this floor has its first file. */
extern const char *const gw_host_program;
const char *const gw_host_program = "godwit-host";
