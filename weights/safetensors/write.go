package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"isearle/weights/atomicfile"
)

// Source is a tensor to be written: a Tensor, or anything that can produce its bytes when asked.
type Source interface {
	// Header returns the name, type and shape.
	Header() (name string, dtype DType, shape []int)
	// WriterTo writes the elements, row-major and little-endian: exactly as many bytes as type and shape say.
	io.WriterTo
}

// dataAlignment is what the start of the data is padded to, so that vectors of a mapped file can be loaded aligned. The
// reference implementation pads to 8.
const dataAlignment = 64

// WriteFile writes a file as Write does, and puts it in the place of path only when it is complete and durable.
func WriteFile[S Source](path string, tensors []S, metadata map[string]string) error {
	err := atomicfile.Write(path, func(w io.Writer) error { return Write(w, tensors, metadata) })
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}

// Write writes tensors and metadata (which may be nil) in one pass. The data is ordered by falling element size, and as
// given within one size, so that every tensor is aligned to its elements. The same input gives the same bytes.
func Write[S Source](w io.Writer, tensors []S, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortStableFunc(sorted, func(a, b S) int {
		_, da, _ := a.Header()
		_, db, _ := b.Header()
		return cmp.Compare(db.Size(), da.Size())
	})
	head, sizes, err := encodeHeader(sorted, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i, t := range sorted {
		name, _, _ := t.Header()
		n, err := t.WriteTo(w)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		if n != int64(sizes[i]) {
			return fmt.Errorf("tensor %q: %d bytes of data, its type and shape take %d", name, n, sizes[i])
		}
	}
	return nil
}

// encodeHeader returns everything before the data, and the bytes of each tensor.
func encodeHeader[S Source](tensors []S, metadata map[string]string) (head []byte, sizes []int, err error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if len(metadata) > 0 {
		text, err := encode(metadata)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(&b, "%q:%s", metadataKey, text)
	}
	seen := map[string]bool{metadataKey: true}
	at := 0
	for _, t := range tensors {
		name, dtype, shape := t.Header()
		if seen[name] || !utf8.ValidString(name) {
			return nil, nil, fmt.Errorf("tensor %q: the name is taken or not UTF-8", name)
		}
		seen[name] = true
		size, ok := byteSize(dtype, shape)
		if dtype.Size() == 0 || !ok {
			return nil, nil, fmt.Errorf("tensor %q: %v %v cannot be written", name, dtype, shape)
		}
		if b.Len() > 9 {
			b.WriteByte(',')
		}
		text, err := encode(name)
		if err != nil {
			return nil, nil, err
		}
		dims, _ := json.Marshal(append([]int{}, shape...))
		fmt.Fprintf(&b, `%s:{"dtype":"%v","shape":%s,"data_offsets":[%d,%d]}`, text, dtype, dims, at, at+size)
		at += size
		sizes = append(sizes, size)
	}
	b.WriteByte('}')
	for b.Len()%dataAlignment != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > maxHeader {
		return nil, nil, fmt.Errorf("a header of %d bytes is beyond the format's limit of %d", b.Len()-8, maxHeader)
	}
	head = b.Bytes()
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, sizes, nil
}

// encode is json.Marshal without the escapes that only matter in web pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
