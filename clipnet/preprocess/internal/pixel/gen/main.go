// Command gen writes the assembly of package pixel and its stubs. Run it by go generate in that package.
//
// Loops over samples are written once and emitted for both instruction sets: what they do in the 128-bit lanes of a register is the
// same, and AVX-512 has four of them where AVX2 has two.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/buildtags"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	if err := generate(".."); err != nil {
		log.Fatal(err)
	}
}

// generate writes the files to out.
func generate(out string) error {
	for set, emitters := range map[isa]map[string]func(*gen){
		avx512: {"idct": idct, "colour": colours, "resize": resizes, "normalize": normalize},
		avx2:   {"idct": idct, "colour": colours, "resize": resizes, "normalize": normalize},
		bmi2:   {"entropy": entropy},
	} {
		for name, emit := range emitters {
			g := &gen{Context: build.NewContext(), isa: set, data: map[string]Mem{}}
			emit(g)
			if err := g.write(filepath.Join(out, fmt.Sprintf("%s_%s_amd64", name, set))); err != nil {
				return err
			}
		}
	}
	return nil
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
	config := printer.Config{Name: "clipnet/preprocess/internal/pixel/gen", Pkg: "pixel"}
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

type isa string

const (
	avx512 isa = "avx512"
	avx2   isa = "avx2"
	bmi2   isa = "bmi2" // no wide registers
)

// gen emits one file of assembly for one instruction set.
type gen struct {
	*build.Context
	isa    isa
	data   map[string]Mem // constants already in the file
	labels int
}

// lanes is the number of 128-bit lanes of a register, bytes its size.
func (g *gen) lanes() int {
	if g.isa == avx512 {
		return 4
	}
	return 2
}

func (g *gen) bytes() int { return 16 * g.lanes() }

// wide allocates a register of the widest kind, narrow one of half the size.
func (g *gen) wide() reg.VecVirtual {
	if g.isa == avx512 {
		return g.ZMM()
	}
	return g.YMM()
}

func (g *gen) narrow() reg.VecVirtual {
	if g.isa == avx512 {
		return g.YMM()
	}
	return g.XMM()
}

// half returns the lower half of a wide register.
func (g *gen) half(r reg.VecVirtual) reg.Register {
	if g.isa == avx512 {
		return r.AsY()
	}
	return r.AsX()
}

func (g *gen) wides(n int) []reg.VecVirtual {
	r := make([]reg.VecVirtual, n)
	for i := range r {
		r[i] = g.wide()
	}
	return r
}

func (g *gen) zero(r reg.VecVirtual) {
	if g.isa == avx512 {
		g.VPXORD(r, r, r)
		return
	}
	g.VPXOR(r, r, r)
}

func (g *gen) or(a, b, r Op) {
	if g.isa == avx512 {
		g.VPORD(a, b, r)
		return
	}
	g.VPOR(a, b, r)
}

// load and store move a whole register.
func (g *gen) load(m Mem, r reg.VecVirtual) {
	if g.isa == avx512 {
		g.VMOVDQU64(m, r)
		return
	}
	g.VMOVDQU(m, r)
}

func (g *gen) store(r reg.VecVirtual, m Mem) {
	if g.isa == avx512 {
		g.VMOVDQU64(r, m)
		return
	}
	g.VMOVDQU(r, m)
}

// spreadLane loads 16 bytes to all lanes.
func (g *gen) spreadLane(m Mem, r reg.VecVirtual) {
	if g.isa == avx512 {
		g.VBROADCASTI32X4(m, r)
		return
	}
	g.VBROADCASTI128(m, r)
}

// lane extracts a 128-bit lane of a register to memory or a register.
func (g *gen) lane(i int, r reg.VecVirtual, to Op) {
	switch {
	case i == 0:
		g.VMOVDQU(r.AsX(), to)
	case g.isa == avx512:
		g.VEXTRACTI32X4(Imm(uint64(i)), r, to)
	default:
		g.VEXTRACTI128(Imm(uint64(i)), r, to)
	}
}

// insertLane puts 16 bytes of memory in a lane.
func (g *gen) insertLane(i int, m Mem, r reg.VecVirtual) {
	switch {
	case i == 0:
		g.VMOVDQU(m, r.AsX())
	case g.isa == avx512:
		g.VINSERTI32X4(Imm(uint64(i)), m, r, r)
	default:
		g.VINSERTI128(Imm(uint64(i)), m, r, r)
	}
}

// words is a constant of whole registers: the words again and again.
func (g *gen) words(w ...int16) Mem {
	name := "w"
	for _, v := range w {
		name += strings.ReplaceAll(fmt.Sprint("_", v), "-", "m")
	}
	return g.constant(name, func() {
		for range g.bytes() / 2 / len(w) {
			for _, v := range w {
				g.AppendDatum(U16(uint16(v)))
			}
		}
	})
}

// dwords is words of 32 bits.
func (g *gen) dwords(v int32) Mem {
	return g.constant(fmt.Sprint("d_", v), func() {
		for range g.bytes() / 4 {
			g.AppendDatum(U32(uint32(v)))
		}
	})
}

// shuffle is the pattern of a byte shuffle, in all lanes: where each byte comes from, -1 for zero.
func (g *gen) shuffle(name string, from []int) Mem {
	return g.constant(name, func() {
		for range g.lanes() {
			for i := range 16 {
				b := 0x80
				if i < len(from) && from[i] >= 0 {
					b = from[i]
				}
				g.AppendDatum(U8(uint8(b)))
			}
		}
	})
}

// constant returns the named constant, which emit writes when it is first asked for.
func (g *gen) constant(name string, emit func()) Mem {
	if m, ok := g.data[name]; ok {
		return m
	}
	m := g.StaticGlobal(name + g.suffix())
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	emit()
	g.data[name] = m
	return m
}

// held returns a register with the constant.
func (g *gen) held(m Mem) reg.VecVirtual {
	r := g.wide()
	g.load(m, r)
	return r
}

// suffix ends the names of the set's functions.
func (g *gen) suffix() string { return strings.ToUpper(string(g.isa)) }

// label returns a new label.
func (g *gen) label() string {
	g.labels++
	return fmt.Sprintf("l%d", g.labels)
}

// function begins a function; doc is the equivalent Go.
func (g *gen) function(name, signature, doc string) {
	g.Function(name + g.suffix())
	g.Attributes(attr.NOSPLIT)
	g.SignatureExpr(signature)
	g.Doc(strings.Split(doc, "\n")...)
	g.Pragma("noescape")
}

// param loads a parameter.
func (g *gen) param(name string) reg.Register { return g.Load(g.Param(name), g.GP64()) }

// end emits the return.
func (g *gen) end() {
	g.VZEROUPPER()
	g.RET()
}

// at is memory behind a register.
func at(base reg.Register, offset int) Mem { return Mem{Base: base, Disp: offset} }

// indexed is memory behind two registers.
func indexed(base, index reg.Register, offset int) Mem {
	return Mem{Base: base, Index: index, Scale: 1, Disp: offset}
}
