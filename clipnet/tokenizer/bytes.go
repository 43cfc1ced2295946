package tokenizer

// byteSymbol returns the character that stands for a byte in byte-level vocabularies, GPT-2's as well as CLIP's: the
// printable Latin-1 characters for themselves, U+0100 and up for the others in order.
func byteSymbol(b byte) rune {
	switch {
	case b > ' ' && b < 0x7F, b > 0xA0 && b != 0xAD:
		return rune(b)
	case b <= ' ':
		return 0x100 + rune(b)
	case b <= 0xA0:
		return 0x121 + rune(b-0x7F)
	}
	return 0x143
}

// byteOrder returns the bytes in the order that CLIP's vocabulary gives them ids: the printable ones first.
func byteOrder() [256]byte {
	var order [256]byte
	n := 0
	for _, printable := range []bool{true, false} {
		for b := range 256 {
			if (byteSymbol(byte(b)) < 0x100) == printable {
				order[n] = byte(b)
				n++
			}
		}
	}
	return order
}
