package cpu

import (
	goruntime "runtime"
	"sync/atomic"

	"isearle/runtime"
	"isearle/runtime/cpu/simd"
)

// late packs a weight when it is used. A panel that is used for the first time is packed into a worker's memory, which holds it in the
// second-level cache for that one product: a process that encodes one image or one caption reads each weight once and writes it
// nowhere. A panel that is used again is packed for good. When all are, the source is released.
type late struct {
	from   runtime.Matrix
	source runtime.Source
	state  []atomic.Uint32
	first  atomic.Int32 // panels that were not used yet
	holds  atomic.Int32 // panels that are not packed for good, and readers
}

// The states of a panel.
const (
	unused = iota
	usedOnce
	beingPacked
	ready
)

// keep makes p one that is packed late.
func (p *packed) keep(m runtime.Matrix, s runtime.Source) {
	n := p.panels()
	l := &late{from: m, source: s, state: make([]atomic.Uint32, n)}
	l.first.Store(int32(n))
	l.holds.Store(int32(n))
	p.late, p.block.last = l, l.close
	p.block.fillLater()
}

// use returns panel j and its scales for a product, room being memory of useRoom floats. With again the panel will be used soon.
func (p *packed) use(k *simd.Kernels, j int, again bool, room []float32) (panel, scales []float32) {
	l := p.late
	if l == nil || l.state[j].Load() == ready {
		return p.panel(j), p.scales(j)
	}
	if !again && l.state[j].Load() == unused {
		if panel, scales = p.once(k, j, room); panel != nil {
			return panel, scales
		}
	}
	for !p.isReady(j) {
		// Who comes when another packs the panel does the next one meanwhile, which both will want.
		if !p.pack(k, j, room) && (j+1 == p.panels() || !p.pack(k, j+1, room)) {
			goruntime.Gosched()
		}
	}
	return p.panel(j), p.scales(j)
}

// once packs panel j into room, unless it was used before.
func (p *packed) once(k *simd.Kernels, j int, room []float32) (panel, scales []float32) {
	l := p.late
	l.holds.Add(1)
	defer l.done(p)
	if !l.state[j].CompareAndSwap(unused, usedOnce) {
		return nil, nil
	}
	buf := carver(room)
	panel = buf.take(p.depth() * p.nr)
	if p.dt == runtime.I8 {
		scales = buf.take(2 * p.nr)
	}
	p.fill(k, l.from, j, panel, scales, buf)
	l.used()
	return panel, scales
}

// pack packs panel j for good, unless it is or another does it.
func (p *packed) pack(k *simd.Kernels, j int, room []float32) bool {
	l := p.late
	first := l.state[j].CompareAndSwap(unused, beingPacked)
	if !first && !l.state[j].CompareAndSwap(usedOnce, beingPacked) {
		return false
	}
	p.fill(k, l.from, j, p.panel(j), p.scales(j), room)
	l.state[j].Store(ready)
	if first {
		l.used()
	}
	l.done(p)
	return true
}

// used counts a panel that was used for the first time, by who holds the source.
func (l *late) used() {
	if l.first.Add(-1) == 0 {
		l.source.Drop()
	}
}

// done ends one hold.
func (l *late) done(p *packed) {
	if l.holds.Add(-1) == 0 {
		l.source.Release()
		p.block.filled()
	}
}

// close releases the source if that has not been done; nothing uses the weight any more.
func (l *late) close() {
	if l.holds.Swap(0) > 0 {
		l.source.Release()
	}
}

// useRoom is the memory that use takes.
func (p *packed) useRoom() int {
	if p.late == nil {
		return 0
	}
	return p.depth()*p.nr + 2*p.nr + p.fillRoom()
}

// fillRoom is the memory that fill takes.
func (p *packed) fillRoom() int {
	if wordElements(p.dt) > 1 {
		return p.k + p.nr*wordStride(p.dt, p.k)
	}
	return p.nr * p.k
}

// source returns m so that each panel's rows are in one piece, and says whether m was like that and its elements are aligned.
func (p *packed) source(m runtime.Matrix) (src runtime.Matrix, direct bool) {
	size := m.DType.Size()
	direct = true
	for i, d := range append([][]byte{m.Data}, m.More...) {
		rows := len(d) / (m.Cols * size)
		direct = direct && isAligned(d, size) && (rows%p.nr == 0 || i == len(m.More))
	}
	if !direct {
		m = m.Whole()
	}
	return m, direct
}

// fill packs panel j from a matrix in whose parts panels are in one piece.
func (p *packed) fill(k *simd.Kernels, m runtime.Matrix, j int, panel, scales, room []float32) {
	size, rows := m.DType.Size(), p.width(j)
	data := rowsFrom(m, j*p.nr)[:rows*p.k*size]
	switch {
	case wordElements(p.dt) > 1:
		p.fillWords(k, m.DType, data, j, panel, scales, room)
	case m.DType == runtime.F16 && isAligned(data, size):
		k.PackF16(panel, as[uint16](data), p.k, rows, p.k)
	case m.DType == runtime.BF16 && isAligned(data, size):
		k.PackBF16(panel, as[uint16](data), p.k, rows, p.k)
	default:
		k.Pack(panel, floatsOf(room, rows*p.k, m.DType, data), p.k, rows, p.k)
	}
}

// rowsFrom is a matrix's memory from a row on, to the end of the part that holds it.
func rowsFrom(m runtime.Matrix, row int) []byte {
	at := row * m.Cols * m.DType.Size()
	if at < len(m.Data) {
		return m.Data[at:]
	}
	at -= len(m.Data)
	for _, d := range m.More {
		if at < len(d) {
			return d[at:]
		}
		at -= len(d)
	}
	return nil
}

// isReady says whether panel j is packed for good.
func (p *packed) isReady(j int) bool { return p.late == nil || p.late.state[j].Load() == ready }
