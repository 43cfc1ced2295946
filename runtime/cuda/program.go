//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// arenaAlign is the alignment of temporaries: that of the driver's own allocations.
const arenaAlign = 256

// program implements runtime.Program.
type program struct {
	dev      *Device
	name     string
	buffers  []*buffer // by slot - 1
	arena    *arena
	launches []*driver.Launch
	works    []kernelWork  // of each launch
	groups   []group       // the launches by operation
	graph    *driver.Graph // nil where there is nothing to do
	plan     *runtime.Plan
}

// group are launches lo to hi-1, which are operation op's.
type group struct{ op, lo, hi int }

// compiler turns operations into launches.
type compiler struct {
	dev  *Device
	plan *runtime.Plan
	prog *program
	err  error

	dry        bool // measures scratch only
	scratchAt  cu.DevicePtr
	used, need int
}

func (c *compiler) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Compile implements runtime.Device.
func (d *Device) Compile(p *runtime.Plan) (runtime.Program, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	prog := &program{dev: d, name: p.Name(), plan: p}
	err := d.do(fmt.Sprintf("compile %q", p.Name()), func() error {
		err := prog.build(p)
		if err != nil {
			err = errors.Join(err, prog.release())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return prog, nil
}

// build allocates memory, prepares the launches and captures them.
func (prog *program) build(p *runtime.Plan) error {
	offsets, size := p.Arena(arenaAlign)
	if err := prog.allocate(p); err != nil {
		return err
	}
	c := &compiler{dev: prog.dev, plan: p, prog: prog, dry: true}
	if err := c.compile(); err != nil {
		return err
	}
	var err error
	if prog.arena, err = prog.dev.arena(size + c.need); err != nil {
		return err
	}
	for i, off := range offsets {
		if off >= 0 {
			prog.buffers[i].ptr = prog.arena.ptr + cu.DevicePtr(off)
		}
	}
	c.dry, c.scratchAt = false, prog.arena.ptr+cu.DevicePtr(size)
	if err := c.compile(); err != nil {
		return err
	}
	if len(prog.launches) == 0 {
		return nil
	}
	prog.graph, err = driver.Capture(prog.dev.stream, func() error { return prog.start(prog.launches) })
	return err
}

// allocate makes the buffers of all slots; those of temporaries get their addresses later.
func (prog *program) allocate(p *runtime.Plan) error {
	for _, s := range p.Slots() {
		b := &buffer{dev: prog.dev, dt: s.DType, n: s.Len}
		switch s.Kind {
		case runtime.Bound:
			var ok bool
			if b, ok = s.Bound.(*buffer); !ok || b.dev != prog.dev || b.ptr == 0 {
				return fmt.Errorf("buffer %q is closed or of another device: %w", s.Name, runtime.ErrPlan)
			}
		case runtime.Persistent:
			var err error
			if b, err = prog.dev.newBuffer(s.DType, s.Len); err != nil {
				return fmt.Errorf("buffer %q: %w", s.Name, err)
			}
			b.program = true
		}
		prog.buffers = append(prog.buffers, b)
	}
	return nil
}

func (c *compiler) compile() error {
	for i, op := range c.plan.Ops() {
		c.used = 0
		lo := len(c.prog.launches)
		if c.op(op); c.err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, op.Name(), c.err)
		}
		if hi := len(c.prog.launches); hi > lo {
			c.prog.groups = append(c.prog.groups, group{i, lo, hi})
		}
	}
	return nil
}

// plainShared is the shared memory that a kernel may have without being allowed more.
const plainShared = 48 << 10

// launch adds the launch of the operation's only kernel; args is the kernel's structure. A grid without blocks is none.
func (c *compiler) launch(source, kernel string, cfg driver.Config, args any) {
	c.part(whole, source, kernel, cfg, args)
}

// part is launch for one of several kernels, whose work is its own.
func (c *compiler) part(w kernelWork, source, kernel string, cfg driver.Config, args any) {
	if c.dry || c.err != nil || cfg.Grid[0]*cfg.Grid[1]*cfg.Grid[2] == 0 {
		return
	}
	if cfg.Grid[1] > 65535 || cfg.Grid[2] > 65535 {
		c.fail(fmt.Errorf("grid %v of %s: %w", cfg.Grid, kernel, runtime.ErrUnsupported))
		return
	}
	f, err := c.dev.function(source, kernel)
	if err == nil && cfg.Shared > plainShared {
		err = driver.SetSharedMemory(f, cfg.Shared)
	}
	if err != nil {
		c.fail(err)
		return
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, args); err != nil {
		c.fail(err)
		return
	}
	l, err := driver.NewLaunch(kernel, f, cfg, b.Bytes())
	if err != nil {
		c.fail(err)
		return
	}
	c.prog.launches, c.prog.works = append(c.prog.launches, l), append(c.prog.works, w)
}

// start starts kernels.
func (prog *program) start(launches []*driver.Launch) error {
	for _, l := range launches {
		if err := l.Run(prog.dev.stream); err != nil {
			return err
		}
	}
	return nil
}

// Run implements runtime.Program. It returns when the work is queued: what goes wrong on the device is the error of a later
// call, of the first read at the latest.
func (prog *program) Run(ctx context.Context) error {
	op := fmt.Sprintf("run %q", prog.name)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %s: %w", prog.dev.Name(), op, err)
	}
	return prog.dev.do(op, func() error {
		switch {
		case prog.graph == nil:
			return nil
		case prog.dev.profile.on():
			return prog.profiled()
		case prog.dev.sync:
			return prog.step()
		}
		return prog.graph.Run(prog.dev.stream)
	})
}

// step runs kernel by kernel and waits for each.
func (prog *program) step() error {
	for _, l := range prog.launches {
		if err := l.Run(prog.dev.stream); err != nil {
			return err
		}
		if err := prog.dev.wait(); err != nil {
			return fmt.Errorf("kernel %s: %w", l.Name(), err)
		}
	}
	return nil
}

// Buffer implements runtime.Program.
func (prog *program) Buffer(s runtime.Slot) runtime.Buffer { return prog.buffers[s-1] }

// Close implements runtime.Program.
func (prog *program) Close() error {
	err := prog.dev.do("close program", prog.release)
	if errors.Is(err, errClosed) || prog.dev.lost() {
		prog.forget() // the device's memory went with the context
		return nil
	}
	return err
}

// forget drops everything, the launches' arguments being the host's memory.
func (prog *program) forget() {
	for _, l := range prog.launches {
		l.Close()
	}
	prog.graph, prog.launches, prog.works, prog.groups, prog.buffers, prog.arena = nil, nil, nil, nil, nil, nil
}

// release frees what the program owns; the caller holds the device.
func (prog *program) release() error {
	err := prog.dev.wait()
	if prog.graph != nil {
		err = errors.Join(err, prog.graph.Close())
	}
	for _, b := range prog.buffers {
		if b.program && b.ptr != 0 {
			err = errors.Join(err, driver.Check("free memory", cu.MemFree(b.ptr)))
			b.ptr, b.n = 0, 0
		}
	}
	if prog.arena != nil {
		prog.arena.users--
	}
	prog.forget()
	return err
}
