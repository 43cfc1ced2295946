package main

import (
	"context"
	"errors"
	"fmt"

	"isearle/runtime"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoDevice    = 3
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errInputs says that some inputs failed; each has been named already.
var errInputs = errors.New("some inputs failed")

// report tells how a command ended and returns the exit code.
func report(ctx context.Context, s *session, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInputs):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		s.fail(errors.New("interrupted"))
		return exitInterrupted
	}
	s.fail(err)
	switch usage := (usageError{}); {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, runtime.ErrNoDevice):
		return exitNoDevice
	}
	return exitFailed
}
