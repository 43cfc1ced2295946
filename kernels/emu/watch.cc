// The checks of every load and store. Kernels are compiled with -fsanitize=thread, whose hooks are answered here, not by
// the sanitizer's own library.
//
// Two accesses to a byte, one of them a store, by two threads are a race unless a barrier of the block, or of their common
// warp, lies between them; between two blocks of a launch nothing orders them. Stamps of the worker's clock, which every
// barrier advances, say whether one did.
#include "worker.h"

#include <algorithm>
#include <cstring>

namespace emu {

// In place of a thread: several of one warp are warp_readers + the warp, several of more than one all ones.
static constexpr unsigned warp_readers = 1024, several = 2047;

static unsigned warp_of(unsigned thread) {
	return thread < warp_readers ? thread / 32 : thread - warp_readers;
}

static uint64_t stamp(uint64_t m) { return m >> 15 & ((uint64_t(1) << 43) - 1); }
static unsigned worker_of(uint64_t m) { return unsigned(m >> 58); }
static unsigned thread_of(uint64_t m) { return unsigned(m >> 4 & 2047); }

uint64_t Worker::mark(uint8_t bytes, unsigned who) const {
	return uint64_t(id) << 58 | clock << 15 | uint64_t(who) << 4 | bytes;
}

// conflicts reports whether nothing orders another's access before one of ours.
bool Worker::conflicts(uint64_t other, uint8_t bytes) const {
	if (!(other & 15 & bytes)) return false;
	unsigned w = worker_of(other), t = thread_of(other);
	if (w != unsigned(id) || stamp(other) < start) return stamp(other) >= run->began[w] && w != 0;
	if (t == thread || stamp(other) < block.ordered) return false;
	return warp_of(t) != thread / 32 || stamp(other) >= warps[thread / 32].ordered;
}

void Worker::touch(Region &r, size_t offset, size_t n, bool store) {
	const bool is_shared = &r == shared.get();
	for (size_t end = offset + n; offset < end;) {
		size_t next = std::min((offset / granule + 1) * granule, end);
		uint8_t bytes = uint8_t(((1u << (next - offset)) - 1) << offset % granule);
		Shadow &s = r.shadow[offset / granule];
		uint64_t write = s.write.load(std::memory_order_relaxed), read = s.read.load(std::memory_order_relaxed);
		const char *space = is_shared ? "shared" : "global";
		if (conflicts(write, bytes))
			return fail(false, "race: %s of byte %zu of %s memory, which thread %u stores to with no barrier between",
			            store ? "store" : "load", offset, space, thread_of(write));
		if (store && conflicts(read, bytes))
			return fail(false, "race: store to byte %zu of %s memory, which another thread loads with no barrier between", offset, space);
		if (!store && (s.written.load(std::memory_order_relaxed) & bytes) != bytes)
			return fail(false, "load of byte %zu of %s memory, which was never written", offset, space);
		if (store) {
			s.written.fetch_or(bytes, std::memory_order_relaxed);
			bool mine = worker_of(write) == unsigned(id) && stamp(write) >= start && thread_of(write) == thread;
			s.write.store(mark(mine ? uint8_t(bytes | (write & 15)) : bytes, thread), std::memory_order_relaxed);
		} else if (conflicts(read, 15)) {
			bool near = worker_of(read) == unsigned(id) && stamp(read) >= start && warp_of(thread_of(read)) == thread / 32;
			s.read.store(mark(uint8_t(bytes | (read & 15)), near ? warp_readers + thread / 32 : several), std::memory_order_relaxed);
		} else {
			s.read.store(mark(bytes, thread), std::memory_order_relaxed);
		}
		offset = next;
	}
}

void Worker::outside(uintptr_t p, size_t n, bool store) {
	const char *what = store ? "store" : "load";
	for (size_t back = 1; back <= 4096; back++) {
		if (p - uintptr_t(shared->base) - shared->size < back) break;
		if (Region *r = run->memory.find(p - back))
			return fail(true, "%s of %zu bytes at byte %zu of an allocation of %zu", what, n, size_t(p - uintptr_t(r->base)), r->size);
	}
	size_t off = p - uintptr_t(shared->base);
	if (off < shared->size + 4096)
		return fail(true, "%s of %zu bytes at byte %zu of %zu bytes of shared memory", what, n, off, shared->size);
	fail(true, "%s of %zu bytes at %#zx, where nothing is allocated", what, n, size_t(p));
}

// image holds the emulator's own code and constants.
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;

void Worker::access(uintptr_t p, size_t n, bool store) {
	if (p - uintptr_t(stacks.bottom(int(thread))) < Stacks::size) return;
	if (shared->holds(p, n)) {
		if (stale) shared->poison();
		stale = false;
		return touch(*shared, p - uintptr_t(shared->base), n, store);
	}
	if (!last || !last->holds(p, n)) last = run->memory.find(p);
	if (last && last->holds(p, n)) return touch(*last, p - uintptr_t(last->base), n, store);
	last = nullptr;
	const auto &args = run->launch.args;
	if (!store && p - uintptr_t(args.data()) < args.size()) return;
	if (!store && p - uintptr_t(&__ehdr_start) < size_t(&_end - &__ehdr_start)) return;
	outside(p, n, store);
}

void Worker::reach(uintptr_t p, size_t n) {
	const bool is_shared = shared->holds(p, n);
	Region *r = is_shared ? shared.get() : run->memory.find(p);
	if (!r || !r->holds(p, n)) return outside(p, n, true);
	size_t offset = p - uintptr_t(r->base);
	if (offset % n) return fail(true, "atomic operation on %zu bytes at byte %zu of an allocation", n, offset);
	if (stale && is_shared) shared->poison();
	if (is_shared) stale = false;
	if (r->shadow[offset / granule].written.load(std::memory_order_relaxed) != 15)
		return fail(false, "atomic operation on byte %zu of %s memory, which was never written", offset, is_shared ? "shared" : "global");
}

void Worker::sent(uint8_t *p, size_t n) {
	access(uintptr_t(p), n, true);
	if (!shared->holds(uintptr_t(p), n)) return outside(uintptr_t(p), n, true);
	memset(p, 0xff, n);
	size_t first = size_t(p - shared->base) / granule;
	for (size_t i = 0; i < n / granule; i++) shared->shadow[first + i].written.store(0, std::memory_order_relaxed);
}

int atomic_add(int *p, int n) {
	current->reach(uintptr_t(p), sizeof *p);
	return __atomic_fetch_add(p, n, __ATOMIC_RELAXED);
}

static void check(void *p, size_t n, bool store) {
	if (Worker *w = current)
		if (w->inside) w->access(uintptr_t(p), n, store);
}

} // namespace emu

#define HOOK(n)                                                                  \
	void __tsan_read##n(void *p) { emu::check(p, n, false); }                    \
	void __tsan_write##n(void *p) { emu::check(p, n, true); }                    \
	void __tsan_unaligned_read##n(void *p) { emu::check(p, n, false); }          \
	void __tsan_unaligned_write##n(void *p) { emu::check(p, n, true); }          \
	void __tsan_volatile_read##n(void *p) { emu::check(p, n, false); }           \
	void __tsan_volatile_write##n(void *p) { emu::check(p, n, true); }

extern "C" {
HOOK(1)
HOOK(2)
HOOK(4)
HOOK(8)
HOOK(16)
void __tsan_read_range(void *p, size_t n) { emu::check(p, n, false); }
void __tsan_write_range(void *p, size_t n) { emu::check(p, n, true); }
void __tsan_vptr_update(void **p, void *) { emu::check(p, sizeof *p, true); }
void __tsan_vptr_read(void **p) { emu::check(p, sizeof *p, false); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
