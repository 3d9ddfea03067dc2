package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

func TestStartWritesTheLog(t *testing.T) {
	c := start(t, "prints")
	c.mustEnd(t)
	if got := read(t, c.log); got != "to stdout\nto stderr" {
		t.Errorf("log = %q", got)
	}
	info, err := os.Stat(c.log)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; logs are nobody else's business", info.Mode(), err)
	}
}

func TestStartPassesArgumentsAndEnvironment(t *testing.T) {
	t.Setenv("INHERITED", "from the parent")
	log := filepath.Join(t.TempDir(), "log")
	p, err := process.Start(process.Command{
		Path: "/bin/sh", Args: []string{"-c", `echo "$1, $ADDED, $INHERITED"`, "sh", "an argument"},
		Env: []string{"ADDED=added"}, LogFile: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	child{Process: p}.mustEnd(t)
	if got := read(t, log); got != "an argument, added, from the parent" {
		t.Errorf("log = %q", got)
	}
}

func TestStartTruncatesTheLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for _, text := range []string{"a long line of the first run", "short"} {
		p, err := process.Start(process.Command{Path: "/bin/echo", Args: []string{text}, LogFile: log})
		if err != nil {
			t.Fatal(err)
		}
		child{Process: p}.mustEnd(t)
	}
	if got := read(t, log); got != "short" {
		t.Errorf("log = %q", got)
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("not executable"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		command process.Command
		says    string
		is      error
	}{
		"missing binary":   {process.Command{Path: filepath.Join(dir, "etcd"), LogFile: filepath.Join(dir, "log")}, "start etcd", os.ErrNotExist},
		"not executable":   {process.Command{Path: script, LogFile: filepath.Join(dir, "log")}, "start script", os.ErrPermission},
		"no folder of log": {process.Command{Path: "/bin/true", LogFile: filepath.Join(dir, "none", "log")}, "log file of true", os.ErrNotExist},
		"log is a folder":  {process.Command{Path: "/bin/true", LogFile: dir}, "log file of true", syscall.EISDIR},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := process.Start(c.command)
			if p != nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Start = %v, %v; want an error that says %q", p, err, c.says)
			}
		})
	}
}

// An interrupt at the terminal reaches a process group: the child has its own.
func TestChildHasItsOwnProcessGroup(t *testing.T) {
	c := startReady(t, "waits")
	group, err := syscall.Getpgid(c.PID())
	if err != nil || group != c.PID() || group == syscall.Getpgrp() {
		t.Errorf("group = %d, %v; the child is %d, this process's group %d", group, err, c.PID(), syscall.Getpgrp())
	}
}

func TestStopLetsTheChildCleanUp(t *testing.T) {
	c := startReady(t, "polite")
	if c.hasEnded() {
		t.Fatal("the child ended before it was stopped")
	}
	if err := c.Stop(limit); err != nil {
		t.Fatal(err)
	}
	if !c.hasEnded() {
		t.Error("Stop did not wait for the end")
	}
	if got := read(t, c.log); got != "bye" {
		t.Errorf("log = %q", got)
	}
}

func TestStopEndsAChildThatHandlesNoSignals(t *testing.T) {
	c := startReady(t, "waits")
	if err := c.Stop(limit); err != nil {
		t.Fatal(err)
	}
	if !c.hasEnded() || !strings.Contains(c.Err().Error(), "signal: terminated") {
		t.Errorf("ended: %t, err: %v", c.hasEnded(), c.Err())
	}
}

func TestStopKillsAChildThatIgnoresSIGTERM(t *testing.T) {
	c := startReady(t, "stubborn")
	const grace = 50 * time.Millisecond
	before := time.Now()
	err := c.Stop(grace)
	if err == nil || !strings.HasSuffix(err.Error(), "did not end within 50ms of SIGTERM and was killed") {
		t.Errorf("err = %v", err)
	}
	if waited := time.Since(before); waited < grace {
		t.Errorf("it was killed after %s already", waited)
	}
	if !c.hasEnded() || !strings.Contains(c.Err().Error(), "signal: killed") {
		t.Errorf("ended: %t, err: %v", c.hasEnded(), c.Err())
	}
}

func TestStoppingTwiceDoesNothing(t *testing.T) {
	c := startReady(t, "polite")
	for range 2 {
		if err := c.Stop(limit); err != nil {
			t.Error(err)
		}
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
}

func TestStoppingWhatEndedByItselfDoesNothing(t *testing.T) {
	c := start(t, "fails")
	c.mustEnd(t)
	if err := c.Stop(0); err != nil {
		t.Error(err)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
}

func TestKillWaits(t *testing.T) {
	c := startReady(t, "stubborn")
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if !c.hasEnded() {
		t.Error("Kill did not wait for the end")
	}
	if err := syscall.Kill(c.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child is still there: %v", err)
	}
}

// Whoever waits for Done may call Err from any goroutine.
func TestErrTellsHowItEnded(t *testing.T) {
	c := start(t, "fails")
	c.mustEnd(t)
	text := c.Err().Error()
	want := filepath.Base(os.Args[0]) + " ended by itself (exit status 3); its log " + c.log + " ends with:\nline 3\nline 4\n"
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\nline 12") {
		t.Errorf("Err = %s", text)
	}
	c = start(t, "prints")
	c.mustEnd(t)
	if text := c.Err().Error(); !strings.Contains(text, "(exit status 0)") || !strings.HasSuffix(text, "\nto stdout\nto stderr") {
		t.Errorf("Err = %s", text)
	}
}

func TestErrWithoutItsLog(t *testing.T) {
	c := start(t, "fails")
	c.mustEnd(t)
	if err := os.Remove(c.log); err != nil {
		t.Fatal(err)
	}
	if text := c.Err().Error(); !strings.Contains(text, "exit status 3") || !strings.Contains(text, "no such file") {
		t.Errorf("Err = %s", text)
	}
}

func TestTail(t *testing.T) {
	cases := map[string]struct {
		content string
		lines   int
		want    string
	}{
		"empty":             {"", 10, ""},
		"fewer":             {"a\nb\n", 10, "a\nb"},
		"as many":           {"a\nb\n", 2, "a\nb"},
		"more":              {"a\nb\nc\n", 2, "b\nc"},
		"no last newline":   {"a\nb", 1, "b"},
		"empty lines after": {"a\nb\n\n\n", 1, "b"},
		"none":              {"a\n", 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := process.Tail(file, c.lines); got != c.want {
				t.Errorf("Tail = %q, want %q", got, c.want)
			}
		})
	}
}
