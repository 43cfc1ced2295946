// The emulated device behind the driver's functions.
#pragma once

#include "cuda.h"
#include "exec.h"

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

// The driver's opaque types.
struct CUctx_st {
	bool lost = false;
};

struct CUmod_st {
	CUcontext context;
};

struct CUfunc_st {
	const emu::Entry *entry;
	int dynamic_shared = 48 << 10; // what a launch may ask for until cuFuncSetAttribute raises it
};

// Work is what a stream does, one piece after the other.
using Work = std::function<void()>;

struct CUgraph_st {
	std::vector<Work> work;
};

struct CUgraphExec_st {
	std::vector<Work> work;
};

struct CUstream_st {
	std::vector<Work> queue; // done when something waits for it, and no earlier
	CUgraph capture = nullptr;
};

struct CUevent_st {
	CUstream stream = nullptr; // where it was recorded and has not happened yet
	double seconds = 0;
};

namespace emu {

// Counters are read by tests as the module global "isearle_emu_counters".
struct Counters {
	uint64_t allocations, launches, graph_launches, copies, bank_conflicts;
};

// Device is the state of the one device. Its mutex is held during every call.
struct Device {
	std::mutex mutex;
	Memory memory;
	std::set<CUcontext> contexts;
	std::set<CUstream> streams;
	std::set<std::unique_ptr<Region>> pinned;
	std::vector<std::unique_ptr<CUfunc_st>> functions;
	CUresult sticky = CUDA_SUCCESS; // the asynchronous error that ended the context
	std::string report;             // what it was
	Counters counters{};

	// fail makes an error stick until the last context is gone.
	void fail(CUresult code, const std::string &text);
	// flush does what a stream has queued.
	void flush(CUstream s);
	void flush_all();
	// submit queues work on a stream, or records it.
	CUresult submit(CUstream s, Work w);
	bool is_pinned(const void *p, size_t n) const;
	// launch runs a kernel now.
	void launch(const Launch &l);
	// injected says whether this call of a kind is to fail: ISEARLE_EMU_FAIL is kind:n for the n-th from when it was set,
	// the kinds being alloc, launch and lost.
	bool injected(const char *kind);

  private:
	std::string plan;
	long countdown = 0;
};

Device &device();
extern thread_local CUcontext bound;

} // namespace emu
