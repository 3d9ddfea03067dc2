package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// profile writes a CPU profile of a subject under load. The API server itself is
// the subject latchkey, which needs no control plane.
func profile(ctx context.Context, args []string, out io.Writer) (err error) {
	var name, path, file string
	var tokens int
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	flags.StringVar(&name, "subject", "latchkey", "what is profiled: latchkey, check-proxy, proxy, check or empty")
	flags.StringVar(&path, "path", target, "the path that is asked for; /api/v1/token is the API server's own")
	flags.StringVar(&file, "out", "cpu.pprof", "the file that gets the profile")
	flags.IntVar(&tokens, "tokens", 1000, "how many other tokens the subject knows")
	duration := flags.Duration("duration", 5*time.Second, "for how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	b, err := newBench(ctx, options{rounds: 1, duration: *duration}, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx, err)) }()
	plaintexts, _, err := mint(benchTenant, 1)
	if err != nil {
		return err
	}
	p := &requestPath{bench: b, known: issuedToken{benchTenant, plaintexts[0]}}
	known, err := p.knownToken()
	if err != nil {
		return err
	}
	s, err := p.startTiny(ctx, name, append(known, "--backend="+b.backend.address, fmt.Sprintf("--tokens=%d", tokens), "--cpuprofile="+file)...)
	if err != nil {
		return err
	}
	results, err := b.alternate(ctx, []*subject{{
		label: name, name: path, address: s.address, requests: [][]byte{p.known.request(path)}, servers: []int{s.pid()}, status: 200, length: -1,
	}})
	if err := errors.Join(err, s.stop()); err != nil { // at its end it writes the profile
		return err
	}
	m := results.found[0][0]
	_, err = fmt.Fprintf(out, "%s %s: %.0f requests/s, p50 %s, p99 %s, CPU %s/request\ngo tool pprof -top -cum %s\n", name, path, m.rate, m.p50, m.p99, m.cpu, file)
	return err
}
