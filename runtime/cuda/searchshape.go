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
	keyBudget  int // bytes of candidates that bound a slice
	slot       int // bytes of rows, or codes, that are copied from the host at a time
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

// searchShape returns the device's. BenchmarkSearchShapes measures others beside it.
func (d *Device) searchShape() searchShape {
	s := searchShape{tensorFrom: tensorFromGDDR, residentTo: residentQueries, shared: d.shared, processors: max(1, d.multiprocessors),
		keyBudget: max(leastKeyBudget, int(d.memory/keyShare)), slot: slotBytes, wanted: wantedShare,
		narrow: true, candidates: cheapCandidates}
	if d.major == 8 && d.minor == 0 || d.major == 9 || d.major == 10 {
		s.tensorFrom = tensorFromHBM
	}
	return s
}

// productKernel is a kernel of searchproduct.cuh: the name of its tile, the queries and the shared memory of a block, and
// whether the queries stay.
type productKernel struct {
	tile            string
	queries, shared int
	resident        bool
}

const (
	productRows    = 128 // of a block
	productThreads = 256 // likewise
	productStep    = 128 // bytes of a row, or a query, in a stage
)

// product is the kernel for a number of queries and rows of so many bytes, with so many bytes of terms a query. tile64 is for
// sources that have a tile of 64 queries.
func (s searchShape) product(nq, pitch, term int, tile64 bool) productKernel {
	steps := blocks(pitch, productStep)
	for _, k := range []struct {
		tile            string
		queries, stages int
	}{{"16", 16, 4}, {"64", 64, 3}} {
		shared := termsBytes(k.queries, term) + (steps*k.queries+k.stages*productRows)*productStep
		if nq <= min(k.queries, s.residentTo) && shared <= s.shared {
			return productKernel{k.tile, k.queries, shared, true}
		}
	}
	if nq <= 64 && tile64 {
		return productKernel{"64", 64, termsBytes(64, term) + 4*(productRows+64)*productStep, false}
	}
	return productKernel{"", 128, termsBytes(128, term) + 3*(productRows+128)*productStep, false}
}

// termsBytes is terms_bytes.
func termsBytes(queries, term int) int { return blocks(queries*term, productStep) * productStep }

// grid is that of a launch for so many rows and queries, and the blocks of a resident scan, 0 for others. Two blocks of a
// multiprocessor have its registers.
func (k productKernel) grid(s searchShape, rows, nq int) (grid [3]int, resident int32) {
	const reserved = 1 << 10 // of shared memory, by the system, for a block
	groups := blocks(rows, productRows)
	if !k.resident {
		return [3]int{blocks(nq, k.queries), groups, 1}, 0
	}
	n := min(groups, s.processors*max(1, min(2, (s.shared+reserved)/(k.shared+reserved))))
	return [3]int{n, 1, 1}, int32(n)
}
