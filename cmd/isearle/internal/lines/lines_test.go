package lines

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func read(r io.Reader, null bool) (texts []string, err error) {
	n := 0
	for line, err := range All(r, "list", null) {
		if err != nil {
			return texts, err
		}
		if n++; line.Number != n {
			return texts, errors.New("numbers are not consecutive")
		}
		texts = append(texts, line.Text)
	}
	return texts, nil
}

func TestAll(t *testing.T) {
	for _, c := range []struct {
		in   string
		null bool
		want []string
	}{
		{"", false, nil},
		{"\n", false, []string{""}},
		{"a\n\nb", false, []string{"a", "", "b"}},
		{"a\r\nb \n", false, []string{"a", "b "}},
		{"a\x00b\nc\x00", true, []string{"a", "b\nc"}},
		{"a\x00\x00c", true, []string{"a", "", "c"}},
		{"", true, nil},
	} {
		got, err := read(iotest.OneByteReader(strings.NewReader(c.in)), c.null)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q, null %v: %q, %v, want %q", c.in, c.null, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	long := io.MultiReader(strings.NewReader("short\n"), io.LimitReader(zeros{}, MaxLength+1))
	if _, err := read(long, false); err == nil || !strings.Contains(err.Error(), "list: entry 2") {
		t.Errorf("long line: %v", err)
	}
	broken := errors.New("broken pipe")
	if _, err := read(iotest.ErrReader(broken), true); !errors.Is(err, broken) {
		t.Errorf("failing reader: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}
