//go:build cuda

package main

import (
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"isearle/runtime/cuda"
)

// The GPU gives the CPU's rankings on the demo, for words and for a picture with words by the network phi.
func TestCUDADemoRankings(t *testing.T) {
	if err := cuda.Status(); err != nil {
		t.Skipf("make test-cuda runs this on the emulated driver: %v", err)
	}
	_, paths := emojiFiles(t)
	for _, args := range [][]string{{"a red heart"}, {"--image", paths[firstKey(paths)], "but blue"}} {
		var lists [2][]row
		for i, device := range []string{"cpu", "cuda"} {
			lists[i] = rows(t, must(t, "", append([]string{"isearle-search", "-k", "5", "--device", device}, args...)...))
		}
		if len(lists[0]) != 5 || len(lists[1]) != 5 {
			t.Fatalf("%q: %d and %d results", args, len(lists[0]), len(lists[1]))
		}
		for i, want := range lists[0] {
			if got := lists[1][i]; got.id != want.id || math.Abs(got.score-want.score) > 1e-4 {
				t.Errorf("%q: result %d is %v, on the CPU %v", args, i, got, want)
			}
		}
	}
	if out := must(t, "", "isearle-info", "--device", "cuda"); !strings.Contains(out, "multiprocessors") || strings.Contains(out, "no GPU") {
		t.Errorf("info: %q", out)
	}
}

// TestCUDAWithoutDriver runs itself where there is no driver: auto says that it took the CPU, a GPU asked for is error 3.
func TestCUDAWithoutDriver(t *testing.T) {
	if os.Getenv("ISEARLE_TEST_NO_DRIVER") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCUDAWithoutDriver$", "-test.count=1")
		cmd.Env = append(os.Environ(), "ISEARLE_TEST_NO_DRIVER=1", "ISEARLE_CUDA_DRIVER=/nonexistent/libcuda.so.1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if out := must(t, "", "isearle-info"); !strings.Contains(out, "device         CPU") || !strings.Contains(out, "no GPU         no NVIDIA driver") {
		t.Errorf("info: %q", out)
	}
	fails(t, call(t, "", "isearle-info", "--device", "cuda"), exitNoDevice, "no NVIDIA driver")
}
