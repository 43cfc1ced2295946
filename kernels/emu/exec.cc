#include "exec.h"
#include "worker.h"

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <random>
#include <thread>

namespace emu {

thread_local Worker *current __attribute__((tls_model("initial-exec"))) = nullptr;

static std::vector<Entry> &entries() {
	static std::vector<Entry> list;
	return list;
}

bool add(const Entry &e) {
	entries().push_back(e);
	return true;
}

const Entry *find(const char *name) {
	for (const Entry &e : entries())
		if (!strcmp(e.name, name)) return &e;
	return nullptr;
}

// permutation of n numbers in an order.
static std::vector<unsigned> permutation(size_t n, Order order) {
	std::vector<unsigned> p(n);
	for (size_t i = 0; i < n; i++) p[i] = unsigned(order == 1 ? n - 1 - i : i);
	if (order > 1) std::shuffle(p.begin(), p.end(), std::mt19937(order));
	return p;
}

void Run::report(bool memory_fault, const std::string &text) {
	std::lock_guard<std::mutex> hold(mutex);
	if (fault.text.empty()) fault = {memory_fault, std::string("kernel ") + launch.entry->name + ": " + text};
	stop.store(true);
}

Worker::Worker(int id) : id(id), stacks(1024), fibers(1024) {}

// enter is the first function on a fiber's stack.
void Worker::enter() {
	Worker *w = current;
	w->run->launch.entry->body(w->run->launch.args.data());
	w->leave();
}

void Worker::yield() { emu_switch(&fibers[thread].context, scheduler); }

void Worker::leave() {
	fibers[thread].state = Done;
	Warp &warp = warps[thread / 32];
	block.alive--;
	warp.alive--;
	if (block.alive && block.waiting == block.alive) release_block();
	if (warp.alive && warp.waiting == warp.alive) release_warp(thread / 32, true);
	yield();
}

void Worker::release_block() {
	block.waiting = 0;
	block.ordered = ++clock;
	for (unsigned i = 0; i < run->launch.block; i++)
		if (fibers[i].state == AtBlock) fibers[i].state = Ready;
}

void Worker::release_warp(unsigned w, bool orders) {
	warps[w].waiting = 0;
	if (orders) warps[w].ordered = ++clock;
	for (unsigned i = 32 * w; i < std::min(32 * w + 32, run->launch.block); i++)
		if (fibers[i].state == AtWarp) fibers[i].state = Ready;
}

void Worker::barrier() {
	fibers[thread].state = AtBlock;
	if (++block.waiting == block.alive) release_block();
	else yield();
}

void Worker::collective(Kind kind, void (*finish)(Exchange &)) {
	static const char *const names[] = {"its barrier", "a shuffle", "a product", "a load of matrices"};
	Warp &warp = warps[thread / 32];
	if (warp.waiting && warp.kind != kind)
		return fail(false, "lanes of a warp are at %s and at %s", names[warp.kind], names[kind]);
	if (kind >= MMA && warp.alive != 32) return fail(false, "%s by %u lanes of a warp", names[kind], warp.alive);
	warp.kind = kind;
	fibers[thread].state = AtWarp;
	unsigned turn = fibers[thread].turn++;
	if (++warp.waiting < warp.alive) return yield();
	if (finish) finish(warp.exchanges[turn % 2]);
	release_warp(thread / 32, kind == Barrier);
}

Exchange &Worker::exchange() { return warps[thread / 32].exchanges[fibers[thread].turn % 2]; }

// fail ends the block: the running fiber never returns.
void Worker::fail(bool memory_fault, const char *format, ...) {
	char text[512], where[160];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	snprintf(where, sizeof where, "thread %u of block (%u, %u, %u): ", thread, index[0], index[1], index[2]);
	run->report(memory_fault, where + std::string(text));
	if (inside) yield();
}

void Worker::stuck() {
	unsigned at_block = 0, at_warp = 0;
	for (unsigned i = 0; i < run->launch.block; i++) {
		at_block += fibers[i].state == AtBlock;
		at_warp += fibers[i].state == AtWarp;
	}
	fail(false, "deadlock: %u threads wait at the block's barrier, %u at their warp's", at_block, at_warp);
}

void Worker::run_block(unsigned number) {
	const Launch &l = run->launch;
	index[0] = number % l.grid[0], index[1] = number / l.grid[0] % l.grid[1], index[2] = number / l.grid[0] / l.grid[1];
	start = ++clock;
	block = {l.block, 0, start};
	warps.resize((l.block + 31) / 32);
	for (Warp &w : warps) w.alive = w.waiting = 0, w.ordered = start;
	if (!shared || shared->size != l.shared) shared = std::make_unique<Region>(l.shared, true);
	stale = true;
	for (unsigned i = 0; i < l.block; i++) {
		warps[i / 32].alive++;
		fibers[i].context = prepare(stacks.bottom(i), enter);
		fibers[i].state = Ready;
		fibers[i].turn = fibers[i].group = 0;
		fibers[i].copies.clear();
	}
	while (block.alive && !run->stop.load(std::memory_order_relaxed)) {
		bool moved = false;
		for (unsigned i : run->threads) {
			if (fibers[i].state != Ready) continue;
			moved = true;
			thread = i;
			inside = true;
			emu_switch(&scheduler, fibers[i].context);
			inside = false;
			if (run->stop.load(std::memory_order_relaxed)) return;
		}
		if (!moved) return stuck();
	}
}

void Worker::work(Run &r) {
	run = &r;
	last = nullptr;
	current = this;
	for (size_t i; !r.stop.load() && (i = r.next.fetch_add(1)) < r.blocks.size();) run_block(r.blocks[i]);
	current = nullptr;
	run = nullptr;
}

// pool returns n workers, which keep their stacks and clocks from launch to launch.
static std::vector<std::unique_ptr<Worker>> &pool(unsigned n) {
	static std::vector<std::unique_ptr<Worker>> workers;
	while (workers.size() < n) workers.push_back(std::make_unique<Worker>(int(workers.size()) + 1));
	return workers;
}

Fault execute(Memory &memory, const Launch &launch, Order order, unsigned workers) {
	size_t blocks = size_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
	workers = unsigned(std::min<size_t>({workers, blocks, max_workers - 1}));
	Run run(memory, launch);
	run.blocks = permutation(blocks, order);
	run.threads = permutation(launch.block, order);
	auto &w = pool(workers);
	for (auto &x : w) run.began[x->id] = ++x->clock;
	std::vector<std::thread> threads;
	for (unsigned i = 1; i < workers; i++) threads.emplace_back([&, i] { w[i]->work(run); });
	w[0]->work(run);
	for (auto &t : threads) t.join();
	return run.fault;
}

int thread_index() { return int(current->thread); }
int block(int axis) { return int(current->index[axis]); }
void barrier() { current->barrier(); }
void warp_barrier() { current->collective(Barrier); }
void *shared_memory() { return current->shared->base; }

float bits_to_f32(uint32_t x) {
	float f;
	memcpy(&f, &x, 4);
	return f;
}

float f16_to_f32(uint16_t h) {
	uint32_t sign = uint32_t(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
	if (e == 31) return bits_to_f32(sign | 0x7f800000 | m << 13);
	if (e) return bits_to_f32(sign | (e + 112) << 23 | m << 13);
	return bits_to_f32(sign) + (sign ? -1.0f : 1.0f) * float(m) * 0x1p-24f;
}

uint32_t f32_to_bits(float f) {
	uint32_t x;
	memcpy(&x, &f, 4);
	return x;
}

uint16_t f32_to_f16(float f) {
	uint32_t x = f32_to_bits(f), sign = x >> 16 & 0x8000, a = x & 0x7fffffff;
	if (a > 0x7f800000) return 0x7fff; // what cvt makes of every NaN
	if (a >= 0x477ff000) return uint16_t(sign | 0x7c00);
	if (a < 0x38800000) return uint16_t(sign | uint32_t(std::nearbyint(bits_to_f32(a) * 0x1p24f)));
	return uint16_t(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
}

uint16_t f32_to_bf16(float f) {
	uint32_t x = f32_to_bits(f);
	if ((x & 0x7fffffff) > 0x7f800000) return 0x7fff;
	return uint16_t((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

} // namespace emu
