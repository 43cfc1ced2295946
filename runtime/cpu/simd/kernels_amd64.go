//go:build !noasm

package simd

// machineSets returns the sets in assembly that this machine runs, the fastest first.
func machineSets() []Kernels { return nil }
