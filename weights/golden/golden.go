// Package golden finds the reference outputs that tests compare with, and reads the array files they are stored in.
// It is imported by tests only.
//
// A set is a folder made by independent implementations; its README.md says by which. The copy in the repository is
// used unless the set's environment variable (ISEARLE_GOLDEN_CLIP, ISEARLE_GOLDEN_TOKENIZER, ISEARLE_GOLDEN_CIR) names
// another folder of the same layout, so tests hard-code no shape, count or value of a set.
package golden

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Dir returns the folder of a set: "clip", "tokenizer" or "cir".
func Dir(tb testing.TB, set string) string {
	tb.Helper()
	if dir := os.Getenv("ISEARLE_GOLDEN_" + strings.ToUpper(set)); dir != "" {
		return dir
	}
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		tb.Fatal("golden: no caller information")
	}
	dir := filepath.Join(filepath.Dir(self), "testdata", set)
	if _, err := os.Stat(dir); err != nil {
		tb.Fatalf("golden: set %q: %v", set, err)
	}
	return dir
}

// JSON decodes a file of a set into v.
func JSON(tb testing.TB, path string, v any) {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		tb.Fatalf("golden: %s: %v", path, err)
	}
}
