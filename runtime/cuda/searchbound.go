//go:build cuda

package cuda

import (
	"errors"
	"math"
	goruntime "runtime"
	"sync"

	"gorgonia.org/cu"

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

func length(x []float32) float64 { return math.Sqrt(dot(x, x)) }

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
		Blocks                int32
	}
	normArgs struct {
		X, Norms, Pitch uint64
		Lo, Hi          int32
		Grow, More      float32
		BF16, _         int32
	}
)

// roundArgs are RoundArgs.
type roundArgs struct {
	Queries, Rounded, Slack uint64
	Count, Depth            int32
	Part, Grow, More, Huge  float32
	BF16, _                 int32
}

// isBF16 tells kernels which of the half types rows are of.
func isBF16(dt runtime.DType) int32 {
	if dt == runtime.BF16 {
		return 1
	}
	return 0
}

// boundTerm is the bytes of a query's terms in a block of searchbound.cu.
const boundTerm = 8

// boundKernel is the kernel of searchbound.cu for the search's queries and rows of so many bytes: the prefix of its name too.
func (s *search) boundKernel(pitch int) (string, productKernel) {
	k := s.shape.product(s.nq, pitch, boundTerm, true)
	if k.resident {
		return "search_resident" + k.tile + "_", k
	}
	return "search_bound" + k.tile + "_", k
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
	kernel, k := s.boundKernel(x.pitch)
	cfg := driver.Config{Block: productThreads, Shared: k.shared}
	cfg.Grid, b.Blocks = k.grid(s.shape, n, s.nq)
	passed, err := s.passing(func() error {
		return s.launch("searchbound.cu", kernel+c.DType.String(), cfg, bytesOf(&b), s.work(n, s.dim*c.DType.Size()+4, s.nq, c.DType))
	})
	if err != nil {
		return err
	}
	s.pending = &pendingScores{bounds: b, dt: c.DType, passed: passed}
	if !s.shape.narrow {
		return s.settle()
	}
	return nil
}

// pendingScores are those of candidates that bounds have let pass and nothing has scored yet: all of one chunk.
type pendingScores struct {
	bounds boundArgs // of the latest slice
	dt     runtime.DType
	passed float64 // of the latest slice, for a profile
}

// settle scores what is pending.
func (s *search) settle() error {
	p := s.pending
	if p == nil {
		return nil
	}
	s.pending = nil
	if s.shape.narrow {
		var err error
		if p.passed, err = s.unscored(); err != nil {
			return err
		}
	}
	return s.rescore(p.bounds.searchArgs, p.dt, p.passed)
}

// unscored is how many candidates have no score yet, if a profile wants to know.
func (s *search) unscored() (n float64, err error) {
	if !s.dev.profile.on() {
		return 0, nil
	}
	counts := make([]int32, s.nq)
	if err := s.downloadInts(s.memory.counts.ptr, counts); err != nil {
		return 0, err
	}
	for q, count := range counts {
		words := make([]int32, 2*count)
		if err := s.downloadInts(s.memory.keys.ptr+cu.DevicePtr(keyBytes*q*s.room), words); err != nil {
			return 0, err
		}
		for i := 0; i < len(words); i += 2 {
			if words[i] >= 0 && (words[i] != 0 || words[i+1] != 0) {
				n++
			}
		}
	}
	return n, nil
}

// narrowArgs are NarrowArgs.
type narrowArgs struct {
	searchArgs
	Norms, Slack, Raised uint64
	Least                float32
	K, Most, Threads     int32
	BF16, _              int32
}

// narrowed is how many candidates search_narrow may leave a query: far more than the bounds of unit vectors, of which two in a
// thousand are between those of a score in f16, need.
func (s *search) narrowed() int { return 2*s.k + 64 }

// narrow leaves each query the candidates that may be among its k best, before they are scored, and raises the floors.
func (s *search) narrow() error {
	n, err := s.candidates()
	if err != nil {
		return err
	}
	b := &s.pending.bounds
	a := narrowArgs{searchArgs: b.searchArgs, Norms: b.Norms, Slack: b.Slack, Raised: uint64(s.memory.floors.ptr), Least: b.Least, K: int32(s.k),
		Most: int32(s.narrowed()), Threads: int32(s.selectThreads()), BF16: isBF16(s.pending.dt)}
	a.Keys, a.Room = uint64(s.memory.keys.ptr), int32(s.room)
	return s.launch("searchselect.cu", "search_narrow",
		driver.Config{Grid: [3]int{s.nq, 1, 1}, Block: int(a.Threads), Shared: selectShared}, bytesOf(&a),
		runtime.Work{Rows: s.nq, DType: runtime.F32, Bytes: keyBytes*(n+min(n, float64(s.nq*s.k))) + float64(s.nq)*(keyBytes+4)})
}

// rescoreArgs are RescoreArgs.
type rescoreArgs struct {
	searchArgs
	Places                   uint64
	SliceLo, From, To, Parts int32
}

// rescore scores what bounds have let pass; passed is how many candidates that are, for a profile.
func (s *search) rescore(a searchArgs, dt runtime.DType, passed float64) error {
	return s.rescoreRows(rescoreArgs{searchArgs: a}, dt, passed)
}

// rescoreShared is three pieces of 128 bytes for each thread.
const rescoreShared = 3 * 128 * 128

func (s *search) rescoreRows(a rescoreArgs, dt runtime.DType, passed float64) error {
	w := runtime.Work{Rows: s.nq, DType: runtime.F32, FLOP: 2 * passed * float64(s.dim),
		Bytes: passed*float64(s.dim*dt.Size()+2*keyBytes) + float64(s.nq)*float64(4*s.dim+keyBytes+4)}
	a.Keys, a.Room = uint64(s.memory.keys.ptr), int32(s.room)
	a.Parts = int32(s.candidateParts())
	return s.launch("searchselect.cu", "search_rescore_"+dt.String(), driver.Config{Grid: [3]int{s.nq, int(a.Parts), 1}, Block: 128, Shared: rescoreShared}, bytesOf(&a), w)
}

// candidateParts is how many blocks go through a query's candidates: few queries keep the device busy too.
func (s *search) candidateParts() int { return max(4, min(32, 8*s.shape.processors/s.nq)) }

// roundQueries makes the queries in the rows' type, and their slack, where scanBounds may need them.
func (s *search) roundQueries(dt runtime.DType) error {
	b, m := &s.bounds, &s.memory
	if b.dt == dt || dt == runtime.F32 || !s.byTensor() {
		return nil
	}
	if err := errors.Join(s.dev.reserve(&m.rounded, 2*len(b.padded)), s.dev.reserve(&m.slack, 4*s.nq)); err != nil {
		return err
	}
	b.dt = dt
	r := roundArgs{Queries: uint64(m.queries.ptr), Rounded: uint64(m.rounded.ptr), Slack: uint64(m.slack.ptr), Count: int32(s.nq), Depth: int32(s.depth),
		Part: upwards(float64(4*s.dim+64) * unitRoundoff), Grow: upwards(1 + float64(s.dim+32)*unitRoundoff),
		More: upwards(math.Sqrt(float64(s.dim)) * 0x1p-62), Huge: hugeQuery, BF16: isBF16(dt)}
	return s.launch("searchbound.cu", "search_round", driver.Config{Grid: [3]int{blocks(s.nq, 4), 1, 1}, Block: 128}, bytesOf(&r),
		runtime.Work{Rows: s.nq, DType: runtime.F32, FLOP: 6 * float64(s.nq) * float64(s.dim), Bytes: float64(s.nq) * float64(6*s.depth+4)})
}

// queriesInParts calls f for parts [lo, hi) of so many queries of so many elements in all: at once where they are worth several goroutines.
func queriesInParts(nq, elements int, f func(lo, hi int)) {
	parts := min(goruntime.GOMAXPROCS(0), 16, elements>>13)
	if parts < 2 {
		f(0, nq)
		return
	}
	var wait sync.WaitGroup
	for i := range parts - 1 {
		wait.Go(func() { f(i*nq/parts, (i+1)*nq/parts) })
	}
	f((parts-1)*nq/parts, nq)
	wait.Wait()
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
		Grow: upwards(1 + float64(s.dim+8)*unitRoundoff), More: upwards(math.Sqrt(float64(s.dim)) * 0x1p-62), BF16: isBF16(c.DType)}
	return at, s.launch("searchbound.cu", "search_norms", driver.Config{Grid: [3]int{blocks(hi-lo, 4), 1, 1}, Block: 128}, bytesOf(&n),
		s.work(hi-lo, s.dim*c.DType.Size()+4, 1, runtime.F32))
}
