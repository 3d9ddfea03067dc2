//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load sends requests of acme's at a constant rate through the Ingress, half of
// them over kept connections and half over new ones.
type load struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	start   time.Time

	mu       sync.Mutex
	took     []time.Duration
	failures []failure
}

type failure struct {
	at   time.Duration // since the load's start
	path string
	err  string
}

func (f failure) String() string { return fmt.Sprintf("at %s %s: %s", f.at, f.path, f.err) }

// startLoad takes turns between the paths. What is not 200 is a failure.
func (w *world) startLoad(t *testing.T, perSecond int, paths ...string) *load {
	t.Helper()
	return w.startLoadOf(t, w.token, perSecond, paths...)
}

// startLoadOf is startLoad with another token of acme's.
func (w *world) startLoadOf(t *testing.T, plaintext string, perSecond int, paths ...string) *load {
	t.Helper()
	kept, fresh := w.client(false), w.client(true)
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop, start: time.Now()}
	l.running.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			client, path := kept, paths[i/2%len(paths)]
			if i%2 == 1 {
				client = fresh
			}
			l.running.Go(func() { l.one(t.Context(), client, "https://"+w.host("acme")+path, path, plaintext) })
		}
	})
	t.Cleanup(func() {
		l.end()
		kept.CloseIdleConnections()
	})
	return l
}

func (w *world) client(fresh bool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: fresh, TLSClientConfig: &tls.Config{RootCAs: w.ca.pool}, MaxIdleConnsPerHost: 100,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, net.JoinHostPort(w.ingress, "443"))
		},
	}}
}

func (l *load) one(ctx context.Context, client *http.Client, url, path, plaintext string) {
	begin := time.Now()
	err := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "token "+plaintext)
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
		}
		return nil
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(begin))
	if err != nil {
		l.failures = append(l.failures, failure{begin.Sub(l.start).Round(time.Millisecond), path, err.Error()})
	}
}

// end stops the load, and waits for the answers that are still to come.
func (l *load) end() {
	l.stop()
	l.running.Wait()
}

// reached waits until so many more requests were answered.
func (l *load) reached(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.took)
	}
	goal := count() + more
	eventually(t, within, func() error {
		if n := count(); n < goal {
			return fmt.Errorf("%d requests of %d were answered", n, goal)
		}
		return nil
	})
}

func (l *load) String() string {
	slices.Sort(l.took)
	quantile := func(q float64) time.Duration {
		return l.took[int(q*float64(len(l.took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests in %s, %d failed; median %s, p99 %s, longest %s", len(l.took),
		time.Since(l.start).Round(time.Second), len(l.failures), quantile(0.5), quantile(0.99), quantile(1))
}

// flawless ends the load. No request may have failed.
func (l *load) flawless(t *testing.T) {
	t.Helper()
	l.reached(t, 20)
	l.end()
	t.Log(l)
	if n := len(l.failures); n > 0 {
		t.Errorf("%d requests failed: %v", n, l.failures[:min(n, 10)])
	}
}
