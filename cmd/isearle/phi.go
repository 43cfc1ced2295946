package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"isearle/phi"
)

const phiInfoHelp = `Tell what a textual inversion network is, and how it was trained.

Usage:
  isearle phi info [flags] FILE...

FILE is a network in safetensors, or the official checkpoint. Its metadata names the model it belongs to.

Examples:
  isearle phi info phi.safetensors
  isearle phi info --json SEARLE_ViT-B32.pt
`

type phiInfoCommand struct{}

func (*phiInfoCommand) flags(*pflag.FlagSet) {}

func (*phiInfoCommand) run(_ context.Context, s *session, args []string) error {
	if len(args) == 0 {
		return usagef("no files")
	}
	failed := false
	for _, path := range args {
		n, err := phi.Open(path)
		if err != nil {
			failed = true
			s.fail(err)
			continue
		}
		if err := s.tell(newPhiInfo(path, n)); err != nil {
			return err
		}
	}
	if failed {
		return errInputs
	}
	return nil
}

// phiInfo is what can be said about a phi.
type phiInfo struct {
	Path       string            `json:"path"`
	Arch       string            `json:"arch"`
	Activation string            `json:"activation"`
	In         int               `json:"in"`
	Out        int               `json:"out"`
	Hidden     int               `json:"hidden"`
	Layers     int               `json:"layers"`
	Parameters int               `json:"parameters"`
	Meta       map[string]string `json:"metadata,omitempty"`
}

func newPhiInfo(path string, n *phi.Network) phiInfo {
	p := phiInfo{Path: path, Arch: n.Arch.String(), Activation: n.Act.String(), In: n.In(), Out: n.Out(), Hidden: n.Layers[0].Out,
		Layers: len(n.Layers), Meta: n.Meta}
	for _, l := range n.Layers {
		p.Parameters += len(l.W) + len(l.B)
	}
	return p
}

func (p phiInfo) String() string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", key, fmt.Sprintf(format, args...))
	}
	line("phi", "%s", p.Path)
	line("network", "%s of %d layers, hidden %d, %s, from features of %d to pseudo-words of %d: %d parameters",
		p.Arch, p.Layers, p.Hidden, p.Activation, p.In, p.Out, p.Parameters)
	for _, k := range slices.Sorted(maps.Keys(p.Meta)) {
		if k != phi.MetaArch && k != "in" && k != "out" {
			line(k, "%s", p.Meta[k])
		}
	}
	return b.String()
}
