package eval

import (
	"os"
	"testing"
)

// scratch is a folder for the whole run.
var scratch string

func tempDir() (string, error) { return os.MkdirTemp(scratch, "world") }

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "eval-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}
