package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lock is held by the one run that uses a folder. The kernel lets go of it with
// the process, however that ends.
type lock struct{ file *os.File }

// acquireLock takes the lock of the folder, or tells who has it.
func acquireLock(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for the run (RUN_DIR chooses another place): %w", err)
	}
	path := filepath.Join(dir, "lock")
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the folder of the run (RUN_DIR chooses another place): %w", err)
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return nil, errors.Join(lockError(file, err), file.Close())
		}
		// The run that had the lock removes the file as it ends. One that was
		// opened before and locked after that locks nobody out.
		if !isFileAt(file, path) {
			_ = file.Close()
			continue
		}
		l := &lock{file}
		if err := l.sign(); err != nil {
			return nil, errors.Join(err, l.release())
		}
		return l, nil
	}
}

func lockError(file *os.File, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock %s (RUN_DIR chooses another place): %w", file.Name(), err)
	}
	holder := "PID"
	if content, err := io.ReadAll(file); err == nil && len(content) > 0 {
		holder = strings.TrimSpace(string(content))
	}
	return fmt.Errorf("another `make run` is at work in %s, as process %s. Stop it with Ctrl-C in its terminal, or with: kill %s\n"+
		"To have a second one beside it, give this one ports and a folder of its own: make run HTTP_PORT=0 HTTPS_PORT=0 RUN_DIR=$(mktemp -d)",
		filepath.Dir(file.Name()), holder, holder)
}

func isFileAt(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	present, err := os.Stat(path)
	return err == nil && os.SameFile(opened, present)
}

// sign writes who has the lock.
func (l *lock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func (l *lock) release() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}
