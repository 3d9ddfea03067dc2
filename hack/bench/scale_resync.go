package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// resync kills the kube-apiserver, makes a change that no watch will ever tell, since
// history is forgotten too, starts it again, and measures until the replica knows:
// only by reading everything anew it can.
func (s *scaling) resync(ctx context.Context) (err error) {
	if err := s.stopManager(); err != nil {
		return err
	}
	server, err := s.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	mold, err := s.newMold(ctx)
	if err != nil {
		return err
	}
	before, _ := memoryOf(server.pid())
	cpu := startCPUMeter([]int{server.pid()})
	calls := startProber(ctx, time.Millisecond, customers(server.address, s.others))
	down := time.Now()
	revive, err := s.killKubeAPIServer()
	if err != nil {
		return err
	}
	unseen, err := s.castOne(ctx, mold, benchTenant, "unseen")
	if err != nil {
		return err
	}
	if err := errors.Join(s.etcd.compact(ctx), revive(ctx)); err != nil {
		return err
	}
	up := time.Now()
	e, err := newEffects(ctx, s.cluster, server.address)
	if err != nil {
		return err
	}
	defer e.close()
	if err := e.followFor(ctx, startLimit, effectRecord, unseen, true); err != nil {
		return err
	}
	took := time.Since(up)
	sleep(ctx, s.settle)
	calls.stop()
	after, _ := memoryOf(server.pid())
	used, _ := cpu.used()
	sent, err := s.initialEvents(ctx)
	if err != nil {
		return err
	}
	t := &table{Section: partResync, Title: fmt.Sprintf("the kube-apiserver is killed, history forgotten, and everything read anew, %d tokens", len(s.issued)), Columns: []string{"what", "figure", "unit"}}
	t.add(text("the kube-apiserver was away"), number("%.1f", up.Sub(down).Seconds()), text("s"))
	t.add(text("from its readiness until a change is known that no watch told"), number("%.1f", took.Seconds()), text("s"))
	t.add(text("the replica's CPU time for it, and for the requests meanwhile"), number("%.1f", used.Seconds()), text("s"))
	t.add(text("the replica's peak RSS before and after"), text(mebibytes(float64(before.peak)).text+" → "+mebibytes(float64(after.peak)).text), text("MiB"))
	t.add(text("objects that the kube-apiserver sent as first lists"), number("%.0f", sent), text(""))
	t.note("Meanwhile %d requests with tokens of all tenants were answered, %d of them wrongly.", calls.asked, calls.failed)
	if sent < float64(2*s.total) {
		return errors.Join(s.report.show(t), fmt.Errorf("the kube-apiserver sent %.0f objects in first lists, which is not all: nothing was read anew", sent))
	}
	return s.report.show(t)
}

// initialEvents is how many objects the kube-apiserver has sent since its start to
// those whose watch began anew.
func (s *scaling) initialEvents(ctx context.Context) (sum float64, err error) {
	c, err := rest.HTTPClientFor(s.plane.Config)
	if err != nil {
		return 0, err
	}
	samples, err := scrape(ctx, c, strings.TrimSuffix(s.plane.Config.Host, "/")+"/metrics", "apiserver_init_events_total")
	for _, sample := range samples {
		sum += sample.value
	}
	return sum, err
}

// killKubeAPIServer kills it. revive starts it as it was, and waits until it is ready.
func (s *scaling) killKubeAPIServer() (revive func(context.Context) error, err error) {
	pid, command, err := programOf("kube-apiserver")
	if err != nil {
		return nil, err
	}
	running, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	if err := running.Kill(); err != nil {
		return nil, fmt.Errorf("kill the kube-apiserver: %w", err)
	}
	return func(ctx context.Context) error {
		// Its port is free once its last thread has ended and its parent knows.
		for deadline := time.Now().Add(stopGrace); time.Now().Before(deadline) && syscall.Kill(pid, 0) == nil; {
			sleep(ctx, 10*time.Millisecond)
		}
		again, err := process.Start(process.Command{Path: command[0], Args: command[1:], LogFile: s.log("kube-apiserver-again")})
		if err != nil {
			return err
		}
		s.onStop(again.Kill) // asked to end, it would wait for all that watch
		return (&child{Process: again}).await(ctx, 20*time.Millisecond, func() error { return s.answers(ctx, "/readyz") })
	}, nil
}

// programOf finds a process that this one started, by the name of its program.
func programOf(name string) (pid int, command []string, err error) {
	for _, pid := range descendants(os.Getpid()) {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		command := strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")
		if filepath.Base(command[0]) == name {
			return pid, command, nil
		}
	}
	return 0, nil, fmt.Errorf("no %s runs below this process", name)
}

// answers says whether the kube-apiserver answers a path with 200.
func (s *scaling) answers(ctx context.Context, path string) error {
	c, err := rest.HTTPClientFor(s.plane.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.plane.Config.Host, "/")+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return nil
}
