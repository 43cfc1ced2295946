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

// Copy is an asynchronous copy on its way.
struct Copy {
	uint8_t *to;
	unsigned group;
	uint8_t data[16];
};

struct Fiber {
	Context context;
	State state;
	unsigned turn;  // collectives of the warp so far
	unsigned group; // groups of copies committed so far
	std::vector<Copy> copies;
};

struct Block {
	unsigned alive, waiting;
	uint64_t ordered; // the clock at the last barrier
};

// Exchange is what the lanes of a warp hand each other in one collective. A lane that is through may begin the next one
// while others still read, so that there are two, taken in turn.
struct Exchange {
	uint32_t in[32][10], out[32][4];
	const void *rows[32];
};

// Collective functions of a warp, all of whose lanes must be at the same one.
enum Kind : uint8_t { Barrier, Shuffle, MMA, LoadMatrix };

struct Warp {
	unsigned alive, waiting;
	uint64_t ordered;
	Kind kind; // what the waiting lanes are at
	Exchange exchanges[2];
};

struct Worker {
	explicit Worker(int id);
	void work(Run &r);
	void run_block(unsigned number);
	void barrier();
	// collective waits for the warp's lanes; the last one there calls finish, if there is one. Only a Barrier orders memory.
	void collective(Kind kind, void (*finish)(Exchange &) = nullptr);
	// exchange is the running lane's for the collective that it is about to enter.
	Exchange &exchange();
	void fail(bool memory_fault, const char *format, ...) __attribute__((format(printf, 3, 4)));
	// access checks a kernel's load or store.
	void access(uintptr_t p, size_t n, bool store);
	// reach checks that an atomic operation is on memory that holds a value.
	void reach(uintptr_t p, size_t n);
	// sent marks memory that an asynchronous copy is to fill: nobody may touch it until it arrives.
	void sent(uint8_t *p, size_t n);

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
