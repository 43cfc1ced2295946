package bench

import (
	"encoding/json"
	"fmt"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"isearle/runtime"
)

// Header writes where the benchmarks run, what the model is, and the roofline: lines of "key: value", or an object. It warms the
// machine up first: virtual processors may take two seconds until each has a core of its own.
func (b *Bench) Header(model string) error {
	type pair struct{ key, value string }
	pairs := []pair{{"goos", goruntime.GOOS}, {"goarch", goruntime.GOARCH}, {"pkg", "isearle"}, {"device", b.Device.Describe()}}
	if strings.HasPrefix(b.Device.Name(), "cuda") {
		pairs = append(pairs, pair{"gpu", b.Device.Describe()})
		if v := driverVersion(); v != "" {
			pairs = append(pairs, pair{"driver", v})
		}
	}
	if cpu := cpuName(); cpu != "" {
		pairs = append(pairs, pair{"cpu", cpu})
	}
	if model != "" {
		pairs = append(pairs, pair{"model", model})
	}
	if err := b.roof.open(b); err != nil {
		return err
	}
	for _, dt := range []runtime.DType{runtime.F32, runtime.F16, runtime.BF16, runtime.I8} {
		if v := b.roof.first.Peaks[dt]; v > 0 {
			pairs = append(pairs, pair{"peak-" + dt.String() + "-GFLOP/s", fmt.Sprintf("%.4g", v/1e9)})
		}
	}
	if v := b.roof.first.Bandwidth; v > 0 {
		pairs = append(pairs, pair{"bandwidth-GB/s", fmt.Sprintf("%.4g", v/1e9)})
	}
	if b.JSON {
		o := map[string]string{}
		for _, p := range pairs {
			o[p.key] = p.value
		}
		return json.NewEncoder(b.W).Encode(o)
	}
	var text strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&text, "%s: %s\n", p.key, p.value)
	}
	for _, unit := range []string{"images/s", "captions/s", "queries/s", "steps/s", "features/s", "GFLOP/s", "%peak", "GB/s", "%bandwidth", "%roof"} {
		fmt.Fprintf(&text, "Unit %s better=higher\n", unit)
	}
	_, err := b.W.Write([]byte(text.String()))
	return err
}

// procField is the rest of the first line of a file of /proc that begins with a key, where there is one.
func procField(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, "\t :"))
		}
	}
	return ""
}

func cpuName() string { return procField("/proc/cpuinfo", "model name") }

// driverVersion is that of NVIDIA's kernel module.
func driverVersion() string {
	for _, word := range strings.Fields(procField("/proc/driver/nvidia/version", "NVRM version")) {
		if word[0] >= '0' && word[0] <= '9' {
			return word
		}
	}
	return ""
}

// peakRSS is the largest resident set since resetPeak, in bytes, where Linux tells it.
func peakRSS() float64 { return peakOf("self") }

// peakOf is the largest resident set of a process that runs, in bytes. That of wait4 is no substitute: a process inherits the figure
// of the one that started it.
func peakOf(pid string) float64 {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/"+pid+"/status", "VmHWM"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kib * 1024
}

// resetPeak gives back what is free and makes the present resident set the largest so far, where Linux does it.
func resetPeak() {
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// heap is how much has been allocated so far.
type heap struct{ count, bytes float64 }

func allocations() heap {
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return heap{float64(m.Mallocs), float64(m.TotalAlloc)}
}

// since is what was allocated since, for each of n calls.
func (h heap) since(before heap, n int) heap {
	return heap{(h.count - before.count) / float64(n), (h.bytes - before.bytes) / float64(n)}
}
