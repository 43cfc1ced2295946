package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAblation(t *testing.T) {
	work, report := t.TempDir(), t.TempDir()
	concepts := filepath.Join(t.TempDir(), "concepts.txt")
	write(t, concepts, []byte("red apple\ndog face\noyster\nman\n"))
	args := []string{"isearle", "eval", "ablation", "--concepts", concepts, "noise", "oti", "--quick", "--queries", "13", "--steps", "4", "--train", "8", "--resamples", "20", "--gammas", "0,0.5", "--work", work, "--quiet"}
	table := must(t, "", append(args, "--report", report)...)
	for _, want := range []string{"# Ablation on the emoji world", "13 queries", "## Noise on the text feature", "| 0.5 |", "| OTI |", "| text alone |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	for _, name := range []string{"ablation.md", "ablation.html", "ablation.json", "ablation.csv"} {
		if info, err := os.Stat(filepath.Join(report, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := png.Decode(bytes.NewReader(read(t, filepath.Join(report, "noise.png")))); err != nil {
		t.Error(err)
	}
	var again struct {
		Queries  int
		Sections []struct {
			Name   string
			Tables []struct {
				Rows []struct {
					Label string
					Cells []map[string]float64
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(must(t, "", append(args, "--json")...)), &again); err != nil {
		t.Fatal(err)
	}
	if again.Queries != 13 || len(again.Sections) != 2 || again.Sections[0].Tables[0].Rows[1].Label != "0.5" || again.Sections[0].Tables[0].Rows[1].Cells[0]["high"] == 0 {
		t.Errorf("%+v", again)
	}
	if lines := must(t, "", append(args, "--csv")...); !strings.HasPrefix(lines, "section,table,row,column,value,low,high\nnoise,,0,mAP@10,") {
		t.Errorf("CSV: %.200s", lines)
	}
}

// A data set and a model of the user's, without phi and phrases, and a folder of a far domain, one image of which is broken.
func TestAblationOfData(t *testing.T) {
	dir := evalWorld(t)
	far, _ := pictures(t, 3)
	write(t, filepath.Join(far, "broken.png"), []byte("no picture"))
	r := call(t, "", "isearle", "eval", "ablation", "gap", "phrases", "fidelity", "finetune", "far", "failures", "-m", smallModel(t), "--quick", "--queries", "6", "--steps", "3", "--train", "8", "--resamples", "20",
		"--data", filepath.Join(dir, "circo"), "--far", far, "--work", t.TempDir(), "--quiet")
	fails(t, r, exitFailed, "broken.png")
	for _, want := range []string{"# Ablation on CIRCO, split val", "6 queries", "| image, OTI with noise 0 |", "| the images of " + far + ", OTI |", "Not run: phrases", "| on triplets from nothing |"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the report lacks %q:\n%s", want, r.stdout)
		}
	}
}

func TestAblationRefuses(t *testing.T) {
	for _, c := range []struct {
		args, word string
		code       int
	}{
		{"magic", "magic", exitUsage},
		{"--quick --full", "--full", exitUsage},
		{"--json --csv", "--csv", exitUsage},
		{"-m x", "--data", exitUsage},
		{"--seeds 0", "0 seeds", exitUsage},
		{"--fractions 2", "fraction of 2", exitUsage},
		{"--gammas -1 noise --quick --queries 3 --work " + t.TempDir(), "gamma -1", exitUsage},
		{"--tokens 0", "0 copies", exitUsage},
		{"--data no-such-folder --work " + t.TempDir(), "no-such-folder", exitFailed},
		{"--phrases lost.jsonl --work " + t.TempDir(), "lost.jsonl", exitFailed},
		{"--far lost --work " + t.TempDir(), "lost", exitFailed},
	} {
		r := call(t, "", append([]string{"isearle", "eval", "ablation"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.word) || !strings.HasPrefix(r.stderr, "isearle eval ablation: ") {
			t.Errorf("%s: exit code %d, standard error %q", c.args, r.code, r.stderr)
		}
	}
}
