// Command gen writes the assembly of package simd and its stubs. Run it by go generate in that package.
//
// The loops are written once, over vectors of 16 floats (vector.go), and emitted for both instruction sets: so AVX-512 and AVX2
// have the same lanes and the same roundings. The products (gemm.go, words.go) and the packing (pack.go) are per instruction set.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/buildtags"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	if err := generate("..", ".."); err != nil {
		log.Fatal(err)
	}
}

// generate writes to out the files of the package whose constants are in dir.
func generate(dir, out string) error {
	values, err := coefficients(filepath.Join(dir, "coefficients.go"))
	if err != nil {
		return err
	}
	for _, set := range []isa{avx512, avx2} {
		for name, emit := range map[string]func(*gen){"gemm": gemms, "pack": packs, "peak": peaks, "scan": scans, "vector": vectorLoops, "words": words} {
			g := &gen{Context: build.NewContext(), isa: set, values: values, data: map[string]Mem{}}
			emit(g)
			if err := g.write(filepath.Join(out, fmt.Sprintf("%s_%s_amd64", name, set))); err != nil {
				return err
			}
		}
	}
	if err := amx(filepath.Join(out, "amx_amd64")); err != nil {
		return err
	}
	return neon(filepath.Join(out, "gemm_neon_arm64"))
}

// write compiles what was emitted to path.s and its stubs to path.go.
func (g *gen) write(path string) error {
	g.Constraint(buildtags.Not("noasm"))
	file, err := g.Result()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := pass.Compile.Execute(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	config := printer.Config{Name: "runtime/cpu/simd/gen", Pkg: "simd"}
	for suffix, p := range map[string]printer.Printer{".s": printer.NewGoAsm(config), ".go": printer.NewStubs(config)} {
		text, err := p.Print(file)
		if err != nil {
			return fmt.Errorf("%s%s: %w", path, suffix, err)
		}
		if err := os.WriteFile(path+suffix, text, 0o666); err != nil {
			return err
		}
	}
	return nil
}
