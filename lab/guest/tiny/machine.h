/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The PC under the tiny guest: serial port, timer, exceptions, and CPU state with known content. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What QEMU hands to a PVH guest (Xen's public/arch-x86/hvm/start_info.h). */
typedef struct GwStartInfo {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t n_modules;
    uint64_t modules;
    uint64_t command_line;
    uint64_t rsdp;
    uint64_t memory_map;
    uint32_t n_memory_map;
    uint32_t reserved;
} GwStartInfo;

typedef struct GwMemoryMapEntry {
    uint64_t start;
    uint64_t size_bytes;
    uint32_t type; /* 1: RAM */
    uint32_t reserved;
} GwMemoryMapEntry;

#define GW_TINY_TICKS_PER_S 100

/* Counted by the timer's interrupt. */
extern volatile uint64_t gw_tiny_ticks;

/* Called in ring 0 by entry.S before all else; everything below is for ring 3. Sets up serial port,
 * interrupts, timer and the task's descriptor, and fills the system registers that nothing here needs with
 * known words. */
void gw_machine_init(uint64_t task_descriptor[2]);

void gw_machine_send(char character);

/* A byte that came in on the serial port. */
#define GW_MACHINE_NOTHING_CAME 256
unsigned gw_machine_receive(void);

uint64_t gw_machine_tsc(void);

/* Waits for the tick with known words in all registers, others at each call. Returns which of them were not
 * there any more, as gw_tiny_wait() does (entry.S). */
uint64_t gw_machine_wait(uint64_t until_tick);

/* The name of a system register that has not its content of gw_machine_init() any more, or NULL. Puts it
 * right. */
const char *gw_machine_check_system_registers(void);
