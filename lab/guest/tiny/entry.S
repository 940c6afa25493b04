/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the tiny guest begins: from QEMU's PVH entry, in 32-bit protected mode, to C in long mode and there
 * to ring 3, as a kernel goes to its first process. And the few things that C cannot say: the entries of
 * interrupts, and a wait with a known value in every register.
 *
 * Why ring 3: a KVM that emulates the supervisor, as some without vmx and svm do, runs code of ring 3 as it
 * is, a thousand times faster. So all work is done there, and what is in ring 0 is kept to few instructions.
 */

#define CR0            0x80050033 /* PG, AM, WP, NE, ET, MP, PE: as kernels have it */
#define CR4            0x620      /* OSXMMEXCPT, OSFXSR, PAE */
#define EFER           0xc0000080
#define EFER_NX_LME    0x900
#define PAGE_RW        0x7  /* present, writable, for ring 3 too */
#define PAGE_RW_2M     0x87 /* and a page of 2 MiB */
#define STACK_BYTES    16384
#define KERNEL_CODE    0x08
#define KERNEL_DATA    0x10
#define USER_CODE      0x1b
#define USER_DATA      0x23
#define TASK           0x28
#define USER_FLAGS     0x202 /* IF */

    /* XEN_ELFNOTE_PHYS32_ENTRY, by which QEMU's -kernel finds the entry. It reads 8 bytes of an ELF64. */
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad gw_tiny_entry

    .text
    .code32
    .globl gw_tiny_entry
gw_tiny_entry: /* %ebx: struct hvm_start_info */
    cld
    mov $gw_tiny_kernel_stack_top, %esp

    /* The first GiB onto itself. */
    movl $(page_directories + PAGE_RW), page_pointers
    movl $(page_pointers + PAGE_RW), page_map
    mov $page_directories, %edi
    mov $PAGE_RW_2M, %eax
1:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    cmp $page_directories + 4096, %edi
    jb 1b

    mov $page_map, %eax
    mov %eax, %cr3
    mov $CR4, %eax
    mov %eax, %cr4
    mov $EFER, %ecx
    rdmsr
    or $EFER_NX_LME, %eax
    wrmsr
    mov $CR0, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $KERNEL_CODE, $in_long_mode

    .code64
in_long_mode:
    mov $KERNEL_DATA, %eax
    mov %eax, %ss
    mov $USER_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $gw_tiny_kernel_stack_top, %esp
    mov %ebx, %ebx
    lea gdt + TASK(%rip), %rdi
    call gw_machine_init
    mov $TASK, %eax
    ltr %ax

    mov %rbx, %rdi
    pushq $USER_DATA
    pushq $user_stack_top - 8 /* as behind a call */
    pushq $USER_FLAGS
    pushq $USER_CODE
    pushq $gw_tiny_main
    iretq

    /* --- interrupts --- */

    /* Every exception is a mistake, of ours or of whoever carried our state. Those that push an error code
     * themselves get the same frame as the others. */
    .balign 16
    .globl gw_tiny_exception_entries
gw_tiny_exception_entries:
    .set vector, 0
    .rept 32
    .balign 16
    .if !((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21))
    pushq $0
    .endif
    pushq $vector
    jmp exception
    .set vector, vector + 1
    .endr

exception:
    cld
    mov (%rsp), %rdi
    mov 8(%rsp), %rsi
    mov 16(%rsp), %rdx
    and $-16, %rsp
    call gw_tiny_on_exception
    ud2

    .globl gw_tiny_timer_entry
gw_tiny_timer_entry:
    push %rax
    incq gw_tiny_ticks(%rip)
    mov $0x20, %al
    out %al, $0x20 /* end of interrupt */
    pop %rax
    iretq

    .globl gw_tiny_spurious_entry
gw_tiny_spurious_entry:
    iretq

    /* What ring 3 asks for, by int3: KVMs that emulate the supervisor know that, other than "int $N" and
     * syscall. rax < 0: the function at rdi, with its argument from rsi. Otherwise: halt until the next
     * interrupt, unless gw_tiny_ticks is at rax already, with no register changed. sti takes effect behind
     * the next instruction: no tick slips in before hlt. */
    .globl gw_tiny_int3_entry
gw_tiny_int3_entry:
    test %rax, %rax
    js 2f
    cmp %rax, gw_tiny_ticks(%rip)
    jae 1f
    sti
    hlt
1:  iretq
2:  sub $8, %rsp /* a frame of five words, and this: aligned for C */
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    add $8, %rsp
    iretq

    /* --- a wait with known registers --- */

    /* uint64_t gw_tiny_wait(uint64_t until_tick): halts until gw_tiny_ticks is there, while each register but
     * rax (the tick) and rsp holds its word of gw_tiny_canaries. Returns a bit for each that does not hold it
     * any more: 0–13 general registers in the order below, 14 the flags DF and ID, 16–31 xmm0–15. */
    .altmacro
    .macro general_registers what
    .set bit, 0
    .irp register, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    \what \register, %bit
    .set bit, bit + 1
    .endr
    .endm
    .macro xmm_registers what
    .set bit, 0
    .rept 16
    \what %bit
    .set bit, bit + 1
    .endr
    .endm
    .macro load_general register, bit
    mov gw_tiny_canaries + 8 * \bit(%rip), %\register
    .endm
    .macro check_general register, bit
    cmp gw_tiny_canaries + 8 * \bit(%rip), %\register
    je 1f
    btsq $\bit, wrong_registers(%rip)
1:
    .endm
    .macro load_xmm bit
    movdqu gw_tiny_canaries + 8 * \bit(%rip), %xmm\bit
    .endm
    .macro check_xmm bit
    movdqu %xmm\bit, xmm_found(%rip)
    mov gw_tiny_canaries + 8 * \bit(%rip), %rcx
    mov gw_tiny_canaries + 8 * \bit + 8(%rip), %rdx
    cmp xmm_found(%rip), %rcx
    jne 1f
    cmp xmm_found + 8(%rip), %rdx
    je 2f
1:  btsq $(16 + \bit), wrong_registers(%rip)
2:
    .endm

#define FLAGS 0x200400 /* ID and DF */

    /* uint64_t gw_tiny_supervisor_call(uint64_t (*function)(uint64_t), uint64_t argument) */
    .globl gw_tiny_supervisor_call
gw_tiny_supervisor_call:
    mov $-1, %rax
    int3
    ret

    .globl gw_tiny_wait
gw_tiny_wait:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rax
    movq $0, wrong_registers(%rip)
    xmm_registers load_xmm
    general_registers load_general
    pushfq
    orq $FLAGS, (%rsp)
    popfq
1:  int3
    cmp %rax, gw_tiny_ticks(%rip)
    jb 1b
    pushfq
    notq (%rsp)
    testq $FLAGS, (%rsp)
    jz 3f
    btsq $14, wrong_registers(%rip)
3:  add $8, %rsp
    cld
    general_registers check_general
    xmm_registers check_xmm
    mov wrong_registers(%rip), %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    /* --- data --- */

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* code of ring 0, 64 bits */
    .quad 0x00cf93000000ffff /* data of ring 0 */
    .quad 0x00affb000000ffff /* code of ring 3, 64 bits */
    .quad 0x00cff3000000ffff /* data of ring 3 */
    .quad 0, 0               /* the task, filled in by gw_machine_init() */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .bss
    .balign 4096
page_map:
    .skip 4096
page_pointers:
    .skip 4096
page_directories:
    .skip 4096
    .skip STACK_BYTES
user_stack_top:
    .skip STACK_BYTES
    .globl gw_tiny_kernel_stack_top
gw_tiny_kernel_stack_top:
xmm_found:
    .skip 16
wrong_registers:
    .skip 8

    .section .note.GNU-stack, "", @progbits
