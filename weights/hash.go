package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"isearle/weights/safetensors"
)

const (
	hashVersion = "isearle clip 1"
	hashBlock   = 1024 // elements
	hashBlocks  = 4    // of a large tensor, evenly spread from its start to its end
)

func (c *CLIP) computeHash() string {
	h := sha256.New()
	v, t := c.Config.Vision, c.Config.Text
	fmt.Fprintln(h, hashVersion, v.ImageSize, v.PatchSize, v.Width, v.Layers, v.Heads, v.MLP,
		t.Context, t.Vocab, t.Width, t.Layers, t.Heads, t.MLP, c.Config.EmbedDim, c.Config.Activation, c.Config.LayerNormEps)
	if t.poolsAtLastID() {
		fmt.Fprintln(h, "last id", t.BOS)
	} else {
		fmt.Fprintln(h, t.Pooling, t.BOS, t.EOT)
	}
	for _, name := range c.order {
		for _, r := range c.tensors[name].samples() {
			c.tensors[name].prefetch(c.store, r[0], r[1])
		}
	}
	var raw []byte
	x := make([]float32, hashBlock*hashBlocks)
	for _, name := range c.order {
		t := c.tensors[name]
		fmt.Fprintln(h, name, t.shape)
		raw = raw[:0]
		for _, r := range t.samples() {
			raw = t.appendRange(raw, r[0], r[1])
		}
		if t.dtype != safetensors.F32 {
			x = x[:len(raw)/t.dtype.Size()]
			safetensors.DecodeFloat32(x, raw, t.dtype)
			raw = safetensors.FromFloat32s("", x).Data
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// samples returns the ranges of elements that the hash takes.
func (t *tensor) samples() [][2]int {
	n := t.len()
	if n <= hashBlock*hashBlocks {
		return [][2]int{{0, n}}
	}
	out := make([][2]int, hashBlocks)
	for i := range out {
		at := (n - hashBlock) / (hashBlocks - 1) * i
		if i == hashBlocks-1 {
			at = n - hashBlock
		}
		out[i] = [2]int{at, at + hashBlock}
	}
	return out
}

// prefetch announces the elements lo up to hi. A part that is not row-major is announced as a whole: the projections are.
func (t *tensor) prefetch(a advice, lo, hi int) {
	for _, p := range t.parts {
		n, size := p.len(), p.dtype.Size()
		from, to := max(lo, 0), min(hi, n)
		if from < to && p.isDense() {
			a.Prefetch(p.data[from*size : to*size])
		} else if from < to {
			a.Prefetch(p.data)
		}
		lo, hi = lo-n, hi-n
	}
}
