package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

const (
	// serverStopTimeout is how long the manager or the API server may take to end.
	serverStopTimeout = 10 * time.Second
	// drainTime is how long requests under way may take once the user has asked
	// to end.
	drainTime = 2 * time.Second
)

// startServers starts what is Latchkey's own, each process with the rights of its
// own ServiceAccount, and the backend that it serves.
func (s *session) startServers(ctx context.Context) error {
	if err := s.startBackend(ctx); err != nil {
		return err
	}
	manager, err := s.startManager(ctx)
	if err != nil {
		return err
	}
	apiServer, err := s.startAPIServer(ctx)
	if err != nil {
		return err
	}
	for _, address := range []string{manager, apiServer} {
		if err := ready(ctx, "http://"+address+"/readyz"); err != nil {
			return err
		}
	}
	return nil
}

// startManager returns where the manager's health is served.
func (s *session) startManager(ctx context.Context) (health string, err error) {
	public := s.endpoints()[0]
	return s.startServer(ctx, "manager", "--health-listen", "latchkey-manager",
		"--leader-elect",
		"--public-scheme="+public.scheme,
		"--public-port="+strconv.Itoa(public.port),
		"--metrics-listen=0",
	)
}

// startAPIServer returns where the API server's health is served.
func (s *session) startAPIServer(ctx context.Context) (health string, err error) {
	if err := s.certify(); err != nil {
		return "", err
	}
	for _, port := range []*reservation{s.httpPort, s.httpsPort} {
		if err := port.release(); err != nil {
			return "", err
		}
	}
	args := []string{
		"--public-scheme=http",
		"--listen=" + s.httpPort.address(),
		"--tls-listen=" + s.httpsPort.address(),
		"--tls-cert-file=" + s.files.serving("tls.crt"),
		"--tls-key-file=" + s.files.serving("tls.key"),
		"--shutdown-delay=0s", // nothing balances load here
		"--shutdown-grace-period=" + drainTime.String(),
	}
	args = append(args, strings.Fields(s.settings.apiServerArgs)...)
	// The account is the one that may do what both surfaces do.
	return s.startServer(ctx, "apiserver", "--admin-listen", "latchkey-portal", args...)
}

func (s *session) startServer(ctx context.Context, program, healthFlag, serviceAccount string, args ...string) (health string, err error) {
	kubeconfig, err := s.serviceAccountKubeconfig(ctx, serviceAccount)
	if err != nil {
		return "", err
	}
	port, err := freeport.Port()
	if err != nil {
		return "", err
	}
	health = loopback(port)
	server, err := process.Start(process.Command{
		Path: s.files.program(program),
		Args: append([]string{
			"--kubeconfig=" + kubeconfig,
			"--base-domain=" + s.settings.baseDomain,
			"--log-format=text",
			healthFlag + "=" + health,
		}, args...),
		LogFile: s.files.log(program + ".log"),
	})
	if err != nil {
		return "", err
	}
	s.onStop(func() error { return server.Stop(serverStopTimeout) })
	s.watch(ctx, server.Done(), server.Err)
	return health, nil
}
