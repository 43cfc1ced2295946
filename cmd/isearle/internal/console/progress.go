package console

import (
	"fmt"
	"strconv"
	"time"
)

const (
	redraw = 200 * time.Millisecond // between two drawings
	window = 10 * time.Second       // over which the rate is averaged
)

// Progress is a line that shows how far a piece of work is.
type Progress struct {
	c           *Console
	unit        string
	total, done int // done is guarded by the console's mutex
	// The rate is that of a sliding window of two halves, so that it follows a change within seconds.
	marks [2]mark
	stop  chan struct{} // nil where nothing is drawn
	ended chan struct{}
}

// mark is a moment of the work.
type mark struct {
	at   time.Time
	done int
}

// Start begins a line; a total of 0 means that it is not known. Nothing is drawn unless the console is a terminal.
func (c *Console) Start(unit string, total int) *Progress {
	now := c.now()
	p := &Progress{c: c, unit: unit, total: total, marks: [2]mark{{at: now}, {at: now}}}
	if c.terminal && !c.quiet {
		p.stop, p.ended = make(chan struct{}), make(chan struct{})
		go p.show()
	}
	return p
}

// show draws the line until Stop.
func (p *Progress) show() {
	defer close(p.ended)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

// Add counts n more as done.
func (p *Progress) Add(n int) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.done += n
}

func (p *Progress) draw() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	now := p.c.now()
	if now.Sub(p.marks[1].at) > window/2 {
		p.marks = [2]mark{p.marks[1], {now, p.done}}
	}
	p.c.clear()
	fmt.Fprint(p.c.w, p.line(now))
	p.c.shown = true
}

// line is what stands on the screen.
func (p *Progress) line(now time.Time) string {
	rate := float64(p.done-p.marks[0].done) / now.Sub(p.marks[0].at).Seconds()
	if p.total <= 0 {
		return fmt.Sprintf("%d %s  %s/s", p.done, p.unit, threeDigits(rate))
	}
	s := fmt.Sprintf("%d/%d %s  %d%%  %s/s", p.done, p.total, p.unit, 100*p.done/p.total, threeDigits(rate))
	if rate > 0 {
		left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
		s += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return s
}

// threeDigits writes x with three significant digits or as an integer, whichever is more, and no exponent.
func threeDigits(x float64) string {
	decimals := 0
	for scale := 100.0; x < scale && decimals < 2; scale /= 10 {
		decimals++
	}
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// Stop removes the line. A second call does nothing.
func (p *Progress) Stop() {
	if p.stop == nil {
		return
	}
	close(p.stop)
	<-p.ended
	p.stop = nil
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.clear()
}
