//go:build unix

package console

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal says whether w, a reader or writer, is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
