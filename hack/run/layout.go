package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// layout says where in the run's folder things are. That folder is the user's
// choice, and only what is listed here is ever removed from it.
type layout struct{ dir string }

// What outlives a run: the programs, the folder for PATH with links to two of them, the
// development CA, and the last run's logs.

func (l layout) program(name string) string { return filepath.Join(l.dir, "programs", name) }
func (l layout) bin(name string) string     { return filepath.Join(l.dir, "bin", name) }
func (l layout) ca(name string) string      { return filepath.Join(l.dir, "ca", name) }
func (l layout) log(name string) string     { return filepath.Join(l.dir, "logs", name) }

// What ends with a run: the control plane's data and all access to it.

func (l layout) controlPlane() string       { return filepath.Join(l.dir, "controlplane") }
func (l layout) access(name string) string  { return filepath.Join(l.dir, "access", name) }
func (l layout) serving(name string) string { return filepath.Join(l.dir, "serving", name) }
func (l layout) samples(name string) string { return filepath.Join(l.dir, "samples", name) }
func (l layout) kubeconfig() string         { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) memberKubeconfig() string   { return filepath.Join(l.dir, memberName+".kubeconfig") }
func (l layout) summary() string            { return filepath.Join(l.dir, "summary.json") }

// prepare makes the folders, without what an earlier run left in them.
func (l layout) prepare() error {
	if err := errors.Join(l.clean(), os.RemoveAll(l.log(""))); err != nil {
		return err
	}
	for _, folder := range []string{
		l.program(""), l.bin(""), l.ca(""), l.log(""), l.controlPlane(), l.access(""), l.serving(""), l.samples(""),
	} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("make a folder for the run (RUN_DIR chooses another place): %w", err)
		}
	}
	return nil
}

// clean removes what ends with a run.
func (l layout) clean() error {
	var errs []error
	for _, path := range []string{
		l.controlPlane(), l.access(""), l.serving(""), l.samples(""),
		l.kubeconfig(), l.memberKubeconfig(), l.summary(),
	} {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// writeFile replaces the file as a whole: a reader, or a run that is interrupted,
// never leaves or sees half of one.
func writeFile(file string, content []byte, mode os.FileMode) error {
	partial := file + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(partial, content, mode); err != nil {
		return err
	}
	return os.Rename(partial, file)
}
