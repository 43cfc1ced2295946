package main

import (
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"isearle/runtime"
	"isearle/runtime/cpu"
	"isearle/runtime/cuda"
	"isearle/weights"
)

// deviceFlags choose what computes.
type deviceFlags struct {
	name    string
	threads int
}

func (f *deviceFlags) flags(fs *pflag.FlagSet) {
	f.name = "auto"
	fs.Var(deviceName{&f.name}, "device", "what computes: auto, cpu, or a GPU as cuda:0; a GPU that is asked for and not there is an error")
	fs.IntVarP(&f.threads, "threads", "j", 0, "use `N` threads (0: as many as there are cores)")
}

// open opens the device.
func (f *deviceFlags) open() (runtime.Device, error) {
	if f.threads < 0 || f.threads > 1024 {
		return nil, usagef("--threads %d: 1 to 1024 are possible, and 0", f.threads)
	}
	kind, number, _ := strings.Cut(f.name, ":")
	switch {
	case kind == "cuda" && !cuda.Built:
		return nil, fmt.Errorf("--device %s: %w: this program was built for the CPU only", f.name, runtime.ErrNoDevice)
	case kind == "cuda" || kind == "auto" && cuda.Count() > 0:
		ordinal, _ := strconv.Atoi(number) // Set has seen a number or none
		dev, err := cuda.Open(ordinal, cuda.Options{})
		if err != nil {
			return nil, fmt.Errorf("--device %s: %w", f.name, err)
		}
		return dev, nil
	}
	return cpu.Open(cpu.Options{Threads: f.threads})
}

// fallen says why auto took the CPU; nil where it did not, or something else was asked for.
func (f *deviceFlags) fallen() error {
	if f.name != "auto" {
		return nil
	}
	return cuda.Status()
}

// count is how many threads the CPU device has.
func (f *deviceFlags) count() int {
	if f.threads > 0 {
		return f.threads
	}
	return goruntime.GOMAXPROCS(0)
}

// deviceName is the value of --device.
type deviceName struct{ to *string }

func (d deviceName) String() string   { return *d.to }
func (d deviceName) Type() string     { return "auto|cpu|cuda[:N]" }
func (d deviceName) values() []string { return []string{"auto", "cpu", "cuda"} }

func (d deviceName) Set(s string) error {
	kind, number, numbered := strings.Cut(s, ":")
	_, err := strconv.ParseUint(number, 10, 16)
	if kind != "auto" && kind != "cpu" && kind != "cuda" || numbered && (kind != "cuda" || err != nil) {
		return fmt.Errorf("%q is none of auto, cpu, cuda, cuda:N", s)
	}
	*d.to = s
	return nil
}

// checkpointFlags say what a checkpoint does not say itself.
type checkpointFlags struct {
	heads      []int
	activation string
	prefix     string
}

func (f *checkpointFlags) flags(fs *pflag.FlagSet) {
	fs.IntSliceVar(&f.heads, "heads", nil, "attention heads of a checkpoint that does not tell: `VISION,TEXT`")
	fs.Var(choice{&f.activation, []string{"quick_gelu", "gelu"}}, "activation", "activation of a checkpoint that does not tell")
	fs.StringVar(&f.prefix, "tensor-prefix", "", "the model's tensors begin with `NAME`, in a checkpoint of several models")
}

func (f *checkpointFlags) options() (o weights.Options, err error) {
	o.Prefix = f.prefix
	switch len(f.heads) {
	case 0:
	case 2:
		o.VisionHeads, o.TextHeads = f.heads[0], f.heads[1]
	default:
		return o, usagef("--heads takes two numbers, VISION,TEXT")
	}
	if f.activation != "" {
		o.Activation, err = weights.ParseActivation(f.activation)
	}
	return o, err
}
