package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"isearle/phi"
	"isearle/weights"
	"isearle/weights/safetensors"
)

const convertHelp = `Write a model in another layout, file format or type.

Usage:
  isearle convert [flags] IN OUT

IN is a CLIP in any layout that is read: a directory, a safetensors file or a torch checkpoint; or a phi, the official
SEARLE checkpoint included. OUT ends in .safetensors, or in .pt, .pth or .bin for torch; any other name becomes a
directory as Hugging Face and open_clip have it. A phi is written as safetensors.

The same type means the same bits. Otherwise numbers are rounded to nearest even, and a number beyond the range of the
type is an error.

Examples:
  isearle convert ViT-B-32.pt clip-vit-b-32/ --layout hf
  isearle convert --dtype bf16 clip-vit-l-14/ l14.safetensors
  isearle convert SEARLE_ViT-B32.pt phi.safetensors
`

type convertCommand struct {
	checkpoint    checkpointFlags
	layout, dtype string
}

func (c *convertCommand) flags(fs *pflag.FlagSet) {
	fs.Var(choice{&c.layout, []string{"hf", "openai", "openclip", "openclip-text"}}, "layout", "names of the tensors and kind of configuration (default that of IN)")
	fs.Var(choice{&c.dtype, []string{"f32", "f16", "bf16"}}, "dtype", "type of the numbers (default as in IN)")
	c.checkpoint.flags(fs)
}

func (c *convertCommand) run(_ context.Context, s *session, args []string) error {
	if len(args) != 2 {
		return usagef("convert takes two names, IN and OUT")
	}
	opts, err := c.checkpoint.options()
	if err != nil {
		return err
	}
	m, err := weights.Open(args[0], opts)
	if err != nil {
		return c.convertPhi(args[0], args[1], err)
	}
	defer m.Close()
	for _, a := range m.Assumed {
		s.notef("%s: assumed %s", args[0], a)
	}
	var layout weights.Layout
	if c.layout != "" {
		if layout, err = weights.ParseLayout(c.layout); err != nil {
			return err
		}
	}
	dtype, err := c.numbers(safetensors.Invalid)
	if err != nil {
		return err
	}
	return weights.Write(args[1], m, layout, dtype)
}

// numbers is the type that --dtype names.
func (c *convertCommand) numbers(without safetensors.DType) (safetensors.DType, error) {
	if c.dtype == "" {
		return without, nil
	}
	return safetensors.ParseDType(strings.ToUpper(c.dtype))
}

// convertPhi converts what was not read as a CLIP, for a reason, if it is a phi.
func (c *convertCommand) convertPhi(in, out string, reason error) error {
	n, err := phi.Open(in)
	switch {
	case err != nil && errors.Is(reason, weights.ErrHeads):
		return fmt.Errorf("%w: give --heads", reason)
	case err != nil:
		return reason
	case c.layout != "":
		return usagef("a phi has no --layout")
	case !strings.HasSuffix(out, ".safetensors"):
		return usagef("a phi is written as .safetensors, not as %q", out)
	}
	dtype, err := c.numbers(safetensors.F32)
	if err != nil {
		return err
	}
	return n.SaveAs(out, dtype)
}
