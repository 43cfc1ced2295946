package golden

import (
	"encoding/binary"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	npyDescr = regexp.MustCompile(`'descr':\s*'([^']+)'`)
	npyShape = regexp.MustCompile(`'shape':\s*\(([^)]*)\)`)
)

// Array is the content of a .npy file: F32 or I32, row-major.
type Array struct {
	Shape []int
	F32   []float32
	I32   []int32
}

// Row returns row i of a float array, everything behind the first axis flattened.
func (a Array) Row(i int) []float32 {
	n := len(a.F32) / a.Shape[0]
	return a.F32[i*n : (i+1)*n]
}

// Ints returns row i of an integer array.
func (a Array) Ints(i int) []int32 {
	n := len(a.I32) / a.Shape[0]
	return a.I32[i*n : (i+1)*n]
}

// NPY reads a version 1 or 2 .npy file of little-endian f4 or i4 in C order, the only kinds the sets use.
func NPY(tb testing.TB, path string) Array {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		tb.Fatalf("golden: %s: not a .npy file", path)
	}
	start, size := 10, int(binary.LittleEndian.Uint16(b[8:]))
	if b[6] > 1 {
		start, size = 12, int(binary.LittleEndian.Uint32(b[8:]))
	}
	header, body := string(b[start:start+size]), b[start+size:]
	descr, shape := npyDescr.FindStringSubmatch(header), npyShape.FindStringSubmatch(header)
	if descr == nil || shape == nil || strings.Contains(header, "'fortran_order': True") {
		tb.Fatalf("golden: %s: header %q", path, header)
	}
	var a Array
	n := 1
	for _, f := range strings.Split(shape[1], ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		d, err := strconv.Atoi(f)
		if err != nil {
			tb.Fatalf("golden: %s: shape %q", path, shape[1])
		}
		a.Shape, n = append(a.Shape, d), n*d
	}
	if len(body) != 4*n {
		tb.Fatalf("golden: %s: %d bytes for shape %v", path, len(body), a.Shape)
	}
	switch descr[1] {
	case "<f4":
		a.F32 = make([]float32, n)
		for i := range a.F32 {
			a.F32[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
		}
	case "<i4":
		a.I32 = make([]int32, n)
		for i := range a.I32 {
			a.I32[i] = int32(binary.LittleEndian.Uint32(body[4*i:]))
		}
	default:
		tb.Fatalf("golden: %s: dtype %s", path, descr[1])
	}
	return a
}
