package runtime

import "iter"

// Attention is multi-head attention over ragged sequences. For sequence s, head h and query row i:
//
//	Out_i = sum over keys j of softmax_j(Scale * Q_i . K_j) V_j
//
// The keys of s are, in order of position, Prefix[s] = (offset, length) rows of PrefixK and PrefixV and then its own rows of
// K and V; a key's position is its place in that order. The queries of s are its own rows of Q. With Causal, a query at
// position p (QPos) sees the keys at positions <= p; with Window w > 0 only those > p - w. A query that sees no key gets zero.
type Attention struct {
	Q, K, V View // [query rows, Heads*d], [key rows, Heads*d] twice
	Heads   int
	Scale   float32
	Causal  bool
	Window  int

	Seqs            Dim  // sequences
	QStarts, Starts View // I32 [Seqs+1]: first query row and first own key row of each sequence
	QPos            View // I32 [query rows]: needed if Causal or Window
	MaxKeys         int  // no sequence has more keys, its prefix included

	PrefixK, PrefixV View // [pool rows, Heads*d], optional
	Prefix           View // I32 [Seqs, 2], with PrefixK

	Out View // [query rows, Heads*d]
}

func (Attention) Name() string             { return "attention" }
func (o Attention) Writes() iter.Seq[View] { return writes(o.Out) }
func (o Attention) operands(y func(View) bool) {
	each(y, o.Q, o.K, o.V, o.Seqs.Live, o.QStarts, o.Starts, o.QPos, o.PrefixK, o.PrefixV, o.Prefix, o.Out)
}

func (o Attention) check(c *checker) {
	o.shapes(c)
	c.matrix("Out", o.Out, o.Q.Rows, o.Q.Cols, F32, F16, BF16)
	c.apart("Out", o.Out, o.Q, o.K, o.V)
}

// shapes checks the inputs, which the backward pass has too.
func (o Attention) shapes(c *checker) {
	width := o.Q.Cols
	if o.Heads < 1 || width%o.Heads != 0 {
		c.failf("%d heads for width %d", o.Heads, width)
	}
	if o.MaxKeys < 1 || o.Window < 0 || !(o.Scale > 0) {
		c.failf("MaxKeys %d, Window %d, Scale %v", o.MaxKeys, o.Window, o.Scale)
	}
	c.dim("Seqs", o.Seqs)
	c.matrix("Q", o.Q, 0, width, F32, F16, BF16)
	c.matrix("K", o.K, 0, width, F32, F16, BF16)
	c.matrix("V", o.V, o.K.Rows, width, F32, F16, BF16)
	c.table("QStarts", o.QStarts, o.Seqs.Cap+1)
	c.table("Starts", o.Starts, o.Seqs.Cap+1)
	if o.Causal || o.Window > 0 {
		c.table("QPos", o.QPos, o.Q.Rows)
	}
	if !o.PrefixK.Absent() {
		c.matrix("PrefixK", o.PrefixK, 0, width, F32, F16, BF16)
		c.matrix("PrefixV", o.PrefixV, o.PrefixK.Rows, width, F32, F16, BF16)
		c.table("Prefix", o.Prefix, 2*o.Seqs.Cap)
	}
}
