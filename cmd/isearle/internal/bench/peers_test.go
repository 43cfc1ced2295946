package bench

import (
	"os/exec"
	"strings"
	"testing"
)

// The table of make bench-peers, from results that were kept: the best peer is the fastest of those whose answers are the same, and a
// ratio is that of neighbouring measurements.
func TestPeersTable(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	const script = `
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "peers")
import peers
assert {r.section for r in peers.rows("DATA", True)} <= set(peers.SECTIONS)
assert len({(r.section, r.name, r.threads) for r in peers.rows("DATA", False)}) == len(peers.rows("DATA", False))
for r in peers.rows("DATA", True):
    assert set(r.slow) | set(r.inexact) <= set(r.peers), r
    assert set(r.peers) - set(r.slow) - set(r.inexact), r
r = dict(section="int8", name="batch 8", threads=2, unit="images/s", target=1.0, others=0.125, inexact=["quick"], date="today",
         rates=dict(isearle=[10, 20, 30], ort=[10, 10, 10], slow=[5, 5, 5], quick=[40, 40, 40]))
r["ratios"] = {n: [a / b for a, b in zip(r["rates"]["isearle"], v)] for n, v in r["rates"].items() if n != "isearle"}
r["%peak"] = 61.2
print(peers.line(r))
print(peers.line(dict(r, target=2.5)))
print(peers.table({"x": r, "accuracy": dict(section="accuracy", lost=dict(ort_int8=dict(cosine=0.99, worst=0.9, first=0.5, kept=0.75)))}))
`
	cmd := exec.Command(python, "-c", script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const row = "| batch 8 | 2 | 20 images/s | 61 % FMA | ort 10 | 2.00 (1.00 to 3.00)%s | %s | quick 40 (0.50) inexact, slow 5 (4.00) | 12 % |\n"
	for _, want := range []string{
		strings.Replace(strings.Replace(row, "%s", "", 1), "%s", "1", 1),
		strings.Replace(strings.Replace(row, "%s", " **short**", 1), "%s", "2.5", 1),
		"### Images, ViT-B/32, int8\n", "| ort_int8 | 0.990000 | 0.900000 | 50.0 % | 75.0 % |\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
}
