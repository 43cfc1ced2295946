//go:build !noasm && !linux

package simd

// permitTiles says that AMX's tiles are not used: how a system saves them is known of Linux only.
func permitTiles() bool { return false }
