package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func withTenantMetrics(limit int) func(*setup) {
	return withConfig(func(c *server.Config) { c.TenantMetricsLimit = limit })
}

// tenantLines are the lines of metrics by tenant that are not zero.
func (h *harness) tenantLines() []string {
	var lines []string
	for line := range strings.Lines(h.metrics()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "latchkey_tenant_") && !strings.HasSuffix(line, " 0") && !strings.Contains(line, "_sum{") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func (h *harness) wantTenantLines(want ...string) {
	h.t.Helper()
	testenv.Eventually(h.t, func() error {
		if got := h.tenantLines(); !slices.Equal(got, want) {
			return fmt.Errorf("metrics by tenant:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

func TestTenantMetrics(t *testing.T) {
	h := newHarness(t, withTenantMetrics(10))
	acme, globex := h.issue("acme"), h.issue("globex")
	h.get(endpoint, acme.Token.Reveal()).wantStatus(t, http.StatusOK)
	h.get(endpoint, acme.Token.Reveal()).wantStatus(t, http.StatusOK)
	h.get(endpoint, "").wantStatus(t, http.StatusUnauthorized)
	h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", globex.Token.Reveal(), "globex.example.com"))
	// Hosts that are no tenant's make no series.
	for _, host := range []string{"nobody.example.com", "_other.example.com", "example.com", "elsewhere"} {
		h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", acme.Token.Reveal(), host))
	}
	h.wantLogged(8)
	h.wantTenantLines(
		`latchkey_tenant_request_duration_seconds_count{tenant="acme"} 3`,
		`latchkey_tenant_request_duration_seconds_count{tenant="globex"} 1`,
		`latchkey_tenant_requests_total{status="2xx",tenant="acme"} 2`,
		`latchkey_tenant_requests_total{status="2xx",tenant="globex"} 1`,
		`latchkey_tenant_requests_total{status="4xx",tenant="acme"} 1`,
	)
}

// Beyond the limit tenants are counted together, and a deleted one makes room.
func TestTenantMetricsLimit(t *testing.T) {
	h := newHarness(t, withTenantMetrics(1))
	acme, globex := h.issue("acme"), h.issue("globex")
	h.get(endpoint, acme.Token.Reveal()).wantStatus(t, http.StatusOK)
	asGlobex := func() {
		h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", globex.Token.Reveal(), "globex.example.com"))
	}
	asGlobex()
	asGlobex()
	h.wantTenantLines(
		`latchkey_tenant_request_duration_seconds_count{tenant="_other"} 2`,
		`latchkey_tenant_request_duration_seconds_count{tenant="acme"} 1`,
		`latchkey_tenant_requests_total{status="2xx",tenant="_other"} 2`,
		`latchkey_tenant_requests_total{status="2xx",tenant="acme"} 1`,
	)
	directorytest.Must(t, h.stores.Tenants.Delete(directorytest.Tenant("acme")))
	h.get(endpoint, acme.Token.Reveal()).wantStatus(t, http.StatusNotFound)
	asGlobex()
	h.wantTenantLines(
		`latchkey_tenant_request_duration_seconds_count{tenant="_other"} 2`,
		`latchkey_tenant_request_duration_seconds_count{tenant="globex"} 1`,
		`latchkey_tenant_requests_total{status="2xx",tenant="_other"} 2`,
		`latchkey_tenant_requests_total{status="2xx",tenant="globex"} 1`,
	)
}

// A request that ends after its tenant was deleted takes no series, which nothing
// would ever remove.
func TestTenantMetricsOfARequestThatOutlivesItsTenant(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	h := newHarness(t, withTenantMetrics(10), withBackend(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-proceed
	}))
	acme := h.issue("acme")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", acme.Token.Reveal(), acmeHost))
	}()
	<-arrived
	directorytest.Must(t, h.stores.Tenants.Delete(directorytest.Tenant("acme")))
	close(proceed)
	<-answered
	h.wantLogged(1)
	if text := h.metrics(); strings.Contains(text, `tenant="acme"`) || !strings.Contains(text, `latchkey_tenant_request_duration_seconds_count{tenant="_other"} 1`) {
		t.Errorf("metrics:\n%s", text)
	}
}

func TestTenantMetricsOff(t *testing.T) {
	h := newHarness(t)
	h.get(endpoint, h.issue("acme").Token.Reveal()).wantStatus(t, http.StatusOK)
	h.wantLogged(1)
	if text := h.metrics(); strings.Contains(text, "latchkey_tenant_") {
		t.Errorf("metrics:\n%s", text)
	}
}

// How old the directory's view is can be seen.
func TestDirectoryAgeMetric(t *testing.T) {
	h := newHarness(t)
	for _, resource := range []string{"records", "apitokens", "tenants", "publicapis", "documents"} {
		if want := `latchkey_directory_last_event_timestamp_seconds{resource="` + resource + `"} 1.`; !strings.Contains(h.metrics(), want) {
			t.Errorf("%s is missing in\n%s", want, h.metrics())
		}
	}
	unsynced := newHarness(t, func(s *setup) { s.unsynced = true })
	if strings.Contains(unsynced.metrics(), `last_event_timestamp_seconds{resource="records"}`) {
		t.Error("a feed that has delivered nothing has a time")
	}
}
