//go:build !amd64 || noasm

package pixel

// machineSets returns the sets in assembly that this machine runs: none.
func machineSets() []Kernels { return nil }
