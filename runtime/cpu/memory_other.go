//go:build !linux

package cpu

func mapped(int) []byte { return nil }

func settle([]byte) {}

func unmap([]byte) {}
