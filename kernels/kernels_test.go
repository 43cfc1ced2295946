//go:build cuda

package kernels

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

type manifest struct {
	Tool    string
	Options []string
	Objects []struct {
		Source, Arch, Key, SHA256 string
		Registers                 map[string]int
	}
}

func hash(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var include = regexp.MustCompile(`(?m)^#include "(\w+\.cuh)"`)

// text is a source followed by the headers that it includes, each once.
func text(t *testing.T, name string, seen map[string]bool) []byte {
	b := read(t, name)
	for _, s := range include.FindAllSubmatch(b, -1) {
		if h := string(s[1]); !seen[h] {
			seen[h] = true
			b = append(b, text(t, h, seen)...)
		}
	}
	return b
}

// The embedded objects must be those of the manifest, and the manifest's those of the sources as they are now.
func TestObjectsAreOfTheSources(t *testing.T) {
	var m manifest
	if err := json.Unmarshal(read(t, "manifest.json"), &m); err != nil {
		t.Fatal(err)
	}
	sources, _ := filepath.Glob("*.cu")
	archives := map[string]map[string][]byte{}
	for _, o := range m.Objects {
		key := hash(text(t, o.Source, map[string]bool{}), []byte(strings.Join(m.Options, " ")), []byte(m.Tool), []byte(o.Arch))
		if key != o.Key {
			t.Errorf("%s for %s is not of the present sources: make kernels-cuda", o.Source, o.Arch)
		}
		if archives[o.Arch] == nil {
			a, err := unpack("bin/" + o.Arch + ".tar.zst")
			if err != nil {
				t.Fatal(err)
			}
			archives[o.Arch] = a
		}
		if hash(archives[o.Arch][o.Source]) != o.SHA256 {
			t.Errorf("%s for %s is not the object of the manifest", o.Source, o.Arch)
		}
	}
	for arch, a := range archives {
		if len(a) != len(sources) {
			t.Errorf("%s holds %d objects of %d sources", arch, len(a), len(sources))
		}
	}
}

// Cubins must be there for the chips that have one, PTX, with its zero byte, for later ones, and nothing for older ones.
func TestModules(t *testing.T) {
	for _, tt := range []struct {
		major, minor int
		arch         string
	}{{8, 0, "sm_80"}, {8, 6, "sm_80"}, {8, 7, "sm_80"}, {8, 9, "sm_80"}, {9, 0, "sm_90a"}, {10, 0, "sm_100"}, {10, 3, "sm_100"}, {12, 0, "sm_120"}, {11, 0, "compute_80"}, {13, 0, "compute_80"}} {
		arch, images, err := Modules(tt.major, tt.minor)
		if err != nil || arch != tt.arch {
			t.Errorf("%d.%d: %s, %v", tt.major, tt.minor, arch, err)
		}
		for name, image := range images {
			cubin := bytes.HasPrefix(image, []byte("\x7fELF"))
			if ptx := bytes.Contains(image, []byte(".target sm_80")) && image[len(image)-1] == 0; cubin == (arch == "compute_80") || cubin == ptx {
				t.Errorf("%d.%d: %s: cubin %t, ptx %t", tt.major, tt.minor, name, cubin, ptx)
			}
		}
	}
	if _, _, err := Modules(7, 5); err == nil {
		t.Error("7.5 was accepted")
	}
}
