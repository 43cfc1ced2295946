//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"math"
	goruntime "runtime"
	"sync"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// boundQueries are a scan's queries as bounds of scores need them: kernels/searchbound.cu and kernels/searchcoarse.cu have
// the derivations. Everything here is computed in f64 and rounded upwards; margin outweighs what f64 loses.
type boundQueries struct {
	padded []float32     // [nq, depth]
	dt     runtime.DType // that memory.rounded and memory.slack are made for; 0 for none
}

const (
	unitRoundoff = 0x1p-24
	tiny         = 0x1p-149
	margin       = 1 + 1e-6
	// hugeQuery: with |q| below it, and a row's sum of squares finite in f32, no partial sum of a score overflows.
	hugeQuery = 0x1p62
)

func (b *boundQueries) begin(padded []float32) { *b = boundQueries{padded: padded} }

func length(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// upwards is an f32 that is not below v; NaN becomes infinite.
func upwards(v float64) float32 {
	f := float32(v)
	if float64(f) < v {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	if f != f {
		return float32(math.Inf(1))
	}
	return f
}

type (
	boundArgs struct {
		searchArgs
		Rounded, Norms, Slack uint64
		Least                 float32
		_                     int32
	}
	normArgs struct {
		X, Norms, Pitch uint64
		Lo, Hi          int32
		Grow, More      float32
	}
)

// boundTile are the rows of a block of search_bound.
const boundTile = 128

// boundKernel is the kernel for a number of queries: its name, a block's queries, and its shared memory for stages of 128 bytes of rows and
// of queries.
func boundKernel(nq int) (name string, queries, shared int) {
	if nq <= 64 {
		return "search_bound64_", 64, 4 * (boundTile + 64) * 128
	}
	return "search_bound_", 128, 3 * (boundTile + 128) * 128
}

// scanBounds is a scan by the tensor cores, and the exact scores of what it lets pass.
func (s *search) scanBounds(a searchArgs, x deviceRows, c runtime.Chunk) error {
	norms, err := s.rowNorms(a, x, c)
	if err != nil {
		return err
	}
	b := boundArgs{searchArgs: a, Rounded: uint64(s.memory.rounded.ptr), Norms: norms, Slack: uint64(s.memory.slack.ptr),
		Least: upwards(float64(s.dim) * 0x1p-124)}
	n := int(a.Hi - a.Lo)
	kernel, queries, shared := boundKernel(s.nq)
	if err := s.launch("searchbound.cu", kernel+c.DType.String(), driver.Config{
		Grid: [3]int{blocks(n, boundTile), blocks(s.nq, queries), 1}, Block: 256, Shared: shared}, bytesOf(&b),
		s.work(n, s.dim*c.DType.Size()+4, s.nq, c.DType)); err != nil {
		return err
	}
	return s.rescore(a, c.DType)
}

// rescore scores what bounds have let pass.
func (s *search) rescore(a searchArgs, dt runtime.DType) error {
	const parts = 4 // rescore_parts
	return s.launch("searchselect.cu", "search_rescore_"+dt.String(), driver.Config{Grid: [3]int{s.nq, parts, 1}, Block: 128}, bytesOf(&a),
		runtime.Work{Rows: s.nq, DType: runtime.F32})
}

// roundQueries makes the queries in the rows' type, and their slack, where scanBounds may need them.
func (s *search) roundQueries(dt runtime.DType) error {
	b, m := &s.bounds, &s.memory
	if b.dt == dt || dt == runtime.F32 || s.nq <= fewQueries {
		return nil
	}
	if err := errors.Join(s.dev.reserve(&m.rounded, 2*len(b.padded)), s.dev.reserve(&m.slack, 4*s.nq)); err != nil {
		return err
	}
	rounded, slack := b.round(dt, s.dim, s.nq)
	b.dt = dt
	if err := s.dev.upload(m.rounded.ptr, len(rounded), func(piece []byte, off int) { copy(piece, rounded[off:]) }); err != nil {
		return err
	}
	return s.dev.upload(m.slack.ptr, 4*s.nq, func(piece []byte, off int) {
		encode(piece, runtime.F32, slack[off/4:off/4+len(piece)/4])
	})
}

// round returns the queries in a half type and their slack. The device waits for it, so that queries go to several goroutines.
func (b *boundQueries) round(dt runtime.DType, dim, nq int) (rounded []byte, slack []float32) {
	depth := len(b.padded) / nq
	rounded, slack = make([]byte, 2*len(b.padded)), make([]float32, nq)
	some := func(lo, hi int) {
		values := make([]float32, depth)
		for q := lo; q < hi; q++ {
			exact, to := b.padded[q*depth:(q+1)*depth], rounded[2*q*depth:2*(q+1)*depth]
			encode(to, dt, exact)
			decode(values, dt, to)
			slack[q] = roundingSlack(exact, values, dim)
		}
	}
	parts := min(goruntime.GOMAXPROCS(0), 16, len(b.padded)>>13)
	if parts < 2 {
		some(0, nq)
		return rounded, slack
	}
	var wait sync.WaitGroup
	for i := range parts - 1 {
		wait.Go(func() { some(i*nq/parts, (i+1)*nq/parts) })
	}
	some((parts-1)*nq/parts, nq)
	wait.Wait()
	return rounded, slack
}

// roundingSlack is the slack of a query that has been rounded.
func roundingSlack(exact, rounded []float32, dim int) float32 {
	var e, r, d float64 // three sums at once: each alone waits for its additions
	for i, v := range exact {
		w := rounded[i]
		diff := float64(w) - float64(v)
		e += float64(v) * float64(v)
		r += float64(w) * float64(w)
		d += diff * diff
	}
	size := math.Sqrt(r) + math.Sqrt(e)
	if !(size < hugeQuery) {
		return float32(math.Inf(1))
	}
	return upwards((math.Sqrt(d) + float64(4*dim+64)*unitRoundoff*size) * margin)
}

// rowNorms returns the address of the norm of the chunk's row 0, the slice's norms being there.
func (s *search) rowNorms(a searchArgs, x deviceRows, c runtime.Chunk) (uint64, error) {
	lo, hi := int(a.Lo), int(a.Hi)
	var at uint64
	if x.kept != nil {
		at, lo, hi = uint64(x.kept.norms.ptr), 0, c.Rows
		if x.kept.normed {
			return at, nil
		}
		x.kept.normed = true
	} else {
		at = uint64(s.feed.last.norms.ptr) - uint64(4*lo)
	}
	n := normArgs{X: a.X, Norms: at, Pitch: a.Pitch, Lo: int32(lo), Hi: int32(hi),
		Grow: upwards(1 + float64(s.dim+8)*unitRoundoff), More: upwards(math.Sqrt(float64(s.dim)) * 0x1p-62)}
	return at, s.launch("searchbound.cu", "search_norms_"+c.DType.String(), driver.Config{Grid: [3]int{blocks(hi-lo, 4), 1, 1}, Block: 128}, bytesOf(&n),
		s.work(hi-lo, s.dim*c.DType.Size()+4, 1, runtime.F32))
}

type (
	coarseQuery struct{ Base, Slack, Reach, Limit float32 }
	coarseArgs  struct {
		searchArgs
		Scale, Loss, Bounds uint64
		Spread              float32
		_                   int32
	}
)

// coarseQueries is up to how many queries the coarse copy is read: for more, products cost more than reading.
const coarseQueries = fewQueries

// keepCoarse brings a kept chunk's coarse copy to the device, if there is memory.
func (s *search) keepCoarse(first int, c runtime.Chunk) error {
	k, ok := s.feed.kept[chunkKey{first, c.Rows, c.DType}]
	if !ok || c.Coarse == nil || k.codes.ptr != 0 || s.feed.full || s.nq > coarseQueries {
		return nil
	}
	pitch := blocks(s.dim, 16) * 16
	var codes, scale, loss region
	for _, r := range []struct {
		r     *region
		bytes int
	}{{&codes, c.Rows * pitch}, {&scale, 4 * c.Rows}, {&loss, 4 * c.Rows}} {
		if ok, err := s.spare(r.r, r.bytes); !ok {
			return errors.Join(err, codes.free(), scale.free(), loss.free())
		}
	}
	p, err := s.dev.copier()
	if err != nil {
		return err
	}
	data := codeBytes(c.Coarse.Codes)
	float := func(x []float32) func([]byte, int) {
		return func(piece []byte, off int) { encode(piece, runtime.F32, x[off/4:off/4+len(piece)/4]) }
	}
	if err := errors.Join(p.upload(s.dev, codes.ptr, c.Rows*pitch, func(piece []byte, off int) { pad(piece, off, data, s.dim, pitch) }),
		p.upload(s.dev, scale.ptr, 4*c.Rows, float(c.Coarse.Scale)), p.upload(s.dev, loss.ptr, 4*c.Rows, float(c.Coarse.Loss))); err != nil {
		return errors.Join(err, codes.free(), scale.free(), loss.free())
	}
	k.codes, k.scale, k.loss = codes, scale, loss
	return nil
}

// scanCoarse is a scan of the coarse copy, and the exact scores of what it lets pass.
func (s *search) scanCoarse(a searchArgs, k *keptRows, c runtime.Chunk) error {
	bounds := s.coarseBounds(c.Coarse.Mean)
	if err := s.dev.upload(s.memory.coarse.ptr, 16*len(bounds), func(piece []byte, off int) {
		binary.Encode(piece, binary.LittleEndian, bounds[off/16:off/16+len(piece)/16])
	}); err != nil {
		return err
	}
	b := coarseArgs{searchArgs: a, Scale: uint64(k.scale.ptr), Loss: uint64(k.loss.ptr), Bounds: uint64(s.memory.coarse.ptr), Spread: upwards(s.spread())}
	b.X, b.Pitch = uint64(k.codes.ptr), uint64(blocks(s.dim, 16)*16)
	queries, name := 4, "search_coarse4"
	if s.nq == 1 {
		queries, name = 1, "search_coarse1"
	}
	tile := scanKernel{rows: 256, queries: queries, step: 128}
	if err := s.launch("searchcoarse.cu", name, driver.Config{Grid: [3]int{blocks(int(a.Hi-a.Lo), tile.rows), blocks(s.nq, queries), 1}, Block: 128,
		Shared: tile.shared(runtime.I8)}, bytesOf(&b), s.work(int(a.Hi-a.Lo), s.dim+8, s.nq, runtime.F32)); err != nil {
		return err
	}
	return s.rescore(a, c.DType)
}

// spread is V.
func (s *search) spread() float64 { return 128 * math.Sqrt(float64(s.dim)) }

// coarseBounds are the queries' parts of the bound for a mean.
func (s *search) coarseBounds(mean []float32) []coarseQuery {
	nu := float64(s.dim+1) * unitRoundoff
	g, r, n := 1.01*nu/(1-nu), 8*unitRoundoff, float64(s.dim)
	size := length(mean)
	var bounds []coarseQuery
	for q := range s.nq {
		x := s.bounds.padded[q*s.depth : q*s.depth+s.dim]
		center, norm := 0.0, length(x)
		for i, v := range mean {
			center += float64(v) * float64(x[i])
		}
		b := coarseQuery{
			Base:  upwards(center + r*math.Abs(center) + (g+r)*norm*size*margin + (2*n+8)*tiny),
			Slack: upwards(((2*g+2*r)*norm*s.spread() + 2*n*tiny + 8*tiny) * margin),
			Reach: upwards(norm * (1 + g + r) * margin),
			Limit: -1,
		}
		if norm*s.spread() < 0x1p125 { // and so the sums of s stay finite
			b.Limit = float32((0x1p125/norm)*(1-1e-6) - size)
		}
		bounds = append(bounds, b)
	}
	return bounds
}
