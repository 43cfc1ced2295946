//go:build cuda

package cuda

import (
	"isearle/runtime"
	"isearle/runtime/cuda/driver"
)

type actGradArgs struct {
	DY, Pre, DPre view
	M             dim
	Act, _        int32
}

func (c *compiler) linearGrad(o runtime.LinearGrad) {
	out, in := o.Shape()
	dpre := c.view(o.DY)
	if o.Act != runtime.Identity || !o.DPre.Absent() {
		a := actGradArgs{DY: dpre, Pre: c.view(o.Pre), DPre: c.view(o.DPre), M: c.dim(o.Rows, 1), Act: int32(o.Act)}
		if o.DPre.Absent() {
			a.DPre = c.scratchOf(c.factors(new(product), o.W, o.Dense), o.Rows.Cap, out)
		}
		flop, bytes := 0.0, rowBytes(a.DY, a.DPre)
		if o.Act != runtime.Identity {
			flop, bytes = float64(out), bytes+rowBytes(a.Pre)
		}
		c.part(rowsWork(o.Rows, 1, runtime.F32, flop, bytes, 0), "lineargrad.cu", "actgrad", warps(o.Rows.Cap), a)
		dpre = a.DPre
	}
	if o.DX.Absent() {
		return
	}
	p := product{A: dpre, C: c.view(o.DX), M: o.Rows, K: out, N: in}
	if c.backFactors(&p, o.W, o.Dense); o.Add {
		p.R = p.C
	}
	c.product(p)
}

type colSumArgs struct {
	X   view
	Sum uint64
	M   dim
}

func (c *compiler) weightGrad(o runtime.WeightGrad) {
	p := productArgs{A: c.view(o.DPre), B: c.view(o.X), C: c.view(o.DW), M: fixed(o.DW.Rows), K: c.dim(o.Rows, 1), N: c.i32(o.DW.Cols)}
	p.ARow, p.ACol, p.BRow, p.BCol = 1, int64(p.A.Stride), 1, int64(p.B.Stride)
	flop := 2 * float64(o.DW.Rows) * float64(o.DW.Cols)
	c.f32Product(rowsWork(o.Rows, 1, runtime.F32, flop, rowBytes(p.A, p.B), float64(o.DW.Rows)*rowBytes(p.C)), p, o.DW.Rows)
	if !o.DBias.Absent() {
		sums := rowsWork(o.Rows, 1, runtime.F32, float64(o.DPre.Cols), rowBytes(p.A), 4*float64(o.DPre.Cols))
		c.part(sums, "lineargrad.cu", "colsum", driver.Config{Grid: [3]int{blocks(o.DPre.Cols, 128), 1, 1}, Block: 128},
			colSumArgs{p.A, c.pointer(o.DBias), p.K})
	}
}

type layerNormGradArgs struct {
	DY, X, DX view
	Norm      norm
	M         dim
	Add, _    int32
}

func (c *compiler) layerNormGrad(o runtime.LayerNormGrad) {
	a := layerNormGradArgs{DY: c.view(o.DY), X: c.view(o.X), DX: c.view(o.DX), Norm: c.norm(o.Norm), M: c.dim(o.Rows, 1)}
	if o.Add {
		a.Add = 1
	}
	c.launch("layernormgrad.cu", "layernormgrad", warps(o.Rows.Cap), a)
}

type gatherSumArgs struct {
	Src, Dst     view
	Starts, List table
	M            dim
}

func (c *compiler) gatherSum(o runtime.GatherSum) {
	c.launch("elementwise.cu", "gathersum", warps(o.Rows.Cap),
		gatherSumArgs{c.view(o.Src), c.view(o.Dst), c.table(o.Starts), c.table(o.List), c.dim(o.Rows, 1)})
}

type multiplyArgs struct {
	X, Y, Out view
	M         dim
}

func (c *compiler) multiply(o runtime.Multiply) {
	c.launch("elementwise.cu", "multiply", warps(o.Rows.Cap), multiplyArgs{c.view(o.X), c.view(o.Y), c.view(o.Out), c.dim(o.Rows, 1)})
}

type adamWArgs struct {
	P, G, M, V, EMA                                                       view
	Decay, Beta1, Rest1, Beta2, Rest2, Step, Scale, Eps, EMAKeep, EMARest uint64
	Rows                                                                  dim
}

func (c *compiler) adamW(o runtime.AdamW) {
	h := func(i int) uint64 { return c.pointer(o.Hyper.Element(0, i)) }
	c.launch("elementwise.cu", "adamw", warps(o.Rows.Cap), adamWArgs{
		c.view(o.P), c.view(o.G), c.view(o.M), c.view(o.V), c.view(o.EMA),
		h(runtime.HyperDecay), h(runtime.HyperBeta1), h(runtime.HyperRest1), h(runtime.HyperBeta2), h(runtime.HyperRest2),
		h(runtime.HyperStep), h(runtime.HyperScale), h(runtime.HyperEps), h(runtime.HyperEMA), h(runtime.HyperRestEMA), c.dim(o.Rows, 1)})
}

type randomArgs struct {
	Out                 view
	Param               uint64
	Seed, Counter, Keys table
	M                   dim
	Kind, _             int32
}

func (c *compiler) random(o runtime.Random) {
	c.launch("elementwise.cu", "random", warps(o.Rows.Cap), randomArgs{Out: c.view(o.Out), Param: c.pointer(o.Param),
		Seed: c.table(o.Seed), Counter: c.table(o.Counter), Keys: c.table(o.Keys), M: c.dim(o.Rows, 1), Kind: int32(o.Kind)})
}

type cosineLossArgs struct {
	A, B, Noise, Weight, Loss, DA view
	M                             dim
	Unit, _                       int32
}

func (c *compiler) cosineLoss(o runtime.CosineLoss) {
	a := cosineLossArgs{A: c.view(o.A), B: c.view(o.B), Noise: c.view(o.Noise), Weight: c.view(o.Weight), Loss: c.view(o.Loss), DA: c.view(o.DA),
		M: c.dim(o.Rows, 1)}
	if o.Unit {
		a.Unit = 1
	}
	c.launch("cosineloss.cu", "cosineloss", warps(o.Rows.Cap), a)
}

type infoNCEArgs struct {
	A, B, J, Lengths, S, LSE, Terms, G, DB, Loss view
	N                                            dim
	Tau, Weight                                  float32
}

func (c *compiler) infoNCE(o runtime.InfoNCE) {
	rows, width := o.Rows.Cap, o.A.Cols
	a := infoNCEArgs{A: c.view(o.A), B: c.view(o.B), J: c.scratch(2*rows, width), Lengths: c.scratch(2*rows, 1), S: c.scratch(2*rows, 2*rows),
		LSE: c.scratch(2*rows, 1), Terms: c.scratch(2*rows, 1), G: c.scratch(rows, 2*rows), DB: c.view(o.DB), Loss: c.view(o.Loss),
		N: c.dim(o.Rows, 1), Tau: o.Tau, Weight: o.Weight}
	launch := func(kernel string, rows int, w kernelWork) { c.part(w, "infonce.cu", kernel, warps(rows), a) }
	// Of n live rows of width w: S is [2n, 2n], G [n, 2n], the matrices of rows [2n, w] and [n, w]; four bytes an element.
	work := func(flop, elements func(n, w float64) float64) kernelWork {
		return infoNCEWork(o, flop, func(n, w float64) float64 { return 4 * elements(n, w) })
	}
	launch("infonce_unit", 2*rows, work(func(n, w float64) float64 { return 3 * 2 * n * w }, func(n, w float64) float64 { return 4*n*w + 2*n }))
	c.f32Product(work(func(n, w float64) float64 { return 8 * n * n * w }, func(n, w float64) float64 { return 2*n*w + 4*n*n }),
		productArgs{A: a.J, B: a.J, C: a.S, M: fixed(2 * rows), K: fixed(width), N: c.i32(2 * rows)}.straight(), 2*rows)
	launch("infonce_lse", 2*rows, work(func(n, w float64) float64 { return 2 * 4 * n * n }, func(n, w float64) float64 { return 4*n*n + 4*n }))
	c.part(work(func(n, w float64) float64 { return 2 * n }, func(n, w float64) float64 { return 2*n + 1 }), "infonce.cu", "infonce_loss",
		driver.Config{Grid: [3]int{1, 1, 1}, Block: 32}, a)
	launch("infonce_weights", rows, work(func(n, w float64) float64 { return 4 * 2 * n * n }, func(n, w float64) float64 { return 4*n*n + 2*n }))
	p := productArgs{A: a.G, B: a.J, C: a.DB, M: a.N, K: fixed(2 * rows), N: c.i32(width)}.straight()
	p.BRow, p.BCol = 1, int64(width)
	c.f32Product(work(func(n, w float64) float64 { return 4 * n * n * w }, func(n, w float64) float64 { return 2*n*n + 3*n*w }), p, rows)
	launch("infonce_through", rows, work(func(n, w float64) float64 { return 6 * n * w }, func(n, w float64) float64 { return 3*n*w + n }))
}
