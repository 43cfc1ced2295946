package tokenizer

import (
	"testing"

	"isearle/weights/golden"
)

// captions are the texts of golden/clip's captions.json: what people write of images.
func captions(tb testing.TB) []string {
	tb.Helper()
	var rows []struct{ Text string }
	golden.JSON(tb, golden.Dir(tb, "clip")+"/captions.json", &rows)
	var texts []string
	for _, r := range rows {
		texts = append(texts, r.Text)
	}
	return texts
}

func BenchmarkEncode(b *testing.B) {
	for _, set := range []struct {
		name  string
		texts []string
	}{
		{"captions", captions(b)},
		{"greek", []string{"ένα κόκκινο αυτοκίνητο με δύο ανθρώπους", "Ο ΣΚΥΛΟΣ ΤΡΕΧΕΙ"}},
		{"chinese", []string{"一只猫坐在红色的椅子上", "两个人在海滩上走"}},
	} {
		for _, rules := range []Rules{HF, OpenAI} {
			b.Run(set.name+"/"+rules.String(), func(b *testing.B) {
				t, ids := CLIP(), make([]int32, 0, 1024)
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					ids, _ = t.EncodeContext(ids[:0], set.texts[n%len(set.texts)], rules, 77)
					n++
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "captions/s")
			})
		}
	}
}

func BenchmarkBuildCLIP(b *testing.B) {
	for b.Loop() {
		buildCLIP()
	}
}
