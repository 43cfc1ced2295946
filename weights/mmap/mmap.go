// Package mmap gives the content of a file as one slice of bytes without reading it: mapped where the system can, read
// into memory elsewhere. It maps memory of no file too.
package mmap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"
)

// File is the content of a file. The bytes are read-only and are valid until Close.
//
// A mapped file must not be made shorter by anyone while it is open: reading what was cut off ends the process. Replacing
// or deleting it is harmless, and that is how this project writes files.
type File struct {
	name   string
	data   []byte
	mapped bool
}

// Open maps the file at path. It refuses anything but a regular file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("mmap: %w", &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")})
	}
	size := info.Size()
	if int64(int(size)) != size {
		return nil, fmt.Errorf("mmap: %w", &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%d bytes do not fit in this system's memory", size)})
	}
	if size == 0 {
		return FromBytes(path, nil), nil
	}
	data, mapped, err := load(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", &fs.PathError{Op: "map", Path: path, Err: err})
	}
	return &File{name: path, data: data, mapped: mapped}, nil
}

// FromBytes returns a File over bytes already in memory; name is what Name returns.
func FromBytes(name string, data []byte) *File { return &File{name: name, data: data} }

// Name returns the path the file was opened with.
func (f *File) Name() string { return f.name }

// Bytes returns the content. It must not be written to.
func (f *File) Bytes() []byte { return f.data }

// Drop tells the system that the part b of Bytes is not needed for now, so that it stops counting as this process's
// memory; it is read again from the file when used. A hint: it never fails, and does nothing for what is not mapped here.
func (f *File) Drop(b []byte) {
	if f.mapped && f.contains(b) {
		drop(b)
	}
}

// Prefetch tells the system that the part b of Bytes is needed soon, and nothing around it: without being told, the system
// reads megabytes beside each page that is used first. A hint, as Drop is.
func (f *File) Prefetch(b []byte) {
	if f.mapped && f.contains(b) {
		prefetch(b)
	}
}

// contains says whether b is a part of Bytes.
func (f *File) contains(b []byte) bool {
	if len(b) == 0 || len(f.data) == 0 {
		return false
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at >= start && at-start+uintptr(len(b)) <= uintptr(len(f.data))
}

// Close unmaps the file. Slices of Bytes must not be used afterwards. Closing twice is harmless.
func (f *File) Close() error {
	data := f.data
	f.data = nil
	if !f.mapped {
		return nil
	}
	f.mapped = false
	if err := unmap(data); err != nil {
		return fmt.Errorf("mmap: unmap %q: %w", f.name, err)
	}
	return nil
}
