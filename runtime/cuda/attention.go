//go:build cuda

package cuda

import (
	"fmt"

	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

type attentionArgs struct {
	Q, K, V, PrefixK, PrefixV, Out view
	QStarts, Starts, Pos, Prefix   table
	Seqs                           dim
	Scale                          float32
	Heads, Causal, Window          int32
}

// attentionDepth is the largest head that the kernels keep in registers.
const attentionDepth = 128

func (c *compiler) attention(o runtime.Attention) {
	a := c.attentionArgs(o)
	if c.dev.groupAttention && groupable(o, a) {
		c.groupAttention(o, a)
		return
	}
	if d := tensorDepth(o, 128, a.views()...); d > 0 {
		tiles := blocks(o.MaxKeys, attentionTile)
		c.launch("halfattention.cu", fmt.Sprintf("halfattention_%s_%d", a.dtype(), d), heads64(o, 10*attentionTile*d),
			halfAttentionArgs{a, c.i32(tiles), 0})
		return
	}
	c.launch("attention.cu", "attention_"+a.dtype().String(), heads(o.Q.Rows, o.Heads, 32), a)
}

// heads is the launch of a kernel that gives each row and head a warp, with so many floats of shared memory.
func heads(rows, heads, floats int) driver.Config {
	cfg := warps(rows)
	cfg.Grid[1], cfg.Shared = heads, 4*floats*4
	return cfg
}

// attentionTile is the queries, or keys, of a block of halfattention.cu.
const attentionTile = 64

type halfAttentionArgs struct {
	Forward  attentionArgs
	Tiles, _ int32
}

// heads64 is the launch of a kernel that gives each 64 rows of a sequence and each head a block, with so many bytes of shared memory.
func heads64(o runtime.Attention, shared int) driver.Config {
	return driver.Config{Grid: [3]int{blocks(o.MaxKeys, attentionTile), o.Heads, o.Seqs.Cap}, Block: 128, Shared: shared}
}

// groupKeyTiles are the tiles of keys and values that groupattention.cu has in shared memory at most.
const groupKeyTiles = 5

// groupable says whether groupattention.cu takes an attention: every query sees every key of its sequence, of whose rows none is left out.
// The last layer's single queries would leave a warpgroup idle.
func groupable(o runtime.Attention, a attentionArgs) bool {
	full := !o.Causal && o.Window == 0 && a.Prefix == 0 && o.Q.Rows == o.K.Rows
	return full && o.Q.Cols == 64*o.Heads && tensorDepth(o, 64, a.views()...) == 64
}

// attentionGroups is how many warpgroups share a sequence's keys: two and a warp for the rest, or one where it has all of them.
func attentionGroups(o runtime.Attention) int {
	if o.MaxKeys <= attentionTile {
		return 1
	}
	return 2
}

type groupAttentionArgs struct {
	Q, K, V driver.TensorMap
	Forward attentionArgs
	_       [6]uint64 // the size is a multiple of the maps' alignment
}

// groupAttention launches groupattention.cu. The maps have all rows that may be live.
func (c *compiler) groupAttention(o runtime.Attention, a attentionArgs) {
	if c.dry || o.Q.Rows == 0 {
		return
	}
	g, err := groupAttentionArgs{Forward: a}, error(nil)
	for _, m := range []struct {
		to *driver.TensorMap
		of view
	}{{&g.Q, a.Q}, {&g.K, a.K}, {&g.V, a.V}} {
		if err == nil {
			*m.to, err = m.of.tiles(a.dtype(), o.Q.Rows, m.of.Cols, attentionTile).Encode()
		}
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.launch("groupattention.cu", fmt.Sprintf("groupattention_%s_%d", a.dtype(), attentionGroups(o)), heads128(o), g)
}

// heads128 is the launch of groupattention.cu: its Room, as far as there are keys.
func heads128(o runtime.Attention) driver.Config {
	const tile, barriers = attentionTile * 2 * attentionTile, 1024
	groups, rest := attentionGroups(o), 0
	if groups > 1 {
		rest = 1
	}
	keys := min(groupKeyTiles, blocks(o.MaxKeys, attentionTile))
	return driver.Config{Grid: [3]int{max(1, blocks(o.MaxKeys-16*rest, attentionTile*groups)), o.Heads, o.Seqs.Cap}, Block: 128*groups + 32*rest,
		Shared: 1024 + (groups+rest)*tile + barriers + 2*keys*tile, Aligned: true}
}

// tensorDepth is the width to which the tensor units' kernels pad a head, 0 where they cannot take it: matrices of one half type, rows
// and heads aligned to 16 bytes, heads up to limit. Heads of 96 are too rare for kernels of their own.
func tensorDepth(o runtime.Attention, limit int, vs ...view) int {
	d := o.Q.Cols / o.Heads
	for _, v := range vs {
		if v.Cols > 0 && (v.DType == int32(runtime.F32) || !v.ready(runtime.DType(v.DType))) {
			return 0
		}
	}
	if d%align != 0 || d > limit {
		return 0
	}
	if d > 64 {
		return 128
	}
	return max(32, 32*blocks(d, 32))
}

// gradTiles are the rows of the tiles of keys and of queries that go by in halfattentiongrad.cu, by the width to which heads are padded.
var gradTiles = map[int]struct{ keys, queries int }{32: {64, 32}, 64: {64, 64}, 128: {32, 16}}

type attentionGradArgs struct {
	Forward                 attentionArgs
	DOut, DQ, DK, DV, Stats view
}

type halfAttentionGradArgs struct {
	attentionGradArgs
	Tiles, _ int32
}

func (c *compiler) attentionGrad(o runtime.AttentionGrad) {
	a := attentionGradArgs{c.attentionArgs(o.Attention), c.view(o.DOut), c.view(o.DQ), c.view(o.DK), c.view(o.DV), c.scratch(o.Q.Rows, 3*o.Heads)}
	outs := []view{a.DOut, a.DQ, a.DK, a.DV}
	wq, wk := attentionGradWorks(o, a)
	c.alike(a.Forward.Q, outs...)
	if d := tensorDepth(o.Attention, 128, append(a.Forward.views(), outs...)...); d > 0 {
		name, t := fmt.Sprintf("_%s_%d", a.Forward.dtype(), d), gradTiles[d]
		h := halfAttentionGradArgs{a, c.i32(blocks(o.MaxKeys, attentionTile)), 0}
		c.part(wq, "halfattentiongrad.cu", "halfattentiongrad_q"+name, heads64(o.Attention, 4*attentionTile*d+8*t.keys*d), h)
		c.part(wk, "halfattentiongrad.cu", "halfattentiongrad_k"+name, heads64(o.Attention, 4*attentionTile*d+8*t.queries*d+32*t.queries), h)
		return
	}
	c.part(wq, "attentiongrad.cu", "attentiongrad_q_"+a.Forward.dtype().String(), heads(o.Q.Rows, o.Heads, 32), a)
	c.part(wk, "attentiongrad.cu", "attentiongrad_k_"+a.Forward.dtype().String(), heads(o.K.Rows, o.Heads, 64), a)
}

func (a attentionArgs) dtype() runtime.DType { return runtime.DType(a.Q.DType) }
func (a attentionArgs) views() []view        { return []view{a.Q, a.K, a.V, a.PrefixK, a.PrefixV, a.Out} }

func (c *compiler) attentionArgs(o runtime.Attention) attentionArgs {
	a := attentionArgs{Q: c.view(o.Q), K: c.view(o.K), V: c.view(o.V), PrefixK: c.view(o.PrefixK), PrefixV: c.view(o.PrefixV), Out: c.view(o.Out),
		QStarts: c.table(o.QStarts), Starts: c.table(o.Starts), Pos: c.table(o.QPos), Prefix: c.table(o.Prefix), Seqs: c.dim(o.Seqs, 1),
		Scale: o.Scale, Heads: c.i32(o.Heads), Window: c.i32(o.Window)}
	c.alike(a.Q, a.views()...)
	if o.Causal {
		a.Causal = 1
	}
	if d := o.Q.Cols / o.Heads; d > attentionDepth {
		c.fail(fmt.Errorf("heads of %d, at most %d: %w", d, attentionDepth, runtime.ErrUnsupported))
	}
	return a
}

// alike checks that matrices are of one type.
func (c *compiler) alike(as view, vs ...view) {
	for _, v := range vs {
		if v.Cols > 0 && v.DType != as.DType {
			c.fail(fmt.Errorf("matrices of %s and of %s: %w", runtime.DType(as.DType), runtime.DType(v.DType), runtime.ErrUnsupported))
		}
	}
}
