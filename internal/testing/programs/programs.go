// Package programs finds and builds the programs that `make run` and the tests start:
// Latchkey's own, and the parts of a Kubernetes control plane.
//
// It imports the standard library only. `make run` compiles it before everything else, so
// that it can report the progress of the rest.
package programs

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

//go:embed flags.txt
var flagsText string

// Flags are the flags of every `go build` for this machine. Where they differ, Go compiles
// the packages that the control plane and Latchkey have in common twice. Debug information
// would cost a sixth of the time, and nobody debugs these programs.
func Flags() []string { return strings.Fields(flagsText) }

// Environment is added to the environment of every `go build`, for the same reason. CGO is
// off, as in the images. The compiler collects less garbage than it would by itself, which
// takes a tenth less time: each package has a compiler of its own, and few of them grow
// large. Whoever sets GOGC or GOMEMLIMIT knows better.
func Environment() []string {
	environment := []string{"CGO_ENABLED=0", "GOWORK=off"}
	for name, value := range map[string]string{"GOGC": "400", "GOMEMLIMIT": "2GiB"} {
		if os.Getenv(name) == "" {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}

const modulePath = "github.com/latchkey-dev/latchkey"

var findRoot = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return rootAbove(dir)
})

// atStart finds the root before a test changes the working directory.
var _, _ = findRoot()

// Root is the root of the checkout that the working directory of this process was in when
// it started. Tests start in the folder of their package.
func Root() string {
	root, err := findRoot()
	if err != nil {
		panic(err)
	}
	return root
}

// CheckRoot reports why Root would panic.
func CheckRoot() error {
	_, err := findRoot()
	return err
}

func rootAbove(start string) (string, error) {
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if first, _, _ := strings.Cut(string(content), "\n"); strings.TrimSpace(first) == "module "+modulePath {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not within a checkout of %s: change to the folder with its Makefile", start, modulePath)
		}
	}
}
