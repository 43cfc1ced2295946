// Command gen compiles the kernels with NVRTC and packs them: one compressed archive an architecture under -dir/bin, and
// -dir/manifest.json with what each object was made from and takes. Objects whose source, headers, options and tool are as
// in the manifest are kept. With -check everything is compiled again and compared with what is there.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// tool is the compiler, as the Makefile pins it.
const tool = "nvidia-cuda-nvrtc-cu12==12.9.86"

// architectures: cubins, and PTX for what comes later.
var architectures = []string{"sm_80", "sm_90a", "sm_100", "sm_120", "compute_80"}

var options = []string{"--std=c++17", "--fmad=false", "-default-device", "-I.", "--ptxas-options=-v"}

// Limits of a kernel: with 256 threads and more than 128 registers a multiprocessor holds one block only, and a spill is
// memory traffic that no roofline counts.
const (
	maxRegisters = 128
	maxTensor    = 255     // of the kernels in tensorKernels
	maxInstances = 120     // kernels of an architecture
	maxPacked    = 8 << 20 // bytes of all archives
)

// tensorKernels begin the names of kernels for the tensor units: they keep tiles of sums in registers, and with 128 threads a
// multiprocessor holds two blocks or more.
var tensorKernels = []string{"halfproduct_", "groupproduct_", "halfattention", "roofline_group_"}

func limit(kernel string) int {
	for _, p := range tensorKernels {
		if strings.HasPrefix(kernel, p) {
			return maxTensor
		}
	}
	return maxRegisters
}

// Object is a compiled source for an architecture.
type Object struct {
	Source    string         `json:"source"`
	Arch      string         `json:"arch"`
	Key       string         `json:"key"`    // hash of source, its headers, options and tool
	SHA256    string         `json:"sha256"` // of the object
	Registers map[string]int `json:"registers,omitempty"`

	data []byte
}

// Manifest lists all objects, by architecture and source.
type Manifest struct {
	Tool    string   `json:"tool"`
	Options []string `json:"options"`
	Objects []Object `json:"objects"`
}

type generator struct {
	dir, nvrtc, library string
	old                 Manifest
	oldData             map[string][]byte // by arch/source
}

func hash(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// load reads what is there, as far as it is there.
func (g *generator) load() error {
	g.oldData = map[string][]byte{}
	b, err := os.ReadFile(filepath.Join(g.dir, "manifest.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &g.old); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	for _, arch := range architectures {
		if err := unpack(g.archive(arch), func(name string, data []byte) { g.oldData[arch+"/"+name] = data }); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (g *generator) archive(arch string) string { return filepath.Join(g.dir, "bin", arch+".tar.zst") }

// kept returns the object that is there if it was made from the same things.
func (g *generator) kept(source, arch, key string) (Object, bool) {
	for _, o := range g.old.Objects {
		data := g.oldData[arch+"/"+source]
		if o.Source == source && o.Arch == arch && o.Key == key && o.SHA256 == hash(data) {
			o.data = data
			return o, true
		}
	}
	return Object{}, false
}

var include = regexp.MustCompile(`(?m)^#include "(\w+\.cuh)"`)

// text is a source followed by the headers that it includes, each once, where it is included first.
func (g *generator) text(name string, seen map[string]bool) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		return nil, err
	}
	for _, s := range include.FindAllSubmatch(b, -1) {
		h := string(s[1])
		if seen[h] {
			continue
		}
		seen[h] = true
		more, err := g.text(h, seen)
		if err != nil {
			return nil, err
		}
		b = append(b, more...)
	}
	return b, nil
}

func (g *generator) object(source, arch string, fresh bool) (Object, error) {
	text, err := g.text(source, map[string]bool{})
	if err != nil {
		return Object{}, err
	}
	key := hash(text, []byte(strings.Join(options, " ")), []byte(tool), []byte(arch))
	if o, ok := g.kept(source, arch, key); ok && !fresh {
		return o, nil
	}
	tmp, err := os.MkdirTemp("", "kernels")
	if err != nil {
		return Object{}, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "object")
	cmd := exec.Command(g.nvrtc, append([]string{g.library, source, out, "--gpu-architecture=" + arch}, options...)...)
	cmd.Dir = g.dir
	var report, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &report, &failure
	if err := cmd.Run(); err != nil {
		return Object{}, fmt.Errorf("%s for %s: %w\n%s", source, arch, err, failure.String())
	}
	o := Object{Source: source, Arch: arch, Key: key}
	if o.data, err = os.ReadFile(out); err != nil {
		return Object{}, err
	}
	o.SHA256 = hash(o.data)
	if o.Registers, err = usage(report.String()); err != nil {
		return Object{}, fmt.Errorf("%s for %s: %w", source, arch, err)
	}
	return o, nil
}

var (
	entry     = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	frame     = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	registers = regexp.MustCompile(`Used (\d+) registers`)
)

// usage reads ptxas's report: registers by kernel, none of which may spill.
func usage(report string) (map[string]int, error) {
	var m map[string]int
	name := ""
	for line := range strings.Lines(report) {
		if s := entry.FindStringSubmatch(line); s != nil {
			name = s[1]
		}
		if s := frame.FindStringSubmatch(line); s != nil && (s[1] != "0" || s[2] != "0" || s[3] != "0") {
			return nil, fmt.Errorf("kernel %s: %s", name, s[0])
		}
		if s := registers.FindStringSubmatch(line); s != nil {
			n, err := strconv.Atoi(s[1])
			if err != nil || n > limit(name) {
				return nil, fmt.Errorf("kernel %s takes %s registers, the limit is %d", name, s[1], limit(name))
			}
			if m == nil {
				m = map[string]int{}
			}
			m[name] = n
		}
	}
	return m, nil
}

// objects are those of every architecture and source, in this order, made by as many compilers at once as there are cores.
func (g *generator) objects(sources []string, fresh bool) ([]Object, error) {
	n := len(sources)
	all, errs := make([]Object, n*len(architectures)), make([]error, n*len(architectures))
	var next atomic.Int64
	var done sync.WaitGroup
	for range runtime.NumCPU() {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				all[i], errs[i] = g.object(filepath.Base(sources[i%n]), architectures[i/n], fresh)
			}
		})
	}
	done.Wait()
	return all, errors.Join(errs...)
}

// build makes every object and returns the files to write.
func (g *generator) build(fresh bool) (map[string][]byte, error) {
	sources, err := filepath.Glob(filepath.Join(g.dir, "*.cu"))
	if err != nil {
		return nil, err
	}
	slices.Sort(sources)
	all, err := g.objects(sources, fresh)
	if err != nil {
		return nil, err
	}
	m := Manifest{Tool: tool, Options: options}
	files := map[string][]byte{}
	packed := 0
	for i, arch := range architectures {
		objects := all[i*len(sources):][:len(sources)]
		instances := 0
		for _, o := range objects {
			instances += len(o.Registers)
		}
		if instances > maxInstances {
			return nil, fmt.Errorf("%s: %d kernels, the budget is %d", arch, instances, maxInstances)
		}
		m.Objects = append(m.Objects, objects...)
		archive, err := pack(objects)
		if err != nil {
			return nil, err
		}
		files[g.archive(arch)] = archive
		packed += len(archive)
	}
	if packed > maxPacked {
		return nil, fmt.Errorf("the archives take %d bytes, the budget is %d", packed, maxPacked)
	}
	b, err := json.MarshalIndent(m, "", "\t")
	files[filepath.Join(g.dir, "manifest.json")] = append(b, '\n')
	return files, err
}

func (g *generator) run(check bool) error {
	if err := g.load(); err != nil {
		return err
	}
	files, err := g.build(check)
	if err != nil {
		return err
	}
	for name, data := range files {
		have, err := os.ReadFile(name)
		switch {
		case err == nil && bytes.Equal(have, data):
		case check:
			return fmt.Errorf("%s is not what the sources give: make kernels-cuda", name)
		default:
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, data, 0o666)); err != nil {
				return err
			}
		}
	}
	return nil
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("kernels/gen: ")
	var g generator
	flag.StringVar(&g.dir, "dir", "", "folder of the kernels")
	flag.StringVar(&g.nvrtc, "nvrtc", "", "the program of nvrtc/nvrtc.c")
	flag.StringVar(&g.library, "library", "", "libnvrtc.so.12")
	check := flag.Bool("check", false, "compile everything and compare")
	flag.Parse()
	if flag.NArg() > 0 || g.dir == "" || g.nvrtc == "" || g.library == "" {
		fmt.Fprintln(os.Stderr, "usage: gen -dir kernels -nvrtc program -library libnvrtc.so.12 [-check]")
		os.Exit(2)
	}
	if err := g.run(*check); err != nil {
		log.Fatal(err)
	}
}
