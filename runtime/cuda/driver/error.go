//go:build cuda

package driver

// #include "shim.h"
import "C"

import (
	"fmt"
	"reflect"

	"isearle/runtime"
)

// Error is what the driver answered to a call.
type Error struct {
	Op   string // what was asked for
	Code int    // CUresult
	Name string // "CUDA_ERROR_..."
	Text string // the driver's explanation
}

func (e *Error) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s: %s", e.Op, e.Name)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Name, e.Text)
}

// Unwrap is runtime.ErrOutOfMemory, runtime.ErrNoDevice or nil.
func (e *Error) Unwrap() error {
	switch e.Code {
	case C.CUDA_ERROR_OUT_OF_MEMORY:
		return runtime.ErrOutOfMemory
	case C.CUDA_ERROR_NO_DEVICE, C.CUDA_ERROR_INVALID_DEVICE, C.CUDA_ERROR_DEVICE_UNAVAILABLE:
		return runtime.ErrNoDevice
	}
	return nil
}

// Sticky reports whether the context is lost: every later call would give the same error.
func (e *Error) Sticky() bool {
	switch e.Code {
	case C.CUDA_ERROR_ECC_UNCORRECTABLE, C.CUDA_ERROR_NVLINK_UNCORRECTABLE, C.CUDA_ERROR_CONTEXT_IS_DESTROYED,
		C.CUDA_ERROR_SYSTEM_NOT_READY, C.CUDA_ERROR_UNKNOWN, C.CUDA_ERROR_DEVICE_UNAVAILABLE:
		return true
	}
	return e.Code >= C.CUDA_ERROR_ILLEGAL_ADDRESS && e.Code <= C.CUDA_ERROR_LAUNCH_FAILED &&
		e.Code != C.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
}

// result is nil for CUDA_SUCCESS.
func result(op string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	e := &Error{Op: op, Code: int(r), Name: fmt.Sprintf("CUDA error %d", int(r))}
	var s *C.char
	if C.cuGetErrorName(r, &s) == C.CUDA_SUCCESS && s != nil {
		e.Name = C.GoString(s)
	}
	s = nil
	if C.cuGetErrorString(r, &s) == C.CUDA_SUCCESS && s != nil {
		e.Text = C.GoString(s)
	}
	return e
}

// Check turns an error of package cu, whose type is not exported but is the number of the CUresult, into an Error.
func Check(op string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.Kind() == reflect.Int {
		return result(op, C.CUresult(v.Int()))
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Status says why there is no device; nil where the driver started.
func Status() error {
	if r := C.isearle_driver_status(); r != C.CUDA_SUCCESS {
		if why := C.GoString(C.isearle_driver_failure()); why != "" {
			return fmt.Errorf("no NVIDIA driver: %s: %w", why, runtime.ErrNoDevice)
		}
		return fmt.Errorf("%w: %w", runtime.ErrNoDevice, result("start the driver", r))
	}
	return nil
}
