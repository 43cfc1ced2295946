package reference

import (
	"sort"

	"isearle/runtime"
)

type search struct {
	dim, k  int
	queries [][]float32
	hits    [][]runtime.Hit
}

func (Device) NewSearch(dim int) (runtime.Search, error) { return &search{dim: dim}, nil }

func (s *search) Begin(queries []float32, nq, k int) error {
	s.k, s.queries, s.hits = k, nil, make([][]runtime.Hit, nq)
	for i := range nq {
		s.queries = append(s.queries, queries[i*s.dim:(i+1)*s.dim])
	}
	return nil
}

func (s *search) Feed(first int, c runtime.Chunk) error {
	row := make([]float32, s.dim)
	for r := range c.Rows {
		if c.Skip != nil && c.Skip[r/64]>>(r%64)&1 == 1 {
			continue
		}
		size := s.dim * c.DType.Size()
		if err := decode(row, c.DType, c.Data[r*size:(r+1)*size]); err != nil {
			return err
		}
		for q, query := range s.queries {
			score := 0.0
			for j, v := range row {
				score += float64(v) * float64(query[j])
			}
			if score == score {
				s.hits[q] = append(s.hits[q], runtime.Hit{Row: first + r, Score: float32(score)})
			}
		}
	}
	return nil
}

func (s *search) Finish(hits []runtime.Hit, counts []int) error {
	for q, h := range s.hits {
		sort.Slice(h, func(i, j int) bool { return h[i].Before(h[j]) })
		counts[q] = copy(hits[q*s.k:(q+1)*s.k], h)
	}
	return nil
}

func (s *search) Close() error { return nil }
