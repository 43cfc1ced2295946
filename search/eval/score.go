package eval

import (
	"context"
	"errors"
	"fmt"

	"isearle/runtime"
)

const (
	// scoreQueries is how many queries are scored at once, scorePanel how many rows of a gallery one packed weight has.
	scoreQueries = 32
	scorePanel   = 16384
)

// Scorer computes the cosines of unit features with all rows of a gallery, in f32.
type Scorer struct {
	rows, dim int
	panels    []panel
}

type panel struct {
	lo, hi  int
	weight  runtime.Weight
	prog    runtime.Program
	count   runtime.Buffer
	in, out runtime.Buffer
	scores  []float32
}

// NewScorer packs a gallery of unit features [rows, dim].
func NewScorer(dev runtime.Device, gallery []float32, dim int) (*Scorer, error) {
	if dim < 1 || len(gallery)%dim != 0 {
		return nil, fmt.Errorf("eval: score: %d values are no rows of %d", len(gallery), dim)
	}
	s := &Scorer{rows: len(gallery) / dim, dim: dim}
	for lo := 0; lo < s.rows; lo += scorePanel {
		p, err := newPanel(dev, gallery, lo, min(lo+scorePanel, s.rows), dim)
		s.panels = append(s.panels, p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("eval: score: %w", err), s.Close())
		}
	}
	return s, nil
}

func newPanel(dev runtime.Device, gallery []float32, lo, hi, dim int) (p panel, err error) {
	p = panel{lo: lo, hi: hi, scores: make([]float32, scoreQueries*(hi-lo))}
	rows := gallery[lo*dim : hi*dim]
	if p.weight, err = dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: hi - lo, Cols: dim, Data: runtime.Float32Bytes(rows)}, runtime.PackOptions{}); err != nil {
		return p, err
	}
	plan := runtime.NewPlan("scores")
	count := plan.New("count", runtime.I32, 1, 1)
	in := plan.New("queries", runtime.F32, scoreQueries, dim)
	out := plan.New("scores", runtime.F32, scoreQueries, hi-lo)
	plan.Add(runtime.Linear{X: in, W: p.weight, Rows: runtime.Dim{Cap: scoreQueries, Live: count}, Out: out})
	if p.prog, err = dev.Compile(plan); err != nil {
		return p, err
	}
	p.count, p.in, p.out = p.prog.Buffer(count.Slot), p.prog.Buffer(in.Slot), p.prog.Buffer(out.Slot)
	return p, nil
}

// Each calls use with the cosines of each query of unit features [n, dim] in turn; they are valid until use returns.
func (s *Scorer) Each(ctx context.Context, queries []float32, use func(query int, scores []float32) error) error {
	n := len(queries) / s.dim
	all := make([]float32, scoreQueries*s.rows)
	for lo := 0; lo < n; lo += scoreQueries {
		hi := min(lo+scoreQueries, n)
		for i := range s.panels {
			if err := s.panels[i].score(ctx, all, queries[lo*s.dim:hi*s.dim], hi-lo, s.rows); err != nil {
				return fmt.Errorf("eval: score: %w", err)
			}
		}
		for q := lo; q < hi; q++ {
			if err := use(q, all[(q-lo)*s.rows:(q-lo+1)*s.rows]); err != nil {
				return err
			}
		}
	}
	return nil
}

// score writes the panel's columns of all, n rows of the gallery's length.
func (p *panel) score(ctx context.Context, all, queries []float32, n, rows int) error {
	if err := p.count.WriteI32(0, []int32{int32(n)}); err != nil {
		return err
	}
	if err := p.in.WriteF32(0, queries); err != nil {
		return err
	}
	if err := p.prog.Run(ctx); err != nil {
		return err
	}
	width := p.hi - p.lo
	if err := p.out.ReadF32(0, p.scores[:n*width]); err != nil {
		return err
	}
	for i := range n {
		copy(all[i*rows+p.lo:], p.scores[i*width:(i+1)*width])
	}
	return nil
}

// Close releases the device memory.
func (s *Scorer) Close() error {
	var errs []error
	for _, p := range s.panels {
		if p.prog != nil {
			errs = append(errs, p.prog.Close())
		}
		if p.weight != nil {
			errs = append(errs, p.weight.Close())
		}
	}
	return errors.Join(errs...)
}
