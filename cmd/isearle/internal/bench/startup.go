package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"isearle/weights"
	"isearle/weights/safetensors"
)

// StartupOptions say what is started.
type StartupOptions struct {
	// Program makes the feature of an image its standard output; the arguments name model and image behind those given.
	Program []string
	// Model is a checkpoint's file or directory; "" means that the one given is written to a file.
	Model string
}

// Startup measures a process of its own from its start to the first image's feature, and its largest resident set.
func (b *Bench) Startup(ctx context.Context, m *weights.CLIP, name string, o StartupOptions) error {
	dir, err := os.MkdirTemp("", "isearle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.Model == "" {
		o.Model = filepath.Join(dir, "model.safetensors")
		if err := weights.Write(o.Model, m, weights.OpenAI, safetensors.Invalid); err != nil {
			return err
		}
	}
	var picked bytes.Buffer
	if err := jpeg.Encode(&picked, picture(500, 400, 1), nil); err != nil {
		return err
	}
	image := filepath.Join(dir, "image.jpg")
	if err := os.WriteFile(image, picked.Bytes(), 0o600); err != nil {
		return err
	}
	args := append(append([]string(nil), o.Program[1:]...), "-m", o.Model, image)
	_, dtype := b.dtype()
	s := starter{program: o.Program[0], args: args}
	if err := s.start(ctx); err != nil { // what it reads is in the page cache from here on
		return fmt.Errorf("benchmark Startup: %w", err)
	}
	for range b.Count {
		if b.Turn != nil {
			if err := b.Turn(); err != nil {
				return fmt.Errorf("benchmark Startup: %w", err)
			}
		}
		r := &Result{Name: fmt.Sprintf("Startup/model=%s/dtype=%s-%d", name, dtype, b.Threads)}
		s.peak = 0
		for start := time.Now(); r.Iterations == 0 || time.Since(start) < b.Time; r.Iterations++ {
			if err := s.start(ctx); err != nil {
				return fmt.Errorf("benchmark Startup: %w", err)
			}
			r.Nanoseconds += float64(s.took)
		}
		r.Nanoseconds /= float64(r.Iterations)
		if s.peak > 0 {
			r.add(s.peak, "peak-RSS-bytes")
		}
		if err := b.emit(r); err != nil {
			return err
		}
	}
	return nil
}

// starter runs a program until it has written something.
type starter struct {
	program string
	args    []string
	took    time.Duration
	peak    float64 // largest resident set of any of its processes, in bytes
}

func (s *starter) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.program, s.args...)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	_, first := out.Read(make([]byte, 1))
	s.took = time.Since(begin)
	s.peak = max(s.peak, peakOf(strconv.Itoa(cmd.Process.Pid))) // it has more to do before it ends
	io.Copy(io.Discard, out)                                    // whose error Wait tells
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(s.program), err, bytes.TrimSpace(failure.Bytes()))
	}
	if first != nil {
		return errors.New("the program wrote no feature")
	}
	return nil
}
