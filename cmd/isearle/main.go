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
	"slices"
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
	args = slices.Clone(args[1:])
	if _, sub, _ := strings.Cut(base, "isearle-"); known(sub) { // not so isearle-linux-amd64
		args = slices.Insert(args, 0, sub)
	}
	if len(args) == 0 || args[0] == "" {
		return usagef("no command; isearle --help lists them")
	}
	switch args[0] {
	case "-h", "--help", "help":
		return help(s, args[1:])
	case "--version":
		args[0] = "version"
	}
	if isGroup(args[0]) && len(args) > 1 && slices.Contains([]string{"-h", "--help"}, args[1]) {
		return help(s, args[:1])
	}
	e, rest, err := find(args)
	if err != nil {
		return err
	}
	s.program += " " + e.name
	return e.run(ctx, s, rest)
}

// known says whether a name is the first word of a command's.
func known(name string) bool {
	return slices.ContainsFunc(commands(), func(e entry) bool { return e.first() == name })
}

// isGroup says whether a name is that of a group and of no command.
func isGroup(name string) bool {
	list := commands()
	return name != "" && slices.ContainsFunc(list, func(e entry) bool { return e.group() == name }) &&
		!slices.ContainsFunc(list, func(e entry) bool { return e.name == name })
}

// help writes the list of commands, or the help of one.
func help(s *session, args []string) error {
	switch {
	case len(args) == 0:
		s.out.WriteString(mainHelp)
		writeSummaries(s.out, commands())
		s.out.WriteString("\nisearle COMMAND --help tells more.\n")
		return nil
	case len(args) == 1 && isGroup(args[0]):
		fmt.Fprintf(s.out, "Usage:\n  isearle %s COMMAND [flags] [arguments]\n\nCommands:\n", args[0])
		writeSummaries(s.out, slices.DeleteFunc(commands(), func(e entry) bool { return e.group() != args[0] }))
		return nil
	}
	e, _, err := find(args)
	if err != nil {
		return err
	}
	e.writeHelp(s.out)
	return nil
}

// writeSummaries writes a line for each command.
func writeSummaries(w io.Writer, list []entry) {
	for _, e := range list {
		fmt.Fprintf(w, "  %-14s%s\n", e.name, e.summary())
	}
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
	err = cmd.run(ctx, s, fs.Args())
	return errors.Join(err, s.end())
}
