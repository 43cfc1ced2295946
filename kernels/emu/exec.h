// Running a kernel: blocks over workers, threads of a block as fibers of one worker.
#pragma once

#include "fiber.h"
#include "kernel.h"
#include "memory.h"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace emu {

// Order of a launch's blocks and of a block's threads: 0 forward, 1 backward, n > 1 shuffled by n.
using Order = unsigned;

struct Launch {
	const Entry *entry;
	unsigned grid[3], block;
	size_t shared; // bytes
	std::vector<uint8_t> args;
};

struct Fault {
	bool memory; // an access outside every allocation
	std::string text;
};

// execute runs a launch to its end, or to the first fault, which it returns; a Fault without text is none.
Fault execute(Memory &memory, const Launch &launch, Order order, unsigned workers);

// conflicts is how many times so far an 8 x 8 matrix's rows met in a bank of shared memory when ldmatrix loaded it.
uint64_t conflicts();

// find returns a registered kernel, or null.
const Entry *find(const char *name);

} // namespace emu
