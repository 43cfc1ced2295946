package atomicfile

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked is wrapped where another process has a file open by OpenLocked.
var ErrLocked = errors.New("another process is writing it")

// OpenLocked opens or creates a file to read and write it, and keeps other processes from doing so until it is closed. Where another one
// has it the error wraps ErrLocked. File systems without locks are taken as they are.
func OpenLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("%q: %w", path, err)
		}
		here, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(here, there) {
			return f, nil
		}
		f.Close() // its owner finished and removed it between our two steps
	}
}
