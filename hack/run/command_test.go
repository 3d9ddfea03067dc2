package main

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	output, err := command{path: "sh", args: []string{"-c", `printf '%s' "$GREETING"`}, env: []string{"GREETING=hello"}}.run(t.Context())
	if err != nil || string(output) != "hello" {
		t.Errorf("got %q, %v", output, err)
	}
}

func TestCommandThatFails(t *testing.T) {
	_, err := command{path: "sh", args: []string{"-c", `x=secret; echo $x$x; echo the reason >&2; exit 3`}}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v; want what it said", err)
	}
	if err != nil && strings.Contains(err.Error(), "secretsecret") {
		t.Errorf("standard output is in the error: %v", err)
	}
}

func TestCommandIsEndedWithItsChildren(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	// The child has our pipe too: run returns only once both have ended.
	_, err := command{path: "sh", args: []string{"-c", "sleep 60 & wait"}}.run(ctx)
	if err == nil || time.Since(started) >= killDelay {
		t.Errorf("after %s: %v; want it ended at once", time.Since(started), err)
	}
}
