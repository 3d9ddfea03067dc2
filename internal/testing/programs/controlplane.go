package programs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// plane is the control plane of hack/controlplane, as it is on this machine.
type plane struct {
	source     string
	kubernetes version
	candidates []candidate
	finder     finder
	// cache keeps what was built from all checkouts, and dir is the folder of this one.
	cache, dir string
}

func findPlane() (*plane, error) {
	p := &plane{source: filepath.Join(Root(), "hack", "controlplane")}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a folder for the control plane's programs: %w: set HOME or XDG_CACHE_HOME", err)
	}
	p.cache = filepath.Join(user, "latchkey", "controlplane")
	resolved := p.cache
	if r, err := filepath.EvalSymlinks(p.cache); err == nil {
		resolved = r
	}
	if p.kubernetes, err = pinnedKubernetes(filepath.Join(p.source, "go.mod")); err != nil {
		return nil, err
	}
	p.finder = finder{kubernetes: p.kubernetes, ownCache: resolved, getenv: os.Getenv}
	p.candidates = p.finder.candidates()
	key, err := p.key()
	p.dir = filepath.Join(p.cache, key)
	return p, err
}

var pinned = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)$`)

// pinnedKubernetes is the version of Kubernetes in a go.mod file.
func pinnedKubernetes(file string) (version, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return version{}, err
	}
	match := pinned.FindSubmatch(content)
	if match == nil {
		return version{}, fmt.Errorf("%s does not require k8s.io/kubernetes", file)
	}
	return parseVersion(string(match[1]))
}

// key is a name for all that decides what is in the folder: the source, the flags, the
// version of Go, and the binaries that may serve instead of some parts.
func (p *plane) key() (string, error) {
	hash := sha256.New()
	_, _ = fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, Flags())
	for _, c := range p.candidates {
		info, err := os.Stat(c.path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(hash, c.part.name, c.path, info.Size(), info.ModTime().UnixNano())
	}
	source := os.DirFS(p.source)
	err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(source, path)
		_, _ = fmt.Fprintln(hash, path, len(content))
		_, _ = hash.Write(content)
		return err
	})
	return fmt.Sprintf("%x", hash.Sum(nil)[:8]), err
}

// complete reports whether the folder has every part.
func complete(dir string) bool {
	return !slices.ContainsFunc(parts, func(p part) bool {
		info, err := os.Stat(filepath.Join(dir, p.name))
		return err != nil || info.Mode()&0o111 == 0
	})
}

// lock has one process at a time build the control plane. Another one waits for it.
func (p *plane) lock(report *Report) (unlock func(), err error) {
	if err := os.MkdirAll(p.cache, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the control plane's programs: %w: make it writable, or set XDG_CACHE_HOME to another place", err)
	}
	file, err := os.OpenFile(filepath.Join(p.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of the control plane's programs: %w: make it writable, or set XDG_CACHE_HOME to another place", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		report.Say("  Waiting for another build of the control plane …")
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return func() { _ = file.Close() }, nil // the kernel lets go of the lock with the file
}

// target returns the build of the missing parts, into a folder beside the final one.
func (p *plane) target(chosen map[string]candidate) (*target, error) {
	partial, err := os.MkdirTemp(p.cache, ".partial-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the control plane's programs: %w", err)
	}
	var names, tags []string
	for _, part := range parts {
		if _, ok := chosen[part.name]; ok {
			tags = append(tags, "without_"+strings.ReplaceAll(part.name, "-", "_"))
		} else {
			names = append(names, part.name)
		}
	}
	const importPath, stamp = modulePath + "/hack/controlplane", "k8s.io/component-base/version"
	v := p.kubernetes
	return &target{
		name: strings.Join(names, ", "), dir: p.source, packages: []string{"."}, tags: tags,
		output: filepath.Join(partial, "controlplane"),
		parts: []namedPackage{
			{importPath + "/etcd", "etcd"},
			{importPath + "/kubeapiserver", "kube-apiserver"},
			{importPath + "/kubecontrollers", "kube-controllers"},
			{importPath + "/kubectl", "kubectl"},
			{importPath, "the control plane"},
		},
		linkerFlags: fmt.Sprintf(" -X %s.gitVersion=%s -X %s.gitMajor=%d -X %s.gitMinor=%d -X %s.gitTreeState=clean",
			stamp, v, stamp, v[0], stamp, v[1], stamp),
	}, nil
}

// finish links the parts to where they are, and gives the folder its name.
func (p *plane) finish(t *target, chosen map[string]candidate) error {
	partial := filepath.Dir(t.output)
	for _, part := range parts {
		to := filepath.Base(t.output)
		if c, ok := chosen[part.name]; ok {
			to = c.path
		}
		if err := os.Symlink(to, filepath.Join(partial, part.name)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(p.dir); err != nil { // it lacks a program that was removed
		return err
	}
	return os.Rename(partial, p.dir)
}

// fromAssets returns the folder in KUBEBUILDER_ASSETS if it is one that this package made:
// a test that was started with it needs no other.
func fromAssets() (string, bool) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	return dir, dir != "" && complete(dir)
}

// discard removes what a build that failed left. What is finished has another name by then.
func (p *plane) discard(t *target) { _ = os.RemoveAll(filepath.Dir(t.output)) }
