//go:build cuda

package cuda

import (
	"fmt"
	"time"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

type rooflineArgs struct {
	Out       uint64
	Rounds, _ int32
}

// perWarp are the operations that a warp of roofline.cu does in a round.
var perWarp = map[runtime.DType]float64{
	runtime.F32: 32 * 16 * 2, runtime.F16: 8 * 2 * 16 * 8 * 16, runtime.BF16: 8 * 2 * 16 * 8 * 16, runtime.I8: 8 * 2 * 16 * 8 * 32,
}

// perGroup are those of a warp of a warpgroup, a quarter of the products of 64 x 256 x 64.
const perGroup = 2 * 64 * 256 * 64 / 4

// peakLaunch is a kernel of roofline.cu, and its operations in a round.
func (d *Device) peakLaunch(dt runtime.DType) (name string, cfg driver.Config, each float64) {
	if d.groups && (dt == runtime.F16 || dt == runtime.BF16) {
		cfg = driver.Config{Grid: [3]int{4 * d.multiprocessors, 1, 1}, Block: 128, Shared: 1024 + (64+256)*128}
		return "roofline_group_" + dt.String(), cfg, perGroup * 4 * float64(cfg.Grid[0])
	}
	const warps = 8 // of a block
	cfg = driver.Config{Grid: [3]int{8 * d.multiprocessors, 1, 1}, Block: 32 * warps}
	return "roofline_" + dt.String(), cfg, perWarp[dt] * warps * float64(cfg.Grid[0])
}

// Peak implements runtime.Roofline: multiply-adds in registers, on every multiprocessor.
func (d *Device) Peak(dt runtime.DType, during time.Duration) (peak float64, err error) {
	if perWarp[dt] == 0 {
		return 0, fmt.Errorf("%s: products in %s: %w", d.Name(), dt, runtime.ErrUnsupported)
	}
	name, cfg, each := d.peakLaunch(dt)
	err = d.do("measure the peak", func() error {
		var out region
		if err := d.reserve(&out, 4); err != nil {
			return err
		}
		defer out.free()
		f, err := d.function("roofline.cu", name)
		if err != nil {
			return err
		}
		a := rooflineArgs{Out: uint64(out.ptr), Rounds: 8}
		l, err := driver.NewLaunch("roofline", f, cfg, bytesOf(&a))
		if err != nil {
			return err
		}
		defer l.Close()
		seconds, err := d.longEnough(during, func(n int) error {
			a.Rounds = int32(n)
			l.Set(cfg.Grid, bytesOf(&a))
			return l.Run(d.stream)
		})
		peak = each / seconds
		return err
	})
	return peak, err
}

// copied is how much memory Bandwidth copies at a time, far more than any cache, unless the device or the time is small.
const copied = 1 << 30

// Bandwidth implements runtime.Roofline: copies within the device's memory, what is read and what is written.
func (d *Device) Bandwidth(during time.Duration) (bandwidth float64, err error) {
	n := int(min(copied, d.memory/64, max(1<<20, int64(during.Seconds()*2e12))))
	err = d.do("measure the bandwidth", func() error {
		var from, to region
		defer func() { from.free(); to.free() }()
		for _, r := range []*region{&from, &to} {
			if err := d.reserve(r, n); err != nil {
				return err
			}
		}
		if err := driver.Zero(from.ptr, int64(n), d.stream); err != nil {
			return err
		}
		seconds, err := d.longEnough(during, func(times int) error {
			for range times {
				if err := driver.Check("copy memory", cu.MemcpyDtoDAsync(to.ptr, from.ptr, int64(n), d.stream)); err != nil {
					return err
				}
			}
			return nil
		})
		bandwidth = 2 * float64(n) / seconds
		return err
	})
	return bandwidth, err
}

// longEnough runs f(n) with growing n until it takes so long, and returns the seconds of one.
func (d *Device) longEnough(during time.Duration, f func(n int) error) (float64, error) {
	if err := d.profile.reserve(1); err != nil {
		return 0, err
	}
	for n := 1; ; n *= 2 {
		if err := d.timed(0, func() error { return f(n) }); err != nil {
			return 0, err
		}
		if err := d.wait(); err != nil {
			return 0, err
		}
		took, err := d.elapsed(0, 1)
		if err != nil {
			return 0, err
		}
		if took >= during || n >= 1<<24 {
			return took.Seconds() / float64(n), nil
		}
	}
}
