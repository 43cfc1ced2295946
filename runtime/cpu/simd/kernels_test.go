package simd

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	t.Setenv(EnvCPU, "")
	all := All()
	if Best() != all[0] {
		t.Errorf("Best is %s, should be %s", Best().Name, all[0].Name)
	}
	for _, k := range all {
		if got, err := Select(k.Name); got != k || err != nil {
			t.Errorf("Select(%q): %v, %v", k.Name, got, err)
		}
		t.Setenv(EnvCPU, k.Name)
		if Best() != k {
			t.Errorf("%s=%s: Best is %s", EnvCPU, k.Name, Best().Name)
		}
		if got, err := Select(""); got != k || err != nil {
			t.Errorf("%s=%s: Select: %v, %v", EnvCPU, k.Name, got, err)
		}
	}
	t.Setenv(EnvCPU, "sse9")
	if _, err := Select(""); err == nil || !strings.Contains(err.Error(), EnvCPU) || !strings.Contains(err.Error(), "sse9") {
		t.Errorf("%s=sse9: error %v", EnvCPU, err)
	}
	if Best() != all[0] {
		t.Errorf("%s=sse9: Best is %s", EnvCPU, Best().Name)
	}
	for _, name := range []string{"avx512", "avx512bf16", "avx2", "neon"} {
		has := slices.ContainsFunc(all, func(k *Kernels) bool { return k.Name == name })
		if _, err := Select(name); has != (err == nil) || !has && !errors.Is(err, ErrUnsupported) {
			t.Errorf("Select(%q), present %v: %v", name, has, err)
		}
	}
}
