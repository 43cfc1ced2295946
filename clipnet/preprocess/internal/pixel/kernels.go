package pixel

import (
	"os"
	"sync"
)

// Kernels is a set of loops for one instruction set. It has no state: any number of goroutines may use it. A slice that is too
// short for what a loop is asked to do panics before anything is written. Destinations must not overlap sources.
type Kernels struct {
	// Name is "avx512", "avx2" or "generic".
	Name string

	// MCUs decodes sequential MCUs (T.81 section F.2) from the cursor on, until none is left or one block needs its caller: with
	// K below 63, the code behind K is not in the block's table and is left; with K of 256 or more, a value lies beyond the
	// block's end; else b has been overrun, which is found at the end of each block.
	MCUs func(b *Bits, units []Unit, c *Cursor)

	// IDCT transforms groups of [Group] blocks that stand side by side: coefs in the order of [Coef], times quant (64 factors
	// in rows, products modulo 2^16), into 8 rows of 8*Group*groups samples, stride bytes apart.
	IDCT func(dst []byte, stride int, coefs []int16, quant *[64]uint16, groups int)

	// H2V1 doubles a row of at least two samples: each result is 3/4 the nearer sample and 1/4 the farther one, rounded down
	// and up in turn. dst has 2*len(src) samples.
	H2V1 func(dst, src []byte)
	// H2V2 doubles a row of at least two samples that lies between two others, one of them far, to 2*len(near) samples: 9/16,
	// 3/16, 3/16 and 1/16 of the four samples around, rounded in turn.
	H2V2 func(dst, near, far []byte)
	// RGB converts len(y) pixels of YCbCr to RGB, interleaved.
	RGB func(dst, y, cb, cr []byte)

	// Rows resizes height rows of pixels of t.Channels samples, srcStride bytes apart, to rows dstStride bytes apart. What is
	// behind a row of dst, up to [RowSlack] bytes, may be overwritten: dstStride includes them, and dst has them behind its
	// last row.
	Rows func(dst []byte, dstStride int, src []byte, srcStride, height int, t *RowTaps)
	// Column computes one row of a vertical resize: dst[x] of the samples src[i*stride+x] for i < t.Count.
	Column func(dst, src []byte, stride int, t ColumnTaps)

	// Normalize computes dst[c*plane+x] = (src[3*x+c]/255 - mean) / std, with the mean and the standard deviation of s for
	// channel c, for x from 0 up to a number of pixels that it returns, at most len(src)/3; the others are the caller's. Quotients
	// may be an ulp off.
	Normalize func(dst []float32, plane int, src []byte, s *Scale) int
}

// Scale is the constants of Normalize: for each channel mean, standard deviation, its reciprocal, and padding.
type Scale [3][4]float32

// NewScale returns the scale of means and standard deviations.
func NewScale(mean, std [3]float32) *Scale {
	s := new(Scale)
	for c := range s {
		s[c] = [4]float32{mean[c], std[c], 1 / std[c]}
	}
	return s
}

// Group is the number of blocks that are transformed together.
const Group = 4

// Coef is the place of coefficient i (in rows) of block b in a row of blocks: the blocks of a group are interleaved row by row.
func Coef(b, i int) int {
	x, y, block := uint(i)%8, uint(i)/8, uint(b)
	return int(block/Group*64*Group + y*8*Group + block%Group*8 + x)
}

// Block is the coefficients from the first of a block on: its rows of 8, between them rows of others in its group or behind it.
type Block [64 * Group]int16

// EnvCPU names the environment variable that chooses the set: a name that this machine does not have is passed over.
const EnvCPU = "ISEARLE_CPU"

// sets lists what this machine runs, the fastest first.
var sets = sync.OnceValue(func() []*Kernels {
	var all []*Kernels
	for _, raw := range append(machineSets(), generic) {
		all = append(all, checked(raw))
	}
	return all
})

// All returns every set this machine can run, the fastest first.
func All() []*Kernels { return append([]*Kernels(nil), sets()...) }

// Best returns the set that ISEARLE_CPU names, or the fastest.
var Best = sync.OnceValue(func() *Kernels {
	name := os.Getenv(EnvCPU)
	for _, k := range sets() {
		if k.Name == name {
			return k
		}
	}
	return sets()[0]
})
