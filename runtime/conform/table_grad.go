package conform

import (
	"fmt"
	"strings"

	"isearle/runtime"
)

// attentionModes name the masks: bit 0 of the index is Causal, bit 1 Window.
var attentionModes = []string{"full", "causal", "windowed", "causal windowed"}

// attentionShape is an attention over ragged sequences.
type attentionShape struct {
	heads, d, mode, window int
	lengths                []int // own rows of each sequence
	prefix                 []int // rows in the pool, or nil
	last                   bool  // the last row of each sequence is its only query
}

func (s attentionShape) String() string {
	name := []string{fmt.Sprintf("%s %dx%d %v", attentionModes[s.mode], s.heads, s.d, s.lengths)}
	if s.prefix != nil {
		name = append(name, fmt.Sprintf("prefix %v", s.prefix))
	}
	if s.last {
		name = append(name, "one query a sequence")
	}
	return strings.Join(name, ", ")
}

// record returns the Attention with its inputs, without Out. The prefixes lie in the pool with gaps, the last one first.
func (s attentionShape) record(b *Builder) runtime.Attention {
	w, first := s.heads*s.d, s.prefix
	if first == nil {
		first = make([]int, len(s.lengths))
	}
	starts, pos := ragged(s.lengths, first)
	qStarts, qPos := starts, pos
	if s.last {
		queries, at := make([]int, len(s.lengths)), make([]int, len(s.lengths))
		for i, n := range s.lengths {
			queries[i], at[i] = min(n, 1), first[i]+n-1
		}
		qStarts, qPos = ragged(queries, at)
	}
	o := runtime.Attention{Q: b.Floats("q", len(qPos), w), K: b.Floats("k", len(pos), w), V: b.Floats("v", len(pos), w), Heads: s.heads, Scale: 0.3,
		Causal: s.mode&1 > 0, Seqs: b.N, QStarts: b.Ints("qstarts", qStarts...), Starts: b.Ints("starts", starts...), QPos: b.Ints("qpos", qPos...),
		MaxKeys: 1}
	if s.mode&2 > 0 {
		o.Window = max(2, s.window)
	}
	for i, n := range s.lengths {
		o.MaxKeys = max(o.MaxKeys, first[i]+n)
	}
	if s.prefix != nil {
		table, at := make([]int32, 2*len(s.prefix)), 1
		for i := len(s.prefix) - 1; i >= 0; i-- {
			table[2*i], table[2*i+1] = int32(at), int32(s.prefix[i])
			at += s.prefix[i] + 2
		}
		o.PrefixK, o.PrefixV, o.Prefix = b.Floats("pk", at, w), b.Floats("pv", at, w), b.Ints("prefix", table...)
	}
	return o
}
