package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const megabyte = 1 << 20

// place is a folder that a first build fills.
type place struct {
	// variable names the folder, and chooses another one.
	variable string
	dir      string
	// needs is how many bytes the build puts there.
	needs uint64
}

// What a first build on an empty machine was measured to write, and some more. Go keeps all
// that one call of `go build` compiles in a temporary folder until the call ends.
const (
	modulesNeed   = 800 * megabyte
	buildNeed     = 3000 * megabyte
	temporaryNeed = 2200 * megabyte
	resultNeed    = 300 * megabyte
)

// findPlaces asks Go where it keeps files.
func findPlaces(ctx context.Context, cache string) ([]place, error) {
	output, err := goCommand(ctx, Root(), []string{"env", "-json", "GOMODCACHE", "GOCACHE"}, nil)
	if err != nil {
		return nil, err
	}
	var env map[string]string
	if err := json.Unmarshal(output, &env); err != nil {
		return nil, fmt.Errorf("go env -json: %w", err)
	}
	all := []place{
		{"GOCACHE", env["GOCACHE"], buildNeed},
		{"XDG_CACHE_HOME", cache, resultNeed},
	}
	if kubernetes, err := filepath.Glob(filepath.Join(env["GOMODCACHE"], "k8s.io", "kubernetes@*")); err != nil || len(kubernetes) == 0 {
		all = append(all, place{"GOMODCACHE", env["GOMODCACHE"], modulesNeed})
	}
	return append(all, place{"GOTMPDIR", temporaryDir(), temporaryNeed}), nil
}

// space is the room that a file system has left.
type space struct {
	device uint64
	free   uint64
}

// checkSpace reports whether there is room for all, before minutes are spent on finding out.
// Places on the same file system need their space together.
func checkSpace(all []place, measure func(dir string) (space, error)) error {
	together := map[uint64][]place{}
	free := map[uint64]uint64{}
	var devices []uint64
	for _, p := range all {
		s, err := measure(p.dir)
		if err != nil {
			return fmt.Errorf("find out how much space is left in %s (%s): %w", p.dir, p.variable, err)
		}
		if _, ok := together[s.device]; !ok {
			devices = append(devices, s.device)
		}
		together[s.device], free[s.device] = append(together[s.device], p), s.free
	}
	var errs []error
	for _, device := range devices {
		errs = append(errs, roomFor(together[device], free[device]))
	}
	return errors.Join(errs...)
}

func roomFor(all []place, free uint64) error {
	var needs uint64
	var names, variables []string
	for _, p := range all {
		needs += p.needs
		names = append(names, fmt.Sprintf("%s (%s)", p.dir, p.variable))
		variables = append(variables, p.variable)
	}
	if free >= needs {
		return nil
	}
	return fmt.Errorf("too little disk space: the first build needs %.1f GB in %s, and %.1f GB are free. Free some, or choose another disk with %s",
		gigabytes(needs), strings.Join(names, " and "), gigabytes(free), strings.Join(variables, ", "))
}

func gigabytes(bytes uint64) float64 { return float64(bytes) / (1000 * 1000 * 1000) }

// measureSpace looks at the folder, or at the one above it where it does not exist yet.
func measureSpace(dir string) (space, error) {
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return space{}, err
		}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			return space{}, err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return space{}, fmt.Errorf("no device of %s", dir)
		}
		//nolint:unconvert // the types differ between systems
		return space{device: uint64(stat.Dev), free: uint64(fs.Bavail) * uint64(fs.Bsize)}, nil
	}
}
