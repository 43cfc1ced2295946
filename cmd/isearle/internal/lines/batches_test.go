package lines

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestBatches(t *testing.T) {
	input := strings.Repeat("x\n", 1000)
	var got []Line
	for batch, err := range Batches(t.Context(), All(strings.NewReader(input), "list", false), 64) {
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 || len(batch) > 64 {
			t.Fatalf("a batch of %d", len(batch))
		}
		got = append(got, batch...)
	}
	if len(got) != 1000 || !slices.IsSortedFunc(got, func(a, b Line) int { return a.Number - b.Number }) {
		t.Errorf("%d lines, or not in order", len(got))
	}
}

// A question must be answered before the next one is asked.
func TestBatchesAnswerAtOnce(t *testing.T) {
	r, w := io.Pipe()
	asked := make(chan string)
	go func() {
		for q := range asked {
			io.WriteString(w, q+"\n")
		}
		w.Close()
	}()
	asked <- "first"
	var got []string
	for batch, err := range Batches(t.Context(), All(r, "pipe", false), 64) {
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range batch {
			got = append(got, line.Text)
		}
		if len(got) == 1 {
			asked <- "second"
			close(asked)
		}
	}
	if !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("got %q", got)
	}
}

func TestBatchesEnd(t *testing.T) {
	broken := errors.New("broken")
	failing := func(yield func(int, error) bool) { _ = yield(1, nil) && yield(0, broken) }
	n := 0
	for batch, err := range Batches(t.Context(), failing, 8) {
		if n += len(batch); err != nil && !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d values before the error", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := io.Pipe() // says nothing
	cancel()
	for _, err := range Batches(ctx, All(r, "pipe", false), 8) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled sequence gives %v", err)
		}
	}
	for range Batches(t.Context(), All(strings.NewReader("a\nb\n"), "list", false), 1) {
		break
	}
}
