package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
)

// mergePairs reads a merge list and returns its merges as pairs of ids, two little-endian uint16 each. The ids are
// those of CLIP's vocabulary: the 256 byte symbols, the same with </w>, the products of the merges in order.
func mergePairs(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ids := map[string]uint16{}
	add := func(symbol string) { ids[symbol] = uint16(len(ids)) }
	symbols := byteSymbols()
	for _, s := range symbols {
		add(s)
	}
	for _, s := range symbols {
		add(s + "</w>")
	}
	var out []byte
	lines := bufio.NewScanner(z)
	for n := 1; lines.Scan(); n++ {
		if n == 1 && strings.HasPrefix(lines.Text(), "#version") {
			continue
		}
		left, right, ok := strings.Cut(lines.Text(), " ")
		a, okLeft := ids[left]
		b, okRight := ids[right]
		if _, double := ids[left+right]; !ok || !okLeft || !okRight || double {
			return nil, fmt.Errorf("%s:%d: merge %q", path, n, lines.Text())
		}
		add(left + right)
		out = binary.LittleEndian.AppendUint16(out, a)
		out = binary.LittleEndian.AppendUint16(out, b)
	}
	if len(ids) > 1<<16-2 {
		return nil, fmt.Errorf("%s: %d tokens do not fit 16 bits", path, len(ids)+2)
	}
	return out, lines.Err()
}

// byteSymbols returns the characters that stand for bytes, in the order of CLIP's vocabulary.
func byteSymbols() []string {
	var printable, other []string
	for b := range 256 {
		if b > ' ' && b < 0x7F || b > 0xA0 && b != 0xAD {
			printable = append(printable, string(rune(b)))
		} else {
			other = append(other, string(rune(0x100+len(other))))
		}
	}
	return append(printable, other...)
}
