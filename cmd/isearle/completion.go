package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const completionHelp = `Print a completion script for a shell.

Usage:
  isearle completion bash|zsh|fish

Examples:
  isearle completion bash > ~/.local/share/bash-completion/completions/isearle
  isearle completion zsh > "${fpath[1]}/_isearle"
  isearle completion fish > ~/.config/fish/completions/isearle.fish
`

type completionCommand struct{}

func (*completionCommand) flags(*pflag.FlagSet) {}

func (*completionCommand) run(_ context.Context, s *session, args []string) error {
	shells := map[string]func(io.Writer, []entry){"bash": completeBash, "zsh": completeZsh, "fish": completeFish}
	if len(args) != 1 || shells[args[0]] == nil {
		return usagef("completion takes one of bash, zsh, fish")
	}
	shells[args[0]](s.out, commands())
	return nil
}

// option is what completion knows of a flag.
type option struct {
	long, short, usage string
	arg                string   // the name of the value; empty for a flag without
	values             []string // what the value can be
	files              bool     // the value is a path
}

// options lists the flags of a command, the common ones included.
func (e entry) options() []option {
	var c common
	var list []option
	e.flagSet(e.new(), &c).VisitAll(func(f *pflag.Flag) {
		o := option{long: f.Name, short: f.Shorthand}
		o.arg, o.usage = pflag.UnquoteUsage(f)
		if f.Value.Type() == "bool" {
			o.arg = ""
		}
		if v, ok := f.Value.(valuer); ok {
			o.values = v.values()
		}
		o.files = slices.Contains([]string{"FILE", "DIR", "IMAGE", "MODEL", "GALLERY"}, o.arg)
		list = append(list, o)
	})
	return list
}

// programs are the names that the program answers to.
func programs(list []entry) string {
	return "isearle isearle-" + strings.Join(firsts(list), " isearle-")
}

// firsts are the words that a command can begin with.
func firsts(list []entry) (words []string) {
	for _, e := range list {
		if !slices.Contains(words, e.first()) {
			words = append(words, e.first())
		}
	}
	return words
}

// group is the commands of which the first word is one.
type group struct {
	name string
	list []entry
	also bool // the group's name is a command of its own too
}

// words are the groups' commands' last ones.
func (g group) words() string {
	var s []string
	for _, e := range g.list {
		s = append(s, e.word())
	}
	return strings.Join(s, " ")
}

func groups(list []entry) (out []group) {
	for _, name := range firsts(list) {
		g := group{name: name}
		for _, e := range list {
			if e.group() == name {
				g.list = append(g.list, e)
			}
			g.also = g.also || e.name == name
		}
		if g.list != nil {
			out = append(out, g)
		}
	}
	return out
}

func completeBash(w io.Writer, list []entry) {
	fmt.Fprintf(w, `# bash completion for isearle

_isearle() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[0]##*/} flags= second=1
	COMPREPLY=()
	# --flag=value comes as three words
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if [[ $cmd == isearle-* ]]; then
		cmd=${cmd#isearle-}
	elif ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "%s --help --version" -- "$cur"))
		return
	else
		cmd=${COMP_WORDS[1]}
		second=2
	fi
	case $cmd in
`, strings.Join(firsts(list), " "))
	for _, g := range groups(list) {
		if g.also {
			fmt.Fprintf(w, `	%s)
		if ((COMP_CWORD == second)) && [[ $cur != -* ]]; then
			COMPREPLY=($(compgen -W "%s" -- "$cur"))
			return
		fi
		case ${COMP_WORDS[second]} in
		%s) cmd+=" ${COMP_WORDS[second]}" ;;
		esac
		;;
`, g.name, g.words(), strings.ReplaceAll(g.words(), " ", "|"))
			continue
		}
		fmt.Fprintf(w, `	%s)
		if ((COMP_CWORD == second)); then
			COMPREPLY=($(compgen -W "%s --help" -- "$cur"))
			return
		fi
		cmd+=" ${COMP_WORDS[second]}"
		;;
`, g.name, g.words())
	}
	io.WriteString(w, `	esac
	case $cmd in
	completion) flags="bash zsh fish --help" ;;
`)
	for _, e := range list {
		if e.name != "completion" {
			bashCase(w, e)
		}
	}
	fmt.Fprintf(w, `	esac
	if [[ $cur == -* || $cmd == completion ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	fi
}

complete -o default -F _isearle %s
`, programs(list))
}

func bashCase(w io.Writer, e entry) {
	var flags []string
	fmt.Fprintf(w, "\t%s)\n\t\tcase $prev in\n", shellPattern(e.name))
	for _, o := range e.options() {
		spelled := []string{"--" + o.long}
		if o.short != "" {
			spelled = append(spelled, "-"+o.short)
		}
		flags = append(flags, spelled...)
		switch {
		case o.values != nil:
			fmt.Fprintf(w, "\t\t%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", strings.Join(spelled, "|"), strings.Join(o.values, " "))
		case o.arg != "":
			fmt.Fprintf(w, "\t\t%s) return ;;\n", strings.Join(spelled, "|"))
		}
	}
	fmt.Fprintf(w, "\t\tesac\n\t\tflags=%q\n\t\t;;\n", strings.Join(flags, " "))
}

// shellPattern is a name as case takes it.
func shellPattern(name string) string {
	if strings.Contains(name, " ") {
		return quote(name)
	}
	return name
}

func completeZsh(w io.Writer, list []entry) {
	fmt.Fprintf(w, "#compdef %s\n\n_isearle() {\n\tlocal cmd\n\tlocal -a list=(\n", programs(list))
	for _, e := range list {
		if e.group() == "" {
			fmt.Fprintf(w, "\t\t%s\n", quote(e.name+":"+e.summary()))
		}
	}
	for _, g := range groups(list) {
		if !g.also {
			fmt.Fprintf(w, "\t\t%s\n", quote(g.name+":"+g.words()))
		}
	}
	io.WriteString(w, `	)
	if [[ $service == isearle-* ]]; then
		cmd=${service#isearle-}
	elif ((CURRENT == 2)); then
		_describe command list
		return
	else
		cmd=$words[2]
		shift words
		((CURRENT--))
	fi
	case $cmd in
`)
	for _, g := range groups(list) {
		condition := "((CURRENT == 2))"
		if g.also {
			condition += " && [[ $words[2] != -* ]]"
		}
		fmt.Fprintf(w, "\t%s)\n\t\tif %s; then\n\t\t\tlist=(\n", g.name, condition)
		for _, e := range g.list {
			fmt.Fprintf(w, "\t\t\t\t%s\n", quote(e.word()+":"+e.summary()))
		}
		io.WriteString(w, `			)
			_describe command list
			return
		fi
`)
		if g.also {
			fmt.Fprintf(w, `		if [[ $words[2] == (%s) ]]; then
			cmd+=" $words[2]"
			shift words
			((CURRENT--))
		fi
		;;
`, strings.ReplaceAll(g.words(), " ", "|"))
			continue
		}
		io.WriteString(w, `		cmd+=" $words[2]"
		shift words
		((CURRENT--))
		;;
`)
	}
	io.WriteString(w, "\tesac\n\tcase $cmd in\n")
	for _, e := range list {
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments -s -S", shellPattern(e.name))
		for _, o := range e.options() {
			fmt.Fprintf(w, " \\\n\t\t\t%s", o.zsh())
		}
		rest := "*:file:_files"
		if e.name == "completion" {
			rest = "1:shell:(bash zsh fish)"
		}
		fmt.Fprintf(w, " \\\n\t\t\t%s\n\t\t;;\n", quote(rest))
	}
	io.WriteString(w, "\tesac\n}\n\n_isearle \"$@\"\n")
}

// zsh is the flag as _arguments has it.
func (o option) zsh() string {
	spec := "[" + strings.NewReplacer("[", "(", "]", ")").Replace(o.usage) + "]"
	switch {
	case o.values != nil:
		spec += ":" + o.long + ":(" + strings.Join(o.values, " ") + ")"
	case o.files:
		spec += ":" + o.arg + ":_files"
	case o.arg != "":
		spec += ":" + o.arg + ": "
	}
	if o.short == "" {
		return quote("--" + o.long + spec)
	}
	return fmt.Sprintf("'(-%s --%s)'{-%s,--%s}%s", o.short, o.long, o.short, o.long, quote(spec))
}

func completeFish(w io.Writer, list []entry) {
	io.WriteString(w, "# fish completion for isearle\n\n")
	all := groups(list)
	for _, e := range list {
		if e.group() == "" {
			fmt.Fprintf(w, "complete -c isearle -n __fish_use_subcommand -f -a %s -d %s\n", e.name, quote(e.summary()))
		}
	}
	for _, g := range all {
		if !g.also {
			fmt.Fprintf(w, "complete -c isearle -n __fish_use_subcommand -f -a %s -d %s\n", g.name, quote(g.words()))
		}
		for _, e := range g.list {
			rest := fmt.Sprintf("not __fish_seen_subcommand_from %s' -f -a %s -d %s\n", g.words(), e.word(), quote(e.summary()))
			fmt.Fprintf(w, "complete -c isearle -n '__fish_seen_subcommand_from %s; and %scomplete -c isearle-%s -n '%s", g.name, rest, g.name, rest)
		}
	}
	for _, e := range list {
		io.WriteString(w, "\n")
		for _, program := range fishPrograms(e, all) {
			for _, o := range e.options() {
				fmt.Fprintln(w, program+o.fish())
			}
		}
	}
	io.WriteString(w, "\ncomplete -c isearle -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n")
}

// fishPrograms are the two ways to call a command, each with the condition under which it is the one.
func fishPrograms(e entry, all []group) []string {
	const seen = "__fish_seen_subcommand_from "
	if e.group() != "" {
		return []string{
			"complete -c isearle -n '" + seen + e.group() + "; and " + seen + e.word() + "'",
			"complete -c isearle-" + e.group() + " -n '" + seen + e.word() + "'",
		}
	}
	condition := seen + e.name
	for _, g := range all { // isearle phi info is not isearle info
		if slices.ContainsFunc(g.list, func(o entry) bool { return o.word() == e.name }) {
			condition += "; and not " + seen + g.name
		}
		if g.name == e.name { // isearle eval ablation is not isearle eval
			condition += "; and not " + seen + g.words()
		}
	}
	return []string{"complete -c isearle -n '" + condition + "'", "complete -c isearle-" + e.name}
}

// fish is the flag as fish's complete has it.
func (o option) fish() string {
	s := " -l " + o.long
	if o.short != "" {
		s += " -s " + o.short
	}
	switch {
	case o.values != nil:
		s += " -x -a " + quote(strings.Join(o.values, " "))
	case o.files:
		s += " -r"
	case o.arg != "":
		s += " -x"
	}
	return s + " -d " + quote(o.usage)
}

// quote quotes s for any of the shells: the texts have neither quotes nor backslashes of their own, and an apostrophe
// becomes a typographic one.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "’") + "'" }
