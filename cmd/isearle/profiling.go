package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/bench"
	"isearle/runtime"
)

// profileFlags say what is told about how a command spends its time.
type profileFlags struct {
	table      bool
	cpu, trace string
}

func (f *profileFlags) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&f.table, "profile", false, "tell at the end what each of the device's operations took, and which share of what the machine can do that is")
	fs.StringVar(&f.cpu, "cpuprofile", "", "write a profile of the program, for go tool pprof, to `FILE`")
	fs.StringVar(&f.trace, "chrome-trace", "", "write when each of the device's operations ran, for chrome://tracing or ui.perfetto.dev, to `FILE`")
}

// rooflineTime is how long each figure of the roofline is measured.
const rooflineTime = 100 * time.Millisecond

// start begins to observe the device; the session tells the results when the command has ended.
func (f *profileFlags) start(s *session, dev runtime.Device) error {
	if f.cpu != "" {
		if err := f.program(s); err != nil {
			return err
		}
	}
	if !f.table && f.trace == "" {
		return nil
	}
	p, ok := dev.(runtime.Profiler)
	if !ok {
		return fmt.Errorf("times of operations: %s: %w", dev.Describe(), runtime.ErrUnsupported)
	}
	var observe []func(runtime.Event)
	if f.table {
		roof, err := bench.MeasureRoofline(dev, rooflineTime)
		if err != nil {
			return err
		}
		var sum bench.Profile
		observe = append(observe, sum.Add)
		s.atEnd(func() error { return sum.Write(s.stderr, roof) })
	}
	if f.trace != "" {
		t, err := bench.CreateTrace(f.trace)
		if err != nil {
			return err
		}
		observe = append(observe, t.Add)
		s.atEnd(t.Close)
	}
	p.Profile(func(e runtime.Event) {
		for _, f := range observe {
			f(e)
		}
	})
	return nil
}

// program begins the profile of the program itself.
func (f *profileFlags) program(s *session) error {
	file, err := os.Create(f.cpu)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		file.Close()
		return fmt.Errorf("profile: %w", err)
	}
	s.atEnd(func() error {
		pprof.StopCPUProfile()
		return file.Close()
	})
	return nil
}
