package cpu

import (
	"context"
	"fmt"
	"slices"

	"isearle/runtime"
)

// phase is a set of independent tasks; the phases of a Program run one after the other.
type phase struct {
	tasks func() int // from the live counts
	run   func(w *worker, task int)
}

// program implements runtime.Program.
type program struct {
	dev     *Device
	plan    *runtime.Plan
	buffers []*buffer // by slot - 1
	owned   []*buffer
	held    []*block // arena, scratch, and what was made elsewhere
	phases  []phase
	ends    []int // of each operation's phases
}

// matrix is a view resolved to f32 memory.
type matrix struct {
	data       []float32
	rows, cols int
	stride     int
}

func (m matrix) absent() bool { return m.data == nil }

// row is row i.
func (m matrix) row(i int) []float32 { return m.data[i*m.stride : i*m.stride+m.cols] }

// from is the memory from element (i, j) on.
func (m matrix) from(i, j int) []float32 { return m.data[i*m.stride+j:] }

// compiler turns operations into phases.
type compiler struct {
	dev  *Device
	plan *runtime.Plan
	prog *program
	err  error
	last *product // of those compiled so far

	scratch, untouched []float32
	used, need         int
}

// Compile implements runtime.Device.
func (d *Device) Compile(p *runtime.Plan) (runtime.Program, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	prog := &program{dev: d, plan: p}
	offsets, size := p.Arena(cacheLine)
	arena := prog.alloc(size)
	for i, s := range p.Slots() {
		var b *buffer
		switch s.Kind {
		case runtime.Bound:
			var ok bool
			if b, ok = s.Bound.(*buffer); !ok {
				prog.release()
				return nil, fmt.Errorf("cpu: compile %q: buffer %q is of another device: %w", p.Name(), s.Name, runtime.ErrPlan)
			}
			prog.hold(b.block)
		case runtime.Temporary:
			b = &buffer{dt: s.DType, n: s.Len}
			if offsets[i] >= 0 {
				b.mem = arena[offsets[i] : offsets[i]+s.Len*s.DType.Size()]
			}
		default:
			b = d.newBuffer(s.DType, s.Len)
			prog.owned = append(prog.owned, b)
		}
		prog.buffers = append(prog.buffers, b)
	}
	c := &compiler{dev: d, plan: p, prog: prog}
	// The first pass finds out how much scratch the hungriest operation takes; the second hands it out.
	for range 2 {
		prog.phases, prog.ends, c.last, c.scratch = nil, nil, nil, as[float32](prog.alloc(4*c.need))
		for i, op := range p.Ops() {
			c.used = 0
			if c.op(op); c.err != nil {
				prog.release()
				return nil, fmt.Errorf("cpu: compile %q: operation %d, %s: %w", p.Name(), i, op.Name(), c.err)
			}
			prog.ends = append(prog.ends, len(prog.phases))
		}
	}
	return prog, nil
}

// alloc returns n zero bytes that last as long as the Program.
func (p *program) alloc(n int) []byte {
	b := p.dev.heap.alloc(n)
	p.held = append(p.held, b)
	return b.mem
}

// hold keeps a block that was made elsewhere as long as the Program lasts.
func (p *program) hold(b *block) {
	if b != nil && !slices.Contains(p.held, b) {
		b.hold()
		p.held = append(p.held, b)
	}
}

// release gives all memory back.
func (p *program) release() {
	for _, b := range p.owned {
		b.Close()
	}
	for _, b := range p.held {
		b.release()
	}
	p.phases, p.ends, p.owned, p.held = nil, nil, nil, nil
}

// floats returns scratch memory for one operation's own use within a run; all operations share it.
func (c *compiler) floats(n int) []float32 {
	n = (n + 15) &^ 15
	lo := c.used
	c.used += n
	c.need = max(c.need, c.used)
	if c.used > len(c.scratch) { // in the first pass: never touched, so one piece does for all
		if n > len(c.untouched) {
			c.untouched = make([]float32, n)
		}
		return c.untouched[:n:n]
	}
	return c.scratch[lo:c.used:c.used]
}

func (c *compiler) op(op runtime.Op) {
	switch o := op.(type) {
	case runtime.PatchEmbed:
		c.patchEmbed(o)
	case runtime.TokenEmbed:
		c.tokenEmbed(o)
	case runtime.LayerNorm:
		c.layerNorm(o)
	case runtime.Linear:
		c.linear(o)
	case runtime.Attention:
		c.attention(o)
	case runtime.CopyRows:
		c.copyRows(o)
	case runtime.Project:
		c.project(o)
	case runtime.Resample:
		c.resample(o)
	default:
		c.backward(op)
	}
}

// backward is op for gradients, losses and what trains.
func (c *compiler) backward(op runtime.Op) {
	switch o := op.(type) {
	case runtime.LinearGrad:
		c.linearGrad(o)
	case runtime.WeightGrad:
		c.weightGrad(o)
	case runtime.LayerNormGrad:
		c.layerNormGrad(o)
	case runtime.AttentionGrad:
		c.attentionGrad(o)
	case runtime.GatherSum:
		c.gatherSum(o)
	case runtime.CosineLoss:
		c.cosineLoss(o)
	case runtime.InfoNCE:
		c.infoNCE(o)
	case runtime.AdamW:
		c.adamW(o)
	case runtime.Random:
		c.random(o)
	case runtime.Multiply:
		c.multiply(o)
	default:
		c.err = runtime.ErrUnsupported
	}
}

// add appends a phase.
func (c *compiler) add(tasks func() int, run func(*worker, int)) {
	c.prog.phases = append(c.prog.phases, phase{tasks, run})
}

// eachRow appends a phase that calls f for every row, at least one and about per of them a task.
func (c *compiler) eachRow(rows func() int, per int, f func(w *worker, i int)) {
	per = max(1, per)
	c.add(func() int { return blocks(rows(), per) }, func(w *worker, task int) {
		for i := task * per; i < min((task+1)*per, rows()); i++ {
			f(w, i)
		}
	})
}

// matrix returns scratch memory as a matrix.
func (c *compiler) matrix(rows, cols int) matrix {
	return matrix{c.floats(rows * cols), rows, cols, cols}
}

// apart is matrix for rows that a product reads side by side: an odd number of cache lines from one to the next, so that they do not
// collide.
func (c *compiler) apart(rows, cols int) matrix {
	stride := strideApart(cols)
	return matrix{c.floats(rows * stride), rows, cols, stride}
}

// strideApart is the stride of rows that do not collide.
func strideApart(cols int) int {
	const line = cacheLine / 4
	return (blocks(cols, line) | 1) * line
}

// leastApart is how many rows that collide are worth a copy to rows apart.
const leastApart = 8

// collide says whether so many rows of m share few sets of the first-level cache, which has 64 of 8 or 12 lines, and are worth a copy: a tile's
// rows are read side by side, and of 13 rows 2 KiB apart 7 are in one set. Products with such rows take 1.4 times as long on a Zen 4, 2.4 times
// with 4 KiB.
func collide(m matrix, rows int) bool { return m.stride%(2<<10/4) == 0 && rows >= leastApart }

// f32 resolves a view of f32 memory; the zero matrix stands for an absent one.
func (c *compiler) f32(v runtime.View) matrix {
	if v.Absent() {
		return matrix{}
	}
	b := c.prog.buffers[v.Slot-1]
	if b.dt != runtime.F32 {
		c.err = fmt.Errorf("%s activations: %w", b.dt, runtime.ErrUnsupported)
		return matrix{}
	}
	return matrix{as[float32](b.mem)[v.Offset:], v.Rows, v.Cols, v.Stride}
}

// i32 resolves a table.
func (c *compiler) i32(v runtime.View) []int32 {
	if v.Absent() {
		return nil
	}
	return as[int32](c.prog.buffers[v.Slot-1].mem)[v.Offset:]
}

// bytes resolves a view of samples.
func (c *compiler) bytes(v runtime.View) []byte { return c.prog.buffers[v.Slot-1].mem[v.Offset:] }

// live resolves an extent to a function that reads it; a live count outside the capacity is cut to it.
func (c *compiler) live(d runtime.Dim) func() int {
	if d.Live.Absent() {
		return func() int { return d.Cap }
	}
	t := c.i32(d.Live)
	return func() int { return min(max(int(t[0]), 0), d.Cap) }
}

// weight resolves a packed weight.
func (c *compiler) weight(w runtime.Weight) *weight {
	p, ok := w.(*weight)
	if !ok || p.fwd == nil {
		c.err = fmt.Errorf("weight is closed or of another device: %w", runtime.ErrPlan)
		return &weight{}
	}
	if p.fwd.nr != c.dev.k.NR {
		c.err = fmt.Errorf("weight is packed for another instruction set: %w", runtime.ErrPlan)
	}
	c.prog.hold(p.fwd.block)
	if p.bwd != nil {
		c.prog.hold(p.bwd.block)
	}
	return p
}

// blocks is the number of blocks of size that cover n.
func blocks(n, size int) int { return (n + size - 1) / size }

// Run implements runtime.Program.
func (p *program) Run(ctx context.Context) error {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	done := 0
	for op, end := range p.ends {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cpu: run %q: %w", p.plan.Name(), err)
		}
		start := p.dev.profile.now()
		for ; done < end; done++ {
			p.dev.pool.run(p.phases[done].tasks(), p.phases[done].run)
		}
		if p.dev.profile.on() {
			p.profiled(op, start)
		}
	}
	return nil
}

// Buffer implements runtime.Program.
func (p *program) Buffer(s runtime.Slot) runtime.Buffer { return p.buffers[s-1] }

// Close implements runtime.Program.
func (p *program) Close() error {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	p.release()
	return nil
}
