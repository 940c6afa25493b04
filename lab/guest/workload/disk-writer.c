/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-disk-writer: keeps writing to a disk of this guest and notices when any block is not what was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "line-server.h"
#include "options.h"
#include "page-writer.h"
#include "service.h"

/* O_DIRECT throughout: what is verified must come from the disk, not from the guest's page cache, which a
 * migration carries along with the rest of its memory. */

#define DEFAULT_PORT               7002
#define DEFAULT_CHECK_BLOCKS_PER_S 16
#define DEFAULT_SYNC_S             1
#define CHECK_ONE_IN               8

typedef struct Arguments {
    const char *device;
    uint64_t ws_bytes;
    uint64_t seed;
    uint64_t sync_s;
    GwPageFill fill;
    GwPageWriterConfig writer;
    unsigned port;
} Arguments;

typedef struct Disk {
    int fd;
    uint8_t *view_buffer; /* a chunk */
    uint8_t *write_buffer;
} Disk;

static int
view_blocks(void *context, const GwPageArea *area, uint64_t page_no, uint64_t count,
            const uint8_t **ret_pages)
{
    Disk *disk = context;
    size_t size_bytes = count * GW_VERIFIED_PAGE_SIZE_BYTES;
    off_t offset = (off_t)((area->base_page + page_no) * GW_VERIFIED_PAGE_SIZE_BYTES);
    ssize_t n = pread(disk->fd, disk->view_buffer, size_bytes, offset);
    if (n < 0) {
        return -errno;
    }
    *ret_pages = disk->view_buffer;
    return (size_t)n == size_bytes ? 0 : -EIO;
}

static int
write_block(void *context, const GwPageArea *area, uint64_t page_no, uint64_t generation, bool whole)
{
    /* Rendered from nothing each time: reading the old block first would double the traffic. */
    Disk *disk = context;
    (void)whole;
    gw_verified_page_render(disk->write_buffer, &area->region, page_no, generation);
    off_t offset = (off_t)((area->base_page + page_no) * GW_VERIFIED_PAGE_SIZE_BYTES);
    ssize_t n = pwrite(disk->fd, disk->write_buffer, GW_VERIFIED_PAGE_SIZE_BYTES, offset);
    if (n < 0) {
        return -errno;
    }
    return n == GW_VERIFIED_PAGE_SIZE_BYTES ? 0 : -EIO;
}

/* A request costs far more than its bytes under TCG, and the guest is not ready before its disk is filled. */
static int
fill_blocks(void *context, const GwPageArea *area, uint64_t page_no, uint64_t count)
{
    Disk *disk = context;
    for (uint64_t i = 0; i < count; i++) {
        gw_verified_page_render(disk->view_buffer + i * GW_VERIFIED_PAGE_SIZE_BYTES, &area->region,
                                page_no + i, 1);
    }
    size_t size_bytes = count * GW_VERIFIED_PAGE_SIZE_BYTES;
    off_t offset = (off_t)((area->base_page + page_no) * GW_VERIFIED_PAGE_SIZE_BYTES);
    ssize_t n = pwrite(disk->fd, disk->view_buffer, size_bytes, offset);
    if (n < 0) {
        return -errno;
    }
    return (size_t)n == size_bytes ? 0 : -EIO;
}

static int
sync_disk(void *context)
{
    const Disk *disk = context;
    return fdatasync(disk->fd) < 0 ? -errno : 0;
}

static int
parse_list(Arguments *arguments, char *list)
{
    char *name, *value;
    while (gw_options_next(&list, &name, &value)) {
        int r = -EINVAL;
        if (strcmp(name, "dev") == 0 && *value == '/') {
            arguments->device = value;
            r = 0;
        } else if (strcmp(name, "fill") == 0) {
            r = gw_page_fill_from_name(value, &arguments->fill);
        } else if (strcmp(name, "seed") == 0) {
            r = gw_size_parse(value, &arguments->seed);
        } else if (strcmp(name, "ws") == 0) {
            r = gw_size_parse(value, &arguments->ws_bytes);
        } else if (strcmp(name, "sync") == 0) {
            r = gw_size_parse(value, &arguments->sync_s);
        } else {
            r = gw_page_writer_config_set(&arguments->writer, name, value);
        }
        if (r < 0) {
            fprintf(stderr, "gw-disk-writer: bad option %s=%s\n", name, value);
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
        {"port", required_argument, NULL, 'p'},
        {0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int r = -EINVAL;
        if (option == 'w') {
            r = parse_list(arguments, optarg);
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
    if (!gw_page_writer_command(context, words, n_words, reply)) {
        gw_line_reply_error(reply, "unknown command");
    }
}

/* 0 or -errno, with the reason on the console. */
static int
open_disk(const Arguments *arguments, Disk *ret_disk, uint64_t *ret_n_blocks)
{
    int fd = open(arguments->device, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        int saved = errno;
        fprintf(stderr, "gw-disk-writer: %s: %s\n", arguments->device, strerror(saved));
        return -saved;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    uint64_t device_bytes = end < 0 ? 0 : (uint64_t)end;
    *ret_n_blocks = (arguments->ws_bytes < device_bytes ? arguments->ws_bytes : device_bytes) /
                    GW_VERIFIED_PAGE_SIZE_BYTES;
    ret_disk->fd = fd;
    ret_disk->view_buffer =
        aligned_alloc(GW_VERIFIED_PAGE_SIZE_BYTES, GW_PAGE_STORE_CHUNK * GW_VERIFIED_PAGE_SIZE_BYTES);
    ret_disk->write_buffer = aligned_alloc(GW_VERIFIED_PAGE_SIZE_BYTES, GW_VERIFIED_PAGE_SIZE_BYTES);
    return ret_disk->view_buffer != NULL && ret_disk->write_buffer != NULL ? 0 : -ENOMEM;
}

int
main(int argc, char **argv)
{
    Arguments arguments = {
        .device = "/dev/vda",
        .ws_bytes = 32 << 20,
        .seed = 1,
        .sync_s = DEFAULT_SYNC_S,
        .port = DEFAULT_PORT,
        .writer = {.name = "disk", .order = GW_ORDER_RANDOM, .check_pages_per_s = DEFAULT_CHECK_BLOCKS_PER_S},
    };
    if (parse_arguments(argc, argv, &arguments) < 0) {
        fputs("usage: gw-disk-writer [--writer dev=/dev/vda,ws=32M,rate=5M,fill=random,seed=1,order=random,"
              "sync=1,check=16] [--port 7002]\n",
              stderr);
        return 2;
    }
    arguments.writer.sync_interval_ns = arguments.sync_s * GW_NS_PER_S;
    static Disk disk;
    uint64_t n_blocks = 0;
    if (open_disk(&arguments, &disk, &n_blocks) < 0) {
        return 1;
    }
    int listen_fd = gw_line_server_listen(arguments.port);
    if (listen_fd < 0) {
        fprintf(stderr, "gw-disk-writer: port %u: %s\n", arguments.port, strerror(-listen_fd));
        return 1;
    }
    int ready_fd = gw_service_detach();
    static GwPageArea area;
    if (ready_fd < 0 || !gw_page_area_init(&area, "disk", n_blocks, arguments.seed, arguments.fill, true)) {
        return 1;
    }
    GwPageStore store = {.view = view_blocks,
                         .write = write_block,
                         .fill = fill_blocks,
                         .sync = sync_disk,
                         .context = &disk,
                         .check_one_in = CHECK_ONE_IN};
    GwPageWriter *writer = gw_page_writer_new(&arguments.writer, &store, &area, 1);
    if (writer == NULL || gw_page_writer_start(writer) < 0) {
        fputs("gw-disk-writer: cannot start\n", stderr);
        return 1;
    }
    gw_service_ready(ready_fd);
    gw_line_server_run(listen_fd, handle_command, writer);
}
