// Command isearle is a zero-shot composed image retrieval engine: this picture, but with that change. Its commands are
// also run by the name of the program: isearle-search is isearle search.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/console"
)

const mainHelp = `Composed image retrieval: this picture, but with that change.

Usage:
  isearle COMMAND [flags] [arguments]
  isearle-COMMAND [flags] [arguments]

Without a model of your own (-m) and a gallery (-g) the ones inside the program are used: the emoji world.
Results go to standard output and everything else to standard error.

Exit codes: 0 done; 1 failed, or some inputs failed, each of them named; 2 wrong usage; 3 the device that was asked
for is not there; 130 interrupted.

Commands:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args, streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// streams are what a process is connected to.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

// run runs the command that args ask for and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	out := bufio.NewWriter(std.stdout)
	s := &session{streams: std, program: "isearle", out: out, console: console.New(std.stderr, false)}
	err := dispatch(ctx, args, s)
	if e := out.Flush(); e != nil && err == nil {
		err = fmt.Errorf("write standard output: %w", e)
	}
	return report(ctx, s, err)
}

// dispatch finds the command in the program's name or the first argument, and runs it.
func dispatch(ctx context.Context, args []string, s *session) error {
	if len(args) == 0 {
		return usagef("no command")
	}
	base := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	name, rest := "", args[1:]
	if _, sub, _ := strings.Cut(base, "isearle-"); known(sub) { // not so isearle-linux-amd64
		name = sub
	} else if len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	switch name {
	case "":
		return usagef("no command; isearle --help lists them")
	case "-h", "--help", "help":
		return help(s, rest)
	case "--version":
		name = "version"
	}
	e, ok := find(name)
	if !ok {
		return usagef("no command %q; isearle --help lists them", name)
	}
	s.program += " " + name
	return e.run(ctx, s, rest)
}

func known(name string) bool {
	_, ok := find(name)
	return ok
}

// help writes the list of commands, or the help of one.
func help(s *session, args []string) error {
	if len(args) > 0 {
		e, ok := find(args[0])
		if !ok {
			return usagef("no command %q; isearle --help lists them", args[0])
		}
		e.writeHelp(s.out)
		return nil
	}
	s.out.WriteString(mainHelp)
	for _, e := range commands() {
		fmt.Fprintf(s.out, "  %-12s%s\n", e.name, e.summary())
	}
	s.out.WriteString("\nisearle COMMAND --help tells more.\n")
	return nil
}

// run parses the command's flags and runs it.
func (e entry) run(ctx context.Context, s *session, args []string) error {
	cmd := e.new()
	fs := e.flagSet(cmd, &s.common)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp) || s.common.help:
		e.writeHelp(s.out)
		return nil
	case err != nil:
		return usageError{err}
	case s.common.version:
		return (&versionCommand{}).run(ctx, s, nil)
	}
	s.console = console.New(s.stderr, s.common.quiet)
	return cmd.run(ctx, s, fs.Args())
}
