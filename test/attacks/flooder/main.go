// Command flooder sends the requests of its standard input to a server, from many
// addresses, and prints how they were answered. It is a program of its own because a
// flood comes from elsewhere: built without the race detector, and at a low priority, it
// takes the least of the time of a server on the same machine.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

const (
	// connections are at work at a time, each for as many requests as perConnection
	// says, of which atOnce are sent without waiting for answers.
	connections   = 16
	perConnection = 50
	atOnce        = 10
)

// report is what is printed, as JSON.
type report struct {
	// Answers counts them by their status.
	Answers map[int]int `json:"answers"`
	// Took is from the first request to the last answer.
	Took time.Duration `json:"took"`
}

func main() {
	address := flag.String("address", "", "where the server listens")
	perSecond := flag.Float64("rate", 0, "requests a second; 0 is as many as are answered")
	flag.Parse()
	f := &flood{address: *address, limit: rate.NewLimiter(rate.Inf, 0), in: bufio.NewReaderSize(os.Stdin, 1<<20), answers: map[int]int{}}
	if *perSecond > 0 {
		f.limit = rate.NewLimiter(rate.Limit(*perSecond), atOnce)
	}
	if err := f.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "flooder:", err)
		os.Exit(1)
	}
}

// flood is requests on their way.
type flood struct {
	address string
	limit   *rate.Limiter

	mu      sync.Mutex
	in      *bufio.Reader
	answers map[int]int
}

func (f *flood) run(ctx context.Context) error {
	started := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for n := range connections {
		group.Go(func() error { return f.client(ctx, n > 0) }) // the first is one address that does not learn
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report{f.answers, time.Since(started)})
}

// client sends requests, a connection after the other, until there are no more. Those
// that a connection of it left without an answer go over the next one: the server may
// end it after any.
func (f *flood) client(ctx context.Context, moves bool) error {
	var from net.Addr
	for unanswered, more := []string(nil), true; more; {
		if moves {
			from = anyAddress()
		}
		var err error
		if unanswered, more, err = f.connection(ctx, from, unanswered); err != nil {
			return err
		}
	}
	return nil
}

// anyAddress is one of the many of loopback that Linux has; elsewhere there is one.
func anyAddress() net.Addr {
	if runtime.GOOS != "linux" {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, byte(rand.IntN(256)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))} //nolint:gosec // nobody has to be kept from guessing it
}

// connection sends requests over a connection of its own, first those given. It returns
// those that were not answered, and whether there are more.
func (f *flood) connection(ctx context.Context, from net.Addr, sent []string) (unanswered []string, more bool, err error) {
	connection, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", f.address)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, false, err
	}
	in := bufio.NewReader(connection)
	for answered := 0; answered < perConnection; {
		if len(sent) == 0 {
			if sent, err = f.next(ctx); err != nil || len(sent) == 0 {
				return nil, false, err
			}
		}
		_, _ = io.WriteString(connection, strings.Join(sent, "")) // the answers tell
		for len(sent) > 0 {
			reply, err := wiretest.ReadReply(in, http.MethodGet)
			if err != nil && answered > 0 {
				return sent, true, nil
			}
			if err != nil {
				return nil, false, fmt.Errorf("the answer to %q: %w", sent[0], err)
			}
			f.count(reply.Status)
			sent, answered = sent[1:], answered+1
		}
	}
	return nil, true, nil
}

func (f *flood) count(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[status]++
}

// next reads what is sent at once, when it is time to: nothing at the end.
func (f *flood) next(ctx context.Context) ([]string, error) {
	requests, err := f.read()
	if err != nil || len(requests) == 0 {
		return nil, err
	}
	return requests, f.limit.WaitN(ctx, len(requests))
}

func (f *flood) read() (requests []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range atOnce {
		request, err := f.request()
		if errors.Is(err, io.EOF) {
			return requests, nil
		}
		if err != nil {
			return nil, err
		}
		requests = append(requests, request)
	}
	return requests, nil
}

// request reads a request, which has no body.
func (f *flood) request() (string, error) {
	var text strings.Builder
	for {
		line, err := f.in.ReadString('\n')
		text.WriteString(line)
		if errors.Is(err, io.EOF) && text.Len() > 0 {
			return "", fmt.Errorf("the last request breaks off: %q", text.String())
		}
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			return text.String(), nil
		}
	}
}
