//go:build (!amd64 && !arm64) || noasm

package simd

// machineSets returns the sets in assembly that this machine runs: none.
func machineSets() []Kernels { return nil }
