// Fibers: stacks with guard pages, and a switch between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace emu {

// Stacks is memory for the stacks of a block's threads. A page without access lies below each, so that an overflow faults
// instead of spoiling a neighbour.
class Stacks {
  public:
	static constexpr size_t size = 64 << 10;
	explicit Stacks(int n);
	~Stacks();
	Stacks(const Stacks &) = delete;
	uint8_t *bottom(int i) const { return memory + i * (size + guard) + guard; }

  private:
	static constexpr size_t guard = 4096;
	uint8_t *memory;
	size_t bytes;
};

// Context is a suspended flow of execution: its stack pointer.
using Context = void *;

// prepare makes a context that enters entry on the stack when it is first switched to. entry must not return.
Context prepare(uint8_t *bottom, void (*entry)());

} // namespace emu

// emu_switch saves the running context in *from and resumes to.
extern "C" void emu_switch(emu::Context *from, emu::Context to);
