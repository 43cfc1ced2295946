//go:build cuda

package cuda

import (
	goruntime "runtime"
	"sync"

	"gorgonia.org/cu"

	"isearle/runtime/cuda/driver"
)

// copier brings large amounts of memory to the device while kernels run: through pinned pieces, on a stream of its own.
type copier struct {
	stream cu.Stream
	pieces [copierPieces]stage
	next   int
	done   cu.Event
}

const (
	copierPieces = 4
	// copierPiece is large enough to hide the start of a copy, and that of the goroutines which fill it.
	copierPiece = 2 << 20
	// A piece is filled by so many goroutines at most: one alone copies more slowly than the bus.
	copierFillers = 8
)

// copier returns the device's, made on first use.
func (d *Device) copier() (*copier, error) {
	if d.copies != nil {
		return d.copies, nil
	}
	c := new(copier)
	var err error
	if c.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return nil, driver.Check("make stream", err)
	}
	if c.done, err = cu.MakeEvent(cu.DisableTiming); err != nil {
		return nil, driver.Check("make event", err)
	}
	for i := range c.pieces {
		p := &c.pieces[i]
		if p.mem, err = driver.AllocHost(copierPiece); err != nil {
			return nil, err
		}
		if p.free, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return nil, driver.Check("make event", err)
		}
	}
	d.copies = c
	return c, nil
}

// upload copies n bytes, which fill writes piece by piece. It returns when fill has been called for all of them; what is
// put on the device's own stream afterwards finds them there.
func (c *copier) upload(d *Device, dst cu.DevicePtr, n int, fill func(piece []byte, off int)) error {
	for off := 0; off < n; off += copierPiece {
		p := &c.pieces[c.next]
		c.next = (c.next + 1) % copierPieces
		if p.busy {
			if err := driver.Check("wait for a copy", p.free.Synchronize()); err != nil {
				return err
			}
			p.busy = false
		}
		piece := p.mem[:min(copierPiece, n-off)]
		fill(piece, off)
		if err := driver.Upload(dst+cu.DevicePtr(off), piece, c.stream); err != nil {
			return err
		}
		if err := driver.Check("record event", p.free.Record(c.stream)); err != nil {
			return err
		}
		p.busy = true
	}
	if err := driver.Check("record event", c.done.Record(c.stream)); err != nil {
		return err
	}
	return driver.Check("wait for copies", d.stream.Wait(c.done, 0))
}

// copyParallel is copy for what is worth several goroutines.
func copyParallel(dst, src []byte) {
	inParts(len(dst), func(lo, hi int) { copy(dst[lo:hi], src[lo:]) })
}

// inParts calls f for parts [lo, hi) that n bytes are made of, whole cache lines but for the last: at once where they are worth several
// goroutines.
func inParts(n int, f func(lo, hi int)) {
	parts := min(copierFillers, goruntime.GOMAXPROCS(0), n>>18)
	if parts < 2 {
		f(0, n)
		return
	}
	var wait sync.WaitGroup
	for i := range parts - 1 {
		wait.Go(func() { f(i*n/parts&^63, (i+1)*n/parts&^63) })
	}
	f((parts-1)*n/parts&^63, n)
	wait.Wait()
}
