package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/cmd/isearle/internal/console"
)

// session is what a command runs in.
type session struct {
	streams
	program string        // how the command was called: "isearle embed", "isearle phi train"
	out     *bufio.Writer // standard output
	console *console.Console
	common  common
	ends    []func() error
}

// atEnd registers what is done when the command has ended, the latest first.
func (s *session) atEnd(f func() error) { s.ends = append(s.ends, f) }

// end does what was registered.
func (s *session) end() error {
	var errs []error
	for _, f := range slices.Backward(s.ends) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// fail tells an error in one line. The command's name stands in it once, also where the failing package has the same.
func (s *session) fail(err error) {
	text := err.Error()
	for _, word := range strings.Fields(s.program) {
		text = strings.TrimPrefix(text, word+": ")
	}
	s.console.Failf("%s: %s", s.program, text)
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

// entry is a row of the table of commands. The name has one word, or two: that of a group, and the command's within it. The help begins
// with a line that says what the command does.
type entry struct {
	name, help string
	new        func() command
}

// group is the first of a name's two words; empty for a name of one.
func (e entry) group() string {
	group, _, ok := strings.Cut(e.name, " ")
	if !ok {
		return ""
	}
	return group
}

// word is the last of the name's words.
func (e entry) word() string { return e.name[strings.LastIndex(e.name, " ")+1:] }

// first is the first of the name's words: what the user begins with.
func (e entry) first() string {
	first, _, _ := strings.Cut(e.name, " ")
	return first
}

// commands is the table of commands, in the order of the help.
func commands() []entry {
	return []entry{
		{"demo", demoHelp, func() command { return new(demoCommand) }},
		{"embed", embedHelp, func() command { return new(embedCommand) }},
		{"compose", composeHelp, func() command { return new(composeCommand) }},
		{"search", searchHelp, func() command { return new(searchCommand) }},
		{"invert", invertHelp, func() command { return new(invertCommand) }},
		{"phi train", phiTrainHelp, func() command { return new(phiTrainCommand) }},
		{"phi finetune", phiFinetuneHelp, func() command { return new(phiFinetuneCommand) }},
		{"phi info", phiInfoHelp, func() command { return new(phiInfoCommand) }},
		{"eval ablation", ablationHelp, func() command { return new(ablationCommand) }},
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

// find finds the command that args begin with, and returns what follows its name.
func find(args []string) (e entry, rest []string, err error) {
	var group []string
	for _, e := range commands() {
		words := strings.Fields(e.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return e, args[len(words):], nil
		}
		if args[0] == e.group() {
			group = append(group, e.word())
		}
	}
	switch {
	case group == nil:
		err = usagef("no command %q; isearle --help lists them", args[0])
	case len(args) == 1:
		err = usagef("%s is followed by one of %s", args[0], strings.Join(group, ", "))
	default:
		err = usagef("no command %q: %s is followed by one of %s", args[0]+" "+args[1], args[0], strings.Join(group, ", "))
	}
	return entry{}, nil, err
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
