/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preloaded into QEMU: makes the trace see what a disk wrote into guest memory by itself.
 *
 * The hazard. A read with O_DIRECT pins the buffer's pages, which is a write fault and so counts as a write,
 * and the device then fills them past all page tables. A trace that scans in between reports the page with
 * its old content, protects it again, and never hears of the data: after a motion the guest has a stale page.
 * Reading the other way, through the page cache, is a copy by the kernel through the page tables, which is
 * seen; so is QEMU's bounce buffer for requests that are not aligned.
 *
 * The remedy. When the read has returned, one byte of each page of its buffer is written with the value that
 * it has. That write faults on a page that was protected meanwhile, which is then "written", after its data
 * was there; and QEMU completes the request, or reports itself drained, only after we have returned. The byte
 * may belong to the guest, whose vCPUs write it when they like: it is exchanged atomically, and if it has
 * changed before the exchange, then whoever changed it has written the page.
 *
 * Which calls. QEMU's aio=threads reads disks with pread64 and preadv64 (block/file-posix.c:
 * handle_aiocb_rw); the other names of the same calls are here for builds that use those. read and readv are
 * not: QEMU reads no disk with them, but each wake-up of its main loop. The checked variant __pread64_chk is
 * for buffers whose size the compiler knew, which guest memory is not. io_submit and io_uring cannot be
 * helped like this: godwit configures neither, and asks QEMU before a motion (qemu-facts.h).
 *
 * What is touched. All of the buffer, also after a short read and after EIO: a device writes whole blocks, so
 * behind the end of a file more arrives than is reported (tried), and parts of a read that failed may have
 * come. After any other error, and at the end of the file, nothing came. QEMU's buffers are there in full.
 * Whether a descriptor is O_DIRECT is asked each time (some 100 ns, against a disk's 10 us and more): QEMU
 * reopens disks and reuses numbers, so an answer that is kept would have to be thrown away in time.
 *
 * The system calls are made directly. There is then no look-up of the next symbol, hence no question of its
 * version, nothing to be initialised, and no recursion; QEMU's seccomp filter sees the same calls as without
 * us. What glibc's wrappers do beyond that is to be cancellation points, and QEMU cancels no thread. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE_BYTES 4096u /* a larger page is touched more than once */

_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "offsets are passed to the kernel in one register");

static void
touch(void *buffer, size_t size)
{
    uint8_t *end = (uint8_t *)buffer + size;
    for (uint8_t *at = buffer; at < end; at = (uint8_t *)(((uintptr_t)at | (PAGE_BYTES - 1)) + 1)) {
        uint8_t value = __atomic_load_n(at, __ATOMIC_RELAXED);
        __atomic_compare_exchange_n(at, &value, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

/* Touches what a read that returned `n` may have written. Leaves errno alone. */
static ssize_t
touched(int fd, const struct iovec *parts, int n_parts, ssize_t n)
{
    int errnum = errno;
    if (n == 0 || (n < 0 && errnum != EIO))
        return n;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_DIRECT)
        for (int i = 0; i < n_parts; i++)
            touch(parts[i].iov_base, parts[i].iov_len);
    errno = errnum;
    return n;
}

/* Named by assembler names: <unistd.h> redirects some of these to others, and declares them with attributes
 * of their own. */
#define EXPORTED(name) __asm__(name) __attribute__((visibility("default")))

ssize_t direct_pread(int fd, void *buffer, size_t size, off_t offset) EXPORTED("pread64");
ssize_t direct_preadv(int fd, const struct iovec *parts, int n_parts, off_t offset) EXPORTED("preadv64");
ssize_t direct_preadv2(int fd, const struct iovec *parts, int n_parts, off_t offset, int flags)
    EXPORTED("preadv64v2");
ssize_t direct_pread_too(int fd, void *buffer, size_t size, off_t offset) EXPORTED("pread")
    __attribute__((alias("pread64")));
ssize_t direct_preadv_too(int fd, const struct iovec *parts, int n_parts, off_t offset) EXPORTED("preadv")
    __attribute__((alias("preadv64")));
ssize_t direct_preadv2_too(int fd, const struct iovec *parts, int n_parts, off_t offset, int flags)
    EXPORTED("preadv2") __attribute__((alias("preadv64v2")));

ssize_t
direct_pread(int fd, void *buffer, size_t size, off_t offset)
{
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    return touched(fd, &part, 1, syscall(SYS_pread64, fd, buffer, size, offset));
}

/* The kernel takes the offset in two halves and, where a register holds all of it, ignores the upper one. */
ssize_t
direct_preadv(int fd, const struct iovec *parts, int n_parts, off_t offset)
{
    return touched(fd, parts, n_parts, syscall(SYS_preadv, fd, parts, n_parts, offset, 0L));
}

ssize_t
direct_preadv2(int fd, const struct iovec *parts, int n_parts, off_t offset, int flags)
{
    return touched(fd, parts, n_parts, syscall(SYS_preadv2, fd, parts, n_parts, offset, 0L, flags));
}
