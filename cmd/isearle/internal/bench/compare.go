package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// measurements are the values of each benchmark and unit, in the order in which each came first.
type measurements struct {
	order  []series
	values map[series][]float64
}

type series struct{ unit, name string }

func (m *measurements) add(s series, v float64) {
	if m.values == nil {
		m.values = map[series][]float64{}
	}
	if _, ok := m.values[s]; !ok {
		m.order = append(m.order, s)
	}
	m.values[s] = append(m.values[s], v)
}

// readFile reads the benchmark lines of a file; other lines are passed over, as benchstat does.
func readFile(path string) (*measurements, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	if len(m.order) == 0 {
		return nil, fmt.Errorf("%s: no benchmark lines", path)
	}
	return m, nil
}

func read(r io.Reader) (*measurements, error) {
	m := &measurements{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue // a name alone, or prose
		}
		if len(f)%2 != 0 {
			return nil, fmt.Errorf("%d: a value without a unit", n)
		}
		for i := 2; i < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%d: %q is no number", n, f[i])
			}
			m.add(series{f[i+1], strings.TrimPrefix(f[0], "Benchmark")}, v)
		}
	}
	return m, lines.Err()
}

// significant is the p below which a difference is taken for one.
const significant = 0.05

// Compare writes a table of what two files of benchmark lines have in common: medians, the distance of the farther quartile from
// each in percent, the ratio of the second to the first, and the p of the Mann-Whitney U test with the numbers of measurements. A
// difference is called better or worse only if p is below 0.05; with fewer than four measurements a side it cannot be.
func Compare(w io.Writer, old, new string) error {
	a, err := readFile(old)
	if err != nil {
		return err
	}
	b, err := readFile(new)
	if err != nil {
		return err
	}
	var both []series
	for _, s := range a.order {
		if _, ok := b.values[s]; ok {
			both = append(both, s)
		}
	}
	if len(both) == 0 {
		return fmt.Errorf("%s and %s have no benchmark in common", old, new)
	}
	place := map[string]int{} // units in the order of the first file
	for i, s := range both {
		if _, ok := place[s.unit]; !ok {
			place[s.unit] = i
		}
	}
	slices.SortStableFunc(both, func(x, y series) int { return cmp.Compare(place[x.unit], place[y.unit]) })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	unit := ""
	for _, s := range both {
		if s.unit != unit {
			unit = s.unit
			fmt.Fprintf(t, "%s\t%s\t%s\tratio\t\n", unit, old, new)
		}
		x, y := a.values[s], b.values[s]
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3f\t%s\n", s.name, spread(x), spread(y), ratio(median(y), median(x)), verdict(x, y, higher(s.unit)))
	}
	return t.Flush()
}

func ratio(a, b float64) float64 {
	if a == b {
		return 1 // 0 of 0 too
	}
	return a / b
}

// verdict says what to make of the difference between x and y.
func verdict(x, y []float64, higher bool) string {
	p := mannWhitney(x, y)
	word := "~"
	if p < significant {
		word = "worse"
		if median(y) > median(x) == higher {
			word = "better"
		}
	}
	return fmt.Sprintf("%s (p=%.3f n=%d+%d)", word, p, len(x), len(y))
}

// spread is a median with the distance of the farther quartile in percent.
func spread(x []float64) string {
	m := median(x)
	far := max(m-quantile(x, .25), quantile(x, .75)-m)
	return fmt.Sprintf("%s ± %.0f%%", quantity(m), 100*far/max(math.Abs(m), math.SmallestNonzeroFloat64))
}

// quantity writes four digits of v with a prefix of the SI.
func quantity(v float64) string {
	for _, p := range []struct {
		unit float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= p.unit {
			return fmt.Sprintf("%.4g%s", v/p.unit, p.name)
		}
	}
	return fmt.Sprintf("%.4g", v)
}

func median(x []float64) float64 { return quantile(x, .5) }

// quantile interpolates between the values of x, which has some.
func quantile(x []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(x))
	at := q * float64(len(s)-1)
	i := min(int(at), len(s)-1)
	if i == len(s)-1 {
		return s[i]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

// mannWhitney is the two-sided p of the test that x and y come from one distribution: exact, or by the normal approximation with
// its correction for ties and for continuity where there are any or there are many values (Mann and Whitney, 1947).
func mannWhitney(x, y []float64) float64 {
	n, m := len(x), len(y)
	u := 0.0 // pairs in which x is larger, ties as halves
	for _, a := range x {
		for _, b := range y {
			switch {
			case a > b:
				u++
			case a == b:
				u += .5
			}
		}
	}
	u = min(u, float64(n*m)-u)
	ties := map[float64]int{}
	for _, v := range slices.Concat(x, y) {
		ties[v]++
	}
	const many = 50
	if len(ties) == n+m && n <= many && m <= many {
		return min(1, 2*smaller(n, m, int(u)))
	}
	all := float64(n + m)
	variance := all + 1
	for v := range maps.Values(ties) {
		variance -= float64(v*v*v-v) / (all * (all - 1))
	}
	variance *= float64(n*m) / 12
	if variance <= 0 {
		return 1
	}
	z := (float64(n*m)/2 - u - .5) / math.Sqrt(variance)
	return min(1, math.Erfc(max(0, z)/math.Sqrt2))
}

// smaller is the probability that U of n and m values is at most u. There are as many ways for U to be k as there are partitions
// of k into at most n parts of at most m: the coefficients of a Gaussian binomial.
func smaller(n, m, u int) float64 {
	ways := make([]float64, n*m+1)
	ways[0] = 1
	for i := 1; i <= n; i++ { // times (1 - q^(m+i)) / (1 - q^i)
		for k := n * m; k >= m+i; k-- {
			ways[k] -= ways[k-m-i]
		}
		for k := i; k <= n*m; k++ {
			ways[k] += ways[k-i]
		}
	}
	sum, all := 0.0, 0.0
	for k, w := range ways {
		all += w
		if k <= u {
			sum += w
		}
	}
	return sum / all
}
