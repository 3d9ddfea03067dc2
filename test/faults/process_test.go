//go:build linux

package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// startedAlone kills a replica while it can't reach the control plane, and starts it
// again: it knows nothing then, and accepts nothing (promise 6).
func startedAlone(s *stage) {
	r := s.replicas[0]
	end := s.deaf(r)
	r.link.Set(link.Refused)
	gone := s.history.Span(history.Span{Replica: r.name, From: s.history.Now(), Refusals: []string{noRefused, noReset, noEnd, "stale"}})
	must(s.t, r.Kill())
	s.startReplica(r)
	s.until(30*time.Second, "to listen", func() error {
		response, err := s.askRaw(r)
		if err == nil && response.StatusCode != http.StatusServiceUnavailable {
			err = fmt.Errorf("%s answers %s without knowing anything", r.name, response.Status)
		}
		return err
	})
	closed := s.history.Span(history.Span{Replica: r.name, From: s.history.Now(), Closed: true})
	s.lasts(s.long(2*time.Second, 20*time.Second))
	if err := ready(r.admin); err == nil {
		s.t.Error("a replica that knows nothing says that it is ready")
	}
	closed(s.history.Now())
	r.link.Set(link.Whole)
	s.mended(end, gone)
}

// replicaKilled kills a replica whose first words on a token's use are held back. It has
// noted nothing then, and does so once it is back.
func replicaKilled(s *stage) {
	gateway, err := link.NewGateway(planeURL(), env().Config.CAData)
	must(s.t, err)
	s.t.Cleanup(gateway.Close)
	r := s.prepareReplica("writing", s.program("apiserver"), gateway.Address(), gateway.CA())
	s.startReplica(r)
	s.join(r)
	i := s.mint("acme", time.Now().Add(time.Hour))
	held := gateway.Hold(func(r *http.Request) bool {
		return r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/apitokens/"+i.name+"/status")
	})
	must(s.t, s.client.Create(s.t.Context(), i.object.DeepCopy()))
	s.awaitAccepted(r, i)
	testenv.Eventually(s.t, func() error {
		select {
		case <-held:
			return nil
		default:
			return errors.New("the replica does not write that the token was used")
		}
	})
	gone := s.history.Span(history.Span{Replica: r.name, From: s.history.Now(), Refusals: []string{noRefused, noReset, noEnd, "stale"}})
	deaf := s.deaf(r)
	must(s.t, r.Kill())
	if used, err := s.lastUse(i); used != nil || err != nil {
		s.t.Errorf("the use was noted nevertheless: %s, %v", used, err)
	}
	s.lasts(s.long(time.Second, 10*time.Second))
	s.startReplica(r)
	awaitReady(s.t, r.Process, r.admin)
	s.awaitAccepted(r, i)
	testenv.Eventually(s.t, func() error {
		used, err := s.lastUse(i)
		if err == nil && used == nil {
			err = errors.New("the use after the start is not noted")
		}
		return err
	})
	s.mended(deaf, gone)
}

// lastUse is when an ApiToken says that it was used last, or nil.
func (s *stage) lastUse(i *issued) (*metav1.Time, error) {
	if err := s.client.Get(s.t.Context(), client.ObjectKeyFromObject(i.object), i.object); err != nil {
		return nil, err
	}
	if i.object.Status.Credential == nil {
		return nil, nil
	}
	return i.object.Status.Credential.LastUsedAt, nil
}

// descriptorsUsedUp leaves a replica with the files that it has open.
func descriptorsUsedUp(s *stage) {
	r := s.replicas[0]
	var before unix.Rlimit
	must(s.t, unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, nil, &before))
	open, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(r.PID()), "fd"))
	must(s.t, err)
	// All who ask have their connections, and get an answer.
	end := s.history.Span(history.Span{Replica: r.name, From: s.history.Now(), Refusals: []string{problem.CodeBackendUnavailable}})
	must(s.t, unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)), Max: before.Max}, nil))
	testenv.Eventually(s.t, func() error {
		fresh := newCaller(r)
		s.t.Cleanup(fresh.close) // until then its connection takes one that was left
		fresh.client.Timeout = time.Second
		if _, _, _, err := fresh.request(s.t.Context(), s.steady[0].ask()); why(err) != noTimely {
			return errors.New("a new connection was answered: there are file descriptors left")
		}
		return nil
	})
	s.lasts(s.long(2*time.Second, 15*time.Second))
	must(s.t, unix.Prlimit(r.PID(), unix.RLIMIT_NOFILE, &before, nil))
	s.mended(end)
}

// faultyServer is the API server with the fault points of internal/fault.
const faultyServer = "apiserver-faults"

// handlerPanics makes the handler panic for some requests.
func handlerPanics(s *stage) {
	r := s.newReplica("panicking", s.program(faultyServer))
	s.join(r)
	panics := 50
	if *full {
		panics = 1000
	}
	for n := range panics {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+r.address+"/api/v1/ping", http.NoBody)
		must(s.t, err)
		request.Host = "acme." + baseDomain
		request.Header.Set("Authorization", "token "+s.steady[0].plaintext)
		request.Header.Set(fault.Header, fmt.Sprintf("panic-received-%d", n))
		response, err := http.DefaultClient.Do(request)
		must(s.t, err)
		body, err := io.ReadAll(response.Body)
		must(s.t, errors.Join(err, response.Body.Close()))
		if code := codeOf(body); response.StatusCode != http.StatusInternalServerError || code != problem.CodeInternal {
			s.t.Fatalf("a panic was answered %s %s, want 500 and %s", response.Status, body, problem.CodeInternal)
		}
	}
	s.note("%d panics", panics)
	s.mended()
}

// badBackends has backends misbehave, each in its way, while those of other tenants work.
func badBackends(s *stage) {
	for name, serve := range misbehaviours {
		tenant := fmt.Sprintf("%s-%d", name, s.serial)
		s.createPublicApi(tenant, "http://"+s.startBadBackend(serve, tenant), time.Second)
		s.createTenant(tenant, tenant)
		s.history.Span(history.Span{Tenant: tenant, Refusals: []string{"backend-unavailable", noTimely, noEnd, noReset}})
		i := s.mint(tenant, time.Now().Add(time.Hour))
		must(s.t, s.client.Create(s.t.Context(), i.object.DeepCopy()))
		s.history.Issue(history.Token{Name: i.name, Tenant: tenant, Expires: s.history.At(i.expires), Works: s.history.Now()})
		for _, r := range s.replicas {
			c := newCaller(r)
			testenv.Eventually(s.t, func() error {
				_, code, _, err := c.request(s.t.Context(), i.ask())
				if code == "token-invalid" || code == "unknown-host" {
					return fmt.Errorf("%s does not know token %s", r.name, i.name)
				}
				_ = err // of the backend's making
				return nil
			})
			c.close()
			s.traffic.cycle(r, []question{i.ask()})
		}
	}
	since := s.history.Now()
	s.lasts(s.long(3*time.Second, 20*time.Second))
	s.note("p99 of the others %s", round(s.latency(since, .99)))
	s.mended()
}

// latency is a quantile of the time that answers to the constant traffic took.
func (s *stage) latency(since history.Instant, share float64) time.Duration {
	var took []time.Duration
	s.history.Count(func(a *history.Answer) bool {
		if a.Sent >= since && a.Accepted() && (a.Tenant == "acme" || a.Tenant == "globex") {
			took = append(took, a.Received-a.Sent)
		}
		return false
	})
	return history.Quantile(took, share)
}

// misbehaviours are what a backend may do with a connection.
var misbehaviours = map[string]func(c *net.TCPConn, tenant string){
	// hang takes the request, and says nothing until the client has gone.
	"hang": func(c *net.TCPConn, _ string) { _, _ = io.Copy(io.Discard, c) },
	"reset": func(c *net.TCPConn, _ string) {
		_, _ = bufio.NewReader(c).ReadByte()
		_ = c.SetLinger(0)
	},
	// early answers before it has read anything, and goes.
	"early": func(c *net.TCPConn, tenant string) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(tenant), tenant)
	},
	"garbage": func(c *net.TCPConn, _ string) {
		_, _ = bufio.NewReader(c).ReadByte()
		_, _ = io.WriteString(c, "\x00\x01\x02 what is this? \xff\r\n\r\n")
	},
	// cut promises more than it sends.
	"cut": func(c *net.TCPConn, _ string) {
		_, _ = bufio.NewReader(c).ReadByte()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
	},
}

func (s *stage) startBadBackend(serve func(c *net.TCPConn, tenant string), tenant string) (address string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(c.(*net.TCPConn), tenant); _ = c.Close() })
		}
	})
	s.t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// namespaceDeleted deletes a tenant's namespace while its answers stream (promise 3).
func namespaceDeleted(s *stage) {
	name := fmt.Sprintf("gone-%d", s.serial)
	s.createTenant(name, "default")
	i := s.mint(name, time.Now().Add(time.Hour))
	s.issue(i)
	ended := make(chan time.Time, len(s.replicas))
	for _, r := range s.replicas {
		s.openStream(r, i, ended)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	watcher, err := s.client.Watch(ctx, &v1alpha1.ApiTokenList{}, client.InNamespace(i.object.Namespace))
	must(s.t, err)
	defer watcher.Stop()
	change := s.history.End(history.End{
		Kind: history.Deleted, Token: i.name, Tenant: name, Begun: s.history.Now(),
		Returned: history.Never, Lifted: history.Never, Restored: history.Never,
	})
	for _, r := range s.replicas {
		s.traffic.cycle(r, []question{i.ask()})
	}
	begun := time.Now()
	namespace := &corev1.Namespace{}
	namespace.Name = i.object.Namespace
	must(s.t, s.client.Delete(s.t.Context(), namespace))
	var deleted time.Time
	for event := range watcher.ResultChan() {
		if event.Type == watch.Deleted {
			deleted = time.Now()
			break
		}
	}
	if deleted.IsZero() {
		s.t.Fatal("the namespace's ApiToken is not deleted")
	}
	now := s.history.At(deleted)
	change(func(e *history.End) { e.Returned = now })
	last := -time.Minute
	for range s.replicas {
		select {
		case at := <-ended:
			last = max(last, at.Sub(deleted))
		case <-ctx.Done():
			s.t.Fatal("a stream goes on after its ApiToken was deleted")
		}
	}
	cut := "before a watch told so"
	if last > 0 {
		cut = round(last) + " later"
	}
	s.note("ApiToken gone after %s, streams cut %s", round(deleted.Sub(begun)), cut)
	if last > time.Second+slack && *full {
		s.t.Errorf("a stream went on for %s after its ApiToken was deleted", last)
	}
	s.mended()
}

// openStream waits for the first line of an endless answer, and tells when it ended.
func (s *stage) openStream(r *replica, i *issued, ended chan<- time.Time) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+streamPath, http.NoBody)
	must(s.t, err)
	request.Host = i.tenant + "." + baseDomain
	request.Header.Set("Authorization", "token "+i.plaintext)
	response, err := http.DefaultClient.Do(request)
	must(s.t, err)
	lines := bufio.NewReader(response.Body)
	line, err := lines.ReadString('\n')
	must(s.t, err)
	if line != i.tenant+"\n" {
		s.t.Errorf("the stream begins with %q", line)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		_ = response.Body.Close()
		ended <- time.Now()
	}()
}
