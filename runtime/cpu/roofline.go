package cpu

import (
	"fmt"
	"sync/atomic"
	"time"

	"isearle/runtime"
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
)

// Bandwidth implements runtime.Roofline: the workers read memory, each a part of its own, through the kernel of dot products.
func (d *Device) Bandwidth(during time.Duration) (float64, error) {
	memory := alignedFloats(bandwidthBytes / 4)
	for i := range memory {
		memory[i] = 1 // pages that were never written are one page
	}
	const floats = bandwidthPiece / 4
	each := len(memory) / floats / len(d.pool.workers)
	next := make([]int, len(d.pool.workers))
	return d.rate(during, func(w int) int {
		piece := memory[(w*each+next[w]%each)*floats:][:floats]
		next[w]++
		d.k.Dot(piece[:floats/2], piece[floats/2:])
		return bandwidthPiece
	}), nil
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
