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

// attentionDepth is the largest head that attention.cu keeps in registers.
const attentionDepth = 128

func (c *compiler) attention(o runtime.Attention) {
	c.launch("attention.cu", "attention", heads(o.Q.Rows, o.Heads, 32), c.attentionArgs(o))
}

// heads is the launch of a kernel that gives each row and head a warp, with so many floats of shared memory.
func heads(rows, heads, floats int) driver.Config {
	cfg := warps(rows)
	cfg.Grid[1], cfg.Shared = heads, 4*floats*4
	return cfg
}

type attentionGradArgs struct {
	Forward                 attentionArgs
	DOut, DQ, DK, DV, Stats view
}

func (c *compiler) attentionGrad(o runtime.AttentionGrad) {
	a := attentionGradArgs{c.attentionArgs(o.Attention), c.f32(o.DOut), c.f32(o.DQ), c.f32(o.DK), c.f32(o.DV), c.scratch(o.Q.Rows, 3*o.Heads)}
	c.launch("attentiongrad.cu", "attentiongrad_q", heads(o.Q.Rows, o.Heads, 32), a)
	c.launch("attentiongrad.cu", "attentiongrad_k", heads(o.K.Rows, o.Heads, 64), a)
}

func (c *compiler) attentionArgs(o runtime.Attention) attentionArgs {
	a := attentionArgs{Q: c.f32(o.Q), K: c.f32(o.K), V: c.f32(o.V), PrefixK: c.f32(o.PrefixK), PrefixV: c.f32(o.PrefixV), Out: c.f32(o.Out),
		QStarts: c.table(o.QStarts), Starts: c.table(o.Starts), Pos: c.table(o.QPos), Prefix: c.table(o.Prefix), Seqs: c.dim(o.Seqs, 1),
		Scale: o.Scale, Heads: c.i32(o.Heads), Window: c.i32(o.Window)}
	if o.Causal {
		a.Causal = 1
	}
	if d := o.Q.Cols / o.Heads; d > attentionDepth {
		c.fail(fmt.Errorf("heads of %d, at most %d: %w", d, attentionDepth, runtime.ErrUnsupported))
	}
	return a
}
