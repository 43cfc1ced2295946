package reference

import (
	"encoding/binary"
	"math"

	"isearle/runtime"
	"isearle/weights/half"
)

func decode(dst []float32, dt runtime.DType, src []byte) error {
	if len(src) != len(dst)*dt.Size() || !dt.Float() {
		return errLength
	}
	for i := range dst {
		switch dt {
		case runtime.F32:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		case runtime.F16:
			dst[i] = half.F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		case runtime.BF16:
			dst[i] = half.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	}
	return nil
}

// mat is a view of float64s.
type mat struct {
	v runtime.View
	f []float64
}

func (p *program) mat(v runtime.View) mat {
	if v.Absent() {
		return mat{}
	}
	return mat{v, p.buffers[v.Slot-1].F}
}

func (m mat) at(i, j int) float64 { return m.f[m.v.Offset+i*m.v.Stride+j] }
func (m mat) set(i, j int, x float64) {
	m.f[m.v.Offset+i*m.v.Stride+j] = x
}

// put sets an element, or adds to it.
func (m mat) put(i, j int, x float64, add bool) {
	if add {
		x += m.at(i, j)
	}
	m.set(i, j, x)
}

// row is a copy of row i.
func (m mat) row(i int) []float64 {
	return append([]float64(nil), m.f[m.v.Offset+i*m.v.Stride:][:m.v.Cols]...)
}

func (m mat) setRow(i int, x []float64) { copy(m.f[m.v.Offset+i*m.v.Stride:][:m.v.Cols], x) }

// ints is a table.
func (p *program) ints(v runtime.View) []int32 {
	if v.Absent() {
		return nil
	}
	return p.buffers[v.Slot-1].I[v.Offset:]
}

func (p *program) live(d runtime.Dim) int {
	if d.Live.Absent() {
		return d.Cap
	}
	return min(max(int(p.ints(d.Live)[0]), 0), d.Cap)
}

func index(t []int32, i int) int {
	if t == nil {
		return i
	}
	return int(t[i])
}

func (p *program) step(op runtime.Op) func() {
	switch o := op.(type) {
	case runtime.PatchEmbed:
		return func() { p.patchEmbed(o) }
	case runtime.TokenEmbed:
		return func() { p.tokenEmbed(o) }
	case runtime.LayerNorm:
		return func() {
			for i := range p.live(o.Rows) {
				p.mat(o.Out).setRow(i, p.norm(o.Norm, p.mat(o.X).row(i)))
			}
		}
	case runtime.Linear:
		return func() { p.linear(o) }
	case runtime.Attention:
		return func() { p.attention(o) }
	case runtime.CopyRows:
		return func() {
			for i := range p.live(o.Rows) {
				s, d := index(p.ints(o.SrcRows), i), index(p.ints(o.DstRows), i)
				for j := 0; s >= 0 && d >= 0 && j < o.Src.Cols; j++ {
					p.mat(o.Dst).put(d, j, p.mat(o.Src).at(s, j), o.Add)
				}
			}
		}
	case runtime.Project:
		return func() { p.project(o) }
	case runtime.Resample:
		return func() { p.resample(o) }
	}
	return p.backward(op)
}

// backward is step for gradients, losses and what trains.
func (p *program) backward(op runtime.Op) func() {
	switch o := op.(type) {
	case runtime.LinearGrad:
		return func() { p.linearGrad(o) }
	case runtime.WeightGrad:
		return func() { p.weightGrad(o) }
	case runtime.LayerNormGrad:
		return func() { p.layerNormGrad(o) }
	case runtime.AttentionGrad:
		return func() { p.attentionGrad(o) }
	case runtime.GatherSum:
		return func() {
			starts, list := p.ints(o.Starts), p.ints(o.List)
			for r := range p.live(o.Rows) {
				p.mat(o.Dst).setRow(r, make([]float64, o.Dst.Cols))
				for _, src := range list[starts[r]:starts[r+1]] {
					for j := range o.Dst.Cols {
						p.mat(o.Dst).put(r, j, p.mat(o.Src).at(int(src), j), true)
					}
				}
			}
		}
	case runtime.CosineLoss:
		return func() { p.cosineLoss(o) }
	case runtime.InfoNCE:
		return func() { p.infoNCE(o) }
	case runtime.AdamW:
		return func() { p.adamW(o) }
	case runtime.Random:
		return func() { p.random(o) }
	case runtime.Multiply:
		return func() {
			for r := range p.live(o.Rows) {
				for j := range o.X.Cols {
					p.mat(o.Out).set(r, j, p.mat(o.X).at(r, j)*p.mat(o.Y).at(r, j))
				}
			}
		}
	}
	return nil
}

func (p *program) patchEmbed(o runtime.PatchEmbed) {
	w, px, out := o.W.(*Weight), p.mat(o.Pixels), p.mat(o.Out)
	grid := o.Size / o.Patch
	for b := range p.live(o.Images) {
		for j := range w.out {
			out.set(b*o.Rows(), j, p.mat(o.Class).at(0, j)+p.mat(o.Pos).at(0, j))
		}
		for r := 1; r < o.Rows(); r++ {
			gy, gx, x := (r-1)/grid, (r-1)%grid, make([]float64, w.in)
			for i := range x {
				c, y, col := i/(o.Patch*o.Patch), i/o.Patch%o.Patch, i%o.Patch
				x[i] = px.at(b, (c*o.Size+gy*o.Patch+y)*o.Size+gx*o.Patch+col)
			}
			factor(w, x)
			for j := range w.out {
				s := 0.0
				for i, v := range x {
					s += w.w[j*w.in+i] * v
				}
				out.set(b*o.Rows()+r, j, s+p.mat(o.Pos).at(r, j))
			}
		}
	}
}

func (p *program) tokenEmbed(o runtime.TokenEmbed) {
	out := p.mat(o.Out)
	for i := range p.live(o.Rows) {
		src, r := p.mat(o.Table), int(p.ints(o.IDs)[i])
		if t := p.ints(o.Inject); t != nil && t[i] >= 0 {
			src, r = p.mat(o.Pseudo), int(t[i])
		}
		pos := int(p.ints(o.Pos)[i])
		for j := range src.v.Cols {
			x := math.NaN()
			if r >= 0 && r < src.v.Rows && pos >= 0 && pos < o.PosTable.Rows {
				x = src.at(r, j) + p.mat(o.PosTable).at(pos, j)
			}
			out.set(i, j, x)
		}
	}
}

func (p *program) norm(n runtime.Norm, x []float64) []float64 {
	if n.Gamma.Absent() {
		return x
	}
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for j, v := range x {
		y[j] = (v-mean)/math.Sqrt(variance+float64(n.Eps))*p.mat(n.Gamma).at(0, j) + p.mat(n.Beta).at(0, j)
	}
	return y
}

func act(a runtime.Activation, x float64) float64 {
	switch a {
	case runtime.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case runtime.GELU:
		return x * (1 + math.Erf(x/math.Sqrt2)) / 2
	case runtime.GELUTanh:
		return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
	case runtime.ReLU:
		return max(x, 0)
	}
	return x
}

// matrixOf reads a packed weight, or a matrix in device memory.
func (p *program) matrixOf(w runtime.Weight, dense runtime.View) func(j, i int) float64 {
	if w, ok := w.(*Weight); ok {
		return func(j, i int) float64 { return w.w[j*w.in+i] }
	}
	return p.mat(dense).at
}

// factor is a row as it goes into products with w, in place. w may be nil.
func factor(w runtime.Weight, x []float64) []float64 {
	if w, ok := w.(*Weight); ok && w.dt != runtime.F32 {
		return factors(w.dt, x, false)
	}
	return x
}

func (p *program) linear(o runtime.Linear) {
	out, in := o.Shape()
	w := p.matrixOf(o.W, o.Dense)
	for r := range p.live(o.Rows) {
		x := factor(o.W, p.norm(o.Norm, p.mat(o.X).row(r)))
		for j := range out {
			s := 0.0
			for i := range in {
				s += x[i] * w(j, i)
			}
			if !o.Bias.Absent() {
				s += p.mat(o.Bias).at(0, j)
			}
			if !o.Pre.Absent() {
				p.mat(o.Pre).set(r, j, s)
			}
			s = act(o.Act, s)
			if !o.Residual.Absent() {
				s += p.mat(o.Residual).at(r, j)
			}
			p.mat(o.Out).set(r, j, s)
		}
	}
}

func (p *program) project(o runtime.Project) {
	w := o.W.(*Weight)
	for r := range p.live(o.Rows) {
		x := factor(w, p.norm(o.Norm, p.mat(o.X).row(index(p.ints(o.Pool), r))))
		y, sq := make([]float64, w.out), 0.0
		for j := range y {
			for i := range w.in {
				y[j] += x[i] * w.w[j*w.in+i]
			}
			sq += y[j] * y[j]
		}
		if o.Unit && sq > 0 {
			for j := range y {
				y[j] /= math.Sqrt(sq)
			}
		}
		p.mat(o.Out).setRow(r, y)
	}
}
