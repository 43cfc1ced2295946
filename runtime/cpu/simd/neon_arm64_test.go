//go:build !noasm

package simd

import (
	"fmt"
	"testing"
)

// TestNEONBits checks that the product of NEON has the bits of the portable one.
func TestNEONBits(t *testing.T) {
	neon, err := Select("neon")
	if err != nil {
		t.Fatal(err)
	}
	for _, depth := range depths[1:] {
		for rows := 1; rows <= neon.MR; rows++ {
			for _, acc := range []bool{false, true} {
				a, b, c := random(1, rows*depth, 1), random(2, depth*neon.NR, 1), random(3, rows*neon.NR, 1)
				want := clone(c)
				for i := range rows {
					gemmGeneric(want[i*neon.NR:], neon.NR, a[i*depth:], depth, 1, b, depth, acc, nil)
				}
				neon.Gemm(c, neon.NR, a, depth, rows, b, depth, acc, b)
				equalBits(t, fmt.Sprintf("rows %d depth %d acc %v", rows, depth, acc), c, want)
			}
		}
	}
}
