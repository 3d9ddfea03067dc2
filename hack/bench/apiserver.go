package main

import (
	"context"
	"os"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// apiServer is the real API server.
type apiServer struct {
	*child
	// readyAfter is the time from its start until it said that it is ready.
	readyAfter time.Duration
}

// startAPIServer starts the real API server on a core and waits until it is ready.
// Its access log goes nowhere, or is turned off.
func (c *cluster) startAPIServer(ctx context.Context, core int, accessLog bool) (*apiServer, error) {
	program, err := c.bench.program(ctx, "apiserver")
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.kubeconfig(ctx, "latchkey-apiserver")
	if err != nil {
		return nil, err
	}
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	admin, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	command := process.Command{
		Path: program,
		Args: []string{
			"--kubeconfig=" + kubeconfig, "--base-domain=" + baseDomain,
			"--listen=" + address, "--admin-listen=" + admin,
			"--shutdown-delay=0s", "--shutdown-grace-period=1s",
			// Some loads consist of unknown tokens, from one address.
			"--max-bad-tokens-per-minute=0",
		},
		LogFile: os.DevNull,
	}
	if !accessLog {
		command.Args = append(command.Args, "--log-level=WARN")
		command.LogFile = c.bench.log("apiserver")
	}
	started := time.Now()
	s, err := c.bench.start(core, command)
	if err != nil {
		return nil, err
	}
	s.address = address
	err = s.ready(ctx, "http://"+admin+"/readyz")
	return &apiServer{s, time.Since(started)}, err
}
