package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// terminal is the descriptor of a stream that is a terminal.
func terminal(stream io.Reader) (descriptor int, ok bool) {
	file, ok := stream.(*os.File)
	if !ok {
		return 0, false
	}
	descriptor = int(file.Fd())
	return descriptor, term.IsTerminal(descriptor)
}

// readSecret reads a line from a terminal without showing it.
func readSecret(ctx context.Context, descriptor int) (string, error) {
	state, err := term.GetState(descriptor)
	if err != nil {
		return "", err
	}
	line, err := interruptible(ctx, func() (string, error) {
		secret, err := term.ReadPassword(descriptor)
		return string(secret), err
	})
	if ctx.Err() != nil {
		_ = term.Restore(descriptor, state) // the shell must show what is typed next
	}
	return line, err
}

// readLine reads a line as it was typed, without its end.
func readLine(ctx context.Context, in *bufio.Reader) (string, error) {
	line, err := interruptible(ctx, func() (string, error) { return in.ReadString('\n') })
	return trimNewline(line), err
}

// interruptible reads until the context ends. A read from a terminal can't be
// cancelled: it is left behind, which only a process that is about to end may do.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := read()
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("interrupted: %w", ctx.Err())
	}
}

// trimNewline removes one newline from the end, in the manner of any system.
func trimNewline(s string) string {
	if n := len(s); n > 0 && s[n-1] == '\n' {
		s = s[:n-1]
		if n > 1 && s[n-2] == '\r' {
			s = s[:n-2]
		}
	}
	return s
}
