package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/console"
)

// session is what a command runs in.
type session struct {
	streams
	program string        // how the command was called: "isearle embed"
	out     *bufio.Writer // standard output
	console *console.Console
	common  common
}

// fail tells an error in one line. The command's name stands in it once, also where the failing package has the same.
func (s *session) fail(err error) {
	_, name, _ := strings.Cut(s.program, " ")
	s.console.Failf("%s: %s", s.program, strings.TrimPrefix(err.Error(), name+": "))
}

// notef tells something that is no failure.
func (s *session) notef(format string, args ...any) {
	s.console.Notef("%s: %s", s.program, fmt.Sprintf(format, args...))
}

// common are the flags that every command has.
type common struct {
	json, quiet, version, help bool
}

// command is a subcommand with the values of its flags.
type command interface {
	flags(fs *pflag.FlagSet)
	run(ctx context.Context, s *session, args []string) error
}

// entry is a row of the table of commands. The help begins with a line that says what the command does.
type entry struct {
	name, help string
	new        func() command
}

// commands is the table of commands, in the order of the help.
func commands() []entry {
	return []entry{
		{"demo", demoHelp, func() command { return new(demoCommand) }},
		{"embed", embedHelp, func() command { return new(embedCommand) }},
		{"compose", composeHelp, func() command { return new(composeCommand) }},
		{"search", searchHelp, func() command { return new(searchCommand) }},
		{"invert", invertHelp, func() command { return new(invertCommand) }},
		{"eval", evalHelp, func() command { return new(evalCommand) }},
		{"phrases", phrasesHelp, func() command { return new(phrasesCommand) }},
		{"tokenize", tokenizeHelp, func() command { return new(tokenizeCommand) }},
		{"info", infoHelp, func() command { return new(infoCommand) }},
		{"convert", convertHelp, func() command { return new(convertCommand) }},
		{"bench", benchHelp, func() command { return new(benchCommand) }},
		{"completion", completionHelp, func() command { return new(completionCommand) }},
		{"version", versionHelp, func() command { return new(versionCommand) }},
	}
}

func find(name string) (entry, bool) {
	for _, e := range commands() {
		if e.name == name {
			return e, true
		}
	}
	return entry{}, false
}

// flagSet is the command's flags together with the common ones.
func (e entry) flagSet(cmd command, c *common) *pflag.FlagSet {
	fs := newFlagSet(e.name)
	cmd.flags(fs)
	c.flags(fs)
	return fs
}

func newFlagSet(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	return fs
}

func (c *common) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.json, "json", false, "write JSON, one object a line")
	fs.BoolVar(&c.quiet, "quiet", false, "tell failures only: no progress, no warnings")
	fs.BoolVar(&c.version, "version", false, "print the version and end")
	fs.BoolVarP(&c.help, "help", "h", false, "print this help and end")
}
