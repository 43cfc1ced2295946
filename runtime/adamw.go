package runtime

import (
	"iter"
	"math"
)

// Elements of AdamW's Hyper, all of them for the step about to be made; AdamWStep fills them.
const (
	HyperDecay = iota // 1 - lr*weight decay
	HyperBeta1
	HyperBeta2
	HyperRest1 // 1 - beta1, rounded once: 1 minus a rounded beta2 is 1e-5 off
	HyperRest2 // 1 - beta2
	HyperStep  // lr / (1 - beta1^t)
	HyperScale // sqrt(1 - beta2^t)
	HyperEps
	HyperEMA     // the average's share of the past, 0.99 by default
	HyperRestEMA // 1 - HyperEMA
	HyperLen
)

// AdamWStep are AdamW's numbers for step t, counted from 1, computed in float64 and rounded once, as PyTorch does.
func AdamWStep(lr, weightDecay, beta1, beta2, eps, ema float64, t int) []float32 {
	h, n := make([]float32, HyperLen), float64(t)
	h[HyperDecay] = float32(1 - lr*weightDecay)
	h[HyperBeta1], h[HyperRest1] = float32(beta1), float32(1-beta1)
	h[HyperBeta2], h[HyperRest2] = float32(beta2), float32(1-beta2)
	h[HyperStep], h[HyperScale] = float32(lr/(1-math.Pow(beta1, n))), float32(math.Sqrt(1-math.Pow(beta2, n)))
	h[HyperEps] = float32(eps)
	h[HyperEMA], h[HyperRestEMA] = float32(ema), float32(1-ema)
	return h
}

// AdamW is a step of Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), in PyTorch's order of
// operations, and of an exponential moving average of the parameters:
//
//	P *= Hyper[decay];  M = beta1 M + (1-beta1) G;  V = beta2 V + (1-beta2) G*G
//	P -= Hyper[step] M / (sqrt(V)/Hyper[scale] + eps);  EMA = ema EMA + (1-ema) P
type AdamW struct {
	P, G, M, V View // F32 [Rows, n]
	EMA        View // F32 [Rows, n], optional
	Hyper      View // F32 [1, HyperLen]
	Rows       Dim
}

func (AdamW) Name() string             { return "adamw" }
func (o AdamW) Writes() iter.Seq[View] { return writes(o.P, o.M, o.V, o.EMA) }
func (o AdamW) operands(y func(View) bool) {
	each(y, o.P, o.G, o.M, o.V, o.EMA, o.Hyper, o.Rows.Live)
}

func (o AdamW) check(c *checker) {
	c.dim("Rows", o.Rows)
	c.matrix("P", o.P, o.Rows.Cap, o.P.Cols, F32)
	c.matrix("G", o.G, o.Rows.Cap, o.P.Cols, F32)
	c.matrix("M", o.M, o.Rows.Cap, o.P.Cols, F32)
	c.matrix("V", o.V, o.Rows.Cap, o.P.Cols, F32)
	c.maybe("EMA", o.EMA, o.Rows.Cap, o.P.Cols, F32)
	c.matrix("Hyper", o.Hyper, 1, HyperLen, F32)
	for i, a := range []View{o.P, o.M, o.V, o.EMA} {
		c.apart("a state", a, append([]View{o.G, o.Hyper}, []View{o.P, o.M, o.V, o.EMA}[:i]...)...)
	}
}
