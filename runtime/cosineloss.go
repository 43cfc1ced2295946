package runtime

import "iter"

// CosineLoss is OTI's loss of each row and its gradient. With a = A + Noise, or with Unit a = A/|A| + Noise,
//
//	Loss[i] = 1 - a_i.b_i / sqrt((a_i.a_i + 1e-12)(b_i.b_i + 1e-12))
//	DA[i]   = Weight[i] * dLoss[i]/dA[i]
//
// 1e-12 is that of PyTorch's CosineEmbeddingLoss. Noise may be absent.
type CosineLoss struct {
	A, B, Noise View // F32 [Rows, n]
	Unit        bool
	Weight      View // F32 [Rows, 1]: lambda/(sum of lambdas)/batch
	Loss        View // F32 [Rows, 1]
	DA          View // F32 [Rows, n]
	Rows        Dim
}

func (CosineLoss) Name() string             { return "cosineloss" }
func (o CosineLoss) Writes() iter.Seq[View] { return writes(o.Loss, o.DA) }
func (o CosineLoss) operands(y func(View) bool) {
	each(y, o.A, o.B, o.Noise, o.Weight, o.Loss, o.DA, o.Rows.Live)
}

func (o CosineLoss) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("A", o.A, o.Rows.Cap, o.A.Cols, F32)
	c.matrix("B", o.B, o.Rows.Cap, o.A.Cols, F32)
	c.maybe("Noise", o.Noise, o.Rows.Cap, o.A.Cols, F32)
	c.matrix("Weight", o.Weight, o.Rows.Cap, 1, F32)
	c.matrix("Loss", o.Loss, o.Rows.Cap, 1, F32)
	c.matrix("DA", o.DA, o.Rows.Cap, o.A.Cols, F32)
	c.apart("DA", o.DA, o.A, o.B, o.Noise, o.Weight, o.Loss)
}

// InfoNCE is phi's distillation loss and its gradient. With a and b the rows of A and B at unit length and J = [a; b],
//
//	Loss = -mean over 2*Rows of log(exp(a_i.b_i/Tau) / sum over j != i of exp(J_i.J_j/Tau))
//	DB   = Weight * dLoss/dB
//
// the numerator of row i of b being that of row i of a (SEARLE, arXiv 2303.15247, eq. 5). A gets no gradient.
type InfoNCE struct {
	A, B   View // F32 [Rows, n]
	Tau    float32
	Weight float32
	Loss   View // F32 [1, 1]
	DB     View // F32 [Rows, n]
	Rows   Dim
}

func (InfoNCE) Name() string             { return "infonce" }
func (o InfoNCE) Writes() iter.Seq[View] { return writes(o.Loss, o.DB) }
func (o InfoNCE) operands(y func(View) bool) {
	each(y, o.A, o.B, o.Loss, o.DB, o.Rows.Live)
}

func (o InfoNCE) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("A", o.A, o.Rows.Cap, o.A.Cols, F32)
	c.matrix("B", o.B, o.Rows.Cap, o.A.Cols, F32)
	c.matrix("Loss", o.Loss, 1, 1, F32)
	c.matrix("DB", o.DB, o.Rows.Cap, o.A.Cols, F32)
	c.apart("DB", o.DB, o.A, o.B, o.Loss)
	if !(o.Tau > 0) {
		c.failf("Tau is %v", o.Tau)
	}
}
