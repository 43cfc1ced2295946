package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// valuer is a flag whose values are known, for completion.
type valuer interface{ values() []string }

// parsed is a flag whose text is read by a function of a library.
type parsed[T fmt.Stringer] struct {
	to    *T
	parse func(string) (T, error)
	list  []string
}

func (p parsed[T]) String() string   { return (*p.to).String() }
func (p parsed[T]) Type() string     { return strings.Join(p.list, "|") }
func (p parsed[T]) values() []string { return p.list }

func (p parsed[T]) Set(s string) (err error) {
	*p.to, err = p.parse(s)
	return err
}

// choice is a flag that takes one of a few words.
type choice struct {
	to   *string
	list []string
}

func (c choice) String() string   { return *c.to }
func (c choice) Type() string     { return strings.Join(c.list, "|") }
func (c choice) values() []string { return c.list }

func (c choice) Set(s string) error {
	if !slices.Contains(c.list, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(c.list, ", "))
	}
	*c.to = s
	return nil
}

// choose adds a choice; the first word is the default.
func choose(fs *pflag.FlagSet, to *string, name, usage string, list ...string) {
	*to = list[0]
	fs.Var(choice{to, list}, name, usage)
}
