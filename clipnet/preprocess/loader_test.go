package preprocess

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func loadPaths(t *testing.T, times int) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "modes", "color*.png"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no images: %v", err)
	}
	paths = slices.Insert(paths, 2, filepath.Join("testdata", "none.png"), filepath.Join("testdata", "make.py"))
	return slices.Repeat(paths, times)
}

func TestLoadKeepsTheOrder(t *testing.T) {
	p, err := New(CLIP(9))
	if err != nil {
		t.Fatal(err)
	}
	paths := loadPaths(t, 5)
	want := make([]float32, p.PixelCount())
	for _, workers := range []int{0, 1, 4} {
		next := 0
		for item := range p.Load(context.Background(), slices.Values(paths), workers) {
			if item.Index != next || item.Path != paths[next] {
				t.Fatalf("item %d %s, want %d %s", item.Index, item.Path, next, paths[next])
			}
			next++
			wantErr := p.File(item.Path, want)
			if fmt.Sprint(item.Err) != fmt.Sprint(wantErr) {
				t.Fatalf("%s: %v, want %v", item.Path, item.Err, wantErr)
			}
			if item.Err != nil {
				if item.Crop != nil || item.Pixels != nil {
					t.Errorf("%s has pixels and an error", item.Path)
				}
				continue
			}
			if !slices.Equal(item.Pixels, want) || len(item.Crop) != p.CropBytes() {
				t.Fatalf("%s: other pixels than File's", item.Path)
			}
		}
		if next != len(paths) {
			t.Errorf("%d workers: %d of %d items", workers, next, len(paths))
		}
	}
}

// The paths are consumed no further ahead than the slots allow.
func TestLoadIsBounded(t *testing.T) {
	p, err := New(CLIP(4))
	if err != nil {
		t.Fatal(err)
	}
	const workers = 2
	asked := make(chan int, 1000)
	paths := func(yield func(string) bool) {
		for i := range 200 {
			asked <- i
			if !yield(filepath.Join("testdata", "modes", "one_pixel.png")) {
				return
			}
		}
	}
	got := 0
	for item := range p.LoadCrops(context.Background(), paths, workers) {
		if item.Err != nil || item.Pixels != nil || len(item.Crop) != p.CropBytes() {
			t.Fatalf("%+v", item)
		}
		got++
		// One path more may be waiting for its slot.
		if ahead := len(asked) - got; ahead > 2*workers+1 {
			t.Fatalf("%d paths ahead with %d workers", ahead, workers)
		}
	}
	if got != 200 {
		t.Errorf("%d items", got)
	}
}

func TestLoadStops(t *testing.T) {
	p, err := New(CLIP(4))
	if err != nil {
		t.Fatal(err)
	}
	for range p.Load(context.Background(), slices.Values(loadPaths(t, 3)), 3) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	for range p.Load(ctx, slices.Values(loadPaths(t, 50)), 3) {
		if n++; n == 4 {
			cancel()
		}
	}
	if n != 4 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%d items after cancelling at 4", n)
	}
	// Paths that never come do not keep a cancelled Load.
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	release := make(chan struct{})
	defer close(release)
	for range p.Load(ctx, func(func(string) bool) { <-release }, 2) {
		t.Error("an item without a path")
	}
}
