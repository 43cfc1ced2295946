//go:build !noasm

package simd

import "syscall"

// permitTiles asks Linux for the state of AMX's tiles, which a process has only when it has asked (Documentation/arch/x86/xstate.rst).
func permitTiles() bool {
	const archReqXCompPerm, xfeatureTileData = 0x1023, 18
	_, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, archReqXCompPerm, xfeatureTileData, 0)
	return err == 0
}
