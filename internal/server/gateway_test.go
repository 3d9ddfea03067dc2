package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
)

// question is what a gateway asks about.
type question struct{ method, host, target string }

var aboutExample = question{http.MethodGet, acmeHost, "/api/v1/example_endpoint?limit=3"}

// gateways ask as their documentation says that they do.
var gateways = map[string]func(r *http.Request, q question){
	"nginx": func(r *http.Request, q question) {
		r.URL.Path, r.Host = "/auth/nginx", q.host
		r.Header.Set("X-Original-Method", q.method)
		r.Header.Set("X-Original-URI", q.target)
	},
	"ingress-nginx": func(r *http.Request, q question) {
		r.URL.Path, r.URL.RawQuery, r.Host = "/auth/ingress-nginx", "host="+q.host, "latchkey-gateway.latchkey-system.svc"
		r.Header.Set("X-Original-Method", q.method)
		r.Header.Set("X-Original-URL", "https://"+q.host+q.target)
	},
	"traefik": func(r *http.Request, q question) {
		r.URL.Path, r.Host = "/auth/traefik", "latchkey-gateway.latchkey-system.svc"
		r.Header.Set("X-Forwarded-Method", q.method)
		r.Header.Set("X-Forwarded-Host", q.host)
		r.Header.Set("X-Forwarded-Uri", q.target)
	},
	"envoy": func(r *http.Request, q question) {
		path, query, _ := strings.Cut(q.target, "?")
		r.Method, r.Host = q.method, q.host
		r.URL.Opaque, r.URL.RawQuery = "/auth/envoy"+path, query // as it is, escapes too
	},
}

// ask asks as the gateway does, with the token if there is one.
func (h *harness) ask(url, gateway string, q question, plaintext string, changes ...func(*http.Request)) *http.Response {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, url, nil)
	directorytest.Must(h.t, err)
	if plaintext != "" {
		r.Header.Set("Authorization", "token "+plaintext)
	}
	gateways[gateway](r, q)
	for _, change := range changes {
		change(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	directorytest.Must(h.t, err)
	body, err := io.ReadAll(response.Body)
	directorytest.Must(h.t, err)
	directorytest.Must(h.t, response.Body.Close())
	if len(body) > 0 || response.ContentLength != 0 {
		h.t.Errorf("the answer has a body: %q", body)
	}
	return response
}

func (h *harness) gateway() string {
	front := httptest.NewServer(h.handler.GatewayHandler())
	h.t.Cleanup(func() {
		front.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return front.URL
}

func forEachGateway(t *testing.T, test func(t *testing.T, gateway string)) {
	for gateway := range gateways {
		t.Run(gateway, func(t *testing.T) { test(t, gateway) })
	}
}

func wantRefusal(t *testing.T, response *http.Response, status int, code string) {
	t.Helper()
	if got := response.Header.Get(server.HeaderProblem); response.StatusCode != status || got != code {
		t.Errorf("status %d, problem %q; want %d, %s", response.StatusCode, got, status, code)
	}
	if challenged := response.Header.Get("Www-Authenticate") != ""; challenged != (status == http.StatusUnauthorized) {
		t.Errorf("status %d, WWW-Authenticate %t", status, challenged)
	}
	for name := range response.Header {
		if strings.HasPrefix(name, "Latchkey-T") {
			t.Errorf("a refusal has the header %s", name)
		}
	}
}

// nginx takes anything but 401 and 403 for a fault of the server that it asked.
func refusalStatus(gateway string, status int) int {
	if strings.HasSuffix(gateway, "nginx") && status != http.StatusUnauthorized {
		return http.StatusForbidden
	}
	return status
}

func TestGatewayIsToldWhoCalls(t *testing.T) {
	forEachGateway(t, func(t *testing.T, gateway string) {
		h := newHarness(t)
		issued := h.issue("acme")
		response := h.ask(h.gateway(), gateway, aboutExample, issued.Token.Reveal())
		if response.StatusCode != http.StatusOK {
			t.Fatalf("status %d, problem %q", response.StatusCode, response.Header.Get(server.HeaderProblem))
		}
		for name, want := range map[string]string{
			"Latchkey-Tenant": "acme", "Latchkey-Token-Id": issued.Token.ID(), "Latchkey-Token-Name": issued.Record.Name,
			"Latchkey-Token-Owner": "ada@example.com", "Latchkey-Token-Scopes": "orders:read orders:write",
			"Latchkey-Token-Expires": "2027-01-02T04:04:05Z",
		} {
			if got := response.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

func TestGatewayIsTold(t *testing.T) {
	about := func(change func(*question)) question {
		q := aboutExample
		change(&q)
		return q
	}
	for name, c := range map[string]struct {
		question question
		token    func(h *harness) string
		status   int
		code     string
	}{
		"no token":           {aboutExample, func(*harness) string { return "" }, 401, "authorization-missing"},
		"another tenant's":   {aboutExample, func(h *harness) string { return h.issue("globex").Token.Reveal() }, 401, "token-invalid"},
		"an expired token":   {aboutExample, func(h *harness) string { defer h.clock.SetTime(expiry); return h.issue("acme").Token.Reveal() }, 401, "token-expired"},
		"an unknown host":    {about(func(q *question) { q.host = "nobody.example.com" }), nil, 404, "unknown-host"},
		"an ambiguous path":  {about(func(q *question) { q.target = "/api/v1/a%2fb" }), nil, 400, "request-refused"},
		"dots":               {about(func(q *question) { q.target = "/api/v1/../x" }), nil, 400, "request-refused"},
		"another path":       {about(func(q *question) { q.target = "/elsewhere" }), nil, 404, "not-found"},
		"an ambiguous query": {about(func(q *question) { q.target = "/api/v1/x?a=1;b=2" }), nil, 400, "request-refused"},
		"an invented method": {about(func(q *question) { q.method = "INVENT" }), nil, 405, "method-not-allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			forEachGateway(t, func(t *testing.T, gateway string) {
				h := newHarness(t)
				if c.token == nil {
					c.token = func(h *harness) string { return h.issue("acme").Token.Reveal() }
				}
				response := h.ask(h.gateway(), gateway, c.question, c.token(h))
				wantRefusal(t, response, refusalStatus(gateway, c.status), c.code)
			})
		})
	}
}

func TestGatewayBeforeTheFirstLists(t *testing.T) {
	forEachGateway(t, func(t *testing.T, gateway string) {
		h := newHarness(t, func(s *setup) { s.unsynced = true })
		wantRefusal(t, h.ask(h.gateway(), gateway, aboutExample, h.issue("acme").Token.Reveal()), http.StatusServiceUnavailable, "stale")
	})
}

// oauth2-proxy CVE-2026-40575: a client's X-Forwarded-Uri decided which path was
// checked. A gateway passes on the headers by which others describe a request.
func TestGatewayDescribesInItsOwnHeadersOnly(t *testing.T) {
	forEachGateway(t, func(t *testing.T, gateway string) {
		h := newHarness(t)
		plaintext := h.issue("acme").Token.Reveal()
		url := h.gateway()
		for other, describe := range gateways {
			if other == gateway {
				continue
			}
			misled := h.ask(url, gateway, question{http.MethodGet, "globex.example.com", "/api/v1/x"}, plaintext, func(r *http.Request) {
				forged := r.Clone(r.Context())
				forged.Header = http.Header{}
				describe(forged, aboutExample)
				for name, values := range forged.Header {
					if _, own := r.Header[name]; !own {
						r.Header[name] = values
					}
				}
			})
			wantRefusal(t, misled, http.StatusUnauthorized, "token-invalid")
		}
	})
}

func TestGatewayThatDescribesNoRequest(t *testing.T) {
	h := newHarness(t)
	plaintext, url := h.issue("acme").Token.Reveal(), h.gateway()
	for gateway, name := range map[string]string{"nginx": "X-Original-Uri", "ingress-nginx": "X-Original-Url", "traefik": "X-Forwarded-Host"} {
		t.Run(gateway, func(t *testing.T) {
			missing := h.ask(url, gateway, aboutExample, plaintext, func(r *http.Request) { r.Header.Del(name) })
			doubled := h.ask(url, gateway, aboutExample, plaintext, func(r *http.Request) { r.Header.Add(name, r.Header.Get(name)) })
			for what, response := range map[string]*http.Response{"missing": missing, "doubled": doubled} {
				if response.StatusCode != http.StatusBadRequest {
					t.Errorf("%s %s: status %d", what, name, response.StatusCode)
				}
			}
		})
	}
	for _, path := range []string{"/", "/auth", "/auth/", "/auth/unknown", "/nginx", "/authnginx"} {
		unknown := h.ask(url, "nginx", aboutExample, plaintext, func(r *http.Request) { r.URL.Path = path })
		if unknown.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, unknown.StatusCode)
		}
	}
}

func TestGatewayTellsTheClientsAddress(t *testing.T) {
	forEachGateway(t, func(t *testing.T, gateway string) {
		h := newHarness(t, withConfig(func(c *server.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }))
		plaintext := h.issue("acme", func(i *directorytest.Issued) {
			i.Record.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}).Token.Reveal()
		url := h.gateway()
		from := func(address string) *http.Response {
			return h.ask(url, gateway, aboutExample, plaintext, func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) })
		}
		if inside := from("192.0.2.7"); inside.StatusCode != http.StatusOK {
			t.Errorf("status %d from an allowed address", inside.StatusCode)
		}
		wantRefusal(t, from("198.51.100.7"), http.StatusForbidden, "address-not-allowed")
	})
}

// What a gateway is told is what a client is told that calls directly.
func TestGatewayDecidesAsTheFrontDoor(t *testing.T) {
	h := newHarness(t)
	url := h.gateway()
	for name, plaintext := range map[string]string{
		"valid": h.issue("acme").Token.Reveal(), "another tenant's": h.issue("globex").Token.Reveal(), "none": "", "garbage": "garbage",
		"revoked":           h.issue("acme", func(i *directorytest.Issued) { i.ApiToken.Spec.Revoked = true }).Token.Reveal(),
		"of another prefix": strings.Replace(h.issue("acme").Token.Reveal(), v1alpha1.DefaultTokenPrefix, "xx", 1),
	} {
		direct := h.get(aboutExample.target, plaintext)
		forEachGateway(t, func(t *testing.T, gateway string) {
			if asked := h.ask(url, gateway, aboutExample, plaintext); asked.StatusCode != direct.StatusCode {
				t.Errorf("token %s: status %d, and %d directly", name, asked.StatusCode, direct.StatusCode)
			}
		})
	}
}

// By the absolute form nginx routes to another host than Host names, which is what
// ingress-nginx puts into X-Original-URL.
func TestIngressNginxSaysWhichHostItRoutesBy(t *testing.T) {
	h := newHarness(t)
	plaintext, url := h.issue("acme").Token.Reveal(), h.gateway()
	for query, status := range map[string]int{
		"host=acme.example.com": http.StatusOK, "host=ACME.example.com": http.StatusOK,
		"host=globex.example.com": http.StatusBadRequest, "host=": http.StatusBadRequest, "": http.StatusBadRequest, "x=acme.example.com": http.StatusBadRequest,
	} {
		response := h.ask(url, "ingress-nginx", aboutExample, plaintext, func(r *http.Request) { r.URL.RawQuery = query })
		if response.StatusCode != status {
			t.Errorf("?%s: status %d, want %d", query, response.StatusCode, status)
		}
	}
}

// Envoy's own path is what it forwards: a query that looks like one is none.
func TestEnvoysPathIsAPath(t *testing.T) {
	h := newHarness(t)
	plaintext, url := h.issue("acme").Token.Reveal(), h.gateway()
	for _, target := range []string{"/auth/envoy", "/auth/envoy?x=/api/v1/x", "/auth/envoy?x/api/v1/x", "/auth/envoyx/api/v1/x"} {
		response := h.ask(url, "envoy", aboutExample, plaintext, func(r *http.Request) { r.URL.Opaque, r.URL.RawQuery = target, "" })
		if response.StatusCode < http.StatusBadRequest {
			t.Errorf("%s: status %d", target, response.StatusCode)
		}
	}
}

func TestGatewayAsksAboutAnUpgrade(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		forEachGateway(t, func(t *testing.T, gateway string) {
			h := newHarness(t, withAPI(func(a *v1alpha1.PublicApiSpec) {
				if allowed {
					a.Upgrades = []v1alpha1.UpgradeProtocol{v1alpha1.UpgradeWebSocket}
				}
			}))
			response := h.ask(h.gateway(), gateway, aboutExample, h.issue("acme").Token.Reveal(), func(r *http.Request) {
				r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			})
			if allowed && response.StatusCode != http.StatusOK {
				t.Errorf("status %d where WebSocket is allowed", response.StatusCode)
			}
			if !allowed {
				wantRefusal(t, response, refusalStatus(gateway, http.StatusBadRequest), "request-refused")
			}
		})
	}
}
