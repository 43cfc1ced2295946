package clipnet

import (
	"fmt"

	"isearle/runtime"
)

// TextGraph is the text transformer recorded into a Plan for so many sequences and rows, with the tables that say what each
// run computes. Record it, compile the Plan, Bind the Program; then lay out a batch before each run.
type TextGraph struct {
	// Features is F32 [sequences, Dim], raw; Seqs its live extent.
	Features runtime.View
	Seqs     runtime.Dim

	e      *TextEncoder
	tables tables
	trace  trace
	rows   int
	grad   bool

	counts, ids, pos, inject, starts, pool table
	poolPos, prefix, appendTo, ones        table
	wordStarts, wordRows                   table // for gradients: the rows that each pseudo-word was embedded in
}

// table is an I32 buffer of a program and the host's copy of it.
type table struct {
	view runtime.View
	host []int32
	buf  runtime.Buffer
}

func newTable(p *runtime.Plan, name string, n int) table {
	return table{view: p.New(name, runtime.I32, 1, n), host: make([]int32, n)}
}

// Record records the text transformer for a capacity over the pseudo-words words, F32 [n, Width]. With grad it keeps what
// RecordGrad needs; the encoder must have been made for gradients.
func (e *TextEncoder) Record(p *runtime.Plan, seqs, rows int, words runtime.View, grad bool) *TextGraph {
	return e.record(p, seqs, rows, words, grad, false)
}

func (e *TextEncoder) record(p *runtime.Plan, seqs, rows int, words runtime.View, grad, prefill bool) *TextGraph {
	t := e.cfg.Text
	g := &TextGraph{e: e, rows: rows, grad: grad, counts: newTable(p, "counts", 2), ids: newTable(p, "ids", rows),
		pos: newTable(p, "positions", rows), inject: newTable(p, "inject", rows), starts: newTable(p, "starts", seqs+1),
		pool: newTable(p, "pool", seqs), poolPos: newTable(p, "pool positions", seqs), prefix: newTable(p, "prefix", 2*seqs),
		appendTo: newTable(p, "append", rows), ones: newTable(p, "ones", seqs+1)}
	g.Seqs = runtime.Dim{Cap: seqs, Live: g.counts.view.Element(0, 0)}
	g.tables = tables{causal: true, maxKeys: t.Context, prefill: prefill, seqs: g.Seqs,
		rows:   runtime.Dim{Cap: rows, Live: g.counts.view.Element(0, 1)},
		starts: g.starts.view, pos: g.pos.view, pool: g.pool.view, poolPos: g.poolPos.view, ones: g.ones.view,
		prefix: g.prefix.view, appendTo: g.appendTo.view}
	g.tables.prefixK, g.tables.prefixV = e.cache.views(p, t.Width)
	x := p.Temp("x", runtime.F32, rows, t.Width)
	p.Add(runtime.TokenEmbed{IDs: g.ids.view, Pos: g.pos.view, Inject: g.inject.view, Pseudo: words, Rows: g.tables.rows, Out: x,
		Table: p.Use("token embedding", e.tokens, t.Vocab, t.Width), PosTable: p.Use("position embedding", e.pos, t.Context, t.Width)})
	g.trace = e.tower.record(p, x, g.tables, grad)
	if !prefill {
		g.Features = p.New("features", runtime.F32, seqs, e.Dim())
		e.tower.project(p, g.trace.pooled, g.Features, g.Seqs)
	}
	return g
}

// RecordGrad records the backward pass: from dFeatures [sequences, Dim] to dWords [words, Width], the gradient of the
// pseudo-words, of which words is the live extent.
func (g *TextGraph) RecordGrad(p *runtime.Plan, dFeatures, dWords runtime.View, words runtime.Dim) {
	g.wordStarts, g.wordRows = newTable(p, "word starts", words.Cap+1), newTable(p, "word rows", g.rows)
	dx := g.e.tower.recordGrad(p, g.trace, g.tables, dFeatures)
	p.Add(runtime.GatherSum{Src: dx, Starts: g.wordStarts.view, List: g.wordRows.view, Dst: dWords, Rows: words})
}

// Bind connects the tables with the compiled Plan.
func (g *TextGraph) Bind(prog runtime.Program) error {
	for _, t := range g.all() {
		t.buf = prog.Buffer(t.view.Slot)
	}
	g.ones.buf = prog.Buffer(g.ones.view.Slot)
	return g.ones.buf.WriteI32(0, multiples(len(g.ones.host), 1))
}

// all are the tables that a batch changes.
func (g *TextGraph) all() []*table {
	t := []*table{&g.counts, &g.ids, &g.pos, &g.inject, &g.starts, &g.pool, &g.poolPos, &g.prefix, &g.appendTo}
	if !g.wordStarts.view.Absent() {
		t = append(t, &g.wordStarts, &g.wordRows)
	}
	return t
}

// layout fills the tables for a batch. row says where in the graph's pseudo-words one of the batch's is.
func (g *TextGraph) layout(b *textBatch, row func(word int) (int, error)) error {
	if len(b.seqs) > g.Seqs.Cap || b.rows > g.rows {
		return fmt.Errorf("clipnet: %d sequences of %d rows for a capacity of %d and %d", len(b.seqs), b.rows, g.Seqs.Cap, g.rows)
	}
	i := 0
	for s := range b.seqs {
		q := &b.seqs[s]
		g.starts.host[s] = int32(i)
		g.prefix.host[2*s], g.prefix.host[2*s+1] = int32(q.offset), int32(q.cached)
		for place := q.cached; place < len(q.prompt.IDs); place++ {
			g.ids.host[i], g.pos.host[i], g.inject.host[i] = q.prompt.IDs[place], int32(place), -1
			if w := q.prompt.word(place); w >= 0 {
				r, err := row(w)
				if err != nil {
					return err
				}
				g.inject.host[i] = int32(r)
			}
			i++
		}
		g.pool.host[s], g.poolPos.host[s] = int32(i-1), int32(q.pool)
	}
	g.starts.host[len(b.seqs)] = int32(i)
	g.counts.host[0], g.counts.host[1] = int32(len(b.seqs)), int32(i)
	g.listWords(i)
	for _, t := range g.all() {
		if err := t.buf.WriteI32(0, t.host); err != nil {
			return err
		}
	}
	return nil
}

// listWords inverts the inject table: for each pseudo-word its rows in increasing order.
func (g *TextGraph) listWords(rows int) {
	if g.wordStarts.view.Absent() {
		return
	}
	starts := g.wordStarts.host
	clear(starts)
	for _, w := range g.inject.host[:rows] {
		if w >= 0 {
			starts[w+1]++
		}
	}
	for w := 1; w < len(starts); w++ {
		starts[w] += starts[w-1]
	}
	// Counting up each start while filling, then moving the table back by one, saves a second table.
	for i, w := range g.inject.host[:rows] {
		if w >= 0 {
			g.wordRows.host[starts[w]] = int32(i)
			starts[w]++
		}
	}
	copy(starts[1:], starts[:len(starts)-1])
	starts[0] = 0
}

// Layout lays out prompts for the next run: first the keys and values of what stands before their pseudo-words are computed,
// where the cache lacks them, then the tables are written. Prompts refer to rows of the graph's pseudo-words. At most as many
// prompts and tokens as the graph was recorded for.
func (g *TextGraph) Layout(prompts []Prompt) error {
	g.e.mu.Lock()
	defer g.e.mu.Unlock()
	b := &textBatch{}
	for _, p := range prompts {
		b.add(g.e.sequence(p))
	}
	if err := g.e.cache.fill(g.e, b); err != nil {
		return err
	}
	return g.layout(b, func(word int) (int, error) { return word, nil })
}
