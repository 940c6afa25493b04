/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit vm console. */
#include "cmd-vm.h"
#include "error.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

const GwOption gw_vm_console_options[] = {
    {"port", GW_OPTION_NUMBER, "N", "which serial port (0)", 0, 3},
    {"follow", GW_OPTION_FLAG, NULL, "go on with what comes, until Ctrl-C"},
    {"type", GW_OPTION_TEXT, "TEXT", "type this line into the port instead"},
    {"raw", GW_OPTION_FLAG, NULL,
     "leave nothing out: the guest can then do with your terminal what it likes"},
    {NULL}};

/* Of the guest's bytes, those that a terminal only shows. An escape sequence loses its ESC: its letters stay,
 * which is ugly and harmless. */
static size_t
keep_harmless(char *bytes, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        bool c1 = c == 0xc2 && i + 1 < n && (unsigned char)bytes[i + 1] < 0xa0;
        if (c1)
            i++; /* a C1 control in UTF-8 */
        else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || (c >= 0x20 && c != 0x7f))
            bytes[kept++] = bytes[i];
    }
    return kept;
}

static bool
copy_out(GInputStream *stream, bool harmless, GError **error)
{
    char piece[65536];
    for (;;) {
        gssize n = g_input_stream_read(stream, piece, sizeof piece, NULL, error);
        if (n <= 0)
            return n == 0;
        size_t length = harmless ? keep_harmless(piece, (size_t)n) : (size_t)n;
        if (fwrite(piece, 1, length, stdout) != length || fflush(stdout) != 0)
            return true; /* who read us is gone */
    }
}

bool
gw_vm_console(GwCli *cli, GError **error)
{
    int64_t port = 0;
    gw_args_number(cli->args, "port", &port);
    bool follows = gw_args_flag(cli->args, "follow");
    const char *type = gw_args_text(cli->args, "type");
    g_autofree char *number = g_strdup_printf("%d", (int)port);
    g_autofree char *path = gw_cli_path("vms", gw_args_positional(cli->args, 0), "console", number, NULL);
    g_autofree char *query = g_strconcat(path, follows ? "?follow=1" : "", NULL);
    g_autoptr(GwHttpClient) client = gw_cli_connect(cli, follows && !type ? 0 : GW_CLI_TIMEOUT_S, error);
    if (!client)
        return false;
    bool done = false;
    if (type) {
        g_autofree char *line = g_strconcat(type, "\n", NULL);
        done = gw_http_post_bytes(client, path, line, strlen(line), error);
    } else {
        g_autoptr(GInputStream) stream = gw_http_open(client, query, error);
        done = stream && copy_out(stream, cli->out_is_tty && !gw_args_flag(cli->args, "raw"), error);
    }
    gw_cli_explain(cli, error);
    return done;
}
