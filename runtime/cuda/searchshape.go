//go:build cuda

package cuda

// searchShape is how searches are cut on a device. Which of two kernels is faster depends on the memory: how many bytes it gives a
// multiprocessor in a cycle.
type searchShape struct {
	// tensorFrom is from how many queries on the tensor units bound scores, where a row's bytes allow; below it the f32 units
	// make scores, or bounds from codes.
	tensorFrom int
	// residentTo is up to how many queries stay in the shared memory of a block that takes one group of rows after the other.
	residentTo int
	// wide says that blocks of twice as many rows take more than 16 queries of a half type, where they have the shared memory.
	wide      bool
	keyBudget int // bytes of candidates that bound a slice
	slot      int // bytes of rows, or codes, that are copied from the host at a time
	// wanted is how many times k*nq of the rows that a search has seen are expected to be candidates among as many more.
	wanted float64
	// narrow says that candidates of bounds are narrowed down before they are scored, and the first slice bounded too.
	narrow     bool
	candidates int // of a query, that a slice may be expected to have where they are cheap
	shared     int // bytes that a block may have
	processors int
}

const (
	// tensorFromHBM is of chips with stacked memory, which gives a multiprocessor 13 bytes a cycle and more (A100 13, H100 13, B200 29):
	// two queries are compared by the kernel for four, which needs all of shared memory's loads for that pace on the
	// first two and twice as many as there are on the third (kernels/searchbound.cu has the count).
	tensorFromHBM = 2
	// tensorFromGDDR is of the others, of 3 to 5 bytes a cycle (L40S 3, RTX 4090 3, RTX 5090 4.4): the f32 units keep pace with eight
	// queries, and no candidate has to be scored again.
	tensorFromGDDR = fewQueries + 1
	// residentQueries is as much as the resident kernels are compiled for.
	residentQueries = 64
	// leastKeyBudget is enough for 32,768 rows of 1,024 queries.
	leastKeyBudget = 256 << 20
	// keyShare is the part of a device's memory that candidates may take: half of what rows that are kept leave free. On 80 GB it is room
	// for 320,000 rows of 1,024 queries, so that a search of 4 million launches 15 selections in place of 60.
	keyShare = 32
	// slotBytes are copied in some milliseconds.
	slotBytes = 64 << 20
	// wantedShare is that of unit vectors in random directions, 1,000,000 of 512 dimensions with k of 50: bounds from bytes are half a
	// standard deviation of the scores above them, and let 4.5 times as many rows pass. Features of images have fewer neighbours.
	wantedShare = 4
	// cheapCandidates are 32 KB of keys, which a selection goes through in some microseconds: as long as it takes to start one. With k
	// of 50, 1,000,000 rows are three slices rather than four, 10,000,000 three rather than five.
	cheapCandidates = 4096
)

// searchShape returns the device's. tensorFromGDDR, a residentTo of 0, leastKeyBudget and no narrowing give the kernels and slices that
// kernels/RESULTS.md has measurements of.
func (d *Device) searchShape() searchShape {
	s := searchShape{tensorFrom: tensorFromGDDR, residentTo: residentQueries, shared: d.shared, processors: max(1, d.multiprocessors),
		keyBudget: max(leastKeyBudget, int(d.memory/keyShare)), slot: slotBytes, wanted: wantedShare,
		narrow: true, candidates: cheapCandidates}
	if d.major == 8 && d.minor == 0 || d.major == 9 || d.major == 10 {
		s.tensorFrom, s.wide = tensorFromHBM, true
	}
	return s
}

// productKernel is a kernel of searchproduct.cuh: the end of its name, the queries, rows and threads of a block, its shared memory, and
// whether the queries stay.
type productKernel struct {
	tile                   string
	queries, rows, threads int
	shared                 int
	resident, wide         bool
}

const (
	productRows = 128 // of a block
	productStep = 128 // bytes of a row, or a query, in a stage
)

// product is the kernel for a number of queries and rows of so many bytes, with so many bytes of terms a query. tile64 is for
// sources that have a tile of 64 queries.
func (s searchShape) product(nq, pitch, term int, tile64 bool) productKernel {
	steps := blocks(pitch, productStep)
	resident := func(tile string, queries, stages, rows, threads int) (productKernel, bool) {
		shared := termsBytes(queries, term) + (steps*queries+stages*rows)*productStep
		return productKernel{tile, queries, rows, threads, shared, true, rows > productRows}, shared <= s.shared
	}
	if s.wide && tile64 {
		if k, ok := resident("64", 64, 5, 2*productRows, 512); ok && nq > 16 && nq <= min(64, s.residentTo) {
			return k
		}
		if k, ok := resident("", 128, 3, 2*productRows, 256); ok && nq > 64 && s.evenly(blocks(nq, 128)) {
			return k
		}
	}
	if k, ok := resident("16", 16, 4, productRows, 256); ok && nq <= min(16, s.residentTo) {
		return k
	}
	if k, ok := resident("64", 64, 3, productRows, 256); ok && nq <= min(64, s.residentTo) {
		return k
	}
	if nq <= 64 && tile64 {
		return productKernel{"64", 64, productRows, 256, termsBytes(64, term) + 4*(productRows+64)*productStep, false, false}
	}
	return productKernel{"", 128, productRows, 256, termsBytes(128, term) + 3*(productRows+128)*productStep, false, false}
}

// evenly says whether so many groups of queries, of which each has as many multiprocessors as any other, leave few idle.
func (s searchShape) evenly(groups int) bool {
	return s.processors/groups*groups*8 >= s.processors*7
}

// termsBytes is terms_bytes.
func termsBytes(queries, term int) int { return blocks(queries*term, productStep) * productStep }

// grid is that of a launch for so many rows and queries, and the blocks of a resident scan, 0 for others. Two blocks of a
// multiprocessor have its registers.
func (k productKernel) grid(s searchShape, rows, nq int) (grid [3]int, resident int32) {
	const reserved = 1 << 10 // of shared memory, by the system, for a block
	groups, queries := blocks(rows, k.rows), blocks(nq, k.queries)
	if !k.resident {
		return [3]int{queries, groups, 1}, 0
	}
	n := max(1, s.processors/queries)
	if !k.wide {
		n *= max(1, min(2, (s.shared+reserved)/(k.shared+reserved)))
	}
	n = min(groups, n)
	return [3]int{n, queries, 1}, int32(n)
}
