package conform

import (
	"context"
	"math"
	"testing"

	"isearle/runtime"
	"isearle/runtime/reference"
)

const (
	// gradStep balances the truncation of a central difference, of order gradStep^2, with its rounding, 2^-53/gradStep.
	gradStep = 1e-5
	// gradTol is the largest relative error of a derivative.
	gradTol = 1e-6
	// gradFloor is the part of the largest derivative below which errors are relative to that part: a sum of terms that
	// nearly cancel has the error of the terms.
	gradFloor = 1e-3
)

// Gradient records a forward operation and its backward pass in one Plan.
type Gradient struct {
	*Builder
	terms       [][2]runtime.View
	derivatives [][2]runtime.View
}

// Objective adds the sum of y*dy over all elements to what is differentiated: dy is its gradient by y.
func (g *Gradient) Objective(y, dy runtime.View) { g.terms = append(g.terms, [2]runtime.View{y, dy}) }

// Derivative says that dx must be the gradient of the objective by x.
func (g *Gradient) Derivative(x, dx runtime.View) {
	g.derivatives = append(g.derivatives, [2]runtime.View{x, dx})
}

// New is a matrix that the Plan fills.
func (g *Gradient) New(name string, rows, cols int) runtime.View {
	return g.Plan.New(name, runtime.F32, rows, cols)
}

// Gradients checks the backward operations of the reference device against central finite differences of the forward ones,
// all in float64. What other devices compute is compared with the reference by Ops.
func Gradients(t *testing.T) {
	for _, c := range gradientTable() {
		t.Run(c.name, func(t *testing.T) {
			g := &Gradient{Builder: newBuilder(t, reference.Device{}, c.name, c.extent, c.extent)}
			c.build(g)
			prog := g.compile()
			defer prog.Close()
			g.check(prog)
		})
	}
}

// elements calls f for every element of a view of the reference device's memory.
func elements(prog runtime.Program, v runtime.View, f func(x *float64, i, j int)) {
	mem := prog.Buffer(v.Slot).(*reference.Buffer).F
	for i := range v.Rows {
		for j := range v.Cols {
			f(&mem[v.Offset+i*v.Stride+j], i, j)
		}
	}
}

// read copies a view.
func read(prog runtime.Program, v runtime.View) (x []float64) {
	elements(prog, v, func(p *float64, _, _ int) { x = append(x, *p) })
	return x
}

// run returns the objective.
func (g *Gradient) run(prog runtime.Program) (sum float64) {
	if err := prog.Run(context.Background()); err != nil {
		g.tb.Fatal(err)
	}
	for _, t := range g.terms {
		y, dy := read(prog, t[0]), read(prog, t[1])
		for i := range y {
			sum += y[i] * dy[i]
		}
	}
	return sum
}

func (g *Gradient) check(prog runtime.Program) {
	g.run(prog)
	var analytic [][]float64
	for _, d := range g.derivatives {
		analytic = append(analytic, read(prog, d[1]))
	}
	for n, d := range g.derivatives {
		largest := 0.0
		for _, v := range analytic[n] {
			largest = max(largest, math.Abs(v))
		}
		if !(largest > 0) {
			g.tb.Fatalf("the gradient by %q is %v everywhere", g.Plan.Info(d[0].Slot).Name, largest)
		}
		elements(prog, d[0], func(x *float64, i, j int) {
			at, got := *x, analytic[n][i*d[0].Cols+j]
			*x = at + gradStep
			up := g.run(prog)
			*x = at - gradStep
			want := (up - g.run(prog)) / (2 * gradStep)
			*x = at
			if !(math.Abs(got-want) <= gradTol*max(math.Abs(want), gradFloor*largest)) {
				g.tb.Fatalf("the gradient by %q (%d, %d) is %v, finite differences say %v", g.Plan.Info(d[0].Slot).Name, i, j, got, want)
			}
		})
	}
}
