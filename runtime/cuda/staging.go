//go:build cuda

package cuda

import (
	"gorgonia.org/cu"

	"isearle/runtime/cuda/driver"
)

// stagingSize is a half of the pinned memory that copies go through: large enough for the bus's full speed and for several goroutines
// to fill, small beside what a host may pin.
const stagingSize = 4 << 20

// staging is pinned host memory in two halves: while the device reads one, the host fills the other.
type staging struct {
	halves [2]stage
	next   int
}

type stage struct {
	mem  []byte
	free cu.Event // happens when the device has read mem
	busy bool
}

func (s *staging) open() (err error) {
	for i := range s.halves {
		h := &s.halves[i]
		if h.mem, err = driver.AllocHost(stagingSize); err != nil {
			return err
		}
		if h.free, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return driver.Check("make event", err)
		}
	}
	return nil
}

// take returns the half that was used longest ago, when the device is done with it.
func (s *staging) take() (*stage, error) {
	h := &s.halves[s.next]
	s.next = 1 - s.next
	if h.busy {
		if err := driver.Check("wait for a copy", h.free.Synchronize()); err != nil {
			return nil, err
		}
		h.busy = false
	}
	return h, nil
}

// upload copies n bytes, which fill writes piece by piece, to device memory. It returns before the device has them all.
func (d *Device) upload(dst cu.DevicePtr, n int, fill func(piece []byte, off int)) error {
	for off := 0; off < n; off += stagingSize {
		h, err := d.staging.take()
		if err != nil {
			return err
		}
		piece := h.mem[:min(stagingSize, n-off)]
		fill(piece, off)
		if err := driver.Upload(dst+cu.DevicePtr(off), piece, d.stream); err != nil {
			return err
		}
		if err := driver.Check("record event", h.free.Record(d.stream)); err != nil {
			return err
		}
		h.busy = true
	}
	return nil
}

// download copies n bytes of device memory and hands them to use piece by piece, one being copied while another is used.
func (d *Device) download(src cu.DevicePtr, n int, use func(piece []byte, off int)) error {
	type pending struct {
		*stage
		off, n int
	}
	var last pending
	finish := func() error {
		if last.stage == nil {
			return nil
		}
		if err := driver.Check("wait for a copy", last.free.Synchronize()); err != nil {
			return err
		}
		last.busy = false
		use(last.mem[:last.n], last.off)
		last = pending{}
		return nil
	}
	for off := 0; off < n; off += stagingSize {
		h, err := d.staging.take()
		if err != nil {
			return err
		}
		size := min(stagingSize, n-off)
		if err := driver.Download(h.mem[:size], src+cu.DevicePtr(off), d.stream); err != nil {
			return err
		}
		if err := driver.Check("record event", h.free.Record(d.stream)); err != nil {
			return err
		}
		h.busy = true
		if err := finish(); err != nil {
			return err
		}
		last = pending{h, off, size}
	}
	return finish()
}
