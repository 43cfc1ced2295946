package torch

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

const (
	// Deflated entries are inflated in memory, all of them together to at most inflateFloor bytes plus inflateRatio times
	// the size of the archive. torch itself stores storages as they are; archives that were packed again with another
	// tool stay far below 4, and pickles of a checkpoint reach 10. Deflate's own limit is 1032.
	inflateRatio = 16
	inflateFloor = 1 << 20

	encryptedFlag = 1
)

// archive gives the entries of a zip container that lies in memory, without their common first directory.
type archive struct {
	name    string
	data    []byte
	entries map[string]*zip.File
	loaded  map[string][]byte // inflated entries
	budget  uint64            // bytes that may still be inflated
}

func openArchive(data []byte, name string) (*archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("torch: %q: the zip container is damaged or truncated: %w", name, err)
	}
	a := &archive{
		name: name, data: data, entries: make(map[string]*zip.File, len(r.File)), loaded: make(map[string][]byte),
		budget: inflateFloor + inflateRatio*uint64(len(data)),
	}
	root := ""
	for _, f := range r.File {
		dir, entry, ok := strings.Cut(f.Name, "/")
		if !ok {
			return nil, a.fail(f.Name, 0, "an entry outside the archive's one directory: not a file of torch.save")
		}
		if root == "" {
			root = dir
		}
		if dir != root {
			return nil, a.fail(f.Name, 0, "entries in two directories, %q and %q: not a file of torch.save", root, dir)
		}
		if _, ok := a.entries[entry]; ok {
			return nil, a.fail(entry, 0, "the entry occurs twice")
		}
		a.entries[entry] = f
	}
	return a, nil
}

func (a *archive) fail(part string, offset int64, format string, args ...any) error {
	return &FormatError{File: a.name, Part: part, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// stored returns the bytes of an entry that is not compressed, as they lie in the archive.
func (a *archive) stored(f *zip.File, entry string) ([]byte, error) {
	at, err := f.DataOffset()
	if err != nil {
		return nil, a.fail(entry, 0, "%v", err)
	}
	n := f.CompressedSize64
	if f.UncompressedSize64 != n {
		return nil, a.fail(entry, at, "a stored entry of %d bytes that claims %d", n, f.UncompressedSize64)
	}
	if uint64(at) > uint64(len(a.data)) || n > uint64(len(a.data))-uint64(at) {
		return nil, a.fail(entry, at, "%d bytes reach beyond the file's end at %d", n, len(a.data))
	}
	return a.data[at : uint64(at)+n : uint64(at)+n], nil
}

// entry returns the content of an entry: a view where it is stored, inflated once where it is deflated. ok is false when
// there is no such entry.
func (a *archive) entry(name string) (content []byte, ok bool, err error) {
	f, ok := a.entries[name]
	if !ok {
		return nil, false, nil
	}
	if content, ok := a.loaded[name]; ok {
		return content, true, nil
	}
	if f.Flags&encryptedFlag != 0 {
		return nil, true, a.fail(name, 0, "the entry is encrypted")
	}
	if f.Method == zip.Store {
		content, err = a.stored(f, name)
		return content, true, err
	}
	if f.UncompressedSize64 > a.budget {
		return nil, true, a.fail(name, 0, "refusing to inflate %d bytes to %d: at most %d in all for an archive of %d",
			f.CompressedSize64, f.UncompressedSize64, inflateFloor+inflateRatio*uint64(len(a.data)), len(a.data))
	}
	a.budget -= f.UncompressedSize64
	r, err := f.Open()
	if err != nil {
		return nil, true, a.fail(name, 0, "%v", err)
	}
	defer r.Close()
	content = make([]byte, f.UncompressedSize64)
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, true, a.fail(name, 0, "%v", err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF { // the check sum is verified here
		return nil, true, a.fail(name, 0, "more than the %d bytes it claims, or damaged: %v", len(content), err)
	}
	a.loaded[name] = content
	return content, true, nil
}

// checked is entry for what is parsed: it must be there, and its check sum right.
func (a *archive) checked(name string) ([]byte, error) {
	content, ok, err := a.entry(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, a.fail(name, 0, "there is no such entry: not a file of torch.save or torch.jit.save")
	}
	if sum := crc32.ChecksumIEEE(content); sum != a.entries[name].CRC32 {
		return nil, a.fail(name, 0, "the check sum is %08x, the archive says %08x: the file is damaged", sum, a.entries[name].CRC32)
	}
	return content, nil
}
