// Package torch reads checkpoints of PyTorch without Python: the zip archives that torch.save and torch.jit.save write
// (.pt, .pth, .bin), and plain pickles of dictionaries, lists, strings and numbers.
//
// A pickle is a program. This package runs it on a machine that knows a few dozen opcodes and the names of tensors,
// storages and dictionaries; anything else is refused by name, with its place, and nothing is executed. The layout of the
// archives: torch/csrc/jit/serialization/docs/serialization.md in PyTorch.
package torch

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"isearle/weights/mmap"
)

// ErrLegacy is wrapped by the error for a checkpoint of before PyTorch 1.6, which is not a zip archive.
var ErrLegacy = errors.New("a legacy checkpoint (before PyTorch 1.6): load it in PyTorch and torch.save it again, or convert it to safetensors")

// legacyMagic begins a legacy file: PROTO 2, LONG1 of 10 bytes, 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

// extraDir is where an archive keeps entries that are not torch's.
const extraDir = "extra/"

// File is an open checkpoint.
type File struct {
	source  *mmap.File
	archive *archive
	value   any
	script  bool
}

// Open maps the checkpoint at path and reads everything but the elements of its tensors. Errors about the content are a
// *FormatError or wrap ErrLegacy.
func Open(path string) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, fmt.Errorf("torch: open: %w", err)
	}
	f, err := FromMap(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return f, nil
}

// Parse reads a checkpoint that is in memory; name stands for it in errors.
func Parse(data []byte, name string) (*File, error) { return FromMap(mmap.FromBytes(name, data)) }

// FromMap reads the content of an open file. On success the File owns m and closes it.
func FromMap(m *mmap.File) (*File, error) {
	data := m.Bytes()
	if bytes.HasPrefix(data, legacyMagic) {
		return nil, fmt.Errorf("torch: %q: %w", m.Name(), ErrLegacy)
	}
	if !IsArchive(data) {
		return nil, &FormatError{File: m.Name(), Reason: "not a zip archive, which files of torch.save are"}
	}
	a, err := openArchive(data, m.Name())
	if err != nil {
		return nil, err
	}
	f := &File{source: m, archive: a}
	_, f.script = a.entries["constants.pkl"]
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// IsArchive says whether data begins as a zip archive does.
func IsArchive(data []byte) bool { return bytes.HasPrefix(data, []byte("PK\x03\x04")) }

func (f *File) load() error {
	if order, ok, err := f.archive.entry("byteorder"); err != nil {
		return err
	} else if ok && string(order) != "little" {
		return f.archive.fail("byteorder", 0, "%.16q: only little-endian storages are read", order)
	}
	const part = "data.pkl"
	code, err := f.archive.checked(part)
	if err != nil {
		return err
	}
	f.value, err = unpickle(code, environment{script: f.script, storage: f.storage})
	return f.locate(err, part)
}

func (f *File) locate(err error, part string) error {
	var format *FormatError
	if errors.As(err, &format) && format.File == "" {
		format.File, format.Part = f.archive.name, part
	}
	return err
}

func (f *File) storage(key string) ([]byte, error) {
	content, ok, err := f.archive.entry("data/" + key)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the storage data/%.40s is not in the archive", key)
	}
	return content, nil
}

// Name returns the path the file was opened with.
func (f *File) Name() string { return f.source.Name() }

// Value returns what was saved: see Dict and its neighbours for the types. For a TorchScript archive it is the module, an
// *Object.
func (f *File) Value() any { return f.value }

// IsScript says whether the file is a TorchScript archive.
func (f *File) IsScript() bool { return f.script }

// Extra returns an entry that was added beside torch's own, under extra/ (torch.jit.save's _extra_files, or Write's). It is
// nil when there is none of that name.
func (f *File) Extra(name string) ([]byte, error) {
	if _, ok := f.archive.entries[extraDir+name]; !ok {
		return nil, nil
	}
	return f.archive.checked(extraDir + name)
}

// Drop tells the system that data, a part of a tensor's Data, is not needed for now.
func (f *File) Drop(data []byte) { f.source.Drop(data) }

// Prefetch tells the system that data, a part of a tensor's Data, is needed soon, and nothing around it.
func (f *File) Prefetch(data []byte) { f.source.Prefetch(data) }

// Close unmaps the file. Its tensors must not be used afterwards.
func (f *File) Close() error { return f.source.Close() }

// LoadPickle reads a plain pickle, such as a dictionary of lists of strings; name stands for it in errors. Tensors are
// refused: they need an archive.
func LoadPickle(r io.Reader, name string) (any, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("torch: read %q: %w", name, err)
	}
	v, err := unpickle(data, environment{})
	var format *FormatError
	if errors.As(err, &format) {
		format.File = name
	}
	return v, err
}
