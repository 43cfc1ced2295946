#include "fiber.h"

#include <new>
#include <sys/mman.h>

#ifndef __x86_64__
#error "the emulated driver's switch is written for x86-64"
#endif

namespace emu {

Stacks::Stacks(int n) : bytes(n * (size + guard)) {
	void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) throw std::bad_alloc();
	memory = static_cast<uint8_t *>(p);
	for (int i = 0; i < n; i++) mprotect(memory + i * (size + guard), guard, PROT_NONE);
}

Stacks::~Stacks() { munmap(memory, bytes); }

Context prepare(uint8_t *bottom, void (*entry)()) {
	// As if entry had been called: the stack is 8 off a multiple of 16, below it the six registers that the switch saves.
	void **top = reinterpret_cast<void **>(bottom + Stacks::size) - 2;
	*top = reinterpret_cast<void *>(entry);
	return top - 6;
}

} // namespace emu

// The callee-saved registers of the System V ABI for x86-64; the rest is the caller's.
asm(R"(
	.text
	.globl emu_switch
	.type emu_switch, @function
emu_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size emu_switch, . - emu_switch
)");
