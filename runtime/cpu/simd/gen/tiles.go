package main

import "fmt"

// The loops around the products by tiles, which are whole: there is memory behind A's last row for the others of its tile. A panel is read
// in chunks that stay in the first-level cache while all rows pass: sums between chunks are in memory, tile by tile, 64 bytes a row. The
// tiles' description is loaded once, since that takes as long as a dozen products.
//
// Registers: R15 the arguments, R8 tiles left, R9 A for this chunk and tile, R10 steps left of the chunk, R11 the panel's next
// floats, R12 what is asked for next, R13 the way to the next pieces, DI sums, SI and BX A, 16 rows apart, CX 64, the stride of its rows, AX
// B, DX its stride, R14 free.

// amxFields are those of the arguments, in order; each takes 8 bytes behind the description of the tiles.
var amxFields = []struct{ name, kind, doc string }{
	{"c", "unsafe.Pointer", "results, 32 columns"},
	{"ldc", "int", "bytes from row to row"},
	{"a", "unsafe.Pointer", "tiles of 16 rows and 64 bytes, one behind the other"},
	{"group", "int", "bytes from 16 rows to the next"},
	{"b", "unsafe.Pointer", "the panel"},
	{"work", "unsafe.Pointer", "4 KiB a tile, for sums between chunks"},
	{"ring", "unsafe.Pointer", "of a product of pieces: those of a chunk and one more step, in turns"},
	{"limit", "int", "the ring's bytes"},
	{"next", "unsafe.Pointer", "to be fetched"},
	{"lines", "int", "of next in each half step of words"},
	{"stop", "uintptr", "of pieces: the end of next"},
	{"steps", "int", ""},
	{"chunk", "int", "steps of a chunk"},
	{"count", "int", "tiles; more than one only with tiles of 32 rows"},
	{"acc", "int", "1: sums begin with c"},
	{"partial", "int", "where the sums of the last tile begin if not all its rows are results, or -1: they are left there, and with acc are there before"},
	{"left", "int", "steps; this and what follows are the loop's own"},
	{"from", "uintptr", "B in this chunk"},
	{"to", "uintptr", "results of this tile"},
	{"onSums", "int", "the way to the next tile of sums, of A and of C"},
	{"onA", "int", ""},
	{"onC", "int", ""},
	{"asking", "uintptr", "what is to be asked for by pieces"},
	{"rest", "int", "steps that are not in pieces yet"},
	{"end", "uintptr", "of the ring"},
}

// amxStruct is the type of the arguments.
func amxStruct() string {
	text := "\n// amxProduct is what the products are given: rows in tiles, which cfg describes, of up to 16 or two times 16 rows.\ntype amxProduct struct {\n\tcfg [64]byte\n"
	for _, f := range amxFields {
		if f.doc != "" {
			text += "\t// " + f.doc + "\n"
		}
		text += "\t" + f.name + " " + f.kind + "\n"
	}
	return text + "}\n"
}

// field is the place of a field.
func field(name string) string {
	for i, f := range amxFields {
		if f.name == name {
			return fmt.Sprintf("%d(R15)", 64+8*i)
		}
	}
	panic("no field " + name)
}

// loop is what a product does in the tiles' loop.
type loop struct {
	step   int                     // bytes of A's rows
	stride int                     // of B's rows
	start  func(t tiles)           // in front of all; the way to B's beginning is in AX
	turns  func(t tiles, high int) // all steps of a tile and chunk
	end    func(t tiles)           // behind all
}

// sums emits loads or stores of the tiles of C in memory between chunks.
func (t tiles) sums(high int, move func(tile int, base, index string, disp int)) {
	t.line("MOVQ $64, DX")
	for i := range 2 * high {
		move(i, "DI", "DX", tileBytes*i)
	}
}

// results emits loads or stores of the tiles of C where they belong.
func (t tiles) results(high int, move func(tile int, base, index string, disp int)) {
	t.line("MOVQ %s, BX", field("to"))
	t.line("MOVQ %s, DX", field("ldc"))
	for i := range high {
		if i == 1 {
			t.line("MOVQ DX, R14")
			t.line("SHLQ $4, R14")
			t.line("ADDQ R14, BX")
		}
		move(2*i, "BX", "DX", 0)
		move(2*i+1, "BX", "DX", 64)
	}
}

// product emits a product over tiles. Every other chunk goes through the tiles backwards, so that the last one's sums stay where they are.
func (t tiles) product(name string, high int, l loop) {
	fmt.Fprintf(t, "\n// func %[1]sx%[2]dAMX(p *amxProduct)\nTEXT ·%[1]sx%[2]dAMX(SB), NOSPLIT, $0-8\n", name, high)
	t.line("MOVQ p+0(FP), R15")
	t.line("MOVQ R15, AX")
	t.configure()
	l.start(t)
	t.line("MOVQ AX, %s", field("from"))
	t.line("MOVQ $64, CX")
	t.line("MOVQ %s, R12", field("next"))
	t.line("MOVQ R12, %s", field("asking"))
	t.line("MOVQ %s, R9", field("a"))
	t.line("MOVQ %s, DI", field("work"))
	for _, f := range [][2]string{{"c", "to"}, {"steps", "left"}} {
		t.line("MOVQ %s, R14", field(f[0]))
		t.line("MOVQ R14, %s", field(f[1]))
	}
	t.line("MOVQ $%d, %s", 4*tileBytes, field("onSums"))
	t.line("MOVQ %s, R14", field("group"))
	t.line("SHLQ $1, R14")
	t.line("MOVQ R14, %s", field("onA"))
	t.line("MOVQ %s, R14", field("ldc"))
	t.line("SHLQ $5, R14")
	t.line("MOVQ R14, %s", field("onC"))
	t.line("MOVQ %s, R8", field("count"))
	t.label("tile")
	t.begin(high)
	t.line("MOVQ R9, SI")
	if high == 2 {
		t.line("MOVQ %s, BX", field("group"))
		t.line("ADDQ SI, BX")
	}
	t.line("MOVQ %s, AX", field("from"))
	t.line("MOVQ $%d, DX", l.stride)
	t.line("MOVQ %s, R10", field("left"))
	t.line("CMPQ R10, %s", field("chunk"))
	t.line("JLE counted")
	t.line("MOVQ %s, R10", field("chunk"))
	t.label("counted")
	l.turns(t, high)
	t.line("MOVQ %s, R10", field("left"))
	t.line("CMPQ R10, %s", field("chunk"))
	t.line("JLE last")
	t.line("DECQ R8")
	t.line("JZ nextChunk")
	t.sums(high, t.store)
	t.label("nextTile")
	t.line("ADDQ %s, DI", field("onSums"))
	t.line("ADDQ %s, R9", field("onA"))
	t.line("MOVQ %s, R14", field("onC"))
	t.line("ADDQ R14, %s", field("to"))
	t.line("JMP tile")
	t.label("last")
	t.isPartial("lastPartial")
	t.results(high, t.store)
	t.line("JMP ended")
	t.label("lastPartial")
	t.sums(high, t.store)
	t.label("ended")
	t.line("DECQ R8")
	t.line("JNZ nextTile")
	l.end(t)
	t.release()
	t.label("nextChunk")
	t.line("MOVQ AX, %s", field("from"))
	for _, f := range []string{"onSums", "onA", "onC"} {
		t.line("NEGQ %s", field(f))
	}
	t.line("MOVQ %s, R14", field("chunk"))
	t.line("SUBQ R14, %s", field("left"))
	t.line("IMUL3Q $%d, R14, R14", l.step)
	t.line("ADDQ R14, R9")
	t.line("MOVQ %s, R8", field("count"))
	t.line("JMP begun")
}

// isPartial emits the way to a label for the tile of which not all rows are results.
func (t tiles) isPartial(label string) {
	t.line("MOVQ DI, R14")
	t.line("SUBQ %s, R14", field("work"))
	t.line("CMPQ R14, %s", field("partial"))
	t.line("JE %s", label)
}

// begin emits the tiles of C at their beginning.
func (t tiles) begin(high int) {
	t.line("MOVQ %s, R14", field("left"))
	t.line("CMPQ R14, %s", field("steps"))
	t.line("JNE resume")
	t.line("CMPQ %s, $0", field("acc"))
	t.line("JE clear")
	t.isPartial("resume")
	t.results(high, t.load)
	t.line("JMP begun")
	t.label("resume")
	t.sums(high, t.load)
	t.line("JMP begun")
	t.label("clear")
	for i := range 2 * high {
		t.zero(i)
	}
	t.label("begun")
}

// fetch emits what a turn of the loop called name asks for.
func (t tiles) fetch(name string) {
	t.line("MOVQ %s, R14", field("lines"))
	t.line("TESTQ R14, R14")
	t.line("JZ %sFetched", name)
	t.label(name + "Fetch")
	t.line("PREFETCHT1 (R12)")
	t.line("ADDQ $64, R12")
	t.line("DECQ R14")
	t.line("JNZ %sFetch", name)
	t.label(name + "Fetched")
}

// asks emits the choice of what a step of pieces asks for at each product, so many lines of what is next: R12 and R14, by which it goes on.
// Behind the end, or with skip, that are the arguments, which are at hand.
func (t tiles) asks(name string, lines int, skip bool) {
	t.line("MOVQ %s, R12", field("asking"))
	t.line("MOVQ $%d, R14", 64*lines)
	if skip {
		t.line("CMPQ %s, $%d", field("count"), mostEarly)
		t.line("JGT %sNone", name)
	}
	t.line("CMPQ R12, %s", field("stop"))
	t.line("JCS %sAsks", name)
	t.label(name + "None")
	t.line("XORQ R14, R14")
	t.line("MOVQ R15, R12")
	t.label(name + "Asks")
}

// ask emits what is asked for at one product.
func (t tiles) ask(lines int) {
	for i := range lines {
		t.line("PREFETCHT1 %d(R12)", 64*i)
	}
	t.line("ADDQ R14, R12")
}

// asked emits what follows the products of a step.
func (t tiles) asked(name string) {
	t.line("TESTQ R14, R14")
	t.line("JZ %sAsked", name)
	t.line("MOVQ R12, %s", field("asking"))
	t.label(name + "Asked")
}

// wordLoop is the loop of a product of words.
func wordLoop(p product) loop {
	return loop{step: tileBytes, stride: 4 * amxColumns,
		start: func(t tiles) { t.line("MOVQ %s, AX", field("b")) },
		turns: func(t tiles, high int) {
			t.load(6, "AX", "DX", 0)
			t.load(4, "SI", "CX", 0)
			t.load(7, "AX", "DX", 64)
			if high == 2 {
				t.load(5, "BX", "CX", 0)
			}
			t.label("turn")
			t.line("DECQ R10")
			t.line("JZ lastTurn")
			t.dot(p, 0, 4, 6)
			t.fetch("turn1")
			if high == 2 {
				t.dot(p, 2, 5, 6)
			}
			t.load(6, "AX", "DX", 16*4*amxColumns)
			t.dot(p, 1, 4, 7)
			t.load(4, "SI", "CX", tileBytes)
			if high == 2 {
				t.dot(p, 3, 5, 7)
			}
			t.load(7, "AX", "DX", 16*4*amxColumns+64)
			if high == 2 {
				t.load(5, "BX", "CX", tileBytes)
				t.line("ADDQ $%d, BX", tileBytes)
			}
			t.fetch("turn2")
			t.line("ADDQ $%d, SI", tileBytes)
			t.line("ADDQ $%d, AX", 16*4*amxColumns)
			t.line("JMP turn")
			t.label("lastTurn")
			t.dot(p, 0, 4, 6)
			t.dot(p, 1, 4, 7)
			if high == 2 {
				t.dot(p, 2, 5, 6)
				t.dot(p, 3, 5, 7)
			}
			t.fetch("lastTurn1")
			t.fetch("lastTurn2")
			t.line("ADDQ $%d, AX", 16*4*amxColumns)
		},
		end: func(tiles) {},
	}
}
