package runtime

// Search scans a gallery that is fed chunk by chunk and keeps each query's k best rows: the product and the selection are one
// operation, and no matrix of scores exists. A score is one chain of fused multiply-adds over the dimension, so its bits do
// not depend on the batch of queries, the chunking or the threads. Equal scores rank by lower row index first.
type Search interface {
	// Begin takes unit queries, nq x dim row-major, and forgets the previous scan.
	Begin(queries []float32, nq, k int) error
	// Feed scans rows first, first+1, ... of the gallery. The chunk may be reused when Feed returns.
	Feed(first int, c Chunk) error
	// Finish writes each query's hits, best first, to hits[q*k:], and how many there are (k, or all rows scanned if fewer)
	// to counts[q]. NaN scores are never hits.
	Finish(hits []Hit, counts []int) error
	Close() error
}

// Chunk is a block of gallery rows, row-major and contiguous.
type Chunk struct {
	DType DType // F32, F16 or BF16
	Rows  int
	Data  []byte // Rows x dim little-endian elements
	// Skip has bit i%64 of word i/64 set where row i of the chunk is not to be scanned; nil skips none.
	Skip []uint64
	// Fixed promises that rows which are fed again under the same numbers, by the same search, are the same: a device with
	// memory of its own may keep them there.
	Fixed bool
	// Coarse may be given to read Data only where it matters. Hits and scores are the same with and without it, and a
	// device may ignore it.
	Coarse *Coarse
}

// Coarse is a compact copy of a chunk's rows: row x is approximated by Mean + Scale[r]*Codes[r], and Loss[r] is at least
// the Euclidean norm of the difference.
type Coarse struct {
	Codes []int8    // Rows x dim
	Scale []float32 // Rows
	Loss  []float32 // Rows
	Mean  []float32 // dim
}

// Hit is a row found.
type Hit struct {
	Row   int
	Score float32
}

// Before is the order of hits: higher score first, then lower row.
func (h Hit) Before(o Hit) bool {
	return h.Score > o.Score || h.Score == o.Score && h.Row < o.Row
}
