// Device and shared memory with shadows: who touched a word last, and which of its bytes were ever written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>

namespace emu {

// granule is the number of bytes that share a mark.
constexpr size_t granule = 4;

// Marks of a granule. A mark is, from the top: the worker (6 bits), the worker's clock (43), the thread in the block (11,
// several threads being all ones) and the bytes touched (4). Zero is nobody.
struct Shadow {
	std::atomic<uint64_t> write, read;
	std::atomic<uint8_t> written; // bytes that hold a value
};

// Region is a piece of memory that kernels may touch.
struct Region {
	uint8_t *base = nullptr;
	size_t size = 0;
	Shadow *shadow = nullptr; // absent where nothing is watched

	Region() = default;
	Region(size_t bytes, bool watched);
	~Region();
	Region(const Region &) = delete;
	bool holds(uintptr_t p, size_t n) const { return p - uintptr_t(base) <= size && n <= size - (p - uintptr_t(base)); }
	// poison fills the memory with NaN and forgets that it was written.
	void poison();
	// filled notes that the host, or a copy, wrote bytes.
	void filled(size_t offset, size_t n);
};

// Memory is a device's global memory.
class Memory {
  public:
	size_t total = size_t(8) << 30, used = 0;

	// alloc returns null when the total is exceeded.
	Region *alloc(size_t bytes);
	bool free(uintptr_t base);
	// find returns the region that holds address p, or null.
	Region *find(uintptr_t p);
	void clear();
	size_t count() const { return regions.size(); }

  private:
	std::map<uintptr_t, std::unique_ptr<Region>> regions;
};

} // namespace emu
