//go:build !unix

package mmap

import (
	"io"
	"os"
)

func load(f *os.File, size int) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, false, err
}

func unmap([]byte) error { return nil }

func drop([]byte) {}

func prefetch([]byte) {}
