package attacks

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// claim is a way in which a client of one tenant says that it is another's.
type claim struct {
	name string
	// target is the request's; of endpoint if nil.
	target func(claimed string) string
	// headers are beside Host and Authorization. other is a token that works, and not the
	// one that is sent: the host's or, where that is the sender's, the claimed tenant's.
	headers func(claimed, other string) []string
	// refused is what everybody is answered who sends this, or 0 where a tenant who sends
	// it to the own host is served.
	refused int
}

func header(name string) claim {
	return claim{name: name, headers: func(claimed, _ string) []string { return []string{name + ": " + host(claimed)} }}
}

func tenantHeader(name string) claim {
	return claim{name: name, headers: func(claimed, _ string) []string { return []string{name + ": " + claimed} }}
}

func refused(status int, c claim) claim {
	c.refused = status
	return c
}

var claims = []claim{
	{name: "nothing"},
	header("X-Forwarded-Host"),
	header("X-Forwarded-Server"),
	header("X-Original-Host"),
	header("X-Host"),
	header("X-HTTP-Host-Override"),
	tenantHeader("Latchkey-Tenant"),
	tenantHeader("LATCHKEY-TENANT"),
	refused(http.StatusBadRequest, tenantHeader("Latchkey_Tenant")),
	refused(http.StatusBadRequest, tenantHeader("X_Latchkey_Tenant")),
	{name: "Forwarded", headers: func(claimed, _ string) []string {
		return []string{"Forwarded: for=127.0.0.1;host=" + host(claimed) + ";proto=https", "X-Forwarded-For: 192.0.2.1", "Via: 1.1 " + host(claimed)}
	}},
	{name: "X-Original-URL", headers: func(claimed, _ string) []string {
		return []string{"X-Original-URL: https://" + host(claimed) + endpoint, "X-Rewrite-URL: https://" + host(claimed) + endpoint, "Referer: https://" + host(claimed)}
	}},
	{name: "Latchkey-Token-Id", headers: func(claimed, other string) []string {
		return []string{"Latchkey-Token-Id: " + tokenID(other), "Latchkey-Token-Scopes: everything", "Latchkey-Token-Owner: boss@" + host(claimed)}
	}},
	{name: "another token elsewhere", headers: func(_, other string) []string {
		return []string{"Proxy-Authorization: token " + other, "Cookie: Authorization=token " + other + "; token=" + other, "X-Authorization: token " + other, "X-Api-Key: " + other}
	}},
	{name: "query", target: func(claimed string) string { return endpoint + "?tenant=" + claimed + "&host=" + host(claimed) }},
	refused(http.StatusBadRequest, claim{name: "absolute form", target: func(claimed string) string { return "http://" + host(claimed) + endpoint }}),
	refused(http.StatusBadRequest, claim{name: "second Host", headers: func(claimed, _ string) []string { return []string{"Host: " + host(claimed)} }}),
	refused(http.StatusUnauthorized, claim{name: "second Authorization", headers: func(_, other string) []string { return []string{"Authorization: token " + other} }}),
	refused(http.StatusBadRequest, claim{name: "option of the connection", headers: func(claimed, _ string) []string {
		return []string{"X-Forwarded-Host: " + host(claimed), "Connection: keep-alive, Latchkey-Tenant"}
	}}),
}

func tokenID(plaintext string) string { return strings.Split(plaintext, "_")[1] }

// request is what a client sends to a tenant's host. claimed and other are as the
// claims have them.
func (c *claim) request(tenant, plaintext, claimed, other string) string {
	target := endpoint
	if c.target != nil {
		target = c.target(claimed)
	}
	lines := []string{"GET " + target + " HTTP/1.1", "Host: " + host(tenant), "Authorization: token " + plaintext}
	if c.headers != nil {
		lines = append(lines, c.headers(claimed, other)...)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// pipelineFrom sends requests over one connection from the address, and calls answered
// with each answer in its order. After a request that makes the server end the
// connection it goes on over another.
func pipelineFrom(ctx context.Context, from net.Addr, address string, requests []string, answered func(n int, reply wiretest.Reply)) error {
	for next := 0; next < len(requests); {
		first, last := next, next+together(requests[next:])
		connection, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		_ = connection.SetDeadline(time.Now().Add(time.Minute))
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, request := range requests[first:last] {
				if _, err := io.WriteString(connection, request); err != nil {
					return
				}
			}
		}()
		in := bufio.NewReader(connection)
		for ; next < last; next++ {
			reply, err := wiretest.ReadReply(in, http.MethodGet)
			if err != nil {
				break
			}
			answered(next, reply)
		}
		_ = connection.Close()
		<-sent
		if next == first {
			return fmt.Errorf("no answer to %q", requests[first])
		}
	}
	return nil
}

// together is how many of the requests are sent at once. What net/http refuses by itself
// is the last of them: it may close the connection so that an answer is lost.
func together(requests []string) int {
	const most = 64
	for n, request := range requests[:min(most, len(requests))] {
		if strings.Count(request, "\r\nHost:") > 1 {
			return n + 1
		}
	}
	return min(most, len(requests))
}

// strange are tokens that no tenant has: those that could be one, and those that could
// not.
func strange(t *testing.T) map[string]string {
	t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	must(t, err)
	unknown := minted.Reveal()
	last := "0"
	if strings.HasSuffix(unknown, last) {
		last = "1"
	}
	return map[string]string{
		"unknown":        unknown,
		"short":          unknown[:len(unknown)-1],
		"long":           unknown + "0",
		"wrong checksum": unknown[:len(unknown)-1] + last,
		"wrong prefix":   "xy" + unknown[2:],
		"upper case":     strings.ToUpper(unknown),
		"no prefix":      unknown[3:],
		"one letter":     "x",
		"letters":        strings.Repeat("a", 400),
		"not ASCII":      "lk_\xc3\xbc" + unknown[5:],
		"path":           "../../etc/passwd",
		"quotes":         `"'><script>`,
		"percent":        unknown[:20] + "%00" + unknown[23:],
		"JSON Web Token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
	}
}

// crossing sends every claim with one tenant's token to the hosts of all.
type crossing struct {
	world *world
	// nobodys is a token as they are issued, which never was.
	nobodys string
	// unknown is how each host answers that token.
	unknown map[string]wiretest.Reply
	// requests are those with a token that works, twins those with nobodys beside them,
	// and served the requests that were.
	requests, twins, served int
}

// No token is accepted on another tenant's host, whatever its client claims, and what
// is answered tells nobody whether there is such a token: it is, byte for byte and but
// for the date, what is answered to one that nobody has, or that is none.
func TestNoTokenCrosses(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--max-bad-tokens-per-minute=0", "--log-level=WARN")
	c := &crossing{world: w, nobodys: strange(t)["unknown"], unknown: w.unknownAnswers(t, s)}
	for _, owner := range w.tenants {
		c.send(t, s, owner)
		if t.Failed() {
			return
		}
	}
	reached := w.take(t)
	if want := len(w.tenants) * servedClaims(); len(reached) != c.served || c.served != want {
		t.Errorf("%d requests reached the backend, and %d were answered by it, want %d", len(reached), c.served, want)
	}
	for _, r := range reached {
		w.wantNoClaims(t, r)
	}
	t.Logf("%d tokens × %d hosts × %d claims: %d requests, %d served to their own tenant, 0 crossings; %d more with a token that nobody has",
		len(w.tenants), len(w.tenants), len(claims), c.requests, c.served, c.twins)
}

// servedClaims is how many of the claims a tenant may make on the own host.
func servedClaims() (n int) {
	for i := range claims {
		if claims[i].refused == 0 {
			n++
		}
	}
	return n
}

// send sends the owner's token to all hosts. What is refused for the claim may be
// answered with words about it: then the same request with a token that nobody has goes
// before it, and is what it has to be answered like.
func (c *crossing) send(t *testing.T, s *apiServer, owner string) {
	t.Helper()
	w := c.world
	var sent []string
	var wanted []func(reply wiretest.Reply)
	for n, tenant := range w.tenants {
		claimed, other := owner, w.tokens[tenant]
		if tenant == owner {
			claimed = w.tenants[(n+1)%len(w.tenants)]
			other = w.tokens[claimed]
		}
		for i := range claims {
			claim, twin := &claims[i], c.unknown[tenant]
			if claim.refused != 0 {
				c.twins++
				sent = append(sent, claim.request(tenant, c.nobodys, claimed, other))
				wanted = append(wanted, func(reply wiretest.Reply) {
					if twin = reply; reply.Status != claim.refused {
						t.Errorf("nobody's token on %s with %s was answered %d, want %d", host(tenant), claim.name, reply.Status, claim.refused)
					}
				})
			}
			c.requests++
			sent = append(sent, claim.request(tenant, w.tokens[owner], claimed, other))
			wanted = append(wanted, func(reply wiretest.Reply) {
				if tenant == owner && claim.refused == 0 {
					c.served++
					wantServed(t, tenant, claim.name, reply)
					return
				}
				wantAlike(t, owner+"'s token on "+host(tenant)+" with "+claim.name, reply, twin)
			})
		}
	}
	must(t, pipeline(t.Context(), s.address, sent, func(n int, reply wiretest.Reply) { wanted[n](reply) }))
}

// unknownAnswers is how each host answers a token that nobody has, to which all others
// that are not the tenant's have to be answered alike.
func (w *world) unknownAnswers(t *testing.T, s *apiServer) map[string]wiretest.Reply {
	t.Helper()
	tokens := strange(t)
	maps.Copy(tokens, w.dead)
	answers := map[string]wiretest.Reply{}
	for _, tenant := range w.tenants {
		names, sent := []string{"unknown"}, []string{claims[0].request(tenant, tokens["unknown"], "", "")}
		for name, plaintext := range tokens {
			if tenant == "acme" && (name == "expired" || name == "revoked") {
				continue // they are its own
			}
			names, sent = append(names, name), append(sent, claims[0].request(tenant, plaintext, "", ""))
		}
		must(t, pipeline(t.Context(), s.address, sent, func(n int, reply wiretest.Reply) {
			if n == 0 {
				answers[tenant] = reply
			}
			if reply.Status != http.StatusUnauthorized {
				t.Errorf("on %s a token that is %s was answered %d", host(tenant), names[n], reply.Status)
			}
			wantAlike(t, "on "+host(tenant)+" a token that is "+names[n], reply, answers[tenant])
		}))
	}
	return answers
}

func wantServed(t *testing.T, tenant, claim string, reply wiretest.Reply) {
	t.Helper()
	var answer wiretest.Answer
	if err := json.Unmarshal([]byte(reply.Body), &answer); err != nil || reply.Status != http.StatusOK || answer.Tenant != tenant || answer.Host != host(tenant) {
		t.Errorf("%s's own token with %s was answered %d as %+v: %v\n%s", tenant, claim, reply.Status, answer, err, reply.Body)
	}
}

// wantAlike wants an answer that is, but for the date, what a token is answered that
// nobody has.
func wantAlike(t *testing.T, what string, reply, unknown wiretest.Reply) {
	t.Helper()
	if reply.Head != unknown.Head || reply.Body != unknown.Body {
		t.Errorf("%s was answered\n%s%s\nand one that nobody has\n%s%s", what, reply.Head, reply.Body, unknown.Head, unknown.Body)
	}
}

// wantNoClaims wants that the backend was told, by every name that it could believe,
// whose request it is, once, and of nobody else.
func (w *world) wantNoClaims(t *testing.T, r *wiretest.Request) {
	t.Helper()
	own := r.Value("Host")
	tenant, _, _ := strings.Cut(own, ".")
	for name, want := range map[string][]string{
		proxy.HeaderTenant: {tenant}, proxy.HeaderTokenID: {tokenID(w.tokens[tenant])}, proxy.HeaderTokenOwner: nil, proxy.HeaderTokenScopes: {""},
		"X-Forwarded-Host": {own}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Server": nil, "X-Original-Host": nil, "X-Host": nil,
		"X-Http-Host-Override": nil, "Forwarded": nil, "X-Original-Url": nil, "X-Rewrite-Url": nil, "Proxy-Authorization": nil,
	} {
		if got := r.Values(name); !slices.Equal(got, want) {
			t.Fatalf("on %s the backend was told %s: %q, want %q", own, name, got, want)
		}
	}
}

// A connection that was made for one tenant's host serves no other, with a token of
// either.
func TestServerNameIsTheHost(t *testing.T) {
	w := newWorld(t)
	s := w.startServer(t, "--max-bad-tokens-per-minute=0", "--log-level=WARN")
	handshakes := 0
	for n, named := range w.tenants {
		for _, step := range []int{0, 1, 7} {
			tenant := w.tenants[(n+step)%len(w.tenants)]
			for _, owner := range []string{named, tenant} {
				reply := s.overTLS(t, named, claims[0].request(tenant, w.tokens[owner], "", ""))
				handshakes++
				if named == tenant {
					wantServed(t, tenant, "nothing", reply)
				} else if reply.Status != http.StatusMisdirectedRequest {
					t.Errorf("%s's token on a connection for %s, with Host: %s, was answered %d", owner, host(named), host(tenant), reply.Status)
				}
			}
		}
	}
	if reached := w.take(t); len(reached) != 2*len(w.tenants) {
		t.Errorf("%d requests reached the backend", len(reached))
	}
	t.Logf("%d connections, of which %d named another host than the request", handshakes, handshakes*2/3)
}

// overTLS sends a request over a connection of its own, for the tenant's host.
func (s *apiServer) overTLS(t *testing.T, tenant, request string) wiretest.Reply {
	t.Helper()
	// The certificate is the test's own, and not what it is about.
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: host(tenant), InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}}
	connection, err := dialer.DialContext(t.Context(), "tcp", s.tls)
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(connection, request)
	must(t, err)
	reply, err := wiretest.ReadReply(bufio.NewReader(connection), http.MethodGet)
	must(t, err)
	return reply
}
