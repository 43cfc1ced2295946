package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestGenerated checks that the files of the package are those that the generator writes.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	if err := generate("..", dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 28 {
		t.Errorf("%d files, should be 28", len(files))
	}
	for _, f := range files {
		want, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the generator writes: run go generate", f.Name())
		}
	}
}

// TestFit checks that the polynomials are the minimax fits, and their errors. With -v it prints the coefficients.
func TestFit(t *testing.T) {
	values, err := coefficients("../coefficients.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		prefix string
		fit    *fit
		worst  float64
	}{
		{"expQ", expFit(), 3.1e-9},
		{"tailM", tailFit(0.305, float64(values["tailMax"])), 9.5e-8},
	} {
		c, worst := p.fit.solve()
		if !(worst <= p.worst) {
			t.Errorf("%s: error %g, should be below %g", p.prefix, worst, p.worst)
		}
		for i, v := range c {
			name := fmt.Sprint(p.prefix, i)
			t.Logf("%s = %v", name, v)
			if math.Abs(float64(values[name])-v) > 1e-6*math.Abs(v) {
				t.Errorf("%s is %v, should be %v", name, values[name], v)
			}
		}
	}
}
