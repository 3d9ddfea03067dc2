package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

func TestAccessLog(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme")
	h.get("/api/v1/orders?limit=1&secret="+marker, i.Token.Reveal()).wantStatus(t, http.StatusOK)
	h.wantOutcome("served")
	line := h.logs.lines("request")[0]
	for name, want := range map[string]any{
		"level": "INFO", "method": "GET", "path": "/api/v1/orders", "status": 200.0, "outcome": "served",
		"tenant": "acme", "tokenID": i.Token.ID(), "client": "127.0.0.1",
	} {
		if line[name] != want {
			t.Errorf("%s: %v, want %v", name, line[name], want)
		}
	}
	if line["bytes"].(float64) == 0 || line["duration"].(float64) == 0 {
		t.Errorf("bytes %v, duration %v", line["bytes"], line["duration"])
	}
}

func TestAccessLogOfRefusals(t *testing.T) {
	h := newHarness(t)
	i := h.issue("acme", revoked)
	h.get(endpoint, i.Token.Reveal()).wantProblem(t, http.StatusUnauthorized, "token-revoked")
	h.get(endpoint, h.issue("globex").Token.Reveal()).wantProblem(t, http.StatusUnauthorized, "token-invalid")
	h.wantOutcome("token-revoked")
	h.wantOutcome("token-invalid")
	for _, line := range h.logs.lines("request") {
		if line["outcome"] == "token-revoked" && line["tokenID"] != i.Token.ID() {
			t.Errorf("whose token was revoked is not logged: %v", line)
		}
		if line["outcome"] == "token-invalid" && line["tokenID"] != nil {
			t.Errorf("an id that nothing vouches for is logged: %v", line)
		}
	}
}

// Wherever a client puts its token, or another secret, the log does not repeat it
// (Traefik CVE-2022-23469). The harness looks for both at the end of every test.
func TestCVE2022_23469SecretsAreNotLogged(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	id, secret := plaintext[3:13], secretPart(plaintext)
	for _, target := range []string{
		"/api/v1/" + plaintext, "/" + plaintext, "/api/v1/a/" + plaintext + "/b", "/api/v1/lk%5f" + id + "%5F" + secret, "/api/v1/%6ck_" + id + "_" + secret,
		"/api/v1/%6C%6B%5F" + id + "%5f" + secret, "/api/v1/lk%255F" + id + "%255F" + secret, "/api/v1/" + strings.Repeat("x", 300) + plaintext,
		"/api/v1/x?token=" + plaintext, "/api/v1/x?" + plaintext, "/api/v1/x?" + marker, "/api/v1/x?a;" + plaintext, "/api/v1/%2e%2e/" + plaintext, "//" + plaintext,
	} {
		for _, method := range []string{"GET", "TRACE", plaintext} {
			h.rawAnswer(method + " " + target + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\n\r\n")
		}
	}
	for _, headers := range []string{
		"Cookie: session=" + marker, "Cookie: " + plaintext, "Referer: https://x/?" + plaintext, "User-Agent: " + plaintext, "X-Api-Key: " + plaintext,
		"Authorization: Basic " + marker, "Authorization: " + plaintext, "Authorization: token " + marker, "Authorization: token " + plaintext + "x",
		"Authorization: token " + plaintext + "\r\nAuthorization: token " + plaintext, plaintext + ": x", "X_" + marker + ": x",
		"Connection: " + plaintext, "Origin: " + marker, "Forwarded: for=" + marker, "Transfer-Encoding: " + marker, "Content-Length: " + marker,
	} {
		h.rawAnswer("GET " + endpoint + " HTTP/1.1\r\nHost: " + acmeHost + "\r\nConnection: close\r\n" + headers + "\r\n\r\n")
	}
	for _, host := range []string{plaintext + ".example.com", marker, plaintext} {
		h.rawAnswer(rawGet("GET "+endpoint+" HTTP/1.1", directorytest.Issue(t, "acme", expiry).Token.Reveal(), host))
	}
}

// Nobody outside can make series (client_golang CVE-2022-21698).
func TestCVE2022_21698LabelsAreClosed(t *testing.T) {
	h := newHarness(t, withTenantMetrics(10))
	plaintext := h.issue("acme").Token.Reveal()
	sent := 0
	for _, method := range []string{"GET", "HEAD", "TRACE", "INVENTED", "GET0"} {
		for _, target := range []string{endpoint, "/garbage", "/api/v1/..", "/api/v1/garbage?garbage", "/api/v1/token"} {
			for _, host := range []string{acmeHost, "globex.example.com", "garbage.example.com", "garbage"} {
				for _, presented := range []string{plaintext, "", "garbage"} {
					h.rawAnswer(rawGet(method+" "+target+" HTTP/1.1", presented, host))
					sent++
				}
			}
		}
	}
	h.wantLogged(sent)
	h.wantClosedLabels()
	before := strings.Count(h.metrics(), "\n")
	for n := range 50 {
		h.rawAnswer(rawGet("M"+strings.Repeat("X", n)+" /"+strings.Repeat("y", n)+" HTTP/1.1", plaintext, strings.Repeat("z", n)+".example.com"))
	}
	h.wantLogged(sent + 50)
	if after := strings.Count(h.metrics(), "\n"); after != before {
		t.Errorf("%d lines of metrics became %d", before, after)
	}
}

// wantLogged waits until as many requests are accounted for.
func (h *harness) wantLogged(requests int) {
	h.t.Helper()
	testenv.Eventually(h.t, func() error {
		if n := len(h.logs.lines("request")); n != requests {
			return fmt.Errorf("%d requests are logged, want %d", n, requests)
		}
		return nil
	})
}

func (h *harness) wantClosedLabels() {
	h.t.Helper()
	allowed := map[string][]string{
		"method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
		"status": {"1xx", "2xx", "3xx", "4xx", "5xx"},
		"outcome": {
			"served", "client-gone", "authorization-missing", "authorization-malformed", "token-invalid", "token-expired", "token-revoked",
			"tenant-suspended", "address-not-allowed", "unknown-host", "stale", "backend-unavailable", "request-refused", "method-not-allowed",
			"not-found", "internal-error", "rate-limited", "request-too-large", "misdirected-request",
		},
		"tenant":   {"acme", "globex", "_other"},
		"resource": {"records", "apitokens", "tenants", "publicapis", "documents"},
	}
	families, err := h.registry.Gather()
	directorytest.Must(h.t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if !slices.Contains(allowed[label.GetName()], label.GetValue()) {
					h.t.Errorf("%s has the label %s=%q", family.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
}

func TestMetricsTellWhatTheDirectoryHolds(t *testing.T) {
	h := newHarness(t, func(s *setup) { s.unsynced = true })
	h.issue("acme")
	for _, want := range []string{"latchkey_directory_tokens 1\n", "latchkey_directory_tenants 2\n", "latchkey_directory_synced 0\n"} {
		if text := h.metrics(); !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	directorytest.Sync(t, h.stores)
	if text := h.metrics(); !strings.Contains(text, "latchkey_directory_synced 1\n") || !strings.Contains(text, "latchkey_directory_tokens 0\n") {
		t.Errorf("after the first lists the metrics are\n%s", text)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	h := newHarness(t)
	h.get(endpoint, h.issue("acme").Token.Reveal()).wantStatus(t, http.StatusOK)
	h.get(endpoint, "").wantStatus(t, http.StatusUnauthorized)
	h.wantOutcome("served")
	h.wantOutcome("authorization-missing")
	for _, want := range []string{
		`latchkey_http_requests_total{method="GET",outcome="served",status="2xx"} 1`,
		`latchkey_http_requests_total{method="GET",outcome="authorization-missing",status="4xx"} 1`,
		`latchkey_http_request_duration_seconds_count{outcome="served"} 1`,
	} {
		if text := h.metrics(); !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}
