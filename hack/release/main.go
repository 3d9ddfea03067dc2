// Command release makes what is published of a version, into one folder: images,
// archives of the kubectl plugin, SBOMs and checksums. The same commit, version and
// Go give the same bytes on every machine. It needs Go and git, no Docker.
//
//	release images     the manager's and the API server's image, with SBOMs
//	release plugin     the kubectl plugin's archives and krew manifest, with SBOMs
//	release checksums  the SHA-256 of every file made so far
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	root, out, version string
	plugin             pluginOptions
	images             imageOptions
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, *options, *source) error{
		"images":    makeImages,
		"plugin":    makePlugin,
		"checksums": makeChecksums,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("say what to make: images, plugin or checksums")
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	src, err := readSource(ctx, o.root, o.version)
	if err != nil {
		return err
	}
	return commands[args[0]](ctx, o, src)
}

func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("release "+args[0], flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "the folder of the repository")
	flags.StringVar(&o.out, "out", "dist", "the folder to write to")
	flags.StringVar(&o.version, "version", "", "the version, such as v0.1.0 (default: what git describe says)")
	switch args[0] {
	case "images":
		o.images.addFlags(flags)
	case "plugin":
		o.plugin.addFlags(flags)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	return o, nil
}

// platform is an operating system and an architecture, by Go's names.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func parsePlatforms(list string) ([]platform, error) {
	var platforms []platform
	for text := range strings.SplitSeq(list, ",") {
		system, arch, ok := strings.Cut(strings.TrimSpace(text), "/")
		if !ok || system == "" || arch == "" || strings.Contains(arch, "/") {
			return nil, fmt.Errorf("platform %q: must be like linux/amd64", text)
		}
		p := platform{system, arch}
		if slices.Contains(platforms, p) {
			return nil, fmt.Errorf("platform %s is named twice", p)
		}
		platforms = append(platforms, p)
	}
	return platforms, nil
}
