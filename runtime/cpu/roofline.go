package cpu

import (
	"fmt"
	"sync/atomic"
	"time"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// Peak implements runtime.Roofline: all workers multiply in registers.
func (d *Device) Peak(dt runtime.DType, during time.Duration) (float64, error) {
	p := d.k.Peaks()
	loop := map[runtime.DType]func(int) int{runtime.F32: p.F32, runtime.BF16: p.BF16, runtime.I8: p.I8}[dt]
	if loop == nil {
		return 0, fmt.Errorf("cpu: peak of %s products with %s kernels: %w", dt, d.k.Name, runtime.ErrUnsupported)
	}
	const rounds = 5000 // some 100 us
	return d.rate(during, func(int) int { return loop(rounds) }), nil
}

const (
	// bandwidthBytes is several times a last-level cache's share.
	bandwidthBytes = 256 << 20
	// bandwidthPiece is read by one call: some 10 us.
	bandwidthPiece = 256 << 10
	// bandwidthRow is the length of rows, in floats, that are read by the kernel of a search.
	bandwidthRow = 512
)

// Bandwidth implements runtime.Roofline: the workers read memory, each a part of its own, half of the time through the kernel of dot
// products and half through that of a search, which asks for lines ahead. What is faster counts: one reads 33 GB/s on a Zen 4, the other 52.
func (d *Device) Bandwidth(during time.Duration) (float64, error) {
	memory := alignedFloats(bandwidthBytes / 4)
	for i := range memory {
		memory[i] = 1 // pages that were never written are one page
	}
	const floats = bandwidthPiece / 4
	each := len(memory) / floats / len(d.pool.workers)
	next := make([]int, len(d.pool.workers))
	piece := func(w int) []float32 {
		p := memory[(w*each+next[w]%each)*floats:][:floats]
		next[w]++
		return p
	}
	dots := d.rate(during/2, func(w int) int {
		p := piece(w)
		d.k.Dot(p[:floats/2], p[floats/2:])
		return bandwidthPiece
	})
	scores := d.rate(during/2, func(w int) int {
		var sums [simd.ScanRows]float32
		for p := piece(w); len(p) > 0; p = p[simd.ScanRows*bandwidthRow:] {
			d.k.Scores(sums[:], p, bandwidthRow, simd.ScanRows, memory[:bandwidthRow], 1, bandwidthRow)
		}
		return bandwidthPiece
	})
	return max(dots, scores), nil
}

// rate is how much the calls of work add up to in a second, when all workers make them for a while.
func (d *Device) rate(during time.Duration, work func(worker int) int) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.pool.workers)
	amounts := make([]int64, n*cacheLine/8)
	var ready atomic.Int32
	var start atomic.Pointer[time.Time]
	d.pool.run(n, func(_ *worker, task int) {
		// A worker may be slow to wake up: the clock runs from when all are here.
		if int(ready.Add(1)) == n {
			now := time.Now()
			start.Store(&now)
		}
		for start.Load() == nil {
		}
		for amount := &amounts[task*cacheLine/8]; time.Since(*start.Load()) < during; {
			*amount += int64(work(task))
		}
	})
	took := time.Since(*start.Load()).Seconds()
	total := int64(0)
	for _, a := range amounts {
		total += a
	}
	return float64(total) / took
}
