// Package safetensors reads and writes the safetensors format: eight bytes with the header's length, a JSON header that
// gives each tensor's type, shape and range of bytes, and the data. See
// https://huggingface.co/docs/safetensors/index#format.
//
// Files are mapped, not read: a Tensor's data is a view of the file. A header is checked in full before anything is
// returned: unique names, known types, shapes and ranges that agree, data without gap, overlap or rest.
package safetensors

import (
	"errors"
	"fmt"
	"iter"
	"maps"

	"isearle/weights/mmap"
)

// File is an open safetensors file, or a set of shards opened through its index. Its methods can be called concurrently.
type File struct {
	name     string
	sources  []*mmap.File
	names    []string
	tensors  map[string]Tensor
	metadata map[string]string
}

// Open maps the file at path and checks it. The errors are a *FormatError for what is wrong with the content, and the
// system's.
func Open(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: open: %w", err)
	}
	f, err := FromMap(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return f, nil
}

// Parse checks a file that is in memory; name stands for it in errors. The tensors are views of data.
func Parse(data []byte, name string) (*File, error) { return FromMap(mmap.FromBytes(name, data)) }

// FromMap checks the content of an open file. On success the File owns m and closes it.
func FromMap(m *mmap.File) (*File, error) {
	data := m.Bytes()
	h, err := parseHeader(data, m.Name())
	if err != nil {
		return nil, err
	}
	f := &File{name: m.Name(), sources: []*mmap.File{m}, metadata: h.metadata, tensors: make(map[string]Tensor, len(h.entries))}
	body := data[h.size:]
	for _, e := range h.entries {
		t := Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Data: body[e.begin:e.end:e.end]}
		f.names = append(f.names, e.name)
		f.tensors[e.name] = t
	}
	return f, nil
}

// Name returns the path the file was opened with.
func (f *File) Name() string { return f.name }

// Len returns the number of tensors.
func (f *File) Len() int { return len(f.names) }

// All gives the tensors in the order of their data, shard after shard.
func (f *File) All() iter.Seq[Tensor] {
	return func(yield func(Tensor) bool) {
		for _, name := range f.names {
			if !yield(f.tensors[name]) {
				return
			}
		}
	}
}

// Tensor returns the tensor with a name.
func (f *File) Tensor(name string) (Tensor, bool) {
	t, ok := f.tensors[name]
	return t, ok
}

// Metadata returns a copy of the header's __metadata__.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Drop tells the system that data, a tensor's or a part of it, is not needed for now, for instance because it has been
// packed: mapped pages count as this process's memory. The data stays usable and is read again from the file.
func (f *File) Drop(data []byte) {
	for _, m := range f.sources {
		m.Drop(data)
	}
}

// Prefetch tells the system that data, a tensor's or a part of it, is needed soon, and nothing around it.
func (f *File) Prefetch(data []byte) {
	for _, m := range f.sources {
		m.Prefetch(data)
	}
}

// Close unmaps the file. Its tensors must not be used afterwards.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.sources {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
