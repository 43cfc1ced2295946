package bench

import (
	"fmt"
	"time"

	"isearle/runtime"
)

// Roofline is what a device does at most.
type Roofline struct {
	Peaks     map[runtime.DType]float64 // operations/s in products; types that the device has no instruction for are missing
	Bandwidth float64                   // bytes/s; 0 where it is not known
}

// MeasureRoofline measures a device, for a while each type's peak and the bandwidth. The zero Roofline is that of a device that
// cannot tell.
func MeasureRoofline(dev runtime.Device, during time.Duration) (r Roofline, err error) {
	d, ok := dev.(runtime.Roofline)
	if !ok {
		return r, nil
	}
	r.Peaks = map[runtime.DType]float64{}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16, runtime.I8} {
		if v, err := d.Peak(dt, during); err == nil {
			r.Peaks[dt] = v
		}
	}
	if r.Bandwidth, err = d.Bandwidth(during); err != nil {
		return r, fmt.Errorf("measure the roofline: %w", err)
	}
	return r, nil
}

// Share is which part of what the roofline allows some work had that took so many seconds; 0 where it is not known.
func (r Roofline) Share(w runtime.Work, seconds float64) float64 {
	peak := r.Peaks[w.DType]
	if peak == 0 || r.Bandwidth == 0 || seconds == 0 {
		return 0
	}
	return max(w.FLOP/peak, w.Bytes/r.Bandwidth) / seconds
}

// roof measures a device again and again.
type roof struct {
	device runtime.Roofline // nil where it cannot tell
	first  Roofline
	each   time.Duration // of a measurement
}

// roofs are those of one measurement, in FLOP/s and bytes/s; 0 where they are not known.
type roofs struct{ flops, bytes float64 }

const (
	warmUp   = 2 * time.Second
	roofTime = 50 * time.Millisecond // of a measurement of the roof, where one of the task takes a second
)

// open warms the machine up and measures the roofline. Short benchmarks, such as those of tests, have a short warm-up.
func (r *roof) open(b *Bench) (err error) {
	r.each = min(roofTime, max(time.Millisecond, b.Time/20))
	if d, ok := b.Device.(runtime.Roofline); ok {
		r.device = d
		if _, err := d.Peak(runtime.F32, min(warmUp, 2*b.Time)); err != nil {
			return fmt.Errorf("measure the roofline: %w", err)
		}
	}
	r.first, err = MeasureRoofline(b.Device, 2*r.each)
	return err
}

// at is the roofs for a task at the present. The bandwidth is measured anew only for what memory bounds.
func (r *roof) at(t task) (p roofs) {
	p.bytes = r.first.Bandwidth
	if r.device == nil {
		return p
	}
	dt := t.dtype
	if dt == 0 {
		dt = runtime.F32
	}
	if t.flop > 0 && r.first.Peaks[dt] > 0 {
		p.flops, _ = r.device.Peak(dt, r.each)
	}
	if t.bytes > 0 && t.flop <= t.bytes && r.each == roofTime { // short measurements are not worth it
		if v, err := r.device.Bandwidth(r.each); err == nil {
			p.bytes = v
		}
	}
	return p
}

// mean is the mean of two.
func (p roofs) mean(q roofs) roofs { return roofs{(p.flops + q.flops) / 2, (p.bytes + q.bytes) / 2} }
