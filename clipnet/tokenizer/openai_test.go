package tokenizer

import (
	"strings"
	"testing"
)

// What basic_clean, whitespace_clean and lower of OpenAI's tokeniser give with ftfy 6.3.1 and Python 3.11, without the
// repair of wrong encodings.
func TestCleanOpenAI(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"it’s “SO” ﬂuﬃeﬆ", `it's "so" fluffiest`},
		{"Ｌｏｕｄ　ﾉｲｽﾞ", "loud ノイズ"},
		{"tom &amp;amp; jerry &lt;3", "tom & jerry <3"},
		{"a < b &rsquo; c", "a < b ’ c"},
		{"a &rsquo; c\nb < &rsquo;\n&rsquo;", "a ' c b < ’ ’"},
		{"&EACUTE; &NTILDE; &nTILDE; &SZLIG; &AMPX;", "é ñ &ntilde; ss &x;"},
		{"&#0000000000000000000000065281; &#65281;", "\uFF01 !"}, // ftfy knows entities of up to 24 characters
		{"&notit; &ampx &hellip", "¬it; &x &hellip"},
		{"&nGt; &nLt;", "≫\u20D2 ≪\u20D2"},
		{"&#150; \u0096 &#x1F600; &#xD800; &#1;|", "– – 😀 \uFFFD |"},
		{"\x1b[36;44mblue\x1b[0m \x1b[٣m.\x1b[3", "blue .[3"},
		{"\x1b[1&amp;#109;x &amp;#109;", "[1mx m"},
		{"ΟΔΟΣ ΟΔΟΣ. Σ ΣΑ' Α\u00ADΣ\u0301", "οδος οδος. σ σα' α\u00ADς\u0301"},
		{"x\x00y\u200Bby\uFEFFz\x7F", "xy\u200Bbyz"},
		{"a\r\nb\rc\u2028d\u0085e", "a b c d…e"},
	} {
		got := strings.Join(strings.Fields(string(new(scratch).cleanOpenAI(nil, c.text))), " ")
		if got != c.want {
			t.Errorf("%+q: %+q, want %+q", c.text, got, c.want)
		}
	}
}
