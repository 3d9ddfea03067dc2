package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestInterruptible(t *testing.T) {
	hurried := make(chan struct{}, 1)
	ctx, stop := interruptible(t.Context(), func() { hurried <- struct{}{} })
	defer stop()
	for _, number := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGTERM} {
		if err := syscall.Kill(os.Getpid(), number); err != nil {
			t.Fatal(err)
		}
	}
	<-ctx.Done()
	signal, ok := errors.AsType[*interrupted](context.Cause(ctx))
	if !ok || signal.exitCode() != 143 {
		t.Errorf("the context ended because of %v; want SIGTERM, exit code 143", context.Cause(ctx))
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-hurried
}
