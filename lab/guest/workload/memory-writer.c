/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-memory-writer: keeps writing to memory of this guest and notices when any of it is not what was written.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "line-server.h"
#include "options.h"
#include "page-writer.h"
#include "service.h"
#include "timer-gap.h"

#define DEFAULT_PORT              7001
#define DEFAULT_CHECK_PAGES_PER_S 256
#define N_AREAS                   2

typedef struct Arguments {
    uint64_t ws_bytes;
    uint64_t touch_bytes;
    uint64_t seed;
    GwPageFill ws_fill;
    GwPageFill touch_fill;
    GwPageWriterConfig writer;
    unsigned port;
} Arguments;

static int
view_pages(void *context, const GwPageArea *area, uint64_t page_no, uint64_t count, const uint8_t **ret_pages)
{
    (void)count;
    *ret_pages = (const uint8_t *)context + (area->base_page + page_no) * GW_VERIFIED_PAGE_SIZE_BYTES;
    return 0;
}

static int
write_page(void *context, const GwPageArea *area, uint64_t page_no, uint64_t generation, bool whole)
{
    uint8_t *page = (uint8_t *)context + (area->base_page + page_no) * GW_VERIFIED_PAGE_SIZE_BYTES;
    if (whole) {
        gw_verified_page_render(page, &area->region, page_no, generation);
    } else {
        gw_verified_page_advance(page, &area->region, page_no, generation);
    }
    return 0;
}

static int
parse_list(Arguments *arguments, char *list, bool is_touch)
{
    char *name, *value;
    while (gw_options_next(&list, &name, &value)) {
        int r = -EINVAL;
        if (is_touch && *value == '\0') {
            r = gw_size_parse(name, &arguments->touch_bytes);
        } else if (strcmp(name, "fill") == 0) {
            r = gw_page_fill_from_name(value, is_touch ? &arguments->touch_fill : &arguments->ws_fill);
        } else if (strcmp(name, "seed") == 0) {
            r = gw_size_parse(value, &arguments->seed);
        } else if (is_touch) {
            r = strcmp(name, "size") == 0 ? gw_size_parse(value, &arguments->touch_bytes) : -EINVAL;
        } else if (strcmp(name, "ws") == 0) {
            r = gw_size_parse(value, &arguments->ws_bytes);
        } else {
            r = gw_page_writer_config_set(&arguments->writer, name, value);
        }
        if (r < 0) {
            fprintf(stderr, "gw-memory-writer: bad option %s=%s\n", name, value);
            return r;
        }
    }
    return 0;
}

static int
parse_arguments(int argc, char **argv, Arguments *arguments)
{
    static const struct option options[] = {
        {"writer", required_argument, NULL, 'w'},
        {"touch", required_argument, NULL, 't'},
        {"port", required_argument, NULL, 'p'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int r = -EINVAL;
        if (option == 'w') {
            arguments->ws_bytes = 64 << 20;
            r = parse_list(arguments, optarg, false);
        } else if (option == 't') {
            r = parse_list(arguments, optarg, true);
        } else if (option == 'p') {
            arguments->port = (unsigned)atoi(optarg);
            r = 0;
        }
        if (r < 0) {
            return r;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

static void
handle_command(void *context, char *const *words, unsigned n_words, FILE *reply)
{
    if (strcmp(words[0], "timer-gap") == 0) {
        gw_timer_gap_command(words, n_words, reply);
    } else if (!gw_page_writer_command(context, words, n_words, reply)) {
        gw_line_reply_error(reply, "unknown command");
    }
}

/* The kernel would kill this process half way through, which nobody would connect with the option that asked
 * too much. */
static bool
fits(uint64_t bytes)
{
    struct sysinfo info;
    if (sysinfo(&info) < 0) {
        return true;
    }
    uint64_t free_bytes = ((uint64_t)info.freeram + info.bufferram) * info.mem_unit;
    if (bytes <= free_bytes) {
        return true;
    }
    fprintf(stderr, "gw-memory-writer: %" PRIu64 " MiB asked for, %" PRIu64 " MiB free\n", bytes >> 20,
            free_bytes >> 20);
    return false;
}

int
main(int argc, char **argv)
{
    Arguments arguments = {
        .seed = 1,
        .port = DEFAULT_PORT,
        .writer = {.name = "memory", .check_pages_per_s = DEFAULT_CHECK_PAGES_PER_S},
    };
    if (parse_arguments(argc, argv, &arguments) < 0) {
        fputs("usage: gw-memory-writer [--writer ws=64M,rate=50M,fill=random,seed=1,order=random,check=256] "
              "[--touch 500M,fill=text] [--port 7001]\n",
              stderr);
        return 2;
    }
    uint64_t ws_pages = arguments.ws_bytes / GW_VERIFIED_PAGE_SIZE_BYTES;
    uint64_t touch_pages = arguments.touch_bytes / GW_VERIFIED_PAGE_SIZE_BYTES;
    uint64_t size_bytes = (ws_pages + touch_pages + 1) * GW_VERIFIED_PAGE_SIZE_BYTES;
    if (!fits(size_bytes)) {
        return 1;
    }
    int listen_fd = gw_line_server_listen(arguments.port);
    if (listen_fd < 0) {
        fprintf(stderr, "gw-memory-writer: port %u: %s\n", arguments.port, strerror(-listen_fd));
        return 1;
    }
    int ready_fd = gw_service_detach();
    if (ready_fd < 0) {
        return 1;
    }

    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static GwPageArea areas[N_AREAS];
    if (memory == MAP_FAILED ||
        !gw_page_area_init(&areas[0], "ws", ws_pages, arguments.seed, arguments.ws_fill, true) ||
        !gw_page_area_init(&areas[1], "touch", touch_pages, arguments.seed, arguments.touch_fill, false)) {
        fputs("gw-memory-writer: out of memory\n", stderr);
        return 1;
    }
    areas[1].base_page = ws_pages;
    GwPageStore store = {.view = view_pages, .write = write_page, .context = memory, .check_one_in = 1};
    GwPageWriter *writer = gw_page_writer_new(&arguments.writer, &store, areas, N_AREAS);
    if (writer == NULL || gw_page_writer_start(writer) < 0) {
        fputs("gw-memory-writer: cannot start\n", stderr);
        return 1;
    }
    gw_service_ready(ready_fd);
    gw_line_server_run(listen_fd, handle_command, writer);
}
