package console

import (
	"strings"
	"testing"
	"time"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"two\nerrors\n":          "two; errors",
		"esc \x1b[31m \u009b":    `esc \x1b[31m \x9b`,
		"tab\tand ünïcode stays": "tab\tand ünïcode stays",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestQuiet(t *testing.T) {
	var b strings.Builder
	c := New(&b, true)
	c.Notef("a note")
	c.Failf("a failure")
	if b.String() != "a failure\n" {
		t.Errorf("quiet console wrote %q", b.String())
	}
}

// clock is a progress on a terminal whose time the test sets, and which draws when the test says.
func clock(b *strings.Builder, unit string, total int) (*Progress, *time.Time) {
	now := time.Unix(1000, 0)
	c := &Console{w: b, now: func() time.Time { return now }}
	return c.Start(unit, total), &now
}

func TestProgress(t *testing.T) {
	var b strings.Builder
	p, now := clock(&b, "images", 100)
	*now = now.Add(2 * time.Second)
	p.Add(10)
	p.draw()
	if got, want := b.String(), "10/100 images  10%  5.00/s  18s left"; got != want {
		t.Errorf("drew %q, want %q", got, want)
	}
	b.Reset()
	p.c.Notef("x.png: broken")
	if got, want := b.String(), "\r\x1b[Kx.png: broken\n"; got != want {
		t.Errorf("note over progress is %q, want %q", got, want)
	}
}

func TestProgressFollowsRate(t *testing.T) {
	var b strings.Builder
	p, now := clock(&b, "captions", 0)
	for range 100 {
		*now = now.Add(time.Second)
		p.Add(10)
		p.draw()
	}
	for range 20 {
		*now = now.Add(time.Second)
		b.Reset()
		p.Add(1000)
		p.draw()
	}
	if got := b.String(); !strings.Contains(got, "21000 captions  1000/s") {
		t.Errorf("twenty seconds after a change of pace the line is %q", got)
	}
}

// On a terminal the line comes by itself and is gone at the end; in a file there is none.
func TestProgressShows(t *testing.T) {
	var b strings.Builder
	p := (&Console{w: &b, terminal: true, now: time.Now}).Start("images", 3)
	for shown := false; !shown; time.Sleep(time.Millisecond) {
		p.c.mu.Lock()
		shown = p.c.shown
		p.c.mu.Unlock()
	}
	p.Stop()
	p.Stop()
	if !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Errorf("the line stays: %q", b.String())
	}
	var file strings.Builder
	p = New(&file, false).Start("images", 3)
	p.Add(3)
	p.Stop()
	if file.Len() != 0 || p.ended != nil {
		t.Errorf("progress in a file: %q", file.String())
	}
}

func TestUTF8(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LC_CTYPE": "C.utf8", "LANG": "C"}, true},
		{map[string]string{"LC_ALL": "C", "LANG": "en_US.UTF-8"}, false},
		{nil, false},
	} {
		if got := UTF8(func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}
