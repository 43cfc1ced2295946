package demo

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// directory is the model's folder with the compressed weights shown as the file they hold.
type directory struct {
	files   fs.FS
	weights []byte
}

// Open implements [fs.FS].
func (d *directory) Open(name string) (fs.File, error) {
	switch name {
	case weightsName:
		return &memoryFile{Reader: bytes.NewReader(d.weights), info: d.info()}, nil
	case weightsName + ".zst":
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case ".":
		f, err := d.files.Open(name)
		if err != nil {
			return nil, err
		}
		entries, err := d.ReadDir(name)
		return &memoryDir{File: f, entries: entries}, err
	}
	return d.files.Open(name)
}

// ReadDir implements [fs.ReadDirFS].
func (d *directory) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(d.files, name)
	for i, e := range entries {
		if e.Name() == weightsName+".zst" {
			entries[i] = fs.FileInfoToDirEntry(d.info())
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// ReadFile implements [fs.ReadFileFS]; the bytes are the caller's.
func (d *directory) ReadFile(name string) ([]byte, error) {
	if name == weightsName {
		return bytes.Clone(d.weights), nil
	}
	if name == weightsName+".zst" {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return fs.ReadFile(d.files, name)
}

func (d *directory) info() memoryInfo { return memoryInfo(len(d.weights)) }

// memoryFile is the decompressed weights as an open file; bytes.Reader makes it an io.ReaderAt and io.Seeker too.
type memoryFile struct {
	*bytes.Reader
	info memoryInfo
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// memoryDir is the open folder.
type memoryDir struct {
	fs.File
	entries []fs.DirEntry
}

// ReadDir implements [fs.ReadDirFile].
func (d *memoryDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	out := d.entries[:n:n]
	d.entries = d.entries[n:]
	return out, nil
}

// memoryInfo describes the weights; its value is their size in bytes.
type memoryInfo int

func (i memoryInfo) Name() string     { return weightsName }
func (i memoryInfo) Size() int64      { return int64(i) }
func (memoryInfo) Mode() fs.FileMode  { return 0o444 }
func (memoryInfo) ModTime() time.Time { return time.Time{} }
func (memoryInfo) IsDir() bool        { return false }
func (memoryInfo) Sys() any           { return nil }
