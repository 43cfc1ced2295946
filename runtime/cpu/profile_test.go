package cpu_test

import (
	"context"
	"slices"
	"testing"

	"isearle/runtime"
	"isearle/runtime/cpu"
)

// Every operation of a run is reported once, in order, with its live work, as long as somebody listens.
func TestProfile(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	w, err := dev.Pack(runtime.Matrix{DType: runtime.F32, Rows: 5, Cols: 3, Data: make([]byte, 60)}, runtime.PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := runtime.NewPlan("profiled")
	counts := p.New("counts", runtime.I32, 1, 1)
	rows := runtime.Dim{Cap: 40, Live: counts.Element(0, 0)}
	x, y, g := p.New("x", runtime.F32, 40, 3), p.New("y", runtime.F32, 40, 5), p.New("g", runtime.F32, 1, 3)
	p.Add(runtime.Linear{X: x, W: w, Norm: runtime.Norm{Gamma: g, Beta: g, Eps: 1}, Rows: rows, Out: y})
	p.Add(runtime.CopyRows{Src: y, Dst: p.New("z", runtime.F32, 40, 5), Rows: rows})
	prog, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	var got []runtime.Event
	run := func(live int32) {
		if err := prog.Buffer(counts.Slot).WriteI32(0, []int32{live}); err != nil {
			t.Fatal(err)
		}
		if err := prog.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	run(40)
	var device runtime.Profiler = dev
	device.Profile(func(e runtime.Event) { got = append(got, e) })
	run(40)
	run(7)
	search(t, dev)
	device.Profile(nil)
	run(40)
	want := []struct {
		plan, name string
		index      int
		flop       float64
	}{{"profiled", "linear", 0, 2 * 40 * 15}, {"profiled", "copyrows", 1, 0}, {"profiled", "linear", 0, 2 * 7 * 15}, {"profiled", "copyrows", 1, 0},
		{"search", "search", 0, 2 * 2 * 3}, {"search", "searchmerge", 1, 0}}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d: %v", len(got), len(want), got)
	}
	for i, e := range got {
		if w := want[i]; e.Plan != w.plan || e.Name != w.name || e.Index != w.index || e.FLOP != w.flop {
			t.Errorf("event %d is %+v, want %+v", i, e, w)
		}
		if e.Time < 0 || e.Start < 0 || i > 0 && e.Start < got[i-1].Start+got[i-1].Time {
			t.Errorf("event %d begins at %v and takes %v", i, e.Start, e.Time)
		}
	}
	if !slices.ContainsFunc(got, func(e runtime.Event) bool { return e.Time > 0 }) {
		t.Error("no operation took any time")
	}
}

// search answers a query by two rows.
func search(t *testing.T, dev runtime.Device) {
	t.Helper()
	s, err := dev.NewSearch(3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Begin([]float32{1, 0, 0}, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Feed(0, runtime.Chunk{DType: runtime.F32, Rows: 2, Data: make([]byte, 24)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(make([]runtime.Hit, 1), make([]int, 1)); err != nil {
		t.Fatal(err)
	}
}
