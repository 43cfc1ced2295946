package eval

import (
	"path/filepath"
	"sync"
	"testing"

	"isearle/search"
)

// exported is the embedded world, written once.
var exported = sync.OnceValues(func() (string, error) {
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	return dir, ExportDemo(dir)
})

func world(t *testing.T) string {
	t.Helper()
	dir, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func demoEvaluator(t *testing.T) *Evaluator {
	t.Helper()
	dev := cpuDevice(t)
	e, err := search.OpenEngine(dev, search.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &Evaluator{Engine: e, Device: dev, Threads: 2, CacheDir: t.TempDir(), Resamples: 50}
}

var loaders = map[string]func(string, LoadOptions) (*Dataset, error){
	"fashioniq": LoadFashionIQ, "cirr": LoadCIRR, "circo": LoadCIRCO, "domain": LoadDomain, "objects": LoadObjects,
}

// floors are fractions that the embedded model reaches easily and an ordering at random does not.
var floors = map[string]struct {
	metric string
	floor  float64
}{"fashioniq": {"R@10", .1}, "cirr": {"R@10", .1}, "circo": {"mAP@10", .05}, "domain": {"exact R@10", .2}, "objects": {"R@10", .2}}

func TestExportEvaluates(t *testing.T) {
	e := demoEvaluator(t)
	for name, load := range loaders {
		t.Run(name, func(t *testing.T) {
			d, err := load(filepath.Join(world(t), name), seTemplate(t))
			if err != nil {
				t.Fatal(err)
			}
			e.Strict = true
			r, err := e.Run(t.Context(), d, Methods())
			if err != nil {
				t.Fatal(err)
			}
			if r.Ranked != r.Total || r.Cached != 0 {
				t.Errorf("%d of %d queries ranked, %d images cached", r.Ranked, r.Total, r.Cached)
			}
			part := r.parts()[0]
			m, ok := r.Methods[0].metric(part, floors[name].metric)
			if !ok || m.Value < floors[name].floor {
				t.Errorf("%s is %v, want at least %v", floors[name].metric, m.Value, floors[name].floor)
			}
			for i := range r.Methods {
				x, _ := r.Methods[i].metric(part, floors[name].metric)
				t.Logf("%s %s %s = %s (%s)", r.Methods[i].Method.Name, part, x.Name, x.text(), x.interval())
			}
			dir := t.TempDir()
			if err := r.WriteReport(dir); err != nil {
				t.Fatal(err)
			}
			again, err := e.Run(t.Context(), d, Methods()[:1])
			if err != nil {
				t.Fatal(err)
			}
			if again.Computed != 0 || again.Cached != again.Images {
				t.Errorf("the second run computed %d of %d images", again.Computed, again.Images)
			}
			if b, _ := again.Methods[0].metric(part, floors[name].metric); b != m {
				t.Errorf("the second run gives %v, the first %v", b, m)
			}
		})
	}
}
