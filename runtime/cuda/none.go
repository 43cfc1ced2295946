//go:build !cuda

package cuda

import (
	"fmt"

	"isearle/runtime"
)

// Built says whether this binary has the CUDA device.
const Built = false

// Open returns a GPU by its ordinal; here, without the build tag cuda, only the error that says so.
func Open(ordinal int, _ Options) (runtime.Device, error) {
	return nil, fmt.Errorf("cuda:%d: this binary was built without CUDA: %w", ordinal, runtime.ErrNoDevice)
}

// Count is the number of GPUs.
func Count() int { return 0 }

// Status says why there is no GPU; nil where there is one.
func Status() error {
	return fmt.Errorf("this binary was built without CUDA: %w", runtime.ErrNoDevice)
}
