package simd

import "fmt"

const (
	// ScanRows is the number of rows that Scores takes at once, ScanQueries that of queries.
	ScanRows, ScanQueries = 16, 4
	// ScanDepth is what the dimension is a multiple of.
	ScanDepth = 16
)

// checkScan wraps the loops of a search.
func checkScan(c *Kernels, k Kernels) {
	c.Scores = checkedScores(k.Scores)
	c.ScoresF16 = checkedScores(k.ScoresF16)
	c.ScoresBF16 = checkedScores(k.ScoresBF16)
	c.Gathered = checkedGathered(k.Gathered)
	c.GatheredF16 = checkedGathered(k.GatheredF16)
	c.GatheredBF16 = checkedGathered(k.GatheredBF16)
	c.FromF16 = checkedFrom(k.FromF16, fromF16)
	c.FromBF16 = checkedFrom(k.FromBF16, fromBF16)
	c.Reached = func(marks []uint32, x []float32, rows int, floors []float32) {
		if rows < 0 {
			panic(fmt.Sprintf("simd: comparison of %d rows", rows))
		}
		if rows > 0 {
			need(marks, rows)
			need(x, rows*k.NR)
			need(floors, k.NR)
			k.Reached(marks, x, rows, floors)
		}
	}
	c.Shift = func(dst []uint32, codes []int8) int32 {
		if n := len(codes); n == 0 || n%ScanDepth != 0 || n >= 1<<17 {
			panic(fmt.Sprintf("simd: shift of %d codes", n))
		}
		need(dst, len(codes)/4)
		return k.Shift(dst, codes)
	}
	c.Bounds = func(dst []float32, codes []int8, stride int, q []int16, n int, scale, loss []float32, b *BoundOf) uint64 {
		if n < 1 || n%ScanDepth != 0 || stride < 0 || stride > len(codes) {
			panic(fmt.Sprintf("simd: bounds of depth %d, stride %d in %d", n, stride, len(codes)))
		}
		need(dst, ScanRows)
		need(codes, (ScanRows-1)*stride+n)
		need(q, n)
		need(scale, ScanRows)
		need(loss, ScanRows)
		return k.Bounds(dst, codes, stride, q, n, scale, loss, b)
	}
}

// BoundOf is what Bounds knows of a query. Its layout is known to the assembly.
type BoundOf struct {
	Step  float32 // the query is about Step times its integers
	Slack float32 // for each unit of a row's scale
	Reach float32 // for each unit of a row's loss
	Base  float32
	Size  float32 // what a row's scale is at most a measure of
	Limit float32 // of Size*scale + loss: rows beyond are not known
	Floor float32 // what a bound has to reach
	_     float32
}

func checkedScores[T any](scores func(dst []float32, src []T, stride, rows int, q []float32, nq, k int)) func([]float32, []T, int, int, []float32, int, int) {
	return func(dst []float32, src []T, stride, rows int, q []float32, nq, k int) {
		if rows < 1 || rows > ScanRows || nq < 1 || nq > ScanQueries || k < 1 || k%ScanDepth != 0 || rows > 1 && (stride < 0 || stride > len(src)) {
			panic(fmt.Sprintf("simd: scores of %d rows (1 to %d), %d queries (1 to %d), depth %d, stride %d in %d",
				rows, ScanRows, nq, ScanQueries, k, stride, len(src)))
		}
		need(dst, nq*ScanRows)
		need(src, (rows-1)*stride+k)
		need(q, nq*k)
		scores(dst, src, stride, rows, q, nq, k)
	}
}

func checkedGathered[T any](gathered func(dst []float32, src []T, stride int, rows, next *[ScanRows]uint32, q []float32, k int)) func([]float32, []T, int, *[ScanRows]uint32, *[ScanRows]uint32, []float32, int) {
	return func(dst []float32, src []T, stride int, rows, next *[ScanRows]uint32, q []float32, k int) {
		if k < 1 || k%ScanDepth != 0 || stride < k || stride > len(src) {
			panic(fmt.Sprintf("simd: scores of depth %d, stride %d in %d", k, stride, len(src)))
		}
		for _, r := range rows {
			if int(r) > (len(src)-k)/stride {
				panic(fmt.Sprintf("simd: scores of row %d of %d", r, len(src)/stride))
			}
		}
		need(dst, ScanRows)
		need(q, k)
		gathered(dst, src, stride, rows, next, q, k)
	}
}

// checkedFrom leaves what is behind whole blocks to plain Go.
func checkedFrom(from func(dst []float32, src []uint16), convert func(uint16) float32) func(dst []float32, src []uint16) {
	return func(dst []float32, src []uint16) {
		need(dst, len(src))
		whole := len(src) / ScanDepth * ScanDepth
		if whole > 0 {
			from(dst, src[:whole])
		}
		for i := whole; i < len(src); i++ {
			dst[i] = convert(src[i])
		}
	}
}

func scoresGeneric(dst, src []float32, stride, rows int, q []float32, nq, k int) {
	scoresPortable(dst, src, stride, rows, q, nq, k, fromF32)
}

func scoresF16Generic(dst []float32, src []uint16, stride, rows int, q []float32, nq, k int) {
	scoresPortable(dst, src, stride, rows, q, nq, k, fromF16)
}

func scoresBF16Generic(dst []float32, src []uint16, stride, rows int, q []float32, nq, k int) {
	scoresPortable(dst, src, stride, rows, q, nq, k, fromBF16)
}

// scoresPortable is every Scores in plain Go. Four chains side by side keep a core's multiplier busy.
func scoresPortable[T any](dst []float32, src []T, stride, rows int, q []float32, nq, k int, convert func(T) float32) {
	var last [4][]T
	for i := 0; i < rows; i += len(last) {
		for j := range last {
			last[j] = src[min(i+j, rows-1)*stride:][:k]
		}
		for j := range nq {
			var s [4]float32
			for p, w := range q[j*k : j*k+k] {
				s[0] += float32(convert(last[0][p]) * w)
				s[1] += float32(convert(last[1][p]) * w)
				s[2] += float32(convert(last[2][p]) * w)
				s[3] += float32(convert(last[3][p]) * w)
			}
			copy(dst[j*ScanRows+i:], s[:])
		}
	}
}

func boundsGeneric(dst []float32, codes []int8, stride int, q []int16, k int, scale, loss []float32, b *BoundOf) (mask uint64) {
	for i := range ScanRows {
		sum := int32(0)
		row := codes[i*stride:][:k]
		for p, w := range q[:k] {
			sum += int32(row[p]) * int32(w)
		}
		c := abs(scale[i])
		u := float32(float32(float32(sum)*b.Step)*scale[i]) + (float32(c*b.Slack) + (float32(loss[i]*b.Reach) + b.Base))
		dst[i] = u
		if !(u < b.Floor) || !(float32(c*b.Size)+loss[i] < b.Limit) {
			mask |= 1 << i
		}
	}
	return mask
}

func gatheredPortable[T any](convert func(T) float32) func([]float32, []T, int, *[ScanRows]uint32, *[ScanRows]uint32, []float32, int) {
	return func(dst []float32, src []T, stride int, rows, _ *[ScanRows]uint32, q []float32, k int) {
		for i, r := range rows {
			s := float32(0)
			for p, v := range src[int(r)*stride:][:k] {
				s += float32(convert(v) * q[p])
			}
			dst[i] = s
		}
	}
}

func fromPortable(convert func(uint16) float32) func(dst []float32, src []uint16) {
	return func(dst []float32, src []uint16) {
		for i, v := range src {
			dst[i] = convert(v)
		}
	}
}

func reachedGeneric(marks []uint32, x []float32, rows int, floors []float32) {
	for i := range rows {
		marks[i] = 0
		for j, v := range x[i*genericNR:][:genericNR] {
			if !(v < floors[j]) {
				marks[i] |= 1 << j
			}
		}
	}
}

func shiftGeneric(dst []uint32, codes []int8) (squares int32) {
	for i := range dst[:len(codes)/4] {
		word := uint32(0)
		for j, v := range codes[4*i : 4*i+4] {
			word |= uint32(uint8(v)^128) << (8 * j)
			squares += int32(v) * int32(v)
		}
		dst[i] = word
	}
	return squares
}
