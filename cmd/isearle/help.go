package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// helpColumns is the width that help is written for.
const helpColumns = 110

// summary is the first line of the help without its full stop.
func (e entry) summary() string {
	line, _, _ := strings.Cut(e.help, "\n")
	return strings.TrimSuffix(line, ".")
}

func (e entry) writeHelp(w io.Writer) {
	var c common
	own, shared := newFlagSet(e.name), newFlagSet(e.name)
	e.new().flags(own)
	c.flags(shared)
	column := max(flagColumn(own), flagColumn(shared))
	io.WriteString(w, e.help)
	if own.HasFlags() {
		io.WriteString(w, "\nFlags:\n")
		writeFlags(w, own, column)
	}
	io.WriteString(w, "\nCommon flags:\n")
	writeFlags(w, shared, column)
}

// spell is a flag as the help begins its line.
func spell(f *pflag.Flag) string {
	s := "      --" + f.Name
	if f.Shorthand != "" {
		s = "  -" + f.Shorthand + ", --" + f.Name
	}
	if arg, _ := pflag.UnquoteUsage(f); arg != "" && f.Value.Type() != "bool" {
		s += " " + arg
	}
	return s
}

// flagColumn is where the descriptions begin.
func flagColumn(fs *pflag.FlagSet) int {
	n := 0
	fs.VisitAll(func(f *pflag.Flag) { n = max(n, len(spell(f))+2) })
	return n
}

func writeFlags(w io.Writer, fs *pflag.FlagSet, column int) {
	fs.VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		switch f.DefValue {
		case "", "0", "false", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		line := fmt.Sprintf("%-*s", column, spell(f))
		for word := range strings.FieldsSeq(usage) {
			if len(line)+1+len(word) > helpColumns {
				fmt.Fprintln(w, line)
				line = strings.Repeat(" ", column)
			}
			if len(line) > column {
				line += " "
			}
			line += word
		}
		fmt.Fprintln(w, line)
	})
}
