package runtime

import "iter"

// AttentionGrad is the backward pass of Attention to queries, keys and values, the softmax computed again. With P the
// weights and for each head and sequence
//
//	DV_j = sum_i P_ij DOut_i,  DP_ij = DOut_i . V_j,  DS_ij = P_ij (DP_ij - sum_j P_ij DP_ij),
//	DQ_i = Scale sum_j DS_ij K_j,  DK_j = Scale sum_i DS_ij Q_i
//
// DK and DV are written for the sequences' own keys, zero where no query sees them; the prefix gets nothing. Attention.Out
// is not used and may be absent.
type AttentionGrad struct {
	Attention
	DOut, DQ View // [query rows, Heads*d]
	DK, DV   View // [key rows, Heads*d]
}

func (AttentionGrad) Name() string             { return "attentiongrad" }
func (o AttentionGrad) Writes() iter.Seq[View] { return writes(o.DQ, o.DK, o.DV) }
func (o AttentionGrad) operands(y func(View) bool) {
	if each(y, o.DOut, o.DQ, o.DK, o.DV) {
		o.Attention.operands(y)
	}
}

func (o AttentionGrad) check(c *checker) {
	o.Attention.shapes(c)
	c.matrix("DOut", o.DOut, o.Q.Rows, o.Q.Cols, F32, F16, BF16)
	c.matrix("DQ", o.DQ, o.Q.Rows, o.Q.Cols, F32, F16, BF16)
	c.matrix("DK", o.DK, o.K.Rows, o.K.Cols, F32, F16, BF16)
	c.matrix("DV", o.DV, o.K.Rows, o.K.Cols, F32, F16, BF16)
	for _, out := range []View{o.DQ, o.DK, o.DV} {
		c.apart("DQ, DK or DV", out, o.Q, o.K, o.V, o.DOut)
	}
	c.apart("DQ", o.DQ, o.DK, o.DV)
	c.apart("DK", o.DK, o.DV)
}
