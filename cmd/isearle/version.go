package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"
)

const versionHelp = `Print the version of the program.

Usage:
  isearle version

Examples:
  isearle version
  isearle version --json | jq -r .version
`

// version is set by the linker: -X main.version=...
var version = ""

type versionCommand struct{}

func (*versionCommand) flags(*pflag.FlagSet) {}

func (*versionCommand) run(_ context.Context, s *session, args []string) error {
	if len(args) > 0 {
		return usagef("version takes no arguments")
	}
	v := programVersion()
	if s.common.json {
		return json.NewEncoder(s.out).Encode(map[string]string{
			"version": v, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	_, err := fmt.Fprintf(s.out, "isearle %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// programVersion is what the linker was told, or what the module's files say.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}
