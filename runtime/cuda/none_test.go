//go:build !cuda

package cuda

import (
	"errors"
	"strings"
	"testing"

	"isearle/runtime"
)

func TestOpenWithoutCUDA(t *testing.T) {
	if err := Status(); !errors.Is(err, runtime.ErrNoDevice) {
		t.Errorf("status %v", err)
	}
	_, err := Open(0, Options{})
	if !errors.Is(err, runtime.ErrNoDevice) || !strings.Contains(err.Error(), "built without CUDA") {
		t.Errorf("error %v", err)
	}
}
