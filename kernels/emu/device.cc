#include "device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace emu {

thread_local CUcontext bound = nullptr;

Device &device() {
	static Device d;
	return d;
}

static long number(const char *variable, long otherwise) {
	const char *v = getenv(variable);
	return v && *v ? atol(v) : otherwise;
}

void Device::fail(CUresult code, const std::string &text) {
	if (sticky != CUDA_SUCCESS) return;
	sticky = code;
	report = text;
}

void Device::flush(CUstream s) {
	std::vector<Work> work;
	work.swap(s->queue);
	for (Work &w : work)
		if (sticky == CUDA_SUCCESS) w();
}

void Device::flush_all() {
	for (CUstream s : streams) flush(s);
}

CUresult Device::submit(CUstream s, Work w) {
	if (!streams.count(s)) return CUDA_ERROR_INVALID_HANDLE;
	if (s->capture) {
		s->capture->work.push_back(std::move(w));
		return CUDA_SUCCESS;
	}
	s->queue.push_back(std::move(w));
	return CUDA_SUCCESS;
}

bool Device::is_pinned(const void *p, size_t n) const {
	for (const auto &r : pinned)
		if (r->holds(uintptr_t(p), n)) return true;
	return false;
}

void Device::launch(const Launch &l) {
	counters.launches++;
	unsigned cores = std::thread::hardware_concurrency();
	// Left alone, every launch has another order: forward, backward, shuffled, and so on.
	long n = long(counters.launches), order = number("ISEARLE_EMU_ORDER", n % 3 < 2 ? n % 3 : n);
	Fault f = execute(memory, l, Order(order), unsigned(number("ISEARLE_EMU_WORKERS", cores ? cores : 1)));
	counters.bank_conflicts = conflicts();
	if (!f.text.empty()) fail(f.memory ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED, f.text);
}

bool Device::injected(const char *kind) {
	const char *v = getenv("ISEARLE_EMU_FAIL");
	std::string now = v ? v : "";
	if (now != plan) {
		plan = now;
		size_t colon = now.find(':');
		countdown = colon == std::string::npos ? 0 : atol(now.c_str() + colon + 1);
	}
	size_t n = strlen(kind);
	if (plan.compare(0, n, kind) || plan.size() <= n || plan[n] != ':' || countdown == 0) return false;
	return --countdown == 0;
}

} // namespace emu
