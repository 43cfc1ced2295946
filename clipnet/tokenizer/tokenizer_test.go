package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestInvalidUTF8(t *testing.T) {
	tok := CLIP()
	for _, c := range []struct{ bad, good string }{
		{"a\xffb", "a\uFFFDb"},
		{"\xe2\x82 cat", "\uFFFD\uFFFD cat"},
		{"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"}, // a surrogate
		{"caf\xc3", "caf\uFFFD"},
		{"\xf4\x90\x80\x80 é", "\uFFFD\uFFFD\uFFFD\uFFFD é"},
	} {
		for _, rules := range []Rules{HF, OpenAI} {
			if got, want := tok.Encode(c.bad, rules), tok.Encode(c.good, rules); !slices.Equal(got, want) {
				t.Errorf("%v: %q gives %v, %q gives %v", rules, c.bad, got, c.good, want)
			}
		}
	}
}

// The references cannot be asked for these: longer than what the recorded strings have, or than ftfy's segments.
func TestLongText(t *testing.T) {
	tok := CLIP()
	e := "e\u0301" // one letter where the two are in one segment
	split := strings.Repeat("x ", maxSegment/2)[1:] + e
	for _, c := range []struct {
		name, text string
		rules      Rules
		tail       string
	}{
		{"segments", split, OpenAI, e},
		{"line", split[2:], OpenAI, "\u00e9"},
		{"marks", "a" + strings.Repeat("\u0301\u0316", 1000), HF, strings.Repeat("\u0301", 999)},
		{"ampersands", "&" + strings.Repeat("amp;", 100_000) + "lt;", OpenAI, "<"},
	} {
		got := tok.Append(nil, c.text, c.rules)
		s := new(scratch)
		want := tok.appendPieces(nil, appendLower(nil, []byte(c.tail), HF), c.rules, unlimited, s)
		if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
			t.Errorf("%s: ends in %v, want %v", c.name, got[max(0, len(got)-len(want)):], want)
		}
	}
}

func TestEncodeContext(t *testing.T) {
	tok := CLIP()
	const text = "a red cat <|endoftext|> on a bicycle, and it's raining &amp; snowing"
	for _, rules := range []Rules{HF, OpenAI} {
		full := tok.Encode(text, rules)
		if full[0] != tok.BOS() || full[len(full)-1] != tok.EOT() {
			t.Errorf("%v: %v", rules, full)
		}
		for context := 2; context < len(full)+3; context++ {
			want := slices.Clone(full[:min(context, len(full))])
			want[len(want)-1] = tok.EOT()
			dst := []int32{7, 8}
			got, truncated := tok.EncodeContext(dst, text, rules, context)
			if !slices.Equal(got[:2], dst) || !slices.Equal(got[2:], want) || truncated != (context < len(full)) {
				t.Errorf("%v: context %d: %v, truncated %v; of %v", rules, context, got, truncated, full)
			}
		}
	}
	if got, truncated := tok.EncodeContext(nil, "", HF, 77); len(got) != 2 || truncated {
		t.Errorf("an empty caption gives %v, truncated %v", got, truncated)
	}
}

func TestDecode(t *testing.T) {
	tok := CLIP()
	for _, c := range []struct{ text, want string }{
		{"A photo of $, that's RED!?", "a photo of $, that 's red !?"},
		{"日本語 café", "日本語 café"},
		{"", ""},
	} {
		if got := tok.Decode(tok.Encode(c.text, HF)); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if got := tok.Decode([]int32{-1, 320, int32(tok.VocabSize())}); got != "\uFFFDa \uFFFD" {
		t.Errorf("ids outside the vocabulary: %q", got)
	}
}

func TestParseRules(t *testing.T) {
	for _, r := range []Rules{HF, OpenAI} {
		if got, err := ParseRules(r.String()); err != nil || got != r {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	if _, err := ParseRules("bert"); err == nil {
		t.Error("no error")
	}
}

func TestAllocations(t *testing.T) {
	tok, ids := CLIP(), make([]int32, 0, 4096)
	for _, text := range []string{
		"a photo of a dog that is running, isn't it?",
		"Ｆｕｌｌ “width” café ΟΔΟΣ e\u0301",
		strings.Repeat("ab", 500),
	} {
		for _, rules := range []Rules{HF, OpenAI} {
			if n := testing.AllocsPerRun(100, func() { tok.Append(ids, text, rules) }); n >= 1 {
				t.Errorf("%v: %.40q: %v allocations", rules, text, n)
			}
		}
	}
}

// Many goroutines with one tokeniser get what one gets. Run with -race.
func TestConcurrency(t *testing.T) {
	tok := CLIP()
	rows := readRows(t, "testdata/strings.jsonl.gz")[:300]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { checkRows(t, tok, rows) })
	}
	wg.Wait()
}
