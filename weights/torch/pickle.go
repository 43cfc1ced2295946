package torch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The opcodes that are understood, of protocols 2 to 5 (Python's pickletools has what each does). What is missing here is
// refused: protocols 0 and 1, extensions, PERSID, INST, OBJ, NEWOBJ_EX, sets, bytearrays and out-of-band buffers.
const (
	opMark            = '('
	opStop            = '.'
	opPop             = '0'
	opPopMark         = '1'
	opDup             = '2'
	opBinFloat        = 'G'
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opNone            = 'N'
	opBinPersID       = 'Q'
	opReduce          = 'R'
	opBinUnicode      = 'X'
	opAppend          = 'a'
	opBuild           = 'b'
	opGlobal          = 'c'
	opDict            = 'd'
	opAppends         = 'e'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opList            = 'l'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opSetItem         = 's'
	opTuple           = 't'
	opSetItems        = 'u'
	opEmptyDict       = '}'
	opEmptyList       = ']'
	opEmptyTuple      = ')'
	opBinBytes        = 'B'
	opShortBinBytes   = 'C'
	opProto           = 0x80
	opNewObj          = 0x81
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opLong1           = 0x8a
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
)

const (
	minProtocol, maxProtocol = 2, 5
)

type (
	// list is a list while it grows: others may point to it already.
	list struct{ items []any }
	mark struct{}
)

// FormatError is what is wrong with a file, and where.
type FormatError struct {
	File   string // as given to Open or Parse
	Part   string // the entry of the archive, if one is concerned
	Offset int64  // in the part, or in the file
	Reason string
}

func (e *FormatError) Error() string {
	if e.Part != "" {
		return fmt.Sprintf("torch: %q: %s: offset %d: %s", e.File, e.Part, e.Offset, e.Reason)
	}
	return fmt.Sprintf("torch: %q: offset %d: %s", e.File, e.Offset, e.Reason)
}

// machine runs a pickle. It is a machine without effects: it builds the values listed above and calls nothing by name
// but what globals.go holds.
type machine struct {
	in    []byte
	at    int // next byte
	op    int // where the running opcode begins
	stack []any
	memo  []any // a mark where nothing is stored
	env   environment
}

// environment is what the pickle's surroundings provide.
type environment struct {
	script  bool                                      // TorchScript: __torch__ classes exist
	storage func(key string) (data []byte, err error) // nil outside an archive
}

// unpickle runs in and returns the value. Errors lack file and part.
func unpickle(in []byte, env environment) (value any, err error) {
	m := machine{in: in, env: env}
	err = m.run()
	if err == nil && len(m.stack) != 1 {
		err = fmt.Errorf("%d values on the stack at the end, not 1", len(m.stack))
	}
	if err == nil {
		value, err = finish(m.stack[0])
	}
	var elsewhere *FormatError // in another entry of the archive
	if err == nil || errors.As(err, &elsewhere) {
		return value, err
	}
	return nil, &FormatError{Offset: int64(m.op), Reason: err.Error()}
}

func (m *machine) run() error {
	if len(m.in) < 2 || m.in[0] != opProto {
		return fmt.Errorf("not a pickle of protocol %d to %d", minProtocol, maxProtocol)
	}
	for m.at < len(m.in) {
		m.op = m.at
		op := m.in[m.at]
		m.at++
		if op == opStop {
			return nil
		}
		if err := m.step(op); err != nil {
			return err
		}
	}
	m.op = m.at
	return errors.New("the pickle ends without STOP: it is truncated")
}

// step runs one opcode: constants here, the rest by kind.
func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		b, err := m.take(1)
		if err == nil && (b[0] < minProtocol || b[0] > maxProtocol) {
			err = fmt.Errorf("pickle protocol %d; %d to %d are read", b[0], minProtocol, maxProtocol)
		}
		return err
	case opFrame: // only a hint for reading ahead
		_, err := m.take(8)
		return err
	case opNone:
		return m.push(nil)
	case opNewTrue:
		return m.push(true)
	case opNewFalse:
		return m.push(false)
	case opEmptyDict:
		return m.push(&Dict{})
	case opEmptyList:
		return m.push(&list{})
	case opEmptyTuple:
		return m.push(Tuple{})
	case opMark:
		return m.push(mark{})
	case opBinInt, opBinInt1, opBinInt2, opLong1, opBinFloat:
		return m.number(op)
	case opBinUnicode, opShortBinUnicode, opBinUnicode8, opBinBytes, opShortBinBytes, opBinBytes8:
		return m.text(op)
	case opBinPut, opLongBinPut, opMemoize, opBinGet, opLongBinGet:
		return m.memory(op)
	case opPop, opPopMark, opDup, opTuple, opTuple1, opTuple2, opTuple3, opList, opDict:
		return m.shuffle(op)
	case opAppend, opAppends, opSetItem, opSetItems:
		return m.fill(op)
	case opGlobal, opStackGlobal, opReduce, opNewObj, opBuild, opBinPersID:
		return m.call(op)
	}
	return fmt.Errorf("refusing the opcode %#02x (%q)", op, op)
}

func (m *machine) number(op byte) error {
	le := binary.LittleEndian
	size := 1 // of BININT1, and of LONG1's length
	switch op {
	case opBinInt:
		size = 4
	case opBinInt2:
		size = 2
	case opBinFloat:
		size = 8
	}
	b, err := m.take(size)
	if err != nil {
		return err
	}
	switch op {
	case opBinInt:
		return m.push(int64(int32(le.Uint32(b))))
	case opBinInt2:
		return m.push(int64(le.Uint16(b)))
	case opBinInt1:
		return m.push(int64(b[0]))
	case opBinFloat:
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	digits, err := m.take(int(b[0]))
	if err != nil {
		return err
	}
	if len(digits) > 8 {
		return fmt.Errorf("an integer of %d bytes does not fit in 64 bits", len(digits))
	}
	var word [8]byte
	if n := copy(word[:], digits); n > 0 && digits[n-1] >= 0x80 {
		copy(word[n:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	return m.push(int64(le.Uint64(word[:])))
}

func (m *machine) text(op byte) error {
	size := 8
	switch op {
	case opShortBinUnicode, opShortBinBytes:
		size = 1
	case opBinUnicode, opBinBytes:
		size = 4
	}
	b, err := m.take(size)
	if err != nil {
		return err
	}
	var word [8]byte
	copy(word[:], b)
	n := binary.LittleEndian.Uint64(word[:])
	if n > uint64(len(m.in)-m.at) {
		return fmt.Errorf("a string of %d bytes, %d are left: the pickle is truncated", n, len(m.in)-m.at)
	}
	if b, err = m.take(int(n)); err != nil {
		return err
	}
	if op == opBinBytes || op == opShortBinBytes || op == opBinBytes8 {
		return m.push(bytes.Clone(b))
	}
	if !utf8.Valid(b) {
		return errors.New("a string is not UTF-8")
	}
	return m.push(string(b))
}

func (m *machine) memory(op byte) error {
	var key uint32
	switch op {
	case opMemoize:
		key = uint32(len(m.memo))
	case opBinPut, opBinGet:
		b, err := m.take(1)
		if err != nil {
			return err
		}
		key = uint32(b[0])
	default:
		b, err := m.take(4)
		if err != nil {
			return err
		}
		key = binary.LittleEndian.Uint32(b)
	}
	if op == opBinGet || op == opLongBinGet {
		if uint64(key) >= uint64(len(m.memo)) || m.memo[key] == (mark{}) {
			return fmt.Errorf("nothing is stored under %d", key)
		}
		return m.push(m.memo[key])
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	if uint64(key) >= uint64(len(m.in)) {
		return fmt.Errorf("a value is stored under %d in a pickle of %d bytes", key, len(m.in))
	}
	for uint64(key) >= uint64(len(m.memo)) {
		m.memo = append(m.memo, mark{})
	}
	m.memo[key] = v
	return nil
}

func (m *machine) shuffle(op byte) error {
	switch op {
	case opPop:
		if len(m.stack) == 0 {
			return errUnderflow
		}
		m.stack = m.stack[:len(m.stack)-1]
		return nil
	case opDup:
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v)
	case opTuple1, opTuple2, opTuple3:
		items, err := m.popN(int(op - opTuple1 + 1))
		if err != nil {
			return err
		}
		return m.push(Tuple(items))
	}
	items, err := m.popMark()
	if err != nil {
		return err
	}
	switch op {
	case opTuple:
		return m.push(Tuple(items))
	case opList:
		return m.push(&list{items: items})
	case opDict:
		d := &Dict{}
		if err := setAll(d, items); err != nil {
			return err
		}
		return m.push(d)
	}
	return nil
}

func (m *machine) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case opAppend:
		items, err = m.popN(1)
	case opSetItem:
		items, err = m.popN(2)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *list:
		if op == opAppend || op == opAppends {
			v.items = append(v.items, items...)
			return nil
		}
	case *Dict:
		if op == opSetItem || op == opSetItems {
			return setAll(v, items)
		}
	}
	return fmt.Errorf("a %s cannot be added to so", kind(v))
}

func setAll(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		if err := d.set(items[i], items[i+1]); err != nil {
			return err
		}
	}
	return nil
}

var errUnderflow = errors.New("a value is used that is not on the stack")

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

func (m *machine) take(n int) ([]byte, error) {
	if n > len(m.in)-m.at {
		return nil, fmt.Errorf("%d bytes wanted, %d are left: the pickle is truncated", n, len(m.in)-m.at)
	}
	b := m.in[m.at : m.at+n]
	m.at += n
	return b, nil
}

func (m *machine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, errUnderflow
	}
	v := m.stack[len(m.stack)-1]
	if v == (mark{}) {
		return nil, errUnderflow
	}
	return v, nil
}

// popN removes the last n values. The slice is the caller's own.
func (m *machine) popN(n int) ([]any, error) {
	if len(m.stack) < n {
		return nil, errUnderflow
	}
	from := len(m.stack) - n
	items := append([]any(nil), m.stack[from:]...)
	for _, v := range items {
		if _, ok := v.(mark); ok {
			return nil, errUnderflow
		}
	}
	m.stack = m.stack[:from]
	return items, nil
}

// popMark removes the values above the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errUnderflow
}
