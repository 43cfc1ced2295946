//go:build !linux

package cpu

func mapped(int) []byte { return nil }

func unmap([]byte) {}
