// The driver's functions that package cuda and gorgonia.org/cu call, on the emulated device. Streams do their work when
// something waits for them, and no earlier, so that whoever forgets to wait is found out.
#include "device.h"

#include <chrono>
#include <cstring>

using emu::bound;
using emu::Device;

// ENTER takes the device for the rest of a call that needs a live context.
#define ENTER(d)                                               \
	Device &d = emu::device();                                 \
	std::lock_guard<std::mutex> hold_(d.mutex);                \
	if (!bound || !d.contexts.count(bound)) return CUDA_ERROR_INVALID_CONTEXT; \
	if (d.injected("lost")) d.fail(CUDA_ERROR_ECC_UNCORRECTABLE, "injected: the device is lost"); \
	if (d.sticky != CUDA_SUCCESS) return d.sticky

static double now() {
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static CUresult copy(void *dst, const void *src, size_t n, emu::Region *into, size_t offset) {
	emu::device().counters.copies++;
	memcpy(dst, src, n);
	if (into) into->filled(offset, n);
	return CUDA_SUCCESS;
}

// place finds the device memory [p, p+n).
static emu::Region *place(Device &d, CUdeviceptr p, size_t n) {
	emu::Region *r = d.memory.find(p);
	return r && r->holds(p, n) ? r : nullptr;
}

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int *v) {
	*v = CUDA_VERSION;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *n) {
	*n = 1;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *dev, int ordinal) {
	*dev = 0;
	return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char *name, int n, CUdevice) {
	strncpy(name, "emulated device", size_t(n));
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice) {
	*n = emu::device().memory.total;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice) {
	switch (a) {
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = 8; break;
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = 0; break;
	case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = 2; break;
	case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *v = 1024; break;
	case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *v = 32; break;
	case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = 227 << 10; break;
	default: *v = 0;
	}
	return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult r, const char **s) {
	*s = r == CUDA_SUCCESS                       ? "CUDA_SUCCESS"
	     : r == CUDA_ERROR_OUT_OF_MEMORY         ? "CUDA_ERROR_OUT_OF_MEMORY"
	     : r == CUDA_ERROR_INVALID_VALUE         ? "CUDA_ERROR_INVALID_VALUE"
	     : r == CUDA_ERROR_ILLEGAL_ADDRESS       ? "CUDA_ERROR_ILLEGAL_ADDRESS"
	     : r == CUDA_ERROR_LAUNCH_FAILED         ? "CUDA_ERROR_LAUNCH_FAILED"
	     : r == CUDA_ERROR_ECC_UNCORRECTABLE     ? "CUDA_ERROR_ECC_UNCORRECTABLE"
	     : r == CUDA_ERROR_NOT_FOUND             ? "CUDA_ERROR_NOT_FOUND"
	                                             : "CUDA_ERROR";
	return CUDA_SUCCESS;
}

// Unlike a real driver's, the text says what the kernel did.
CUresult cuGetErrorString(CUresult r, const char **s) {
	Device &d = emu::device();
	std::lock_guard<std::mutex> hold(d.mutex);
	*s = r == d.sticky ? d.report.c_str() : "";
	return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *c, unsigned, CUdevice) {
	Device &d = emu::device();
	std::lock_guard<std::mutex> hold(d.mutex);
	*c = bound = new CUctx_st;
	d.contexts.insert(bound);
	return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext c) {
	Device &d = emu::device();
	std::lock_guard<std::mutex> hold(d.mutex);
	if (!d.contexts.erase(c)) return CUDA_ERROR_INVALID_CONTEXT;
	if (bound == c) bound = nullptr;
	delete c;
	if (d.contexts.empty()) {
		for (CUstream s : d.streams) delete s;
		d.streams.clear();
		d.memory.clear();
		d.pinned.clear();
		d.sticky = CUDA_SUCCESS;
	}
	return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext c) {
	bound = c;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *c) {
	*c = bound;
	return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *c) {
	*c = bound;
	bound = nullptr;
	return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
	ENTER(d);
	d.flush_all();
	return d.sticky;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
	ENTER(d);
	*total = d.memory.total;
	*available = d.memory.total - d.memory.used;
	return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) {
	ENTER(d);
	if (!n) return CUDA_ERROR_INVALID_VALUE;
	if (d.injected("alloc")) return CUDA_ERROR_OUT_OF_MEMORY;
	emu::Region *r = d.memory.alloc(n);
	if (!r) return CUDA_ERROR_OUT_OF_MEMORY;
	d.counters.allocations++;
	*p = uintptr_t(r->base);
	return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr p) {
	ENTER(d);
	d.flush_all();
	return d.memory.free(p) ? d.sticky : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostAlloc(void **p, size_t n, unsigned) {
	ENTER(d);
	*p = (*d.pinned.insert(std::make_unique<emu::Region>(n, false)).first)->base;
	return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *p) {
	ENTER(d);
	d.flush_all();
	for (auto it = d.pinned.begin(); it != d.pinned.end(); ++it)
		if ((*it)->base == p) {
			d.pinned.erase(it);
			return CUDA_SUCCESS;
		}
	return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t n, CUstream s) {
	ENTER(d);
	emu::Region *r = place(d, dst, n);
	if (!r || !d.is_pinned(src, n)) return CUDA_ERROR_INVALID_VALUE;
	return d.submit(s, [=] { copy((void *)dst, src, n, r, dst - uintptr_t(r->base)); });
}

CUresult cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t n, CUstream s) {
	ENTER(d);
	if (!place(d, src, n) || !d.is_pinned(dst, n)) return CUDA_ERROR_INVALID_VALUE;
	return d.submit(s, [=] { copy(dst, (void *)src, n, nullptr, 0); });
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t n, CUstream s) {
	ENTER(d);
	emu::Region *r = place(d, dst, n);
	if (!r || !place(d, src, n)) return CUDA_ERROR_INVALID_VALUE;
	return d.submit(s, [=] { copy((void *)dst, (void *)src, n, r, dst - uintptr_t(r->base)); });
}

CUresult cuMemsetD8Async(CUdeviceptr dst, unsigned char v, size_t n, CUstream s) {
	ENTER(d);
	emu::Region *r = place(d, dst, n);
	if (!r) return CUDA_ERROR_INVALID_VALUE;
	return d.submit(s, [=] {
		memset((void *)dst, v, n);
		r->filled(dst - uintptr_t(r->base), n);
	});
}

CUresult cuMemcpyDtoH_v2(void *dst, CUdeviceptr src, size_t n) {
	ENTER(d);
	d.flush_all();
	if (!place(d, src, n)) {
		if (src != uintptr_t(&d.counters) || n > sizeof d.counters) return CUDA_ERROR_INVALID_VALUE;
	}
	memcpy(dst, (void *)src, n);
	return d.sticky;
}

CUresult cuStreamCreate(CUstream *s, unsigned) {
	ENTER(d);
	d.streams.insert(*s = new CUstream_st);
	return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream s) {
	ENTER(d);
	if (!d.streams.count(s)) return CUDA_ERROR_INVALID_HANDLE;
	d.flush(s);
	d.streams.erase(s);
	delete s;
	return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream s) {
	ENTER(d);
	if (!d.streams.count(s)) return CUDA_ERROR_INVALID_HANDLE;
	if (s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	d.flush(s);
	return d.sticky;
}

CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode) {
	ENTER(d);
	if (!d.streams.count(s) || s->capture) return CUDA_ERROR_ILLEGAL_STATE;
	s->capture = new CUgraph_st;
	return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream s, CUgraph *g) {
	ENTER(d);
	if (!d.streams.count(s) || !s->capture) return CUDA_ERROR_ILLEGAL_STATE;
	*g = s->capture;
	s->capture = nullptr;
	return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long) {
	ENTER(d);
	*e = new CUgraphExec_st{g->work};
	return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph g) {
	delete g;
	return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec e) {
	Device &d = emu::device();
	std::lock_guard<std::mutex> hold(d.mutex);
	d.flush_all();
	delete e;
	return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
	ENTER(d);
	d.counters.graph_launches++;
	for (const Work &w : e->work)
		if (CUresult r = d.submit(s, w)) return r;
	return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *e, unsigned) {
	*e = new CUevent_st;
	return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent e) {
	Device &d = emu::device();
	std::lock_guard<std::mutex> hold(d.mutex);
	if (e->stream && d.streams.count(e->stream)) d.flush(e->stream);
	delete e;
	return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent e, CUstream s) {
	ENTER(d);
	e->stream = s;
	return d.submit(s, [e] {
		e->stream = nullptr;
		e->seconds = now();
	});
}

CUresult cuEventSynchronize(CUevent e) {
	ENTER(d);
	if (e->stream) d.flush(e->stream);
	return d.sticky;
}

CUresult cuEventQuery(CUevent e) {
	ENTER(d);
	return e->stream ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream, CUevent e, unsigned) {
	ENTER(d);
	if (e->stream) d.flush(e->stream);
	return d.sticky;
}

CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
	*ms = float((to->seconds - from->seconds) * 1e3);
	return CUDA_SUCCESS;
}

// The image is not looked at: the kernels are those that this library was built from.
CUresult cuModuleLoadData(CUmodule *m, const void *image) {
	ENTER(d);
	if (!image) return CUDA_ERROR_INVALID_VALUE;
	*m = new CUmod_st{bound};
	return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule m) {
	delete m;
	return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *f, CUmodule, const char *name) {
	ENTER(d);
	const emu::Entry *e = emu::find(name);
	if (!e) return CUDA_ERROR_NOT_FOUND;
	d.functions.push_back(std::make_unique<CUfunc_st>());
	*f = d.functions.back().get();
	(*f)->entry = e;
	return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *p, size_t *n, CUmodule, const char *name) {
	ENTER(d);
	if (strcmp(name, "isearle_emu_counters")) return CUDA_ERROR_NOT_FOUND;
	*p = uintptr_t(&d.counters);
	*n = sizeof d.counters;
	return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
	ENTER(d);
	if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
	if (v > 227 << 10) return CUDA_ERROR_INVALID_VALUE;
	f->dynamic_shared = v;
	return CUDA_SUCCESS;
}

// Arguments come as one buffer, whose size must be that of the kernel's structure.
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream s, void **params, void **extra) {
	ENTER(d);
	if (d.injected("launch")) {
		d.fail(CUDA_ERROR_LAUNCH_FAILED, "injected: the launch fails");
		return CUDA_SUCCESS;
	}
	if (params || !extra || extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER || extra[2] != CU_LAUNCH_PARAM_BUFFER_SIZE)
		return CUDA_ERROR_INVALID_VALUE;
	const uint8_t *args = static_cast<const uint8_t *>(extra[1]);
	size_t n = *static_cast<size_t *>(extra[3]);
	if (n != f->entry->args || !gx || !gy || !gz || gy > 65535 || gz > 65535 || by != 1 || bz != 1) return CUDA_ERROR_INVALID_VALUE;
	if (!bx || bx > unsigned(f->entry->threads) || int(shared) > f->dynamic_shared) return CUDA_ERROR_INVALID_VALUE;
	emu::Launch l{f->entry, {gx, gy, gz}, bx, shared, std::vector<uint8_t>(args, args + n)};
	return d.submit(s, [l] { emu::device().launch(l); });
}
}
