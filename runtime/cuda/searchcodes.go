//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

// codeQueries are a scan's queries as bounds from codes need them: kernels/searchcodes.cu has the derivation, for few queries
// kernels/searchcoarse.cu. What is computed here is computed in f64 and rounded upwards; margin outweighs what f64 loses.
type codeQueries struct {
	mean  []float32 // of the chunk that memory.coarse is made for; nil for none
	limit float64   // of |c|V + L, for all queries
	ready bool      // what follows is, and memory.words
	apart []int     // the dimensions of o
	steps []float32 // h
	norms []float64 // |q|; not finite where nothing is known of a query
	lost  []float64 // D
}

type (
	coarseQuery struct{ Base, Slack, Reach, Limit float32 }
	coarseArgs  struct {
		searchArgs
		Scale, Loss, Bounds uint64
		Spread              float32
		_                   int32
	}
	codeQuery struct {
		Step, Slack, Reach, Base float32
		Apart                    [mostApart]float32
	}
	codesArgs struct {
		searchArgs
		Words, Rows, Terms uint64
		Limit              float32
		Blocks, Apart      int32
		Dims               [mostApart]int32
		_                  int32
	}
	codeRowArgs struct {
		X, Scale, Loss, Rows, Pitch uint64
		Lo, Hi                      int32
		Spread                      float32
		_                           int32
	}
	wantedArgs struct {
		searchArgs
		Marks, Places, List uint64
		SliceLo, Parts      int32
	}
)

const (
	codeTerm     = 20      // bytes of a query's terms in a block of searchcodes.cu
	codeRow      = 16      // bytes of a CodeRow
	maxCodesDim  = 1 << 16 // keeps sums of 128*127 within 32 bits
	largestCode  = 128
	largestByte  = 127
	normal       = 0x1p-126
	noOverflow   = 0x1p125
	codesMargin  = 64 * unitRoundoff // r
	mostApart    = 4                 // dimensions that are kept apart
	farApart     = 3                 // and how many times as large as others they are: 0.8 is a normal variable's mean absolute value
	coarseMargin = 8 * unitRoundoff  // of searchcoarse.cu
)

// spread is V.
func (s *search) spread() float64 { return largestCode * math.Sqrt(float64(s.dim)) }

// gamma is g, with a margin for what f64 loses.
func (s *search) gamma() float64 {
	nu := float64(s.dim+1) * unitRoundoff
	return 1.01 * nu / (1 - nu)
}

// byTensor says whether the tensor units make bounds for the scan's queries.
func (s *search) byTensor() bool { return s.nq >= s.shape.tensorFrom }

// hasCodes says whether a chunk has codes that the kernels take.
func (s *search) hasCodes(c runtime.Chunk) bool { return c.Coarse != nil && s.dim <= maxCodesDim }

// prepareCodes makes the queries' parts of the bounds for a chunk's mean, where they are not there yet.
func (s *search) prepareCodes(mean []float32) error {
	b := &s.codes
	if b.mean != nil && slices.Equal(b.mean, mean) {
		return nil
	}
	if !s.byTensor() {
		bounds := s.coarseBounds(mean)
		b.mean = slices.Clone(mean)
		return uploadAll(s.dev, s.memory.coarse.ptr, bounds)
	}
	if !b.ready {
		if err := s.quantise(); err != nil {
			return err
		}
	}
	terms := s.codeBounds(mean)
	b.mean = slices.Clone(mean)
	return uploadAll(s.dev, s.memory.coarse.ptr, terms)
}

// uploadAll copies structures of numbers, without padding, to the device, whose byte order is the host's.
func uploadAll[T any](d *Device, to cu.DevicePtr, all []T) error {
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(all))), len(all)*int(unsafe.Sizeof(all[0])))
	return d.upload(to, len(b), func(piece []byte, off int) { copy(piece, b[off:]) })
}

// quantise makes h, w, o and D of every query, and brings w to the device.
func (s *search) quantise() error {
	b := &s.codes
	words := make([]int8, s.nq*s.depth)
	b.setApart(s)
	b.steps, b.norms, b.lost = make([]float32, s.nq), make([]float64, s.nq), make([]float64, s.nq)
	queriesInParts(s.nq, len(words), func(lo, hi int) {
		rest := make([]float32, s.depth)
		for q := lo; q < hi; q++ {
			b.quantise(s, q, words[q*s.depth:][:s.depth], rest)
		}
	})
	b.ready = true
	return s.dev.upload(s.memory.words.ptr, len(words), func(piece []byte, off int) { copy(piece, codeBytes(words)[off:]) })
}

// quantise is of query q; rest is memory for as many numbers.
func (b *codeQueries) quantise(s *search, q int, w []int8, rest []float32) {
	x := s.bounds.padded[q*s.depth:][:s.depth]
	copy(rest, x)
	for _, j := range b.apart {
		rest[j] = 0
	}
	largest := float32(0)
	for _, v := range rest {
		largest = max(largest, float32(math.Abs(float64(v)))) // NaN stays
	}
	norm := length(x)
	step := float32(float64(largest) / largestByte)
	if !(step > 0 && step <= math.MaxFloat32) {
		step = 0
	}
	lost := 0.0
	for i, v := range rest {
		if step > 0 {
			w[i] = int8(max(-largestByte, min(largestByte, math.RoundToEven(float64(v)/float64(step)))))
		}
		d := float64(v) - float64(step)*float64(w[i])
		lost += d * d
	}
	b.steps[q], b.norms[q], b.lost[q] = step, norm, math.Sqrt(lost)*margin
	if !(norm*s.spread() < noOverflow) {
		clear(w)
		b.steps[q], b.norms[q] = 0, math.NaN()
	}
}

// setApart chooses the dimensions in which the queries are far larger than elsewhere.
func (b *codeQueries) setApart(s *search) {
	b.apart = nil
	sizes := make([]float64, s.dim)
	var mu sync.Mutex
	queriesInParts(s.nq, s.nq*s.depth, func(lo, hi int) {
		some := make([]float64, s.dim)
		for q := lo; q < hi; q++ {
			x := s.bounds.padded[q*s.depth:][:s.dim]
			by := 1 / (float64(s.nq) * length(x))
			if !(by > 0 && by <= math.MaxFloat32) {
				continue
			}
			for j, v := range x {
				some[j] += math.Abs(float64(v)) * by
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for j, v := range some {
			sizes[j] += v
		}
	})
	for len(b.apart) < mostApart {
		most := 0
		for j, v := range sizes {
			if v > sizes[most] {
				most = j
			}
		}
		if !(sizes[most] > farApart/math.Sqrt(float64(s.dim))) {
			return
		}
		b.apart, sizes[most] = append(b.apart, most), 0
	}
}

// codeBounds are the terms of kernels/searchcodes.cu for a mean.
func (s *search) codeBounds(mean []float32) []codeQuery {
	b, g, size := &s.codes, s.gamma(), length(mean)
	terms := make([]codeQuery, s.nq)
	b.limit = math.Inf(1)
	for _, norm := range b.norms {
		if norm == norm {
			b.limit = min(b.limit, noOverflow/norm*(1-1e-6)-size)
		}
	}
	queriesInParts(s.nq, s.nq*s.depth, func(lo, hi int) {
		for q := lo; q < hi; q++ {
			norm, d := b.norms[q], b.lost[q]
			if norm != norm {
				terms[q].Base = float32(math.Inf(1))
				continue
			}
			x := s.bounds.padded[q*s.depth:][:s.dim]
			center := dot(x, mean)
			width := g * norm * size * margin
			terms[q] = codeQuery{Step: b.steps[q],
				Slack: upwards((d+(g+codesMargin)*(norm+d))*margin + normal),
				Reach: upwards(norm * (1 + g + codesMargin) * margin),
				Base:  upwards(center + (width+codesMargin*(math.Abs(center)+width))*margin + 1e-12*norm*size + normal),
			}
			for i, j := range b.apart {
				terms[q].Apart[i] = x[j]
			}
		}
	})
	return terms
}

func dot(x, y []float32) float64 {
	var s [4]float64 // each waits for its own additions alone
	y = y[:len(x)]
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s[0] += float64(x[i]) * float64(y[i])
		s[1] += float64(x[i+1]) * float64(y[i+1])
		s[2] += float64(x[i+2]) * float64(y[i+2])
		s[3] += float64(x[i+3]) * float64(y[i+3])
	}
	for ; i < len(x); i++ {
		s[0] += float64(x[i]) * float64(y[i])
	}
	return s[0] + s[1] + (s[2] + s[3])
}

// coarseBounds are the queries' parts of the bound of kernels/searchcoarse.cu for a mean.
func (s *search) coarseBounds(mean []float32) []coarseQuery {
	g, r, n := s.gamma(), coarseMargin, float64(s.dim)
	size := length(mean)
	var bounds []coarseQuery
	for q := range s.nq {
		x := s.bounds.padded[q*s.depth : q*s.depth+s.dim]
		center, norm := dot(x, mean), length(x)
		b := coarseQuery{
			Base:  upwards(center + r*math.Abs(center) + (g+r)*norm*size*margin + (2*n+8)*tiny),
			Slack: upwards(((2*g+2*r)*norm*s.spread() + 2*n*tiny + 8*tiny) * margin),
			Reach: upwards(norm * (1 + g + r) * margin),
			Limit: -1,
		}
		if norm*s.spread() < noOverflow { // and so the sums of s stay finite
			b.Limit = float32((noOverflow/norm)*(1-1e-6) - size)
		}
		bounds = append(bounds, b)
	}
	return bounds
}

// deviceCodes are codes on the device, and what goes with them: each address is that of the chunk's row 0.
type deviceCodes struct {
	codes, scale, loss, rows uint64
	made                     *bool // whether rows hold what they should; nil where they never do before
	lo, hi                   int   // the rows that there are
}

// codesPitch is the distance of codes on the device.
func (s *search) codesPitch() int { return blocks(s.dim, 16) * 16 }

// boundCodes compares codes with the queries.
func (s *search) boundCodes(a searchArgs, k deviceCodes) error {
	n := int(a.Hi - a.Lo)
	a.X, a.Pitch = k.codes, uint64(s.codesPitch())
	if !s.byTensor() {
		b := coarseArgs{searchArgs: a, Scale: k.scale, Loss: k.loss, Bounds: uint64(s.memory.coarse.ptr), Spread: upwards(s.spread())}
		queries, name := 4, "search_coarse4"
		if s.nq == 1 {
			queries, name = 1, "search_coarse1"
		}
		tile := scanKernel{rows: 256, queries: queries, step: 128}
		return s.launch("searchcoarse.cu", name, driver.Config{Grid: [3]int{blocks(n, tile.rows), blocks(s.nq, queries), 1}, Block: 128,
			Shared: tile.shared(runtime.I8)}, bytesOf(&b), s.work(n, s.dim+8, s.nq, runtime.F32))
	}
	if k.made == nil || !*k.made {
		r := codeRowArgs{X: k.codes, Scale: k.scale, Loss: k.loss, Rows: k.rows, Pitch: a.Pitch, Lo: int32(k.lo), Hi: int32(k.hi), Spread: upwards(s.spread())}
		w := runtime.Work{Rows: k.hi - k.lo, DType: runtime.I8, FLOP: 2 * float64(k.hi-k.lo) * float64(s.dim), Bytes: float64(k.hi-k.lo) * float64(s.dim+8+codeRow)}
		if err := s.launch("searchcodes.cu", "search_coderows", driver.Config{Grid: [3]int{blocks(k.hi-k.lo, 4), 1, 1}, Block: 128}, bytesOf(&r), w); err != nil {
			return err
		}
		if k.made != nil {
			*k.made = true
		}
	}
	b := codesArgs{searchArgs: a, Words: uint64(s.memory.words.ptr), Rows: k.rows, Terms: uint64(s.memory.coarse.ptr), Limit: float32(s.codes.limit),
		Apart: int32(len(s.codes.apart))}
	for i, j := range s.codes.apart {
		b.Dims[i] = int32(j)
	}
	p := s.shape.product(s.nq, s.codesPitch(), codeTerm, false)
	cfg := driver.Config{Block: productThreads, Shared: p.shared}
	cfg.Grid, b.Blocks = p.grid(s.shape, n, s.nq)
	return s.launch("searchcodes.cu", "search_codes"+p.tile, cfg, bytesOf(&b), s.work(n, s.dim+codeRow, s.nq, runtime.I8))
}

// scanCodes is a scan of codes, and the exact scores of what it lets pass: of rows that are on the device, or, where there are none, of
// rows that are fetched for it.
func (s *search) scanCodes(a searchArgs, x *deviceRows, k deviceCodes, at int, c runtime.Chunk) error {
	if err := s.prepareCodes(c.Coarse.Mean); err != nil {
		return err
	}
	passed, err := s.passing(func() error { return s.boundCodes(a, k) })
	if err != nil {
		return err
	}
	if x != nil {
		return s.rescore(a, c.DType, passed)
	}
	return s.rescoreFromHost(a, at, c, passed)
}

// wantedBytes is memory.wanted for a slice of n rows: the list with its length, marks, places.
func wantedBytes(n int) int { return 4 * (1 + 3*n) }

// hostRows is how many rows of candidates are fetched at a time.
func (s *search) hostRows(n int, dt runtime.DType) int {
	return min(n, s.slotRows(s.pitchOf(dt)))
}

// rescoreFromHost fetches the rows of candidates that have no score, each once, and scores them. The host has to know them, so it waits for
// the device here.
func (s *search) rescoreFromHost(a searchArgs, at int, c runtime.Chunk, passed float64) error {
	m, n := &s.memory, int(a.Hi-a.Lo)
	list := m.wanted.ptr
	marks := list + cu.DevicePtr(4*(1+n))
	places := marks + cu.DevicePtr(4*n)
	w := wantedArgs{searchArgs: a, Marks: uint64(marks), Places: uint64(places), List: uint64(list), SliceLo: int32(at), Parts: int32(s.candidateParts())}
	if err := errors.Join(driver.Zero(list, 4, s.dev.stream), driver.Zero(marks, int64(4*n), s.dev.stream)); err != nil {
		return err
	}
	if err := s.launch("searchselect.cu", "search_wanted", driver.Config{Grid: [3]int{s.nq, int(w.Parts), 1}, Block: 128}, bytesOf(&w),
		runtime.Work{Rows: s.nq, DType: runtime.F32, Bytes: passed * (keyBytes + 4)}); err != nil {
		return err
	}
	var length [1]int32
	if err := s.downloadInts(list, length[:]); err != nil {
		return err
	}
	rows := make([]int32, length[0])
	if err := s.downloadInts(list+4, rows); err != nil {
		return err
	}
	size, pitch, most := s.dim*c.DType.Size(), s.pitchOf(c.DType), s.hostRows(n, c.DType)
	data := c.Data[at*size : (at+n)*size]
	for lo := 0; lo < len(rows); lo += most {
		part := rows[lo:min(lo+most, len(rows))]
		if err := s.dev.upload(m.fetched.ptr, len(part)*pitch, func(piece []byte, off int) { gather(piece, off, data, part, size, pitch) }); err != nil {
			return err
		}
		r := rescoreArgs{searchArgs: a, Places: uint64(places), SliceLo: int32(at), From: int32(lo), To: int32(lo + len(part))}
		r.X, r.Pitch = uint64(m.fetched.ptr), uint64(pitch)
		if err := s.rescoreRows(r, c.DType, passed*float64(len(part))/float64(len(rows))); err != nil {
			return err
		}
	}
	return nil
}

// downloadInts fills x from device memory.
func (s *search) downloadInts(from cu.DevicePtr, x []int32) error {
	return s.dev.download(from, 4*len(x), func(piece []byte, off int) {
		for i := range len(piece) / 4 {
			x[off/4+i] = int32(binary.LittleEndian.Uint32(piece[4*i:]))
		}
	})
}

// gather fills a piece, which begins off bytes into rows pitch bytes apart, from some rows of size bytes.
func gather(piece []byte, off int, data []byte, rows []int32, size, pitch int) {
	inParts(len(piece), func(lo, hi int) {
		for lo < hi {
			row, in := (off+lo)/pitch, (off+lo)%pitch
			end := min(hi, lo+pitch-in)
			n := 0
			if in < size {
				n = copy(piece[lo:end], data[int(rows[row])*size+in:int(rows[row]+1)*size])
			}
			clear(piece[lo+n : end])
			lo = end
		}
	})
}
