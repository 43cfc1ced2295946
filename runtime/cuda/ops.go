//go:build cuda

package cuda

import (
	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

func (c *compiler) op(op runtime.Op) {
	switch o := op.(type) {
	case runtime.PatchEmbed:
		c.patchEmbed(o)
	case runtime.TokenEmbed:
		c.tokenEmbed(o)
	case runtime.LayerNorm:
		c.layerNorm(o)
	case runtime.Linear:
		c.linear(o)
	case runtime.Attention:
		c.attention(o)
	case runtime.CopyRows:
		c.copyRows(o)
	case runtime.Project:
		c.project(o)
	case runtime.Resample:
		c.resample(o)
	default:
		c.backward(op)
	}
}

// backward is op for gradients, losses and what trains.
func (c *compiler) backward(op runtime.Op) {
	switch o := op.(type) {
	case runtime.LinearGrad:
		c.linearGrad(o)
	case runtime.WeightGrad:
		c.weightGrad(o)
	case runtime.LayerNormGrad:
		c.layerNormGrad(o)
	case runtime.AttentionGrad:
		c.attentionGrad(o)
	case runtime.GatherSum:
		c.gatherSum(o)
	case runtime.CosineLoss:
		c.cosineLoss(o)
	case runtime.InfoNCE:
		c.infoNCE(o)
	case runtime.AdamW:
		c.adamW(o)
	case runtime.Random:
		c.random(o)
	case runtime.Multiply:
		c.multiply(o)
	default:
		c.fail(runtime.ErrUnsupported)
	}
}

// blocks is the number of blocks of size that cover n.
func blocks(n, size int) int { return (n + size - 1) / size }

// warps is the launch of a kernel that gives each of so many rows a warp, four to a block.
func warps(rows int) driver.Config {
	return driver.Config{Grid: [3]int{blocks(rows, 4), 1, 1}, Block: 128}
}

type layerNormArgs struct {
	X, Out view
	Rows   table
	Norm   norm
	M      dim
}

// normalise writes norm(x[rows[i]]) to out; without a norm the rows as they are.
func (c *compiler) normalise(x, out view, rows runtime.View, n runtime.Norm, m runtime.Dim) {
	c.rows(layerNormArgs{X: x, Out: out, Rows: c.table(rows), Norm: c.norm(n)}, m, 1)
}

// rows launches layernorm over the rows of m, times each.
func (c *compiler) rows(a layerNormArgs, m runtime.Dim, each int) {
	a.M = c.dim(m, each)
	c.part(normWork(a, m, each), "layernorm.cu", "layernorm", warps(m.Cap*each), a)
}

func (c *compiler) layerNorm(o runtime.LayerNorm) {
	c.normalise(c.view(o.X), c.view(o.Out), runtime.View{}, o.Norm, o.Rows)
}

type copyRowsArgs struct {
	Src, Dst view
	From, To table
	M        dim
	Add, _   int32
}

func (c *compiler) copyRows(o runtime.CopyRows) {
	a := copyRowsArgs{Src: c.view(o.Src), Dst: c.view(o.Dst), From: c.table(o.SrcRows), To: c.table(o.DstRows), M: c.dim(o.Rows, 1)}
	if o.Add {
		a.Add = 1
	}
	c.launch("copyrows.cu", "copyrows", warps(o.Rows.Cap), a)
}

type tokenEmbedArgs struct {
	Table, Pseudo, Positions, Out view
	IDs, Pos, Inject              table
	M                             dim
}

func (c *compiler) tokenEmbed(o runtime.TokenEmbed) {
	c.launch("tokenembed.cu", "tokenembed", warps(o.Rows.Cap), tokenEmbedArgs{
		c.view(o.Table), c.view(o.Pseudo), c.view(o.PosTable), c.view(o.Out),
		c.table(o.IDs), c.table(o.Pos), c.table(o.Inject), c.dim(o.Rows, 1)})
}

func (c *compiler) linear(o runtime.Linear) {
	out, in := o.Shape()
	p := product{A: c.view(o.X), C: c.view(o.Out), R: c.view(o.Residual), Pre: c.view(o.Pre), Bias: c.pointer(o.Bias), M: o.Rows,
		K: in, N: out, Act: o.Act}
	if w := c.factors(&p, o.W, o.Dense); !o.Norm.Gamma.Absent() {
		p.A = c.scratchOf(w, o.Rows.Cap, in)
		c.normalise(c.view(o.X), p.A, runtime.View{}, o.Norm, o.Rows)
	}
	c.product(p)
}

type unitRowsArgs struct {
	X view
	M dim
}

func (c *compiler) project(o runtime.Project) {
	out, in := o.W.Shape()
	p := product{A: c.view(o.X), C: c.view(o.Out), M: o.Rows, K: in, N: out}
	if w := c.factors(&p, o.W, runtime.View{}); !o.Norm.Gamma.Absent() || !o.Pool.Absent() {
		p.A = c.scratchOf(w, o.Rows.Cap, in)
		c.normalise(c.view(o.X), p.A, o.Pool, o.Norm, o.Rows)
	}
	c.product(p)
	if o.Unit {
		c.part(rowsWork(o.Rows, 1, runtime.F32, 3*float64(out), rowBytes(p.C, p.C), 0), "unitrows.cu", "unitrows", warps(o.Rows.Cap),
			unitRowsArgs{p.C, c.dim(o.Rows, 1)})
	}
}

type (
	patchesArgs struct {
		Pixels, Out view
		Size, Patch int32
		M           dim
	}
	patchJoinArgs struct {
		E, Pos, Out view
		First       uint64
		M           dim
		Length, _   int32
	}
)

func (c *compiler) patchEmbed(o runtime.PatchEmbed) {
	out, in := o.W.Shape()
	each := o.Rows() - 1
	rows := o.Images.Cap * each
	p := product{C: c.scratch(rows, out), M: o.Images, Each: each, K: in, N: out}
	p.A = c.scratchOf(c.factors(&p, o.W, runtime.View{}), rows, in)
	c.part(rowsWork(o.Images, each, runtime.F32, 0, 4*float64(in)+rowBytes(p.A), 0), "patchembed.cu", "patches", warps(rows),
		patchesArgs{c.view(o.Pixels), p.A, c.i32(o.Size), c.i32(o.Patch), c.dim(o.Images, each)})
	c.product(p)
	a := patchJoinArgs{E: p.C, Pos: c.view(o.Pos), Out: c.view(o.Out), First: c.pointer(o.Class), M: c.dim(o.Images, o.Rows()), Length: c.i32(o.Rows())}
	c.part(rowsWork(o.Images, o.Rows(), runtime.F32, float64(out), rowBytes(a.E, a.Out), float64(o.Rows())*rowBytes(a.Pos)), "patchembed.cu", "patchjoin",
		warps(o.Images.Cap*o.Rows()), a)
}
