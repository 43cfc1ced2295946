//go:build cuda

package driver

import (
	"bytes"
	"encoding/binary"
	"errors"
	goruntime "runtime"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
)

// emulated opens a context on the emulated driver; these tests are about it.
func emulated(t *testing.T) cu.Stream {
	t.Helper()
	if err := Status(); err != nil {
		t.Skipf("make test-cuda runs this on the emulated driver: %v", err)
	}
	dev, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := dev.Name(); !strings.HasPrefix(name, "emulated") {
		t.Skipf("%s is no emulated device", name)
	}
	goruntime.LockOSThread()
	ctx, err := dev.MakeContext(cu.SchedAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx.Destroy()
		goruntime.UnlockOSThread()
	})
	s, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// planted runs a kernel of kernels/emu/planted.cu over n ones, and returns its first output.
func planted(t *testing.T, kernel string, blocks, threads, n int) (float32, error) {
	t.Helper()
	s := emulated(t)
	module, err := cu.LoadData("\x7fELF")
	if err != nil {
		t.Fatal(err)
	}
	f, err := module.Function(kernel)
	if err != nil {
		t.Fatal(err)
	}
	host, err := AllocHost(4 * n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		binary.LittleEndian.PutUint32(host[4*i:], 0x3f800000)
	}
	in, err := cu.MemAlloc(int64(4 * n))
	if err != nil {
		t.Fatal(err)
	}
	out, err := cu.MemAlloc(int64(4 * n))
	if err != nil {
		t.Fatal(err)
	}
	var args bytes.Buffer
	binary.Write(&args, binary.LittleEndian, struct {
		In, Out uint64
		N, Pad  int32
	}{uint64(in), uint64(out), int32(n), 0})
	l, err := NewLaunch(kernel, f, Config{Grid: [3]int{blocks, 1, 1}, Block: threads, Shared: 4 * threads}, args.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, step := range []func() error{
		func() error { return Upload(in, host, s) },
		func() error { return l.Run(s) },
		func() error { return Download(host[:4], out, s) },
	} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	if err := Check("wait", s.Synchronize()); err != nil {
		return 0, err
	}
	var v float32
	binary.Read(bytes.NewReader(host), binary.LittleEndian, &v)
	return v, nil
}

// The emulated driver must find every planted bug, in every order of the threads, and raise no alarm over what is right.
func TestEmulatorFindsPlantedBugs(t *testing.T) {
	for _, tt := range []struct {
		kernel             string
		blocks, threads, n int
		want               string // in the report; "" for a kernel without a bug
	}{
		{"planted_sum", 1, 256, 200, ""},
		{"planted_no_barrier", 1, 256, 200, "race"},
		{"planted_warp_barrier", 1, 32, 32, ""},
		{"planted_no_warp_barrier", 1, 32, 32, "shared memory"},
		{"planted_store_past", 1, 256, 100, "byte 400 of an allocation of 400"},
		{"planted_shared_past", 1, 64, 64, "byte 256 of 256 bytes of shared memory"},
		{"planted_unwritten", 1, 32, 32, "never written"},
		{"planted_divergent", 1, 32, 32, "deadlock"},
		{"planted_blocks", 7, 32, 32, "race"},
		{"planted_copy", 1, 32, 32, ""},
		{"planted_copy_no_wait", 1, 32, 32, "never written"},
		{"planted_copy_no_barrier", 1, 32, 32, "shared memory"},
		{"planted_copy_too_soon", 1, 32, 32, "race"},
		{"planted_ldmatrix", 1, 32, 32, ""},
		{"planted_ldmatrix_no_barrier", 1, 32, 32, "shared memory"},
		{"planted_ldmatrix_misaligned", 1, 32, 32, "no multiple of 16"},
		{"planted_mma_divergent", 1, 32, 32, "lanes of a warp are at"},
	} {
		for _, order := range []string{"0", "1", "2", "3"} {
			t.Run(tt.kernel+"/"+order, func(t *testing.T) {
				t.Setenv("ISEARLE_EMU_ORDER", order)
				got, err := planted(t, tt.kernel, tt.blocks, tt.threads, tt.n)
				if tt.want == "" {
					if err != nil || tt.kernel == "planted_sum" && got != float32(tt.n) {
						t.Fatalf("%v, %v", got, err)
					}
					return
				}
				var e *Error
				if !errors.As(err, &e) || !e.Sticky() || !strings.Contains(e.Text, tt.want) || !strings.Contains(e.Text, tt.kernel) {
					t.Fatalf("error %v, want a sticky one with %q", err, tt.want)
				}
			})
		}
	}
}

// Rows of matrices that meet in shared memory's banks are counted, those that do not are not.
func TestEmulatorCountsBankConflicts(t *testing.T) {
	for kernel, want := range map[string]uint64{"planted_ldmatrix": 0, "planted_conflict": 8} {
		t.Run(kernel, func(t *testing.T) {
			before := bankConflicts(t)
			if _, err := planted(t, kernel, 1, map[bool]int{true: 256, false: 32}[want > 0], 32); err != nil {
				t.Fatal(err)
			}
			if got := bankConflicts(t) - before; got != want {
				t.Errorf("%d conflicts, want %d", got, want)
			}
		})
	}
}

// bankConflicts is the emulated device's count.
func bankConflicts(t *testing.T) uint64 {
	t.Helper()
	emulated(t)
	module, err := cu.LoadData("\x7fELF")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := module.Global("isearle_emu_counters")
	if err != nil {
		t.Fatal(err)
	}
	var counters [5]uint64
	if err := Check("read counters", cu.MemcpyDtoH(unsafe.Pointer(&counters), p, int64(unsafe.Sizeof(counters)))); err != nil {
		t.Fatal(err)
	}
	return counters[4]
}

// A kernel's structure and the host's must agree in size.
func TestLaunchChecksArguments(t *testing.T) {
	s := emulated(t)
	module, err := cu.LoadData("\x7fELF")
	if err != nil {
		t.Fatal(err)
	}
	f, err := module.Function("planted_sum")
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLaunch("planted_sum", f, Config{Grid: [3]int{1, 1, 1}, Block: 256, Shared: 1024}, make([]byte, 20))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var e *Error
	if err := l.Run(s); !errors.As(err, &e) || e.Name != "CUDA_ERROR_INVALID_VALUE" {
		t.Errorf("error %v for a short structure", err)
	}
}

// Copies from memory that is not pinned are refused by the emulated driver: a real one would make them wait.
func TestPageableCopiesAreRefused(t *testing.T) {
	s := emulated(t)
	p, err := cu.MemAlloc(16)
	if err != nil {
		t.Fatal(err)
	}
	if err := Upload(p, make([]byte, 16), s); err == nil {
		t.Error("a copy from pageable memory was accepted")
	}
}
