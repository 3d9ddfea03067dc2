// Command examplebackend serves the example backend: a product's API that is
// meant to stand behind Latchkey. It must not be reachable by anyone else, for it
// believes the identity headers that it gets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/examplebackend"
)

// shutdownTimeout is how long running requests may take to end after a signal.
const shutdownTimeout = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		os.Exit(1)
	}
}

// run serves until ctx ends. It writes its log, and the error that it returns, to
// the writer.
func run(ctx context.Context, args []string, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(out, nil))
	listen, err := parseFlags(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err == nil {
		err = serve(ctx, listen, log)
	}
	if err != nil {
		log.Error(err.Error())
	}
	return err
}

func parseFlags(args []string, out io.Writer) (listen string, err error) {
	flags := flag.NewFlagSet("examplebackend", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are logged, without the usage
	flags.StringVar(&listen, "listen", "127.0.0.1:9000", "`host:port` to serve HTTP on")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(out)
		flags.Usage()
	case err != nil:
		err = fmt.Errorf("%w; run with --help for the flags", err)
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; run with --help for the flags", flags.Arg(0))
	}
	return listen, err
}

func serve(ctx context.Context, address string, log *slog.Logger) error {
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another program listens on %s already; stop it, or choose another port with --listen", address)
	}
	if err != nil {
		return fmt.Errorf("can't serve on %q: %w; give --listen a host and port of this machine, such as 127.0.0.1:9000", address, err)
	}
	server := newServer(ctx, log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("serving the example backend", "address", listener.Addr().String())

	select {
	case err := <-served:
		return fmt.Errorf("can't go on serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("requests that had not ended after %s were cut off", shutdownTimeout)
	}
	log.Info("stopped")
	return nil
}

func newServer(ctx context.Context, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           examplebackend.New(examplebackend.Options{}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Longer than the 90 s for which Go's clients keep idle connections, so
		// that a proxy never sends a request into one that is being closed.
		IdleTimeout: 2 * time.Minute,
		// Ends event streams at shutdown, which would otherwise wait for them.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
