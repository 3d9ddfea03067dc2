package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestProcessOfARun(t *testing.T) {
	files := layout{"/home/me/latchkey/.run"}
	for commandLine, want := range map[string]bool{
		"/cache/etcd --data-dir=/home/me/latchkey/.run/controlplane/etcd":                            true,
		"/cache/kube-apiserver --x --cert-dir=/home/me/latchkey/.run/controlplane/pki":               true,
		"/home/me/latchkey/.run/programs/manager --kubeconfig=/home/me/latchkey/.run/access/x":       true,
		"/cache/etcd --data-dir=/somewhere/home/me/latchkey/.run/controlplane/etcd":                  false,
		"/cache/etcd --data-dir=/home/me/latchkey/.run/second/controlplane/etcd":                     false,
		"/cache/etcd --data-dir=/home/me/latchkey/.run2/controlplane/etcd":                           false,
		"/cache/etcd --data-dir=/home/me/latchkey/.run/controlplane":                                 false,
		"etcd --data-dir=/var/lib/etcd":                                                              false,
		"tail --follow=/home/me/latchkey/.run/controlplane/etcd/log":                                 false,
		"kubectl --kubeconfig=/home/me/latchkey/.run/access/latchkey-manager.kubeconfig get x":       false,
		"/home/me/latchkey/.run/programs/run --dir=/home/me/latchkey/.run":                           false,
		"vim --cmd=/home/me/latchkey/.run/controlplane/etcd /home/me/latchkey/.run/programs/manager": false,
	} {
		executable, _, _ := strings.Cut(commandLine, " ")
		process := processInfo{pid: 1, executable: executable, commandLine: commandLine}
		if got := process.isOf(files); got != want {
			t.Errorf("%s: got %t", commandLine, got)
		}
	}
}

func TestKillPrograms(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	files := layout{t.TempDir()}
	start := func(name, file string) *exec.Cmd {
		cmd := &exec.Cmd{Path: shell, Args: []string{name, "-c", "read line", "-", "--file=" + file}}
		if _, err := cmd.StdinPipe(); err != nil { // nothing comes out of it, so that the shell waits
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	left := start("/cache/etcd", files.controlPlane()+"/etcd")
	stranger := start("/cache/etcd", t.TempDir()+"/etcd")
	ended := make(chan error, 1)
	go func() { ended <- left.Wait() }()

	if err := killPrograms(files); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || left.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the program of the run: %v; want it killed", err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("another program: %v; want it alive", err)
	}
}
