//go:build !linux

package mmap

func anonymous(int) []byte { return nil }

func askHuge([]byte) {}

func free([]byte) {}
