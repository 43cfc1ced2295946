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

// clock is a console on a terminal whose time the test sets.
func clock(b *strings.Builder) (*Console, *time.Time) {
	now := time.Unix(1000, 0)
	return &Console{w: b, terminal: true, now: func() time.Time { return now }}, &now
}

func TestProgress(t *testing.T) {
	var b strings.Builder
	c, now := clock(&b)
	p := c.Start("images", 100)
	p.Add(1)
	if b.Len() != 0 {
		t.Errorf("drawn at once: %q", b.String())
	}
	*now = now.Add(2 * time.Second)
	p.Add(9)
	if got, want := b.String(), "10/100 images  10%  5.00/s  18s left"; got != want {
		t.Errorf("drew %q, want %q", got, want)
	}
	b.Reset()
	c.Notef("x.png: broken")
	if got, want := b.String(), "\r\x1b[Kx.png: broken\n"; got != want {
		t.Errorf("note over progress is %q, want %q", got, want)
	}
	b.Reset()
	p.Stop()
	if b.Len() != 0 {
		t.Errorf("stopped a line that is not shown: %q", b.String())
	}
}

func TestProgressFollowsRate(t *testing.T) {
	var b strings.Builder
	c, now := clock(&b)
	p := c.Start("captions", 0)
	for range 100 {
		*now = now.Add(time.Second)
		p.Add(10)
	}
	for range 10 {
		*now = now.Add(time.Second)
		b.Reset()
		p.Add(1000)
	}
	if got := b.String(); !strings.Contains(got, "11000 captions  1000/s") {
		t.Errorf("ten seconds after a change of pace the line is %q", got)
	}
}

func TestProgressNotOnFiles(t *testing.T) {
	var b strings.Builder
	c, now := clock(&b)
	c.terminal = IsTerminal(&b)
	p := c.Start("images", 3)
	*now = now.Add(time.Second)
	p.Add(3)
	p.Stop()
	if b.Len() != 0 {
		t.Errorf("progress in a file: %q", b.String())
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
