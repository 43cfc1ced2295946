//go:build !linux

package bench

// floats returns n zero floats for a gallery.
func floats(n int) []float32 { return make([]float32, n) }
