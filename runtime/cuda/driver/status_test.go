//go:build cuda

package driver

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"isearle/runtime"
)

// TestMain answers for a process without a driver, when asked to be one.
func TestMain(m *testing.M) {
	if os.Getenv("ISEARLE_TEST_STATUS") != "" {
		err := Status()
		if err == nil || !errors.Is(err, runtime.ErrNoDevice) {
			os.Exit(3)
		}
		os.Stdout.WriteString(err.Error())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A program starts where there is no driver, and can say why there is no device.
func TestStartsWithoutDriver(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ISEARLE_TEST_STATUS=1", "ISEARLE_CUDA_DRIVER=/nonexistent/libcuda.so.1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "no NVIDIA driver: /nonexistent/libcuda.so.1") {
		t.Errorf("%v: %q", err, out)
	}
}
