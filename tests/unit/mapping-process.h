/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: a process that has parts of a file mapped, until it is ended. */
#pragma once

#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPING_PROCESS_MAX 4

typedef struct {
    uint64_t mem_off;
    size_t size_bytes; /* 0: the list's end */
    int protection;
    int sharing; /* MAP_SHARED or MAP_PRIVATE */
} WantedMapping;

typedef struct {
    pid_t pid;
    uintptr_t addresses[MAPPING_PROCESS_MAX]; /* of the wanted mappings, in their order */
} MappingProcess;

static inline G_NORETURN void
mapping_process_main(const char *name, int fd, const WantedMapping *wanted, int tell)
{
    uintptr_t addresses[MAPPING_PROCESS_MAX] = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, name);
    for (unsigned i = 0; i < MAPPING_PROCESS_MAX && wanted[i].size_bytes; i++)
        addresses[i] = (uintptr_t)mmap(NULL, wanted[i].size_bytes, wanted[i].protection, wanted[i].sharing,
                                       fd, (off_t)wanted[i].mem_off);
    close(fd);
    if (write(tell, addresses, sizeof addresses) != sizeof addresses)
        _exit(1);
    for (;;)
        pause();
}

/* Returns when everything is mapped. */
static inline void
mapping_process_start(MappingProcess *self, const char *name, int fd, const WantedMapping *wanted)
{
    int tell[2];
    g_assert_cmpint(pipe2(tell, O_CLOEXEC), ==, 0);
    self->pid = fork();
    if (self->pid == 0)
        mapping_process_main(name, fd, wanted, tell[1]);
    close(tell[1]);
    g_assert_cmpint(read(tell[0], self->addresses, sizeof self->addresses), ==, sizeof self->addresses);
    close(tell[0]);
    for (unsigned i = 0; i < MAPPING_PROCESS_MAX && wanted[i].size_bytes; i++)
        g_assert_cmpuint(self->addresses[i], !=, (uintptr_t)MAP_FAILED);
}

static inline void
mapping_process_end(MappingProcess *self)
{
    kill(self->pid, SIGKILL);
    waitpid(self->pid, NULL, 0);
}
