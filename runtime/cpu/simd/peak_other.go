//go:build (!amd64 && !arm64) || noasm

package simd

func peaks(string) Peaks { return Peaks{F32: peakGeneric} }
