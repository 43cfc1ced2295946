#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace emu {

// Allocations of a real driver start on 256 bytes; as much again lies between two, so that an overrun hits nothing.
static constexpr size_t alignment = 256;

Region::Region(size_t bytes, bool watched) : size(bytes) {
	size_t room = (bytes + 2 * alignment - 1) / alignment * alignment;
	base = static_cast<uint8_t *>(aligned_alloc(alignment, room));
	if (!base) throw std::bad_alloc();
	if (watched) {
		shadow = static_cast<Shadow *>(calloc(bytes / granule + 1, sizeof(Shadow))); // zero pages until touched
		if (!shadow) throw std::bad_alloc();
	}
	memset(base, 0xff, bytes);
}

Region::~Region() {
	::free(base);
	::free(shadow);
}

void Region::poison() {
	memset(base, 0xff, size);
	for (size_t i = 0; shadow && i <= size / granule; i++) {
		shadow[i].written.store(0, std::memory_order_relaxed);
		shadow[i].write.store(0, std::memory_order_relaxed);
		shadow[i].read.store(0, std::memory_order_relaxed);
	}
}

void Region::filled(size_t offset, size_t n) {
	for (size_t i = offset; shadow && i < offset + n;) {
		size_t end = std::min((i / granule + 1) * granule, offset + n);
		shadow[i / granule].written.fetch_or(((1u << (end - i)) - 1) << i % granule, std::memory_order_relaxed);
		i = end;
	}
}

Region *Memory::alloc(size_t bytes) {
	if (bytes > total - used) return nullptr;
	auto r = std::make_unique<Region>(bytes, true);
	Region *p = r.get();
	regions[uintptr_t(p->base)] = std::move(r);
	used += bytes;
	return p;
}

bool Memory::free(uintptr_t base) {
	auto it = regions.find(base);
	if (it == regions.end()) return false;
	used -= it->second->size;
	regions.erase(it);
	return true;
}

Region *Memory::find(uintptr_t p) {
	auto it = regions.upper_bound(p);
	if (it == regions.begin()) return nullptr;
	--it;
	return it->second->holds(p, 0) ? it->second.get() : nullptr;
}

void Memory::clear() {
	regions.clear();
	used = 0;
}

} // namespace emu
