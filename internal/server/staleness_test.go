package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const bound = directory.DefaultMaxStaleness

// bookmark has the feeds deliver that nothing else happened.
func bookmark(t *testing.T, stores ...cache.ReflectorStore) {
	t.Helper()
	for _, store := range stores {
		directorytest.Must(t, store.(cache.ReflectorBookmarkStore).Bookmark("2"))
	}
}

func feedsOf(s directory.Stores) map[string]cache.ReflectorStore {
	return map[string]cache.ReflectorStore{
		"records": s.Records, "apitokens": s.ApiTokens, "tenants": s.Tenants, "publicapis": s.PublicApis, "documents": s.Documents,
	}
}

func (h *harness) wantStale(plaintext string) {
	h.t.Helper()
	a := h.get(endpoint, plaintext)
	a.wantProblem(h.t, http.StatusServiceUnavailable, "stale")
	if got := a.Header.Get("Retry-After"); got != "5" {
		h.t.Errorf("Retry-After: %q", got)
	}
}

// Known tokens work until the bound, and then none does, until every feed has
// delivered something again.
func TestStaleness(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme")
	plaintext := i.Token.Reveal()
	h.aging.Step(bound - time.Millisecond)
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
	h.aging.Step(time.Millisecond)
	for _, sent := range []string{plaintext, h.issueElsewhere(), ""} {
		h.wantStale(sent)
	}
	gateway := h.gateway()
	for name := range gateways {
		response := h.ask(gateway, name, question{http.MethodGet, acmeHost, endpoint}, plaintext)
		wantRefusal(t, response, http.StatusServiceUnavailable, "stale")
		if got := response.Header.Get("Retry-After"); got != "5" {
			t.Errorf("%s: Retry-After: %q", name, got)
		}
	}
	bookmark(t, h.stores.Records, h.stores.Tenants, h.stores.PublicApis, h.stores.Documents)
	h.wantStale(plaintext)
	i.UpdateApiToken(t, h.stores, func(a *v1alpha1.ApiToken) { a.Spec.Description = "news" })
	h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
}

// issueElsewhere is a token that this replica was never told of.
func (h *harness) issueElsewhere() string {
	h.t.Helper()
	plaintext := directorytest.Issue(h.t, "acme", expiry).Token.Reveal()
	h.keepSecret(secretPart(plaintext))
	return plaintext
}

// What was revoked in the meantime is refused from the first answer on.
func TestRevocationWhileStale(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme")
	h.aging.Step(bound)
	i.ApiToken.Spec.Revoked = true
	directorytest.Must(t, h.stores.ApiTokens.Replace([]any{i.ApiToken}, "2"))
	h.wantStale(i.Token.Reveal())
	bookmark(t, h.stores.Records, h.stores.Tenants, h.stores.PublicApis, h.stores.Documents)
	h.get(endpoint, i.Token.Reveal()).wantProblem(t, http.StatusUnauthorized, "token-revoked")
}

// One feed that is silent is enough, whichever it is; a busy one does not stand in for
// it. Readiness and metrics say which.
func TestEveryFeedAgesByItself(t *testing.T) {
	for silent := range feedsOf(directory.Stores{}) {
		t.Run(silent, func(t *testing.T) {
			h := newHarness(t)
			plaintext := h.issue("acme").Token.Reveal()
			r := h.run(server.Listeners{Admin: loopback})
			for range 15 {
				h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
				h.aging.Step(time.Minute)
				for name, store := range feedsOf(h.stores) {
					if name != silent {
						bookmark(t, store)
					}
				}
			}
			h.wantStale(plaintext)
			r.wantReady(false, "stale: nothing heard for 15m0s of: "+silent+"\n")
			h.wantMetrics("latchkey_directory_stale 1", "latchkey_directory_synced 1",
				fmt.Sprintf(`latchkey_directory_age_seconds{resource="%s"} 900`, silent))
			a, err := r.admin("/healthz")
			directorytest.Must(t, err)
			a.wantStatus(t, http.StatusOK)

			bookmark(t, feedsOf(h.stores)[silent])
			h.get(endpoint, plaintext).wantStatus(t, http.StatusOK)
			r.wantReady(true, "ok\n")
			h.wantMetrics("latchkey_directory_stale 0", fmt.Sprintf(`latchkey_directory_age_seconds{resource="%s"} 0`, silent))
		})
	}
}

func (r *running) wantReady(ready bool, text string) {
	r.h.t.Helper()
	a, err := r.admin("/readyz")
	directorytest.Must(r.h.t, err)
	if ready != (a.StatusCode == http.StatusOK) || a.body != text {
		r.h.t.Errorf("readiness: %d %q, want %q", a.StatusCode, a.body, text)
	}
}

func (h *harness) wantMetrics(lines ...string) {
	h.t.Helper()
	text := h.metrics()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			h.t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// A replica that never heard of the cluster is stale, and not of any age.
func TestMetricsBeforeTheFirstLists(t *testing.T) {
	h := newHarness(t, func(s *setup) { s.unsynced = true })
	h.wantMetrics("latchkey_directory_stale 1", "latchkey_directory_synced 0")
	if text := h.metrics(); strings.Contains(text, `latchkey_directory_age_seconds{resource="records"}`) {
		t.Errorf("records have an age:\n%s", text)
	}
}

// Answers under way end at the bound too, and one that has not begun is told why.
func TestStreamsEndWithTheBound(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	plaintext := h.issue("acme").Token.Reveal()
	s := h.openStream(backend, plaintext)
	h.aging.Step(bound - time.Millisecond)
	s.wantOpen()
	bookmark(t, h.stores.Records, h.stores.ApiTokens, h.stores.Tenants, h.stores.PublicApis, h.stores.Documents)
	h.aging.Step(bound - time.Millisecond) // the timer of the first bound fires, and finds news
	s.wantOpen()
	testenv.Eventually(t, func() error { // and is set anew
		if !h.aging.HasWaiters() {
			return fmt.Errorf("no timer waits for the bound")
		}
		return nil
	})
	h.aging.Step(time.Millisecond)
	s.wantCut()
	h.wantOutcome("stale")
}

func TestWaitingRequestIsToldThatTheBoundHasPassed(t *testing.T) {
	backend := newStreaming()
	h := newHarness(t, func(s *setup) { s.backend = backend })
	plaintext := h.issue("acme").Token.Reveal()
	go func() {
		<-backend.entered
		h.aging.Step(bound)
	}()
	a := h.get(endpoint, plaintext)
	a.wantProblem(t, http.StatusServiceUnavailable, "stale")
	if got := a.Header.Get("Retry-After"); got == "" {
		t.Error("no Retry-After")
	}
	await(t, "the end of the backend's request", backend.ended)
}

func TestWebSocketEndsWithTheBound(t *testing.T) {
	h := newHarness(t, withBackend(echo), withAPI(func(s *v1alpha1.PublicApiSpec) {
		s.Upgrades = []v1alpha1.UpgradeProtocol{v1alpha1.UpgradeWebSocket}
	}))
	connection := h.dial()
	_, err := io.WriteString(connection, handshake(h.issue("acme").Token.Reveal(), "Upgrade"))
	directorytest.Must(t, err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	directorytest.Must(t, err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", response.StatusCode)
	}
	h.aging.Step(bound)
	if rest, _ := io.ReadAll(reader); len(rest) != 0 {
		t.Errorf("after the bound came %q", rest)
	}
}
