package eval

import (
	"fmt"
	"math"
	"slices"
)

// each makes a measure of a value per ranking.
func each(name string, r []Ranking, value func(i int) float64) Measure {
	m := Measure{Name: name, Values: make([]float64, len(r))}
	for i := range r {
		m.Values[i] = value(i)
	}
	return m
}

func fraction(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// recall is the fraction of queries whose target is among the first k.
func recall(r []Ranking, ks ...int) (out []Measure) {
	for _, k := range ks {
		out = append(out, each(fmt.Sprintf("R@%d", k), r, func(i int) float64 { return fraction(r[i].Target <= k) }))
	}
	return out
}

// subsetRecall is recall within a query's group.
func subsetRecall(t *Task, queries []int, r []Ranking, ks ...int) (out []Measure) {
	for _, k := range ks {
		out = append(out, each(fmt.Sprintf("Rs@%d", k), r, func(i int) float64 {
			group := r[i].Group[:min(k, len(r[i].Group))]
			return fraction(slices.Contains(group, t.Queries[queries[i]].Targets[0]))
		}))
	}
	return out
}

// AveragePrecision is AP@k with several right answers: the sum over ranks j <= k of P(j) rel(j), divided by min(right, k)
// (CIRCO, Baldrati et al., ICCV 2023).
func AveragePrecision(hits []bool, right, k int) float64 {
	if right == 0 || k == 0 {
		return 0
	}
	sum, found := 0.0, 0
	for j, hit := range hits[:min(k, len(hits))] {
		if hit {
			found++
			sum += float64(found) / float64(j+1)
		}
	}
	return sum / float64(min(right, k))
}

// circoKs are the depths that CIRCO's server reports.
var circoKs = [...]int{5, 10, 25, 50}

// circoAspects are CIRCO's semantic aspects in the order of its server.
var circoAspects = []string{"cardinality", "addition", "negation", "direct_addressing", "compare_change", "comparative_statement",
	"statement_with_conjunction", "spatial_relations_background", "viewpoint"}

// aspectDepth is the k of the mAP that CIRCO reports for each aspect.
const aspectDepth = 10

func circoMeasures(t *Task, queries []int, r []Ranking) (out []Measure) {
	for _, k := range circoKs {
		out = append(out, each(fmt.Sprintf("mAP@%d", k), r, func(i int) float64 { return AveragePrecision(r[i].Hits, r[i].Right, k) }))
	}
	out = append(out, recall(r, circoKs[:]...)...)
	for _, aspect := range circoAspects {
		m := each(fmt.Sprintf("mAP@%d %s", aspectDepth, aspect), r, func(i int) float64 {
			if !slices.Contains(t.Queries[queries[i]].Aspects, aspect) {
				return math.NaN()
			}
			return AveragePrecision(r[i].Hits, r[i].Right, aspectDepth)
		})
		if m.Count() > 0 {
			out = append(out, m)
		}
	}
	return out
}

// domainKs are Pic2Word's depths; the papers print 10 and 50.
var domainKs = [...]int{1, 5, 10, 50, 100, 200}

// officialEpsilon is what Pic2Word adds to the number of right answers so as not to divide by zero.
const officialEpsilon = 1e-5

// domainMeasures are Pic2Word's R@k, a fraction of all right answers and not a hit rate, the exact one beside it, and P@k.
func domainMeasures(_ *Task, _ []int, r []Ranking) (out []Measure) {
	found := func(i, k int) float64 {
		n := 0
		for _, hit := range r[i].Hits[:min(k, len(r[i].Hits))] {
			if hit {
				n++
			}
		}
		return float64(n)
	}
	for _, k := range domainKs {
		out = append(out, each(fmt.Sprintf("R@%d", k), r, func(i int) float64 { return found(i, k) / (float64(r[i].Right) + officialEpsilon) }))
	}
	for _, k := range domainKs {
		out = append(out, each(fmt.Sprintf("exact R@%d", k), r, func(i int) float64 {
			if r[i].Right == 0 {
				return math.NaN()
			}
			return found(i, k) / float64(r[i].Right)
		}))
	}
	for _, k := range domainKs {
		out = append(out, each(fmt.Sprintf("P@%d", k), r, func(i int) float64 { return found(i, k) / float64(min(k, len(r[i].Top))) }))
	}
	return out
}

// objectKs are Pic2Word's depths.
var objectKs = [...]int{1, 5, 10, 50, 100}

func objectMeasures(_ *Task, _ []int, r []Ranking) []Measure {
	rank := func(i int) float64 { return float64(r[i].Target) }
	mean, med := each("mean rank", r, rank), each("median rank", r, rank)
	mean.Rank, med.Rank, med.Stat = true, true, MedianRank
	return append(recall(r, objectKs[:]...), mean, med)
}

// median sorts x.
func median(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
