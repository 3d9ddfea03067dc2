//go:build unix

package proxy

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// readNow reads from a socket that never blocks. It is always done: it never waits.
func (w *wire) readNow(fd uintptr) (done bool) {
	for {
		n, err := syscall.Read(int(fd), w.buffer)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			w.failed = os.ErrDeadlineExceeded
		case err != nil:
			w.failed = os.NewSyscallError("read", err)
		case n == 0:
			w.failed = io.EOF
		default:
			w.read = n
		}
		return true
	}
}
