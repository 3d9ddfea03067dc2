//go:build unix

package controlplane

import (
	"errors"
	"os"
	"syscall"
)

// lock waits until no other process holds the lock of a file, and takes it. The kernel
// releases it when this process ends.
func lock(file string) (unlock func(), err error) {
	held, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(held.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: file, Err: err}, held.Close())
	}
	return func() { _ = held.Close() }, nil
}
