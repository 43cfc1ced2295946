package mmap

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 4095, 4096, 70000} {
		want := bytes.Repeat([]byte("isearle"), size/7+1)[:size]
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), want) || f.Name() != path {
			t.Errorf("%d bytes: wrong content or name", size)
		}
		f.Prefetch(f.Bytes()[size/2:])
		f.Drop(f.Bytes())
		f.Drop(want)
		f.Drop(f.Bytes()[:size/3])
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("%d bytes: content changed by Drop", size)
		}
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestAnonymous checks that memory of no file starts where a huge page may, is zero and can be written to its end.
func TestAnonymous(t *testing.T) {
	for _, n := range []int{HugePage, 3 * HugePage} {
		mem := Anonymous(n)
		if mem == nil {
			t.Skip("this system maps none")
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(mem))); len(mem) != n || at%HugePage != 0 {
			t.Fatalf("%d bytes at %#x, wanted %d", len(mem), at, n)
		}
		AskHuge(mem)
		for _, i := range []int{0, n / 2, n - 1} {
			if mem[i] != 0 {
				t.Errorf("byte %d is %d", i, mem[i])
			}
			mem[i] = 1
		}
		Free(mem)
	}
}
