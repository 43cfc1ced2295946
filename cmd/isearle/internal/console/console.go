// Package console owns the stream that a command talks to people on: notes, failures, and a line of progress that is
// drawn on terminals only.
package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Console writes messages, one line each, around at most one line of progress. It is safe for concurrent use.
type Console struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	quiet    bool
	now      func() time.Time
	shown    bool // a line of progress is on the screen
}

// New returns a console on w; progress is drawn if w is a terminal. A quiet one shows failures only.
func New(w io.Writer, quiet bool) *Console {
	return &Console{w: w, terminal: IsTerminal(w), quiet: quiet, now: time.Now}
}

// Notef tells something that is no failure.
func (c *Console) Notef(format string, args ...any) {
	if !c.quiet {
		c.line(fmt.Sprintf(format, args...))
	}
}

// Failf tells a failure.
func (c *Console) Failf(format string, args ...any) {
	c.line(fmt.Sprintf(format, args...))
}

// line writes one line, whatever s holds: control characters of a file's name do not reach the terminal.
func (c *Console) line(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprintln(c.w, OneLine(s))
}

// clear removes the line of progress.
func (c *Console) clear() {
	if c.shown {
		io.WriteString(c.w, "\r\x1b[K")
		c.shown = false
	}
}

// OneLine joins the lines of s by "; " and escapes its other control characters.
func OneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }
