package search

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"isearle/weights/mmap"
	"isearle/weights/safetensors"
)

// Array is an open .npy file of shape [Rows, Dim]: little-endian float16, float32 or float64 in C order, version 1, 2 or 3 of
// the format (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). It is mapped, not read.
type Array struct {
	Rows, Dim int
	dt        safetensors.DType
	data      []byte
	m         *mmap.File
}

// OpenNPY maps a .npy file.
func OpenNPY(path string) (*Array, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("search: open array: %w", err)
	}
	a, err := parseNPY(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return a, nil
}

// ParseNPY reads a .npy file that is in memory, which must not change while it is in use; name stands for it in errors.
func ParseNPY(data []byte, name string) (*Array, error) { return parseNPY(mmap.FromBytes(name, data)) }

func parseNPY(m *mmap.File) (*Array, error) {
	a := &Array{m: m}
	if err := a.parse(m.Bytes()); err != nil {
		return nil, fmt.Errorf("search: %q: not an array this program reads: %w", m.Name(), err)
	}
	return a, nil
}

const npyMagic = "\x93NUMPY"

func (a *Array) parse(b []byte) error {
	if len(b) < 12 || string(b[:6]) != npyMagic {
		return errors.New("offset 0: it does not begin as a .npy file does")
	}
	start, size := 10, int(binary.LittleEndian.Uint16(b[8:]))
	switch b[6] {
	case 1:
	case 2, 3:
		start, size = 12, int(binary.LittleEndian.Uint32(b[8:]))
	default:
		return fmt.Errorf("offset 6: version %d of the format", b[6])
	}
	if size > len(b)-start {
		return fmt.Errorf("offset 8: a header of %d bytes in a file of %d", size, len(b))
	}
	h, err := parseNPYHeader(string(b[start : start+size]))
	if err != nil {
		return fmt.Errorf("offset %d: header: %w", start, err)
	}
	if err := a.shape(h); err != nil {
		return fmt.Errorf("offset %d: header: %w", start, err)
	}
	a.data = b[start+size:]
	if len(a.data)/a.dt.Size()/a.Dim < a.Rows || len(a.data) != a.Rows*a.Dim*a.dt.Size() {
		return fmt.Errorf("offset %d: %d bytes of data for %d rows of %d %v", start+size, len(a.data), a.Rows, a.Dim, a.dt)
	}
	return nil
}

// shape takes over what a header says.
func (a *Array) shape(h npyHeader) error {
	switch h.descr {
	case "<f2":
		a.dt = safetensors.F16
	case "<f4":
		a.dt = safetensors.F32
	case "<f8":
		a.dt = safetensors.F64
	default:
		return fmt.Errorf("elements of type %q; <f2, <f4 and <f8 are read (numpy: astype(\"<f4\"))", h.descr)
	}
	if len(h.shape) != 2 {
		return fmt.Errorf("shape %v; rows and dimension are needed (numpy: reshape(-1, dim))", h.shape)
	}
	if h.fortran && h.shape[0] > 1 && h.shape[1] > 1 {
		return errors.New("in Fortran order; C order is needed (numpy: ascontiguousarray)")
	}
	a.Rows, a.Dim = h.shape[0], h.shape[1]
	if a.Dim < 1 || a.Dim > maxDim || a.Rows > maxRows {
		return fmt.Errorf("shape %v; up to %d rows of 1 to %d are possible", h.shape, maxRows, maxDim)
	}
	return nil
}

// Row converts row i into dst, which has Dim elements. A float64 beyond float32 becomes infinite.
func (a *Array) Row(i int, dst []float32) {
	size := a.Dim * a.dt.Size()
	safetensors.DecodeFloat32(dst[:a.Dim], a.data[i*size:(i+1)*size], a.dt)
}

// Close unmaps the file.
func (a *Array) Close() error { return a.m.Close() }

type npyHeader struct {
	descr   string
	fortran bool
	shape   []int
}

// parseNPYHeader reads the literal of a Python dictionary that numpy writes: the keys descr, fortran_order and shape, each
// once, in any order.
func parseNPYHeader(s string) (h npyHeader, err error) {
	p := &literal{rest: s}
	seen := map[string]bool{}
	p.want("{")
	for p.err == nil && !p.take("}") {
		key := p.quoted()
		p.want(":")
		if p.err == nil && seen[key] {
			return h, fmt.Errorf("%q occurs twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			h.descr = p.quoted()
		case "fortran_order":
			h.fortran = p.boolean()
		case "shape":
			h.shape = p.tuple()
		default:
			return h, errors.Join(p.err, fmt.Errorf("unknown key %q", key))
		}
		if !p.take(",") {
			p.want("}")
			break
		}
	}
	switch {
	case p.err != nil:
		return h, p.err
	case strings.TrimSpace(p.rest) != "":
		return h, fmt.Errorf("text behind the dictionary: %.20q", p.rest)
	case !seen["descr"] || !seen["fortran_order"] || !seen["shape"]:
		return h, errors.New("descr, fortran_order or shape is missing")
	}
	return h, nil
}

// literal reads Python literals; after an error it reads nothing.
type literal struct {
	rest string
	err  error
}

func (p *literal) fail(want string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s expected at %.20q", want, p.rest)
	}
}

func (p *literal) take(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " \n\t")
	rest, ok := strings.CutPrefix(p.rest, token)
	if p.err != nil || !ok {
		return false
	}
	p.rest = rest
	return true
}

func (p *literal) want(token string) {
	if !p.take(token) {
		p.fail(token)
	}
}

func (p *literal) quoted() string {
	for _, q := range []string{"'", `"`} {
		if p.take(q) {
			s, rest, ok := strings.Cut(p.rest, q)
			if !ok || strings.Contains(s, `\`) {
				p.fail("a plain string")
				return ""
			}
			p.rest = rest
			return s
		}
	}
	p.fail("a string")
	return ""
}

func (p *literal) boolean() bool {
	if p.take("True") {
		return true
	}
	p.want("False")
	return false
}

func (p *literal) tuple() (out []int) {
	p.want("(")
	for p.err == nil && !p.take(")") {
		p.take("") // spaces
		digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
		n, err := strconv.Atoi(p.rest[:digits])
		if err != nil || len(out) == 2 {
			p.fail("a shape of two whole numbers")
			return nil
		}
		p.rest = p.rest[digits:]
		p.take("L") // as Python 2 wrote them
		out = append(out, n)
		if !p.take(",") {
			p.want(")")
			break
		}
	}
	return out
}

// WriteNPY writes a float32 array in version 1 of the format, as numpy itself does. row(i) gives row i.
func WriteNPY(w io.Writer, rows, dim int, row func(i int) ([]float32, error)) error {
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, dim)
	total := (10 + len(head) + 1 + 63) / 64 * 64
	head += strings.Repeat(" ", total-10-len(head)-1) + "\n"
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(head)))
	if _, err := w.Write(append(b, head...)); err != nil {
		return err
	}
	for i := range rows {
		x, err := row(i)
		if err != nil {
			return err
		}
		if len(x) != dim {
			return fmt.Errorf("row %d has dimension %d, not %d", i, len(x), dim)
		}
		b = b[:0]
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// IDsPath is where the ids of a .npy file stand: features.npy has features.ids.txt.
func IDsPath(npy string) string {
	if strings.EqualFold(npy[max(0, len(npy)-4):], ".npy") {
		npy = npy[:len(npy)-4]
	}
	return npy + ".ids.txt"
}

// WriteIDs writes one id a line. An id with a line break in it cannot be written.
func WriteIDs(w io.Writer, ids []string) error {
	for i, id := range ids {
		if strings.ContainsAny(id, "\r\n") {
			return fmt.Errorf("row %d: the id %q has a line break and does not fit in a list of lines", i, id)
		}
		if _, err := io.WriteString(w, id+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// readIDs reads one id a line for n rows; nil if there is no such file.
func readIDs(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("search: ids: %w", err)
	}
	defer f.Close()
	ids, err := parseIDs(f)
	if err == nil && len(ids) != n {
		err = fmt.Errorf("%d ids for %d rows", len(ids), n)
	}
	if err != nil {
		return nil, fmt.Errorf("search: ids %q: %w", path, err)
	}
	return ids, nil
}

func parseIDs(r io.Reader) (ids []string, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxID+2)
	for s.Scan() {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			return nil, fmt.Errorf("line %d is empty", len(ids)+1)
		}
		ids = append(ids, s.Text())
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(ids)+1, err)
	}
	return ids, nil
}
