//go:build !noasm

package simd

import "slices"

// wordSets are the sets of this machine, and AVX-512 as on machines without its instruction for bytes.
func wordSets() []*Kernels {
	all := All()
	if slices.ContainsFunc(all, func(k *Kernels) bool { return k.Name == setAVX512.Name }) {
		k := avx512Words(false)
		k.Name += " without VNNI"
		all = append(all, checked(k))
	}
	return all
}
