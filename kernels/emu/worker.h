// The state of a worker, which runs one block at a time.
#pragma once

#include "exec.h"

#include <atomic>

namespace emu {

constexpr unsigned max_workers = 64; // a mark has 6 bits for them, 0 being nobody

// Run is a launch in progress.
struct Run {
	Run(Memory &m, const Launch &l) : memory(m), launch(l) {}
	void report(bool memory_fault, const std::string &text);

	Memory &memory;
	const Launch &launch;
	std::vector<unsigned> blocks, threads; // in the order they run
	std::atomic<size_t> next{0};
	std::atomic<bool> stop{false};
	uint64_t began[max_workers] = {}; // the workers' clocks at the start
	std::mutex mutex;
	Fault fault{};
};

enum State : uint8_t { Ready, AtBlock, AtWarp, Done };

struct Fiber {
	Context context;
	State state;
};

struct Block {
	unsigned alive, waiting;
	uint64_t ordered; // the clock at the last barrier
};

struct Warp {
	unsigned alive, waiting;
	uint64_t ordered;
	float lanes[32];
};

struct Worker {
	explicit Worker(int id);
	void work(Run &r);
	void run_block(unsigned number);
	void barrier();
	void warp_barrier(bool orders);
	void fail(bool memory_fault, const char *format, ...) __attribute__((format(printf, 3, 4)));
	// access checks a kernel's load or store.
	void access(uintptr_t p, size_t n, bool store);
	// reach checks that an atomic operation is on memory that holds a value.
	void reach(uintptr_t p, size_t n);

	int id;
	Run *run = nullptr;
	uint64_t clock = 0, start = 0;
	unsigned thread = 0, index[3] = {};
	bool inside = false; // a fiber runs
	Block block{};
	std::vector<Warp> warps;
	std::unique_ptr<Region> shared;
	bool stale = false; // shared memory holds an earlier block's; poisoned at the first touch, since many blocks touch none
	Stacks stacks;
	std::vector<Fiber> fibers;
	Context scheduler = nullptr;
	Region *last = nullptr; // the region touched before, likely the next one too

  private:
	static void enter();
	void yield();
	void leave();
	void release_block();
	void release_warp(unsigned w, bool orders);
	void stuck();
	uint64_t mark(uint8_t bytes, unsigned who) const;
	bool conflicts(uint64_t other, uint8_t bytes) const;
	void touch(Region &r, size_t offset, size_t n, bool store);
	void outside(uintptr_t p, size_t n, bool store);
};

extern thread_local Worker *current;

} // namespace emu
