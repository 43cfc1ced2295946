package eval

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Metric is a number of a method with its 95 % interval.
type Metric struct {
	Task  string // "" for the mean over tasks, or where there is one task
	Name  string
	Value float64 // a fraction, or a rank
	Rank  bool
	// Low and High bound the central 95 % of the values over samples of queries drawn with replacement (percentile bootstrap), each
	// task's queries by themselves; NaN without resamples.
	Low, High float64
	Queries   int
}

// PairedTest compares two methods on the same queries.
type PairedTest struct {
	A, B, Task, Name string
	Difference       float64 // A - B
	// P is the two-sided p value of a paired randomisation test: how often exchanging the methods' answers at random, query by query,
	// gives a difference of means at least as large.
	P float64
}

// summarise fills in metrics and tests.
func (r *Result) summarise() {
	for i := range r.Methods {
		r.Methods[i].Metrics = metrics(r.Dataset, r.Methods[i].Tasks, r.Seed, r.Resamples)
	}
	if r.Resamples == 0 {
		return
	}
	for i := range r.Methods {
		for j := i + 1; j < len(r.Methods); j++ {
			r.Tests = append(r.Tests, pairedTests(r.Dataset, &r.Methods[i], &r.Methods[j], r.Seed, r.Resamples)...)
		}
	}
}

// metrics are a method's numbers: of each task, and of their plain mean where there are several.
func metrics(d *Dataset, tasks []TaskResult, seed uint64, resamples int) (out []Metric) {
	var means []Metric
	var meanSamples [][]float64
	for ti, t := range tasks {
		samples := bootstrap(t.Measures, len(t.Rankings), seed, uint64(ti), resamples)
		for mi, m := range t.Measures {
			metric := Metric{Task: d.Tasks[ti].Name, Name: m.Name, Value: m.Value(), Rank: m.Rank, Queries: m.Count()}
			metric.Low, metric.High = interval(samples[mi])
			out = append(out, metric)
			if ti == 0 {
				means = append(means, Metric{Name: m.Name, Rank: m.Rank})
				meanSamples = append(meanSamples, make([]float64, resamples))
			}
			means[mi].Value += metric.Value / float64(len(tasks))
			means[mi].Queries += metric.Queries
			for k, v := range samples[mi] {
				meanSamples[mi][k] += v / float64(len(tasks))
			}
		}
	}
	if len(tasks) < 2 {
		return out
	}
	for i := range means {
		means[i].Low, means[i].High = interval(meanSamples[i])
	}
	return append(means, out...)
}

// bootstrap computes every measure on samples of n queries drawn with replacement: [measure][sample].
func bootstrap(measures []Measure, n int, seed, stream uint64, resamples int) [][]float64 {
	out := make([][]float64, len(measures))
	orders := make([][]int, len(measures))
	for i, m := range measures {
		out[i] = make([]float64, resamples)
		if m.Stat == MedianRank {
			orders[i] = sorted(m.Values)
		}
	}
	rng := rand.New(rand.NewPCG(seed, stream))
	times := make([]int, n)
	for k := range resamples {
		clear(times)
		for range n {
			times[rng.IntN(n)]++
		}
		for i, m := range measures {
			if m.Stat == MedianRank {
				out[i][k] = weightedMedian(m.Values, orders[i], times)
			} else {
				out[i][k] = weightedMean(m.Values, times)
			}
		}
	}
	return out
}

func weightedMean(values []float64, times []int) float64 {
	sum, n := 0.0, 0
	for i, v := range values {
		if times[i] > 0 && !math.IsNaN(v) {
			sum += v * float64(times[i])
			n += times[i]
		}
	}
	return sum / float64(n)
}

// sorted lists the places of values from the least.
func sorted(values []float64) []int {
	out := make([]int, len(values))
	for i := range out {
		out[i] = i
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return out
}

// weightedMedian is MedianRank of values repeated so many times.
func weightedMedian(values []float64, order, times []int) float64 {
	total, at := 0, 0
	for _, n := range times {
		total += n
	}
	low := math.NaN()
	for _, i := range order {
		at += times[i]
		if math.IsNaN(low) && at > (total-1)/2 {
			low = values[i]
		}
		if at > total/2 {
			return math.Floor((low+values[i])/2-1) + 1
		}
	}
	return low
}

// MeanInterval bounds the central 95 % of the means of values over samples drawn with replacement; NaN without resamples.
func MeanInterval(values []float64, seed uint64, resamples int) (low, high float64) {
	return interval(bootstrap([]Measure{{Values: values}}, len(values), seed, 0, resamples)[0])
}

// interval is the central 95 % of samples.
func interval(samples []float64) (low, high float64) {
	x := slices.DeleteFunc(slices.Clone(samples), math.IsNaN)
	if len(x) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(x)
	at := func(p float64) float64 { return x[min(int(p*float64(len(x))), len(x)-1)] }
	return at(.025), at(.975)
}

// pairedTests compare two methods by every measure that is a mean.
func pairedTests(d *Dataset, a, b *MethodResult, seed uint64, resamples int) (out []PairedTest) {
	var means []PairedTest
	var meanSamples [][]float64
	for ti := range a.Tasks {
		ma, mb := a.Tasks[ti].Measures, b.Tasks[ti].Measures
		var diffs [][]float64
		var names []string
		for i, m := range ma {
			if m.Stat != Mean {
				continue
			}
			diffs, names = append(diffs, differences(m.Values, mb[i].Values)), append(names, m.Name)
		}
		samples := exchanges(diffs, len(a.Tasks[ti].Rankings), seed, uint64(ti), resamples)
		for i := range diffs {
			t := PairedTest{A: a.Method.Name, B: b.Method.Name, Task: d.Tasks[ti].Name, Name: names[i], Difference: total(diffs[i])}
			t.P = twoSided(t.Difference, samples[i])
			out = append(out, t)
			if ti == 0 {
				means = append(means, PairedTest{A: t.A, B: t.B, Name: t.Name})
				meanSamples = append(meanSamples, make([]float64, resamples))
			}
			means[i].Difference += t.Difference / float64(len(a.Tasks))
			for k, v := range samples[i] {
				meanSamples[i][k] += v / float64(len(a.Tasks))
			}
		}
	}
	if len(a.Tasks) < 2 {
		return out
	}
	for i := range means {
		means[i].P = twoSided(means[i].Difference, meanSamples[i])
	}
	return append(means, out...)
}

// differences are a - b, divided by the number of queries that count, so that their sum is the difference of means.
func differences(a, b []float64) []float64 {
	out, n := make([]float64, len(a)), 0
	for i := range a {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			out[i] = a[i] - b[i]
			n++
		}
	}
	for i := range out {
		out[i] /= float64(max(n, 1))
	}
	return out
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}

// exchanges are the differences of means after exchanging the methods' answers to queries at random: [measure][sample].
func exchanges(diffs [][]float64, n int, seed, stream uint64, resamples int) [][]float64 {
	out := make([][]float64, len(diffs))
	for i := range out {
		out[i] = make([]float64, resamples)
	}
	rng := rand.New(rand.NewPCG(^seed, stream))
	signs := make([]float64, n)
	for k := range resamples {
		for i := range signs {
			signs[i] = float64(int64(rng.Uint64()>>63)*2 - 1)
		}
		for i, d := range diffs {
			for q, v := range d {
				out[i][k] += signs[q] * v
			}
		}
	}
	return out
}

// twoSided counts the samples at least as far from zero, the observed difference among them.
func twoSided(observed float64, samples []float64) float64 {
	const rounding = 1e-12
	n := 1
	for _, v := range samples {
		if math.Abs(v) >= math.Abs(observed)-rounding {
			n++
		}
	}
	return float64(n) / float64(len(samples)+1)
}
