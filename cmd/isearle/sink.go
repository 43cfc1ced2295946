package main

import (
	"bufio"
	"errors"
	"sync"
	"time"

	"isearle/search"
)

// sink takes rows in the order of the inputs. find may be called while another goroutine keeps or adds.
type sink interface {
	// digests says whether the sink stores rows by the digest of their content.
	digests() bool
	// find says whether keep would find the row.
	find(id string, d search.Digest) bool
	// keep places a stored row next.
	keep(id string, d search.Digest) error
	// add places a new row next.
	add(id string, d search.Digest, feature []float32) error
	// commit makes what was placed the output; nothing makes none.
	commit() error
	// leave closes the sink without output, so that another run can go on.
	leave() error
}

// fileSink is a file that appears as a whole.
type fileSink struct {
	mu    sync.Mutex
	w     *search.Writer
	every time.Duration // how much work a process that is killed loses at most
	saved time.Time
	left  bool
}

func (f *fileSink) digests() bool { return true }

func (f *fileSink) find(id string, d search.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.left && f.w.Has(id, d) // an interrupted run's inputs may still be coming in
}

func (f *fileSink) keep(id string, d search.Digest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ok, err := f.w.Keep(id, d)
	if err == nil && !ok {
		err = errors.New("a stored row is gone")
	}
	return err
}

func (f *fileSink) add(id string, d search.Digest, feature []float32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.w.Add(id, d, feature); err != nil || time.Since(f.saved) < f.every {
		return err
	}
	f.saved = time.Now()
	return f.w.Flush()
}

func (f *fileSink) commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.w.Len() == 0 {
		return f.w.Close()
	}
	return errors.Join(f.w.Commit(), f.w.Close())
}

func (f *fileSink) leave() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
	return f.w.Close()
}

// lineSink writes each row at once as a line of JSON.
type lineSink struct{ w *bufio.Writer }

func (l *lineSink) digests() bool                    { return false }
func (l *lineSink) find(string, search.Digest) bool  { return false }
func (l *lineSink) keep(string, search.Digest) error { return nil }
func (l *lineSink) commit() error                    { return l.w.Flush() }
func (l *lineSink) leave() error                     { return l.w.Flush() }

func (l *lineSink) add(id string, _ search.Digest, feature []float32) error {
	return search.WriteJSONL(l.w, search.Row{ID: id, Feature: feature})
}
