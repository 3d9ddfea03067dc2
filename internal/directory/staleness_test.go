package directory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// link is the way to the cluster, which a test breaks and mends.
type link struct {
	mu   sync.Mutex
	mode linkMode
	// mended is closed when the link is whole again.
	mended      chan struct{}
	connections map[*linkConnection]struct{}
	dialed      int
}

type linkMode int

const (
	whole linkMode = iota
	// refused resets what there is, and refuses what is new.
	refused
	// silent drops everything, and says nothing of it.
	silent
	// frozen is an API server whose connections live and whose watches say nothing.
	frozen
)

func newLink() *link {
	return &link{mended: make(chan struct{}), connections: map[*linkConnection]struct{}{}}
}

func (l *link) set(mode linkMode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = mode
	switch mode {
	case whole:
		close(l.mended)
		l.mended = make(chan struct{})
	case refused:
		l.reset()
	case silent, frozen:
	}
}

// reset ends what there is. The caller holds the lock.
func (l *link) reset() {
	for c := range l.connections {
		_ = c.SetLinger(0)
		_ = c.TCPConn.Close()
	}
}

// reconnect is a directory's Reconnect.
func (l *link) reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset()
}

func (l *link) state() (linkMode, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode, l.mended
}

// dials is how many connections were made.
func (l *link) dials() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dialed
}

// dial implements rest.Config's Dial.
func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch mode, mended := l.state(); mode {
	case refused:
		return nil, errors.New("the link refuses connections")
	case silent:
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-mended:
		}
	case whole, frozen:
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &linkConnection{TCPConn: connection.(*net.TCPConn), link: l, closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections[c] = struct{}{}
	l.dialed++
	return c, nil
}

// linkConnection is a connection over the link. What it has dropped never arrives, so
// that it is of no use after a silence.
type linkConnection struct {
	*net.TCPConn

	link   *link
	once   sync.Once
	closed chan struct{}
	broken bool
}

func (c *linkConnection) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.link.mu.Lock()
	c.broken = c.broken || c.link.mode == silent
	broken := c.broken
	c.link.mu.Unlock()
	if broken {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *linkConnection) Write(b []byte) (int, error) {
	c.link.mu.Lock()
	c.broken = c.broken || c.link.mode == silent
	broken := c.broken
	c.link.mu.Unlock()
	if broken {
		return len(b), nil
	}
	return c.TCPConn.Write(b)
}

func (c *linkConnection) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.link.mu.Lock()
	delete(c.link.connections, c)
	c.link.mu.Unlock()
	return c.TCPConn.Close()
}

// freeze keeps back what watches say while the link is frozen.
func (l *link) freeze(next http.RoundTripper) http.RoundTripper { return freezer{next, l} }

type freezer struct {
	http.RoundTripper

	link *link
}

func (f freezer) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := f.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") != "" {
		response.Body = &frozenBody{ReadCloser: response.Body, link: f.link, closed: make(chan struct{})}
	}
	return response, err
}

type frozenBody struct {
	io.ReadCloser

	link   *link
	once   sync.Once
	closed chan struct{}
}

func (b *frozenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if mode, _ := b.link.state(); mode == frozen {
		<-b.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (b *frozenBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.ReadCloser.Close()
}

const (
	shortSilence = 2 * time.Second
	shortBound   = 6 * time.Second
)

// beat changes an object of every feed all the time, past any link: bookmarks come once
// a minute, too rarely for a test.
func beat(t *testing.T) {
	t.Helper()
	tenant, issued, api := createTenant(t, "beating"), createIssued(t, "beating", unchanged), directorytest.PublicApi("http://backend")
	api.Name = "beating"
	create(t, api)
	document := directorytest.Document(t, api, "openapi: 3.1.0\ninfo: {title: Beating, version: '1'}\npaths: {}\n")
	document.Namespace = v1alpha1.SystemNamespace
	create(t, document)
	secret := issued.Secret()
	secret.ResourceVersion = ""
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			for _, object := range []client.Object{tenant, issued.ApiToken, secret, api, document} {
				patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/beat":"%d"}}}`, n)
				if err := env().Client.Patch(ctx, object.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, patch)); err != nil && ctx.Err() == nil {
					t.Errorf("beat of %T: %v", object, err)
					return
				}
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// runOver feeds a directory over the link, with the rights of the API server's
// ServiceAccount.
func runOver(t *testing.T, l *link) *directory.Directory {
	t.Helper()
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1") // the least there is
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")
	config, transport := apiserverConfig(t)
	before := goleak.IgnoreCurrent()
	transport.DialContext = l.dial
	utilnet.SetTransportDefaults(transport) // as client-go does for its own
	config.Wrap(l.freeze)
	d := directory.NewWithOptions(slog.New(slog.DiscardHandler), directory.Options{MaxStaleness: shortBound, Silence: shortSilence, Reconnect: l.reconnect})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, config, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
	}()
	t.Cleanup(func() {
		cancel()
		l.set(whole)
		directorytest.Must(t, <-ended)
		wantNoneLeft(t, transport, before)
	})
	return d
}

func wantFresh(t *testing.T, d *directory.Directory, want bool) {
	t.Helper()
	testenv.Eventually(t, func() error {
		if got := d.Fresh(); got != want {
			return fmt.Errorf("fresh %t; unsynced %v, overdue %v, ages %v", got, d.Unsynced(), d.Overdue(), d.Ages())
		}
		return nil
	})
}

// However the cluster is lost, known tokens work until the bound and none after it; the
// directory recovers by itself, and what was revoked meanwhile is so from the first
// moment on.
func TestClusterIsLostAndFound(t *testing.T) {
	createTenant(t, "acme")
	beat(t)
	for name, mode := range map[string]linkMode{"refused": refused, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			kept, revoked := createIssued(t, "acme", unchanged), createIssued(t, "acme", unchanged)
			l := newLink()
			d := runOver(t, l)
			wantFresh(t, d, true)
			wantVerdict(t, d, kept, policy.Works)
			wantVerdict(t, d, revoked, policy.Works)

			age := slices.Max(slices.Collect(maps.Values(d.Ages())))
			lost := time.Now()
			l.set(mode)
			revoked.ApiToken.Spec.Revoked = true
			directorytest.Must(t, env().Client.Update(t.Context(), revoked.ApiToken))
			testenv.Eventually(t, func() error { // nothing comes any more
				if age := d.Ages()["apitokens"]; age < shortBound/2 {
					return fmt.Errorf("age %s", age)
				}
				return nil
			})
			wantFresh(t, d, false)
			if took := time.Since(lost); took+age < shortBound {
				t.Errorf("stale %s after the cluster was lost, at an age of %s and a bound of %s", took, age, shortBound)
			}
			if len(d.Overdue()) == 0 || !d.Synced() {
				t.Errorf("overdue are %v, synced %t", d.Overdue(), d.Synced())
			}

			dials := l.dials()
			l.set(whole)
			for mended := time.Now(); !d.Fresh(); runtime.Gosched() { // the first moment counts
				if time.Since(mended) > 5*time.Minute {
					t.Fatalf("not fresh again: overdue are %v", d.Overdue())
				}
			}
			if got := verdict(d, "acme", revoked.Digest(), now); got != policy.Revoked {
				t.Errorf("verdict %d of a token that was revoked meanwhile, want Revoked", got)
			}
			if got := verdict(d, "acme", kept.Digest(), now); got != policy.Works {
				t.Errorf("verdict %d of the other token, want Works", got)
			}
			if l.dials() == dials {
				t.Errorf("it recovered without a new connection")
			}
		})
	}
}

// Watches that are open and say nothing are noticed, and lists take their place until
// they speak again.
func TestFrozenWatch(t *testing.T) {
	createTenant(t, "acme")
	beat(t)
	first, second := createIssued(t, "acme", unchanged), createIssued(t, "acme", unchanged)
	l := newLink()
	d := runOver(t, l)
	wantVerdict(t, d, first, policy.Works)
	wantVerdict(t, d, second, policy.Works)
	l.set(frozen)
	for _, i := range []*directorytest.Issued{first, second} {
		i.ApiToken.Spec.Revoked = true
		directorytest.Must(t, env().Client.Update(t.Context(), i.ApiToken))
		wantVerdict(t, d, i, policy.Revoked)
	}
	third := createIssued(t, "acme", unchanged)
	l.set(whole)
	wantVerdict(t, d, third, policy.Works)
	wantFresh(t, d, true)
}

// A replica that starts while the cluster is away accepts nothing.
func TestStartWithoutTheCluster(t *testing.T) {
	beat(t)
	for name, mode := range map[string]linkMode{"refused": refused, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			l := newLink()
			l.set(mode)
			d := runOver(t, l)
			started := time.Now()
			testenv.Eventually(t, func() error {
				if d.Fresh() || d.Synced() || len(d.Ages()) != 0 {
					t.Fatalf("fresh %t, synced %t, ages %v without a cluster", d.Fresh(), d.Synced(), d.Ages())
				}
				if time.Since(started) < shortSilence {
					return errors.New("it has only begun")
				}
				return nil
			})
			if all := []string{"records", "apitokens", "tenants", "publicapis", "documents"}; !slices.Equal(d.Unsynced(), all) {
				t.Errorf("unsynced are %v, want %v", d.Unsynced(), all)
			}
			l.set(whole)
			wantFresh(t, d, true)
		})
	}
}
