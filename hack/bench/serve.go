package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// serveOptions are what a subject is told.
type serveOptions struct {
	listen string
	// backend is the address that proxies pass requests on to.
	backend string
	// tenant, id and digest are those of the one token that is known, and tokens
	// how many others are.
	tenant, id, digest string
	tokens             int
	// kubeconfig is a client's access to the control plane, and kinds are what it
	// keeps.
	kubeconfig, kinds string
	cpuProfile        string
}

// subjects are the servers that this program can be.
var subjects = map[string]func(context.Context, net.Listener, *serveOptions) error{
	"backend":     serveBackend,
	"empty":       serveHandler(func(*serveOptions) (http.Handler, error) { return http.HandlerFunc(empty), nil }),
	"check":       serveHandler(func(o *serveOptions) (http.Handler, error) { return checked(o, http.HandlerFunc(empty)) }),
	"proxy":       serveHandler(func(o *serveOptions) (http.Handler, error) { return plainProxy(o.backend), nil }),
	"check-proxy": serveHandler(func(o *serveOptions) (http.Handler, error) { return checked(o, plainProxy(o.backend)) }),
	"latchkey":    serveHandler(latchkey),
	"informer":    serveInformer,
}

// serve is one subject until ctx ends.
func serve(ctx context.Context, args []string) error {
	names := strings.Join(slices.Sorted(maps.Keys(subjects)), ", ")
	if len(args) == 0 || subjects[args[0]] == nil {
		return fmt.Errorf("bench serve SUBJECT: the subject must be one of %s", names)
	}
	var o serveOptions
	flags := flag.NewFlagSet("serve "+args[0], flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "where to listen")
	flags.StringVar(&o.backend, "backend", "", "the address of the backend")
	flags.StringVar(&o.tenant, "tenant", "", "the tenant of the known token")
	flags.StringVar(&o.id, "id", "", "the known token's id")
	flags.StringVar(&o.digest, "digest", "", "the known token's digest")
	flags.IntVar(&o.tokens, "tokens", 0, "how many other tokens are known")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "access to the control plane")
	flags.StringVar(&o.kinds, "kinds", "", "comma-separated resources to keep: secrets, apitokens")
	flags.StringVar(&o.cpuProfile, "cpuprofile", "", "a file that gets a CPU profile")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	stop, err := startCPUProfile(o.cpuProfile)
	if err != nil {
		return err
	}
	defer stop()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	if err := subjects[args[0]](ctx, listener, &o); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", args[0], err)
	}
	return nil
}

func startCPUProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	out, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		if err := out.Close(); err != nil {
			log.Print(err)
		}
	}, nil
}

// serveHandler serves a handler with net/http.
func serveHandler(newHandler func(*serveOptions) (http.Handler, error)) func(context.Context, net.Listener, *serveOptions) error {
	return func(_ context.Context, listener net.Listener, o *serveOptions) error {
		handler, err := newHandler(o)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
		return server.Serve(listener)
	}
}

// empty answers with nothing but a status.
func empty(http.ResponseWriter, *http.Request) {}

// checked lets requests with a known token pass: what Latchkey does at least, and
// nothing more.
func checked(o *serveOptions, next http.Handler) (http.Handler, error) {
	digest, err := token.ParseDigest(o.digest)
	if err != nil {
		return nil, fmt.Errorf("--digest: %w", err)
	}
	expiry := time.Now().Add(24 * time.Hour)
	known := map[token.Digest]time.Time{digest: expiry}
	for range o.tokens {
		var other token.Digest
		rand.Read(other[:]) // it never returns an error
		known[other] = expiry
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plaintext, ok := strings.CutPrefix(r.Header.Get("Authorization"), "token ")
		if ok {
			var notAfter time.Time
			notAfter, ok = known[token.DigestOf(o.tenant, plaintext)]
			ok = ok && time.Now().Before(notAfter)
		}
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}

// body is what the backend answers: 1 KiB.
var body = []byte(strings.Repeat("0123456789abcde\n", 64))

// serveBackend answers every request with the body. It parses as little as it
// can, so that it is not the bottleneck.
func serveBackend(_ context.Context, listener net.Listener, _ *serveOptions) error {
	response := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go answerAll(conn, response)
	}
}

// answerAll answers the requests on a connection, which have no bodies.
func answerAll(conn net.Conn, response []byte) {
	defer func() { _ = conn.Close() }()
	var buffer [16 << 10]byte
	for n := 0; n < len(buffer); {
		read, err := conn.Read(buffer[n:])
		if err != nil {
			return
		}
		if n += read; n < 4 || string(buffer[n-4:n]) != "\r\n\r\n" {
			continue
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
		n = 0
	}
}
