// The driver shim: a static libcuda.a that finds the driver when it is first called. A program linked with it starts on
// machines without a driver. The driver is the library that ISEARLE_CUDA_DRIVER names, else libcuda.so.1.
#include "cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "shim.h"

#include "calls.inc"

static pthread_once_t opened = PTHREAD_ONCE_INIT;
static void *library;
static char failure[512];
static CUresult started = CUDA_ERROR_NOT_INITIALIZED;
static void *slots[slot_count];

static CUresult missing(void) { return CUDA_ERROR_NOT_FOUND; }
static CUresult absent(void) { return CUDA_ERROR_NO_DEVICE; }

static void open_driver(void) {
	const char *name = getenv("ISEARLE_CUDA_DRIVER");
	if (!name || !*name) name = "libcuda.so.1";
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		const char *why = dlerror();
		snprintf(failure, sizeof failure, "%s", why ? why : name);
	}
}

// resolve returns the driver's function; where it has none, one that answers CUDA_ERROR_NOT_FOUND, and without a driver one
// that answers CUDA_ERROR_NO_DEVICE. Both ignore their arguments, which the C calling conventions of Linux allow.
static void *resolve(int slot) {
	void *f = __atomic_load_n(&slots[slot], __ATOMIC_RELAXED);
	if (f) return f;
	pthread_once(&opened, open_driver);
	f = library ? dlsym(library, names[slot]) : (void *)absent;
	if (!f) f = (void *)missing;
	__atomic_store_n(&slots[slot], f, __ATOMIC_RELAXED);
	return f;
}

// cuInit always answers success, since package cu ends the process on anything else; isearle_driver_status has the truth.
CUresult cuInit(unsigned flags) {
	CUresult r = REAL(cuInit)(flags);
	__atomic_store_n(&started, r, __ATOMIC_RELEASE);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
	if (!count) return CUDA_ERROR_INVALID_VALUE;
	*count = 0;
	if (isearle_driver_status() != CUDA_SUCCESS) return CUDA_SUCCESS;
	return REAL(cuDeviceGetCount)(count);
}

CUresult isearle_driver_status(void) { return __atomic_load_n(&started, __ATOMIC_ACQUIRE); }

const char *isearle_driver_failure(void) {
	pthread_once(&opened, open_driver);
	return failure;
}
