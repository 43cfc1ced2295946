//go:build !noasm

package simd

// tile makes of a loop over a tile one of slices; those that are nil are absent.
func tile(loop func(y *float32, ldy, rows int, bias, res *float32, ldres int)) func(y []float32, ldy, rows int, bias, res []float32, ldres int) {
	return func(y []float32, ldy, rows int, bias, res []float32, ldres int) {
		if res == nil {
			ldres = 0
		}
		loop(&y[0], ldy, rows, first(bias), first(res), ldres)
	}
}

func first(v []float32) *float32 {
	if len(v) == 0 {
		return nil
	}
	return &v[0]
}
