//go:build !amd64 || noasm

package simd

func wordSets() []*Kernels { return All() }
