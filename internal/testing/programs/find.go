package programs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// part is a program of the control plane.
type part struct {
	name string
	// versionArgs have it print its version.
	versionArgs []string
	// fits reports whether a binary of the version works with the rest, which is of the
	// Kubernetes version that hack/controlplane pins.
	fits func(v, kubernetes version) bool
	// assets reports the same of a binary that KUBEBUILDER_ASSETS names. Whoever sets it
	// may want another version of Kubernetes.
	assets func(v version) bool
	// inPath says that a binary in PATH is as good.
	inPath bool
}

// oldest is the oldest version of Kubernetes that Latchkey works with.
var oldest = version{1, 32, 0}

var parts = []part{
	{
		name: "etcd", versionArgs: []string{"--version"},
		fits:   func(v, _ version) bool { return v.atLeast(version{3, 6, 0}) },
		assets: func(v version) bool { return v.atLeast(version{3, 5, 0}) },
	},
	{
		name: "kube-apiserver", versionArgs: []string{"--version"},
		fits:   func(v, kubernetes version) bool { return v.skew(kubernetes) == 0 },
		assets: func(v version) bool { return v.atLeast(oldest) },
	},
	{name: "kube-controllers"}, // ours: nobody else has it
	{
		name: "kubectl", versionArgs: []string{"version", "--client"},
		// Kubernetes supports a kubectl that is one minor version older or newer.
		fits:   func(v, kubernetes version) bool { return v.skew(kubernetes) <= 1 },
		assets: func(v version) bool { return v.atLeast(oldest) },
		inPath: true,
	},
}

// candidate is a binary that may serve as a part.
type candidate struct {
	part part
	path string
	// source names the place where it was found.
	source string
	// chosen says that it is in KUBEBUILDER_ASSETS.
	chosen bool
}

// finder looks for binaries on this machine.
type finder struct {
	kubernetes version
	// ownCache is where our own builds are kept. A link to one of them in PATH is not an
	// installed kubectl.
	ownCache string
	getenv   func(string) string
}

// candidates lists the binaries that may serve as a part, the first choice first. It only
// looks at names: candidates are tried once, when the control plane is built.
func (f finder) candidates() []candidate {
	var found []candidate
	for _, p := range parts {
		if assets := f.getenv("KUBEBUILDER_ASSETS"); filepath.IsAbs(assets) {
			found = f.add(found, candidate{p, filepath.Join(assets, p.name), "KUBEBUILDER_ASSETS", true})
		}
		if p.fits == nil {
			continue
		}
		for _, dir := range f.envtestDirs() {
			found = f.add(found, candidate{p, filepath.Join(dir, p.name), "setup-envtest's folder", false})
		}
		for _, dir := range filepath.SplitList(f.getenv("PATH")) {
			if p.inPath && filepath.IsAbs(dir) {
				found = f.add(found, candidate{p, filepath.Join(dir, p.name), "PATH", false})
			}
		}
	}
	return found
}

// add adds the candidate if it is a program, and not one that was found before by another
// path.
func (f finder) add(found []candidate, c candidate) []candidate {
	resolved, err := filepath.EvalSymlinks(c.path)
	if err != nil || strings.HasPrefix(resolved, f.ownCache+string(filepath.Separator)) && !c.chosen {
		return found
	}
	info, err := os.Stat(resolved)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return found
	}
	for _, earlier := range found {
		if known, err := os.Stat(earlier.path); err == nil && earlier.part.name == c.part.name && os.SameFile(known, info) {
			return found
		}
	}
	c.path = follow(c.path)
	return append(found, c)
}

// follow follows links as long as they have the name of the program: make run links to the
// kubectl in PATH from a folder that a user puts into PATH, and must not link to its own
// link. Some programs are another one by their name only, so that a link to them matters.
func follow(path string) string {
	for {
		next, err := os.Readlink(path)
		if err != nil || filepath.Base(next) != filepath.Base(path) {
			return path
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		path = next
	}
}

// envtestDirs are the folders of setup-envtest with a fitting version, the latest first.
func (f finder) envtestDirs() []string {
	store := filepath.Join(f.envtestStore(), "k8s")
	entries, err := os.ReadDir(store)
	if err != nil {
		return nil // it was never used here
	}
	type installed struct {
		version version
		dir     string
	}
	var all []installed
	platform := "-" + runtime.GOOS + "-" + runtime.GOARCH
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), platform)
		v, err := parseVersion(name)
		if ok && err == nil && v.skew(f.kubernetes) == 0 {
			all = append(all, installed{v, filepath.Join(store, entry.Name())})
		}
	}
	slices.SortFunc(all, func(a, b installed) int { return b.version.compare(a.version) })
	dirs := make([]string, 0, len(all))
	for _, one := range all {
		dirs = append(dirs, one.dir)
	}
	return dirs
}

// envtestStore is where setup-envtest keeps binaries unless it is told otherwise.
func (f finder) envtestStore() string {
	home := f.getenv("HOME")
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "io.kubebuilder.envtest")
	}
	return filepath.Join(cmp.Or(f.getenv("XDG_DATA_HOME"), filepath.Join(home, ".local", "share")), "kubebuilder-envtest")
}

// choose picks a binary for each part that has a fitting one. The parts that are left have
// to be built. Binaries that do not fit are reported.
func (f finder) choose(ctx context.Context, candidates []candidate, say func(string, ...any)) map[string]candidate {
	chosen := map[string]candidate{}
	for _, c := range candidates {
		if _, ok := chosen[c.part.name]; ok {
			continue
		}
		if err := f.check(ctx, c); err != nil {
			say("Not using %s from %s: %v", c.part.name, c.source, err)
			continue
		}
		chosen[c.part.name] = c
	}
	return chosen
}

func (f finder) check(ctx context.Context, c candidate) error {
	if c.part.fits == nil {
		return nil
	}
	v, err := versionOf(ctx, c.path, c.part.versionArgs)
	switch {
	case err != nil:
		return err
	case c.chosen && !c.part.assets(v):
		return fmt.Errorf("%s is version %s, which is too old for Latchkey", c.path, v)
	case !c.chosen && !c.part.fits(v, f.kubernetes):
		return fmt.Errorf("%s is version %s, which does not fit Kubernetes %s", c.path, v, f.kubernetes)
	}
	return nil
}

// versionOf asks the program.
func versionOf(ctx context.Context, path string, args []string) (version, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return version{}, fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return parseVersion(string(output))
}

// version is a version of Kubernetes or etcd: major, minor, patch.
type version [3]int

var versionPattern = regexp.MustCompile(`\bv?(\d+)\.(\d+)\.(\d+)`)

// parseVersion returns the first version in the text.
func parseVersion(text string) (v version, err error) {
	match := versionPattern.FindStringSubmatch(text)
	if match == nil {
		return v, fmt.Errorf("no version in %q", text)
	}
	var errs error
	for i, digits := range match[1:] {
		v[i], err = strconv.Atoi(digits)
		errs = errors.Join(errs, err)
	}
	return v, errs
}

func (v version) String() string { return fmt.Sprintf("v%d.%d.%d", v[0], v[1], v[2]) }

func (v version) compare(other version) int { return slices.Compare(v[:], other[:]) }

func (v version) atLeast(other version) bool { return v.compare(other) >= 0 }

// skew is by how many minor versions the two differ. Major versions have nothing in common.
func (v version) skew(other version) int {
	if v[0] != other[0] {
		return 1000
	}
	return max(v[1]-other[1], other[1]-v[1])
}
