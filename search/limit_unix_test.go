//go:build unix

package search

import (
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

const canLimitFiles = true

// limitFiles makes writing beyond n bytes of a file fail in this process.
func limitFiles(t *testing.T, n uint64) {
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}
