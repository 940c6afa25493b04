/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The PC under the tiny guest: serial port, timer, exceptions, and CPU state with known content. */
#include "machine.h"

#include <stddef.h>

#include "text.h"

#define SERIAL       0x3f8
#define SERIAL_READY 0x20
#define SERIAL_CAME  0x01
#define PIT_HZ       1193182
#define PIT_CHANNEL  0x40
#define PIT_COMMAND  0x43
#define PIC_COMMAND  0x20 /* of the first one; the second is at 0xa0 */
#define PIC_DATA     0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1

#define CODE_SELECTOR      0x08
#define N_EXCEPTIONS       32
#define EXCEPTION_STRIDE   16 /* bytes between entries; .balign in entry.S */
#define TIMER_VECTOR       32
#define SPURIOUS_VECTOR    39
#define INT3_VECTOR        3
#define N_VECTORS          48
#define INTERRUPT_GATE     0x8e00
#define FOR_RING_3         0x6000
#define TASK_DESCRIPTOR    UINT64_C(0x0000890000000000) /* present, 64-bit TSS */
#define N_CANARIES         17 /* an XMM register takes two, and shares them with its neighbours */
#define NO_MSR             0
#define LONGEST_SEND_SPINS 10000

typedef struct SystemRegister {
    const char *name;
    uint32_t msr; /* or NO_MSR for CR2 */
    uint64_t value;
} SystemRegister;

/* None of these does anything here, and addresses only have to be canonical: there are no system calls,
 * nothing has a segment's base, and there is no page fault that one would return from. */
static const SystemRegister system_registers[] = {
    {"star", 0xc0000081, UINT64_C(0x0013000855667788)},
    {"lstar", 0xc0000082, UINT64_C(0x0000123456789abc)},
    {"fs-base", 0xc0000100, UINT64_C(0x000013579bdf0246)},
    {"gs-base", 0xc0000101, UINT64_C(0x00002468ace01357)},
    {"kernel-gs-base", 0xc0000102, UINT64_C(0x000055aa55aa55aa)},
    {"cr2", NO_MSR, UINT64_C(0x0000765432100123)},
};
#define N_SYSTEM_REGISTERS (sizeof system_registers / sizeof system_registers[0])

typedef struct Gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t flags;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
} Gate;

typedef struct __attribute__((packed)) TablePointer {
    uint16_t limit;
    uint64_t base;
} TablePointer;

/* What long mode reads of it is the stack of ring 0. */
typedef struct __attribute__((packed)) TaskState {
    uint32_t reserved;
    uint64_t ring_0_stack;
    uint32_t unused[22];
    uint16_t unused_end;
    uint16_t io_map; /* at its end: none */
} TaskState;
_Static_assert(sizeof(TaskState) == 104, "as the CPU knows it");

volatile uint64_t gw_tiny_ticks;
uint64_t gw_tiny_canaries[N_CANARIES];
static Gate gates[N_VECTORS];
static TaskState task_state;
static const char *wrong_system_register;

/* entry.S */
extern const char gw_tiny_exception_entries[];
extern const char gw_tiny_timer_entry[];
extern const char gw_tiny_spurious_entry[];
extern const char gw_tiny_int3_entry[];
extern char gw_tiny_kernel_stack_top[];
uint64_t gw_tiny_supervisor_call(uint64_t (*function)(uint64_t), uint64_t argument);
uint64_t gw_tiny_wait(uint64_t until_tick);
_Noreturn void gw_tiny_on_exception(uint64_t vector, uint64_t code, uint64_t rip);

static void
out(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t
in(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void
write_system_register(const SystemRegister *reg)
{
    if (reg->msr == NO_MSR) {
        __asm__ volatile("mov %0, %%cr2" : : "r"(reg->value));
    } else {
        __asm__ volatile("wrmsr"
                         :
                         : "c"(reg->msr), "a"((uint32_t)reg->value), "d"((uint32_t)(reg->value >> 32)));
    }
}

static uint64_t
read_system_register(const SystemRegister *reg)
{
    if (reg->msr == NO_MSR) {
        uint64_t value;
        __asm__ volatile("mov %%cr2, %0" : "=r"(value));
        return value;
    }
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(reg->msr));
    return (uint64_t)high << 32 | low;
}

static void
set_gate(unsigned vector, const char *entry, uint16_t flags)
{
    uint64_t offset = (uintptr_t)entry;
    gates[vector] = (Gate){
        .offset_low = (uint16_t)offset,
        .selector = CODE_SELECTOR,
        .flags = INTERRUPT_GATE | flags,
        .offset_middle = (uint16_t)(offset >> 16),
        .offset_high = (uint32_t)(offset >> 32),
    };
}

static void
set_up_interrupts(void)
{
    for (unsigned i = 0; i < N_EXCEPTIONS; i++) {
        set_gate(i, gw_tiny_exception_entries + (size_t)i * EXCEPTION_STRIDE, 0);
    }
    set_gate(TIMER_VECTOR, gw_tiny_timer_entry, 0);
    set_gate(SPURIOUS_VECTOR, gw_tiny_spurious_entry, 0);
    set_gate(INT3_VECTOR, gw_tiny_int3_entry, FOR_RING_3);
    TablePointer pointer = {sizeof gates - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(pointer));

    /* Both PICs: begin, vectors from 32 on, the second one behind line 2, 8086 mode; only the timer's line.
     */
    out(PIC_COMMAND, 0x11);
    out(PIC2_COMMAND, 0x11);
    out(PIC_DATA, TIMER_VECTOR);
    out(PIC2_DATA, TIMER_VECTOR + 8);
    out(PIC_DATA, 4);
    out(PIC2_DATA, 2);
    out(PIC_DATA, 1);
    out(PIC2_DATA, 1);
    out(PIC_DATA, 0xfe);
    out(PIC2_DATA, 0xff);

    unsigned divisor = PIT_HZ / GW_TINY_TICKS_PER_S;
    out(PIT_COMMAND, 0x34); /* channel 0, both bytes, rate generator */
    out(PIT_CHANNEL, (uint8_t)divisor);
    out(PIT_CHANNEL, (uint8_t)(divisor >> 8));
}

static void
set_up_task(uint64_t descriptor[2])
{
    task_state.ring_0_stack = (uintptr_t)gw_tiny_kernel_stack_top;
    task_state.io_map = sizeof task_state;
    uint64_t base = (uintptr_t)&task_state;
    descriptor[0] =
        TASK_DESCRIPTOR | (sizeof task_state - 1) | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    descriptor[1] = base >> 32;
}

void
gw_machine_init(uint64_t task_descriptor[2])
{
    out(SERIAL + 1, 0); /* polled, no interrupts */
    out(SERIAL + 3, 3); /* 8N1 */
    out(SERIAL + 2, 7); /* queues on, and empty */
    out(SERIAL + 4, 3); /* DTR, RTS */
    for (unsigned i = 0; i < N_SYSTEM_REGISTERS; i++) {
        write_system_register(&system_registers[i]);
    }
    set_up_task(task_descriptor);
    set_up_interrupts();
}

static uint64_t
send(uint64_t character)
{
    /* A port that takes nothing any more must not hold the guest. */
    for (unsigned i = 0; i < LONGEST_SEND_SPINS && !(in(SERIAL + 5) & SERIAL_READY); i++) {
        __asm__ volatile("pause");
    }
    out(SERIAL, (uint8_t)character);
    return 0;
}

static uint64_t
receive(uint64_t unused)
{
    return in(SERIAL + 5) & SERIAL_CAME ? in(SERIAL) : GW_MACHINE_NOTHING_CAME;
}

static bool
is_in_ring_0(void)
{
    uint16_t selector;
    __asm__ volatile("mov %%cs, %0" : "=r"(selector));
    return (selector & 3) == 0;
}

void
gw_machine_send(char character)
{
    if (is_in_ring_0()) {
        send((uint8_t)character);
    } else {
        gw_tiny_supervisor_call(send, (uint8_t)character);
    }
}

unsigned
gw_machine_receive(void)
{
    return (unsigned)gw_tiny_supervisor_call(receive, 0);
}

uint64_t
gw_machine_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

uint64_t
gw_machine_wait(uint64_t until_tick)
{
    uint64_t word = until_tick * UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned i = 0; i < N_CANARIES; i++) {
        word ^= word >> 29;
        word = word * UINT64_C(0xbf58476d1ce4e5b9) + i;
        gw_tiny_canaries[i] = word;
    }
    return gw_tiny_wait(until_tick);
}

static uint64_t
check_system_registers(uint64_t unused)
{
    for (unsigned i = 0; i < N_SYSTEM_REGISTERS; i++) {
        if (read_system_register(&system_registers[i]) != system_registers[i].value) {
            wrong_system_register = system_registers[i].name;
            write_system_register(&system_registers[i]);
        }
    }
    return 0;
}

const char *
gw_machine_check_system_registers(void)
{
    wrong_system_register = NULL;
    gw_tiny_supervisor_call(check_system_registers, 0);
    return wrong_system_register;
}

_Noreturn void
gw_tiny_on_exception(uint64_t vector, uint64_t code, uint64_t rip)
{
    gw_text_format("GODWIT-WRONG exception vector=%u code=%x rip=%x\r\n", vector, code, rip);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
