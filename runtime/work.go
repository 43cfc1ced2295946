package runtime

import "fmt"

// Work is what one execution of an operation takes, whatever the device.
type Work struct {
	// Shape says what is the same in every run: widths, heads, activation.
	Shape string
	// Rows is the live extent: rows, images, query rows.
	Rows int
	// FLOP counts additions and multiplications of the formula, two for a multiply-add; not exponentials, roots, divisions,
	// comparisons, conversions, nor a Norm or activation that is part of another operation.
	FLOP float64
	// Bytes is what has to be read and written at least: each operand once, a temporary within the operation never.
	Bytes float64
	// DType is the type in which the FLOP are made, to be compared with that type's peak.
	DType DType
}

// Intensity is the FLOP for each byte.
func (w Work) Intensity() float64 { return w.FLOP / max(1, w.Bytes) }

// Work is what operation i takes in one run. table returns the I32 elements of a view as they are in that run; what they say is
// cut to the capacities, as devices do.
func (p *Plan) Work(i int, table func(View) []int32) Work {
	c := &cost{plan: p, table: table, w: Work{DType: F32}}
	p.ops[i].work(c)
	return c.w
}

// SearchWork is what feeding a chunk to a Search of nq queries takes. Of a chunk with a coarse copy it counts the copy: how many rows
// of the chunk itself are read depends on their values.
func SearchWork(c Chunk, nq, dim int) Work {
	w := Work{Shape: fmt.Sprintf("%d queries x %d %s", nq, dim, c.DType), Rows: c.Rows, DType: F32,
		FLOP: 2 * float64(c.Rows) * float64(dim) * float64(nq), Bytes: float64(len(c.Data))}
	if c.Coarse != nil {
		w.Shape += ", two passes"
		w.Bytes = float64(len(c.Coarse.Codes) + 4*len(c.Coarse.Scale) + 4*len(c.Coarse.Loss))
	}
	return w
}

// cost adds up the Work of an operation.
type cost struct {
	plan  *Plan
	table func(View) []int32
	w     Work
}

// LiveIn is the live extent of d in a run whose tables are as Plan.Work takes them.
func (d Dim) LiveIn(table func(View) []int32) int {
	if d.Live.Absent() {
		return d.Cap
	}
	return min(max(int(table(d.Live)[0]), 0), d.Cap)
}

func (c *cost) live(d Dim) int { return d.LiveIn(c.table) }

// rows sets the operation's extent and returns it.
func (c *cost) rows(d Dim) int {
	c.w.Rows = c.live(d)
	return c.w.Rows
}

// touch adds rows of views to the bytes; absent views have none.
func (c *cost) touch(rows int, vs ...View) {
	for _, v := range vs {
		if !v.Absent() {
			c.w.Bytes += float64(rows) * float64(v.Cols*c.plan.Info(v.Slot).DType.Size())
		}
	}
}

func (c *cost) flop(factors ...int) {
	n := 1.0
	for _, f := range factors {
		n *= float64(f)
	}
	c.w.FLOP += n
}

func (c *cost) shape(format string, args ...any) { c.w.Shape = fmt.Sprintf(format, args...) }

// weight adds a weight's bytes and makes its type the operation's.
func (c *cost) weight(w Weight, dense View) {
	if w == nil {
		c.touch(dense.Rows, dense)
		return
	}
	out, in := w.Shape()
	c.w.DType = w.DType()
	c.w.Bytes += float64(out) * float64(in*w.DType().Size())
}

// norm adds a normalisation's parameters.
func (c *cost) norm(n Norm) { c.touch(1, n.Gamma, n.Beta) }

// normFLOP of an element: 1 for the mean, 3 for the variance, 4 for (x-mean)*rstd*gamma + beta.
const normFLOP = 8

func (o PatchEmbed) work(c *cost) {
	n := c.rows(o.Images)
	out, in := o.W.Shape()
	c.shape("%d x %d, patch %d", in, out, o.Patch)
	c.flop(2*n, o.Rows()-1, out, in)
	c.flop(n, o.Rows(), out) // positions
	c.touch(n, o.Pixels)
	c.touch(n*o.Rows(), o.Out)
	c.touch(o.Rows(), o.Pos)
	c.touch(1, o.Class)
	c.weight(o.W, View{})
}

func (o TokenEmbed) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.Table.Cols)
	c.flop(n, o.Table.Cols)
	c.touch(n, o.Table, o.PosTable, o.Out)
	c.tables(n, o.IDs, o.Pos, o.Inject)
}

// tables adds so many elements of each table.
func (c *cost) tables(n int, vs ...View) {
	for _, v := range vs {
		if !v.Absent() {
			c.w.Bytes += float64(n * I32.Size())
		}
	}
}

func (o LayerNorm) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.X.Cols)
	c.flop(normFLOP, n, o.X.Cols)
	c.touch(n, o.X, o.Out)
	c.norm(o.Norm)
}

func (o Linear) work(c *cost) {
	n := c.rows(o.Rows)
	out, in := o.Shape()
	c.shape("%d x %d", in, out)
	if !o.Norm.absent() {
		c.w.Shape = "norm " + c.w.Shape
	}
	if o.Act != Identity {
		c.w.Shape += " " + o.Act.String()
	}
	if !o.Residual.Absent() {
		c.w.Shape += " + residual"
	}
	c.flop(2*n, out, in)
	for _, v := range []View{o.Bias, o.Residual} {
		if !v.Absent() {
			c.flop(n, out)
		}
	}
	c.touch(n, o.X, o.Residual, o.Out, o.Pre)
	c.touch(1, o.Bias)
	c.norm(o.Norm)
	c.weight(o.W, o.Dense)
}

func (o LinearGrad) work(c *cost) {
	n := c.rows(o.Rows)
	out, in := o.Shape()
	c.shape("%d x %d", out, in)
	if o.Act != Identity {
		c.w.Shape += " " + o.Act.String()
		c.flop(n, out)
		c.touch(n, o.Pre)
	}
	c.touch(n, o.DY, o.DPre)
	if o.DX.Absent() {
		return
	}
	c.flop(2*n, out, in)
	c.accumulate(n, o.DX, o.Add)
	c.weight(o.W, o.Dense)
}

// accumulate adds an output, which is read too if add is set.
func (c *cost) accumulate(n int, v View, add bool) {
	c.touch(n, v)
	if add {
		c.flop(n, v.Cols)
		c.touch(n, v)
	}
}

func (o WeightGrad) work(c *cost) {
	n, out, in := c.rows(o.Rows), o.DW.Rows, o.DW.Cols
	c.shape("%d x %d", out, in)
	c.flop(2*n, out, in)
	c.touch(n, o.DPre, o.X)
	c.touch(out, o.DW)
	if !o.DBias.Absent() {
		c.flop(n, out)
		c.touch(1, o.DBias)
	}
}

func (o LayerNormGrad) work(c *cost) {
	const own = 10 // DY*Gamma, g*h, two sums, and the formula's five with one for h
	n := c.rows(o.Rows)
	c.shape("%d", o.X.Cols)
	c.flop(own+normFLOP-2, n, o.X.Cols) // of LayerNorm all but *gamma + beta
	c.touch(n, o.DY, o.X)
	c.accumulate(n, o.DX, o.Add)
	c.touch(1, o.Norm.Gamma)
}

func (o Attention) work(c *cost) {
	const products = 2 // Q K^T and P V
	keys, pairs := o.extent(c)
	c.flop(2*products, pairs, o.Q.Cols)
	c.touch(c.w.Rows, o.Q, o.Out)
	c.touch(keys, o.K, o.V)
}

func (o AttentionGrad) work(c *cost) {
	const products = 5 // Q K^T again, DOut V^T, and one for each of DQ, DK and DV
	keys, pairs := o.extent(c)
	c.flop(2*products, pairs, o.Q.Cols)
	c.touch(c.w.Rows, o.Q, o.DOut, o.DQ)
	c.touch(keys, o.K, o.V)
	own := c.spans(o.Starts, c.live(o.Seqs))
	c.touch(own[len(own)-1]-own[0], o.DK, o.DV)
}

// spans returns the n+1 live elements of a table of starts, which never run backwards.
func (c *cost) spans(v View, n int) []int {
	t, s := c.table(v), make([]int, n+1)
	for i := range s {
		s[i] = int(t[i])
		if i > 0 {
			s[i] = max(s[i], s[i-1])
		}
	}
	return s
}

// extent sets the query rows and the shape, and returns how many keys there are and how many pairs of a query and a key that it
// sees.
func (o Attention) extent(c *cost) (keys, pairs int) {
	n := c.live(o.Seqs)
	queries, own := c.spans(o.QStarts, n), c.spans(o.Starts, n)
	var pos, prefix []int32
	if o.Causal || o.Window > 0 {
		pos = c.table(o.QPos)
	}
	if !o.PrefixK.Absent() {
		prefix = c.table(o.Prefix)
	}
	c.w.Rows = queries[n] - queries[0]
	c.shape("%d heads of %d", o.Heads, o.Q.Cols/o.Heads)
	if o.Causal {
		c.w.Shape += ", causal"
	}
	for s := range n {
		all := own[s+1] - own[s]
		if prefix != nil {
			all += int(prefix[2*s+1])
		}
		keys += all
		for i := queries[s]; i < queries[s+1]; i++ {
			pairs += o.seen(pos, i, all)
		}
	}
	return keys, pairs
}

// seen is how many of a sequence's keys the query row i sees.
func (o Attention) seen(pos []int32, i, keys int) int {
	lo, hi := 0, keys
	if o.Causal {
		hi = min(hi, int(pos[i])+1)
	}
	if o.Window > 0 {
		lo = max(0, int(pos[i])-o.Window+1)
	}
	return max(0, hi-lo)
}

func (o Project) work(c *cost) {
	n := c.rows(o.Rows)
	out, in := o.W.Shape()
	c.shape("%d x %d", in, out)
	c.flop(2*n, out, in)
	c.touch(n, o.X, o.Out)
	c.norm(o.Norm)
	c.tables(n, o.Pool)
	c.weight(o.W, View{})
}

func (o GatherSum) work(c *cost) {
	n := c.rows(o.Rows)
	starts := c.spans(o.Starts, n)
	list := starts[n] - starts[0]
	c.shape("%d", o.Src.Cols)
	c.flop(list, o.Src.Cols)
	c.touch(list, o.Src)
	c.touch(n, o.Dst)
	c.tables(list, o.List)
	c.tables(n+1, o.Starts)
}

func (o CopyRows) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.Src.Cols)
	c.touch(n, o.Src)
	c.accumulate(n, o.Dst, o.Add)
	c.tables(n, o.SrcRows, o.DstRows)
}

func (o CosineLoss) work(c *cost) {
	const each = 6 + 4 // three products of rows; DA is a combination of a and b, times the weight
	n := c.rows(o.Rows)
	c.shape("%d", o.A.Cols)
	c.flop(each, n, o.A.Cols)
	c.touch(n, o.A, o.B, o.Noise, o.Weight, o.Loss, o.DA)
}

func (o InfoNCE) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.A.Cols)
	c.flop(2, 2*n, 2*n, o.A.Cols) // J J^T
	c.flop(2, n, 2*n, o.A.Cols)   // its gradient, for the rows of B
	c.touch(n, o.A, o.B, o.DB)
	c.touch(1, o.Loss)
}

func (o AdamW) work(c *cost) {
	const step = 12 // decay 1, M 3, V 4, P 4 with one division's product
	n := c.rows(o.Rows)
	c.shape("%d", o.P.Cols)
	c.flop(step, n, o.P.Cols)
	c.touch(n, o.P, o.P, o.G, o.M, o.M, o.V, o.V)
	c.touch(1, o.Hyper)
	if !o.EMA.Absent() {
		c.flop(3, n, o.P.Cols)
		c.touch(n, o.EMA, o.EMA)
	}
}

func (o Random) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.Out.Cols)
	c.touch(n, o.Out)
	c.tables(n, o.Keys)
}

func (o Multiply) work(c *cost) {
	n := c.rows(o.Rows)
	c.shape("%d", o.X.Cols)
	c.flop(n, o.X.Cols)
	c.touch(n, o.X, o.Y, o.Out)
}

func (o Resample) work(c *cost) {
	c.rows(o.Images)
	c.shape("to %d", o.Size)
	for _, w := range o.Passes(c.table) {
		c.w.FLOP += w.FLOP
		c.w.Bytes += w.Bytes
	}
}

// Passes is the Work of each of the two passes in one run, for a table as Plan.Work takes it; without Shape. FLOP are the multiply-adds
// of the taps.
func (o Resample) Passes(table func(View) []int32) [2]Work {
	const out = 4 * 3 // bytes of a pixel
	n := o.Images.LiveIn(table)
	places, taps := table(o.Places), table(o.Taps)
	axis := 4 * n * o.Size * (2 + o.Most) // bytes of the taps of one direction
	passes := [2]Work{{Rows: n, DType: F32, Bytes: float64(axis)}, {Rows: n, DType: F32, Bytes: float64(axis + n*out*o.Size*o.Size)}}
	for i := range n {
		w, h, columns := int(places[5*i+1]), int(places[5*i+2]), places[5*i+3] != 0
		first, second, lines := 0, 1, h // directions, and the lines that the first pass makes
		if columns {
			first, second, lines = 1, 0, w
		}
		mid := float64(3 * lines * o.Size)
		passes[0].FLOP += 2 * 3 * float64(lines) * float64(o.taps(taps, 2*i+first))
		passes[1].FLOP += 2 * 3 * float64(o.Size) * float64(o.taps(taps, 2*i+second))
		passes[0].Bytes += float64(3*w*h) + mid
		passes[1].Bytes += mid
	}
	return passes
}

// taps is the number of coefficients of a line of the output, in direction i: of image i/2, columns if i is even.
func (o Resample) taps(table []int32, i int) int {
	n := 0
	for x := range o.Size {
		n += int(table[(i*o.Size+x)*(2+o.Most)+1])
	}
	return n
}
