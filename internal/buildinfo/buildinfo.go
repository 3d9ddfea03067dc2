// Package buildinfo says which version a program is.
package buildinfo

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set by a release's build, with
// -ldflags "-X github.com/latchkey-dev/latchkey/internal/buildinfo.version=…".
var version string

// Version is the release, such as v0.1.0, or else what Go knows of the commit, or
// else "development".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

// AddFlag adds --version, which prints the program's name and version and ends it,
// whatever other flags want.
func AddFlag(flags *flag.FlagSet) {
	flags.BoolFunc("version", "print the version and end", func(string) error {
		fmt.Printf("%s %s (%s, %s/%s)\n", flags.Name(), Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		os.Exit(0)
		return nil
	})
}
