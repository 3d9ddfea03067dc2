package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first, err := acquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = acquireLock(dir)
	if want := fmt.Sprintf("kill %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second run got %v; want an error with %q", err, want)
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	again, err := acquireLock(dir)
	if err != nil {
		t.Fatalf("after the first run: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}

func TestLockOfARunThatWasKilled(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("1234567890\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := acquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "lock"))
	if want := fmt.Sprintln(os.Getpid()); err != nil || string(content) != want {
		t.Errorf("the lock says %q, %v; want %q", content, err, want)
	}
	if err := lock.release(); err != nil {
		t.Error(err)
	}
}

func TestLockFileThatWasReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	opened, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if !isFileAt(opened, path) {
		t.Error("the file that was opened is not taken for the one at its path")
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if isFileAt(opened, path) {
		t.Error("a removed file is taken for the one at its path")
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}
