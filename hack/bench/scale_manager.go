package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
)

// restarts measures for how long nothing is issued when the manager ends, and that
// nobody who calls the API notices.
func (s *scaling) restarts(ctx context.Context) (err error) {
	server, err := s.startAPIServer(ctx, anyCore, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if err := s.stopManager(); err != nil {
		return err
	}
	s.elect = true
	defer func() { s.elect = false }()
	started := time.Now()
	if err := s.startManager(ctx); err != nil {
		return err
	}
	idle := time.Since(started)
	calls := startProber(ctx, time.Millisecond, customers(server.address, s.others))
	t := &table{
		Section: partManager, Title: fmt.Sprintf("a manager ends and another takes over, %d tokens", len(s.issued)),
		Columns: []string{"how", "s until another leads", "s until a token asked for then works"},
	}
	for _, way := range []struct {
		name    string
		standby bool
		end     func(*manager) error
	}{
		{"ended in order, another started then", false, func(m *manager) error { return m.stop() }},
		{"killed, another started then", false, func(m *manager) error { return m.Kill() }},
		{"killed, another stands by", true, func(m *manager) error { return m.Kill() }},
	} {
		leads, works, err := s.replaceManager(ctx, server.address, way.standby, way.end)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		t.add(text(way.name), number("%.1f", leads.Seconds()), number("%.1f", works.Seconds()))
	}
	calls.stop()
	used, _ := memoryOf(s.manager.pid())
	t.note("Meanwhile %d requests with tokens of all tenants were answered, %d of them wrongly.", calls.asked, calls.failed)
	t.note("A manager had looked at every object %.1f s after its start. RSS %s MiB, at its peak %s MiB.", idle.Seconds(), mebibytes(float64(used.resident)).text, mebibytes(float64(used.peak)).text)
	return errors.Join(s.report.show(t), s.stopManager())
}

// replaceManager ends the manager, asks for a token, and returns how long it takes until
// another leads and until the token works. One that stands by has read everything before.
func (s *scaling) replaceManager(ctx context.Context, address string, standby bool, end func(*manager) error) (leads, works time.Duration, err error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	old := s.manager
	if standby {
		if s.manager, err = s.launchManager(ctx); err != nil {
			return 0, 0, err
		}
	}
	started := time.Now()
	if err := end(old); err != nil {
		return 0, 0, err
	}
	issued, object, err := newApiToken(benchTenant, fmt.Sprintf("restart-%d", started.UnixNano()))
	if err != nil {
		return 0, 0, err
	}
	if err := s.client.Create(ctx, object); err != nil {
		return 0, 0, err
	}
	if !standby {
		if s.manager, err = s.beginManager(ctx); err != nil {
			return 0, 0, err
		}
	}
	if err := s.awaitAnother(ctx, leader); err != nil {
		return 0, 0, err
	}
	leads = time.Since(started)
	if err := s.awaitWorks(ctx, address, issued); err != nil {
		return 0, 0, err
	}
	works = time.Since(started)
	return leads, works, errors.Join(s.client.Delete(ctx, object), s.manager.idle(ctx, len(s.issued)))
}

// awaitWorks waits until a token works. It asks now and then: to ask all the time would
// leave the manager little of the machine.
func (s *scaling) awaitWorks(ctx context.Context, address string, issued issuedToken) error {
	conn, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(startLimit))
	question := issued.request("/api/v1/token")
	return s.manager.await(ctx, 50*time.Millisecond, func() error {
		a, err := conn.exchange(question)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("a token that was asked for is answered %d", a.status)
		}
		return err
	})
}

// awaitAnother waits until another manager leads.
func (s *scaling) awaitAnother(ctx context.Context, before string) error {
	return s.manager.await(ctx, 20*time.Millisecond, func() error {
		now, err := s.leader(ctx)
		if err == nil && (now == before || now == "") {
			return fmt.Errorf("%q leads still", before)
		}
		return err
	})
}

// leader is the manager that has the Lease.
func (s *scaling) leader(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	err := s.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: controllers.LeaseName}, lease)
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}
