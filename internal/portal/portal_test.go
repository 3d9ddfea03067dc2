package portal_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const tokens = "/api/v1/tokens"

// manages is what a token needs to manage others, with some rights of its own.
var manages = []string{v1alpha1.ScopeTokensRead, v1alpha1.ScopeTokensWrite, "orders:read"}

func lifetime(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestCreateShowChangeRevoke(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Owner: "ada@example.com", Lifetime: lifetime(time.Hour)})

	created := i.call("acme", http.MethodPost, tokens, caller, `{"name":"ci","scopes":["orders:read"],"description":"for CI"}`)
	made := created.issued(i, http.StatusCreated)
	if a := i.call("acme", http.MethodGet, "/api/v1/orders", made.Plaintext); a.status != http.StatusOK {
		t.Fatalf("the new token does not work at once: %s", a.body)
	}
	got := made.Token
	if !got.Active || got.Name != "ci" || got.Owner != "ada@example.com" || got.Description != "for CI" ||
		got.CreatedBy != "apitoken:caller" || got.IssuedBy != "apitoken:caller" || got.CreatedVia != "api" {
		t.Errorf("created as %+v", got)
	}
	own := i.stored("acme", "caller").Status.Credential.ExpiresAt.Time
	if got.Credential.ExpiresAt.After(own) {
		t.Errorf("it expires at %s, after its maker at %s", got.Credential.ExpiresAt, own)
	}
	i.call("acme", http.MethodPost, tokens, caller, `{"name":"ci"}`).refused(http.StatusConflict, "conflict")

	// Another tenant's token of the same name is another one.
	stranger := i.make("globex", "caller", v1alpha1.ApiTokenSpec{Scopes: manages})
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		i.call("globex", method, tokens+"/ci", stranger).refused(http.StatusNotFound, "not-found")
		i.call("acme", method, tokens+"/ci", stranger).refused(http.StatusUnauthorized, "token-invalid")
	}
	i.call("globex", http.MethodPatch, tokens+"/ci", stranger, `{}`).refused(http.StatusNotFound, "not-found")
	i.call("globex", http.MethodPost, tokens+"/ci/rotate", stranger).refused(http.StatusNotFound, "not-found")

	// If-Match.
	shownNow := i.call("acme", http.MethodGet, tokens+"/ci", caller)
	etag := shownNow.header.Get("Etag")
	for _, c := range []struct{ method, target, body string }{
		{http.MethodPatch, tokens + "/ci", `{"description":"x"}`}, {http.MethodDelete, tokens + "/ci", ""}, {http.MethodPost, tokens + "/ci/rotate", ""},
	} {
		i.call("acme", c.method, c.target, caller, c.body, "If-Match", `"1"`).refused(http.StatusPreconditionFailed, "precondition-failed")
	}
	var changed shown
	a := i.call("acme", http.MethodPatch, tokens+"/ci", caller, `{"owner":"grace@example.com","overlap":"1h","scopes":[]}`, "If-Match", etag)
	a.decode(http.StatusOK, &changed)
	if changed.Owner != "grace@example.com" || changed.Overlap != "1h0m0s" || len(changed.Scopes) != 0 || changed.Description != "for CI" {
		t.Errorf("changed to %+v", changed)
	}
	if a.header.Get("Etag") == etag {
		t.Error("the ETag has not changed")
	}

	if a := i.call("acme", http.MethodDelete, tokens+"/ci", caller, "", "If-Match", "*"); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	i.ended("acme", made.Plaintext, "token-revoked")
	if a := i.call("acme", http.MethodDelete, tokens+"/ci", caller); a.status != http.StatusNoContent {
		t.Errorf("revoked again: %d %s", a.status, a.body)
	}
	i.call("acme", http.MethodGet, tokens+"/ci", caller).decode(http.StatusOK, &got)
	if !got.Revoked || got.Active || got.RevokedBy != "apitoken:caller" {
		t.Errorf("revoked as %+v", got)
	}
	i.call("acme", http.MethodPost, tokens+"/ci/rotate", caller).refused(http.StatusConflict, "conflict")

	if lines := i.audited("create"); len(lines) != 1 || lines[0]["token"] != "ci" || lines[0]["tenant"] != "acme" || lines[0]["actor"] != "caller" ||
		lines[0]["actorKind"] != "apitoken" || lines[0]["via"] != "api" || lines[0]["credentialID"] != made.Token.Credential.ID {
		t.Errorf("the audit log has %v", lines)
	}
	if lines := i.audited("revoke"); len(lines) != 1 {
		t.Errorf("the audit log has %v", lines)
	}
}

// No token makes one that may do more, or makes another one do more.
func TestEscalation(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, AllowedCIDRs: []string{"192.0.2.0/24"}, Lifetime: lifetime(time.Hour)})
	i.make("acme", "wide", v1alpha1.ApiTokenSpec{Scopes: []string{"orders:write"}})
	i.make("acme", "narrow", v1alpha1.ApiTokenSpec{Scopes: []string{"orders:read"}, AllowedCIDRs: []string{"192.0.2.1/32", "198.51.100.0/24"}})
	soon := time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
	for name, c := range map[string]struct{ method, target, body, names string }{
		"scopes":                   {http.MethodPost, tokens, `{"name":"x","scopes":["orders:read","orders:write"]}`, "scope orders:write"},
		"other addresses":          {http.MethodPost, tokens, `{"name":"x","allowedCIDRs":["192.0.2.0/25","198.51.100.0/24"]}`, "addresses 198.51.100.0/24"},
		"wider addresses":          {http.MethodPost, tokens, `{"name":"x","allowedCIDRs":["192.0.0.0/16"]}`, "addresses 192.0.0.0/16"},
		"any address":              {http.MethodPost, tokens, `{"name":"x","allowedCIDRs":[]}`, "any address"},
		"a later expiry":           {http.MethodPost, tokens, `{"name":"x","expiresAt":"` + soon + `"}`, "expiresAt " + soon},
		"a longer lifetime":        {http.MethodPost, tokens, `{"name":"x","lifetime":"2h"}`, "lifetime 2h"},
		"rotate one that is wider": {http.MethodPost, tokens + "/wide/rotate", "", "scope orders:write"},
		"to sign in":               {http.MethodPost, tokens, `{"name":"x","scopes":["settings"],"lifetime":"5m"}`, "scope settings"},
		"to sign in, in place":     {http.MethodPatch, tokens + "/narrow", `{"scopes":["settings"]}`, "scope settings"},
		"add a scope":              {http.MethodPatch, tokens + "/narrow", `{"scopes":["orders:read","orders:write"]}`, "scope orders:write"},
		"to itself":                {http.MethodPatch, tokens + "/caller", `{"scopes":["tokens:write","orders:write"]}`, "scope orders:write"},
		"lift the addresses":       {http.MethodPatch, tokens + "/narrow", `{"allowedCIDRs":[]}`, "any address"},
		"widen the addresses":      {http.MethodPatch, tokens + "/narrow", `{"allowedCIDRs":["198.51.0.0/16"]}`, "addresses 198.51.0.0/16"},
		"widen its own":            {http.MethodPatch, tokens + "/caller", `{"allowedCIDRs":["0.0.0.0/0"]}`, "addresses 0.0.0.0/0"},
	} {
		if body := i.call("acme", c.method, c.target, caller, c.body).refused(http.StatusForbidden, "exceeds-caller"); !strings.Contains(body, c.names) {
			t.Errorf("%s: %s does not name %q", name, body, c.names)
		}
	}
	i.call("acme", http.MethodGet, tokens+"/x", caller).refused(http.StatusNotFound, "not-found")
	i.call("acme", http.MethodPost, tokens+"/caller/rotate", caller).refused(http.StatusForbidden, "self-rotation-forbidden")

	// What is not asked for is the caller's.
	made := i.call("acme", http.MethodPost, tokens, caller, `{"name":"child","scopes":["orders:read","tokens:write"]}`).issued(i, http.StatusCreated)
	same(t, "addresses", made.Token.AllowedCIDRs, []string{"192.0.2.0/24"})
	i.call("acme", http.MethodGet, "/api/v1/token", made.Plaintext, "", "X-Forwarded-For", "203.0.113.1").refused(http.StatusForbidden, "address-not-allowed")
	i.call("acme", http.MethodGet, tokens, caller, "", "X-Forwarded-For", "203.0.113.1").refused(http.StatusForbidden, "address-not-allowed")
	grandchild := i.call("acme", http.MethodPost, tokens, made.Plaintext, `{"name":"grandchild"}`).issued(i, http.StatusCreated)
	own := i.stored("acme", "caller").Status.Credential.ExpiresAt.Time
	if got := grandchild.Token.Credential.ExpiresAt; got.After(own) {
		t.Errorf("the token of a token of a token expires at %s, after the first at %s", got, own)
	}
	rotated := i.call("acme", http.MethodPost, tokens+"/child/rotate", caller).issued(i, http.StatusOK)
	if got := rotated.Token.Credential.ExpiresAt; got.After(own) {
		t.Errorf("rotated, it expires at %s, after the caller at %s", got, own)
	}
	// To take away is permitted, also from those that may do more.
	i.call("acme", http.MethodPatch, tokens+"/narrow", caller, `{"allowedCIDRs":["198.51.100.7/32"],"scopes":[]}`).decode(http.StatusOK, nil)
	i.call("acme", http.MethodPatch, tokens+"/wide", caller, `{"allowedCIDRs":["198.51.100.7/32"]}`).decode(http.StatusOK, nil)

	// Reading and writing take a scope each.
	reader := i.make("acme", "reader", v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeTokensRead}})
	writer := i.make("acme", "writer", v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeTokensWrite}})
	i.call("acme", http.MethodGet, tokens, reader).decode(http.StatusOK, nil)
	for _, c := range []struct{ caller, method, target, body, lacks string }{
		{reader, http.MethodPost, tokens, `{"name":"x"}`, "tokens:write"},
		{reader, http.MethodPatch, tokens + "/wide", `{}`, "tokens:write"},
		{reader, http.MethodDelete, tokens + "/wide", "", "tokens:write"},
		{reader, http.MethodPost, tokens + "/wide/rotate", "", "tokens:write"},
		{writer, http.MethodGet, tokens, "", "tokens:read"},
		{writer, http.MethodGet, tokens + "/wide", "", "tokens:read"},
	} {
		body := i.call("acme", c.method, c.target, c.caller, c.body).refused(http.StatusForbidden, "insufficient-scope")
		if !strings.Contains(body, `"scopes":["`+c.lacks+`"]`) {
			t.Errorf("%s does not name %s", body, c.lacks)
		}
	}
}

func TestTheCallingToken(t *testing.T) {
	i := install(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.SelfRotation = v1alpha1.SelfRotationAllowed })
	first := i.make("acme", "robot", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour), Rotation: &v1alpha1.Rotation{Overlap: lifetime(30 * time.Minute)}})
	until := i.stored("acme", "robot").Status.Credential.ExpiresAt.Time

	second := i.call("acme", http.MethodPost, "/api/v1/token/rotate", first).issued(i, http.StatusOK)
	if got := second.Token.Credential.ExpiresAt; got.After(until) {
		t.Errorf("the new credential expires at %s, after the old at %s", got, until)
	}
	for _, plaintext := range []string{first, second.Plaintext} {
		i.call("acme", http.MethodGet, "/api/v1/token", plaintext).decode(http.StatusOK, nil)
	}
	if second.Token.PreviousCredential.ID != strings.Split(first, "_")[1] {
		t.Errorf("the one before is %+v", second.Token.PreviousCredential)
	}
	// Whoever has the one before gets no successor by it.
	i.call("acme", http.MethodPost, "/api/v1/token/rotate", first).refused(http.StatusConflict, "conflict")

	// Without overlap a token ends its own request, and still gets the answer.
	abrupt := i.make("acme", "abrupt", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour)})
	successor := i.call("acme", http.MethodPost, "/api/v1/token/rotate", abrupt).issued(i, http.StatusOK)
	i.call("acme", http.MethodGet, "/api/v1/token", successor.Plaintext).decode(http.StatusOK, nil)
	i.ended("acme", abrupt, "token-expired")

	// It takes nothing but having a token to revoke it.
	if a := i.call("acme", http.MethodDelete, "/api/v1/token", second.Plaintext); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	i.ended("acme", second.Plaintext, "token-revoked")
	i.ended("acme", first, "token-revoked")
	if by := i.stored("acme", "robot").Annotations[v1alpha1.AnnotationRevokedBy]; by != "apitoken:robot" {
		t.Errorf("revoked by %q", by)
	}

	// Off unless the policy allows it.
	off := i.make("acme", "off", v1alpha1.ApiTokenSpec{})
	forbid := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"tokenPolicy":{"selfRotation":"Forbidden"}}}`))
	must(t, env().Client.Patch(t.Context(), i.api, forbid))
	testenv.Eventually(t, func() error {
		a := i.call("acme", http.MethodPost, "/api/v1/token/rotate", off)
		if a.status == http.StatusOK { // the change has not arrived yet
			off = a.issued(i, http.StatusOK).Plaintext
		}
		if !strings.Contains(a.body, "self-rotation-forbidden") {
			return fmt.Errorf("%d", a.status)
		}
		return nil
	})
	i.works("acme", off)
}

// What the policy does not permit, or what the manager refuses, leaves nothing.
func TestRefusals(t *testing.T) {
	i := install(t, func(a *v1alpha1.PublicApi) {
		a.Spec.TokenPolicy.MaxPerTenant = 2
		a.Spec.TokenPolicy.MaxOverlap = lifetime(time.Hour)
	})
	all := append([]string{"orders:write"}, manages...)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: all, Lifetime: lifetime(8000 * time.Hour)})
	i.call("acme", http.MethodPost, tokens, caller, `{"name":"x","overlap":"2h"}`).refused(http.StatusUnprocessableEntity, "policy-violation")
	i.call("acme", http.MethodPost, tokens, caller, `{"name":"x","expiresAt":"2020-01-01T00:00:00Z"}`).refused(http.StatusUnprocessableEntity, "policy-violation")
	i.call("acme", http.MethodPost, tokens, caller, `{"name":"second"}`).issued(i, http.StatusCreated)
	i.call("acme", http.MethodPatch, tokens+"/second", caller, `{"overlap":"2h"}`).refused(http.StatusUnprocessableEntity, "policy-violation")
	body := i.call("acme", http.MethodPost, tokens, caller, `{"name":"third"}`).refused(http.StatusUnprocessableEntity, "policy-violation")
	if !strings.Contains(body, "2 live tokens") {
		t.Errorf("the manager's reason is not told: %s", body)
	}
	i.call("acme", http.MethodGet, tokens+"/third", caller).refused(http.StatusNotFound, "not-found")

	// With no manager nothing is confirmed: what was made is withdrawn, but what was
	// rotated is handed out, for it may come to work.
	i.stopManager()
	i.confirmTimeout = time.Second
	i.startServer()
	i.works("acme", caller)
	i.call("acme", http.MethodPost, tokens, caller, `{"name":"fourth"}`).refused(http.StatusServiceUnavailable, "not-confirmed")
	i.call("acme", http.MethodGet, tokens+"/fourth", caller).refused(http.StatusNotFound, "not-found")
	rotated := i.call("acme", http.MethodPost, tokens+"/second/rotate", caller).issued(i, http.StatusAccepted)
	i.startManager()
	i.works("acme", rotated.Plaintext)
}

func TestInput(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages})
	for _, c := range []struct {
		method, target, body string
		status               int
		code, names          string
	}{
		{http.MethodPost, tokens, `{"name":"x","scope":["orders:read"]}`, 400, "request-invalid", "scope"},
		{http.MethodPost, tokens, `{"name":"x","Scopes":["orders:read"]}`, 400, "request-invalid", "Scopes"},
		{http.MethodPost, tokens, `{"name":"x","name":"y"}`, 400, "request-invalid", "name"},
		{http.MethodPost, tokens, `{"name":"x","credential":{}}`, 400, "request-invalid", "credential"},
		{http.MethodPost, tokens, `{"name":"x","scopes":"orders:read"}`, 400, "request-invalid", "scopes"},
		{http.MethodPost, tokens, `{"name":"x","owner":null}`, 400, "request-invalid", "owner"},
		{http.MethodPost, tokens, `{"name":"x"}{}`, 400, "request-invalid", "one JSON object"},
		{http.MethodPost, tokens, `[]`, 400, "request-invalid", "one JSON object"},
		{http.MethodPost, tokens, ``, 415, "request-invalid", "Content-Type"},
		{http.MethodPost, tokens, `{}`, 400, "request-invalid", "name"},
		{http.MethodPost, tokens, `{"name":"../x"}`, 400, "request-invalid", "name"},
		{http.MethodPost, tokens, `{"name":"x","lifetime":"30d"}`, 400, "request-invalid", "lifetime"},
		{http.MethodPost, tokens, `{"name":"x","lifetime":"1h","expiresAt":"2027-01-01T00:00:00Z"}`, 422, "request-invalid", "not both"},
		{http.MethodPost, tokens, `{"name":"x","owner":"Zoë"}`, 422, "request-invalid", "owner"},
		{http.MethodPost, tokens, `{"name":"x","description":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "request-too-large", "65536"},
		{http.MethodPatch, tokens + "/caller", `{"credential":{}}`, 400, "request-invalid", "credential"},
		{http.MethodPatch, tokens + "/caller", `{"expiresAt":"2027-01-01T00:00:00Z"}`, 400, "request-invalid", "expiresAt"},
		{http.MethodDelete, tokens + "/caller", `{}`, 400, "request-invalid", "no body"},
		{http.MethodGet, tokens + "?limt=1", "", 400, "request-invalid", "limt"},
		{http.MethodGet, tokens + "?limit=0", "", 400, "request-invalid", "limit"},
		{http.MethodGet, tokens + "?limit=x", "", 400, "request-invalid", "limit"},
		{http.MethodGet, tokens + "?limit=1&limit=2", "", 400, "request-invalid", "limit"},
		{http.MethodGet, tokens + "?idleDays=0", "", 400, "request-invalid", "idleDays"},
		{http.MethodGet, tokens + "?expiringWithinDays=3651", "", 400, "request-invalid", "expiringWithinDays"},
		{http.MethodGet, tokens + "?wideScopes=", "", 400, "request-invalid", "wideScopes"},
		{http.MethodGet, tokens + "?wideScopes=-1", "", 400, "request-invalid", "wideScopes"},
		{http.MethodGet, tokens + "?continue=nonsense", "", 400, "request-invalid", "continue"},
		{http.MethodGet, "/api/v1/token?limit=1", "", 400, "request-invalid", "limit"},
		{http.MethodPut, tokens + "/caller", "", 405, "method-not-allowed", "GET, HEAD, PATCH, DELETE"},
		{http.MethodDelete, tokens, "", 405, "method-not-allowed", "GET, HEAD, POST"},
		{http.MethodGet, "/api/v1/token/rotate", "", 405, "method-not-allowed", "POST"},
		{http.MethodGet, tokens + "/caller/rotation", "", 404, "not-found", ""},
		{http.MethodGet, tokens + "/CALLER", "", 404, "not-found", ""},
		{http.MethodGet, tokens + "/", "", 404, "not-found", ""},
	} {
		body := i.call("acme", c.method, c.target, caller, c.body).refused(c.status, c.code)
		if !strings.Contains(body, c.names) {
			t.Errorf("%s %s %.60s: %s does not name %q", c.method, c.target, c.body, body, c.names)
		}
	}
}

func TestListing(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "a-caller", v1alpha1.ApiTokenSpec{Scopes: manages, Owner: "ada"})
	i.make("acme", "b", v1alpha1.ApiTokenSpec{Lifetime: lifetime(48 * time.Hour), Owner: "grace"})
	i.make("acme", "c", v1alpha1.ApiTokenSpec{})
	i.make("globex", "d", v1alpha1.ApiTokenSpec{})
	names := func(query string) (all []string) {
		t.Helper()
		more := ""
		for {
			var page struct {
				Items    []shown
				Continue string
			}
			i.call("acme", http.MethodGet, tokens+query+more, caller).decode(http.StatusOK, &page)
			for _, item := range page.Items {
				all = append(all, item.Name)
			}
			if page.Continue == "" {
				return all
			}
			more = "&continue=" + page.Continue
		}
	}
	same(t, "all", names(""), []string{"a-caller", "b", "c"})
	same(t, "all, page by page", names("?limit=1"), []string{"a-caller", "b", "c"})
	same(t, "those expiring soon", names("?expiringWithinDays=3&limit=2"), []string{"b"})
	same(t, "those without owner", names("?withoutOwner=true"), []string{"c"})
	same(t, "ada's", names("?owner=ada"), []string{"a-caller"})
	same(t, "those expired", names("?expired=true"), nil)
	same(t, "those whose owner is gone", names("?ownerGone=true"), []string{"a-caller"})
	same(t, "those with a scope like *:write", names("?wideScopes=*:write"), []string{"a-caller"})
	same(t, "those with any scope", names("?wideScopes=0"), []string{"a-caller"})
	same(t, "those with an owner who is gone, expiring soon", names("?ownerGone=true&expiringWithinDays=3"), nil)
	same(t, "those against the policy", names("?violatesPolicy=true"), nil)
	testenv.Eventually(t, func() error {
		must(t, env().Client.Get(t.Context(), client.ObjectKeyFromObject(i.api), i.api))
		i.api.Spec.TokenPolicy.DefaultLifetime, i.api.Spec.TokenPolicy.MaxLifetime = lifetime(48*time.Hour), lifetime(48*time.Hour)
		return env().Client.Update(t.Context(), i.api)
	})
	testenv.Eventually(t, func() error {
		if got := names("?violatesPolicy=true"); !slices.Equal(got, []string{"a-caller", "c"}) {
			return fmt.Errorf("those against the policy are %q", got)
		}
		return nil
	})
	same(t, "those whose predecessor is in use", names("?previousInUse=true"), nil)
	testenv.Eventually(t, func() error {
		c := i.stored("acme", "c")
		c.Status.PreviousCredential = c.Status.Credential.DeepCopy()
		c.Status.PreviousCredential.ID, c.Status.PreviousCredential.LastUsedAt = "0000000000", new(metav1.Now())
		c.Status.PreviousCredential.Digest = "sha256:" + strings.Repeat("0", 64)
		return env().Client.Status().Update(t.Context(), c)
	})
	same(t, "those whose predecessor is in use", names("?previousInUse=true"), []string{"c"})
	month := time.Now().Add(-30 * 24 * time.Hour)
	for name, lastUsed := range map[string]*metav1.Time{"a-caller": new(metav1.Now()), "b": nil, "c": new(metav1.NewTime(month))} {
		testenv.Eventually(t, func() error {
			o := i.stored("acme", name)
			o.Status.UseRecordedSince, o.Status.Credential.IssuedAt = new(metav1.NewTime(month)), new(metav1.NewTime(month))
			o.Status.Credential.LastUsedAt, o.Status.PreviousCredential = lastUsed, nil
			return env().Client.Status().Update(t.Context(), o)
		})
	}
	same(t, "those idle for 29 days", names("?idleDays=29"), []string{"b", "c"})
	same(t, "those idle for 31 days", names("?idleDays=31"), nil)
	same(t, "those never used", names("?neverUsed=true"), []string{"b"})
	same(t, "those never used, and idle", names("?neverUsed=true&idleDays=29"), []string{"b"})
	if a := i.call("acme", http.MethodGet, tokens, caller); strings.Contains(a.body, "sha256:") {
		t.Errorf("the list shows digests: %s", a.body)
	}
}

// Workloads may do what RBAC lets them, with a token for this audience alone.
func TestWorkloads(t *testing.T) {
	i := install(t)
	i.make("acme", "caller", v1alpha1.ApiTokenSpec{})
	admin := "Bearer " + i.workload("acme", "admin", "latchkey.dev", "get", "list", "create", "patch", "delete")
	viewer := "Bearer " + i.workload("acme", "viewer", "latchkey.dev", "list")
	nobody := "Bearer " + i.workload("acme", "nobody", "latchkey.dev")

	made := i.call("acme", http.MethodPost, tokens, admin, `{"name":"ci","scopes":["orders:write"]}`).issued(i, http.StatusCreated)
	user := "system:serviceaccount:" + namespaceOf(t, "acme") + ":admin"
	if made.Token.CreatedBy != user || made.Token.IssuedBy != user || made.Token.Owner != user {
		t.Errorf("created as %+v", made.Token)
	}
	rotated := i.call("acme", http.MethodPost, tokens+"/ci/rotate", admin).issued(i, http.StatusOK)
	i.call("acme", http.MethodGet, "/api/v1/token", rotated.Plaintext).decode(http.StatusOK, nil)
	if a := i.call("acme", http.MethodDelete, tokens+"/ci", admin); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	i.call("acme", http.MethodGet, "/api/v1/token", admin).refused(http.StatusForbidden, "api-token-required")
	i.call("acme", http.MethodDelete, "/api/v1/token", admin).refused(http.StatusForbidden, "api-token-required")
	i.call("acme", http.MethodGet, tokens, viewer).decode(http.StatusOK, nil)
	for _, c := range []struct{ caller, method, target, body, verb string }{
		{viewer, http.MethodGet, tokens + "/ci", "", "get"},
		{viewer, http.MethodPost, tokens, `{"name":"x"}`, "create"},
		{viewer, http.MethodPatch, tokens + "/ci", `{}`, "patch"},
		{viewer, http.MethodPost, tokens + "/ci/rotate", "", "patch"},
		{viewer, http.MethodDelete, tokens + "/ci", "", "delete"},
		{nobody, http.MethodGet, tokens, "", "list"},
	} {
		body := i.call("acme", c.method, c.target, c.caller, c.body).refused(http.StatusForbidden, "forbidden")
		if !strings.Contains(body, " "+c.verb+" apitokens") {
			t.Errorf("%s does not name %s", body, c.verb)
		}
	}
	// A role in one tenant's namespace is none in another's.
	i.call("globex", http.MethodGet, tokens, admin).refused(http.StatusForbidden, "forbidden")

	for name, authorization := range map[string]string{
		"for another audience":    "Bearer " + i.workload("acme", "admin", "https://kubernetes.default.svc"),
		"for an audience besides": "Bearer " + i.workload("acme", "admin", "latchkey.dev.example.com"),
		"with a forged signature": admin[:len(admin)-8] + "AAAAAAAA",
		"by another scheme":       "token " + strings.TrimPrefix(admin, "Bearer "),
	} {
		a := i.call("acme", http.MethodGet, tokens, authorization)
		if a.refused(http.StatusUnauthorized, "token-invalid"); len(a.header.Values("Www-Authenticate")) == 0 {
			t.Errorf("%s: no challenge", name)
		}
	}
	// An expired one is refused by the clock, without asking the cluster, which has
	// not seen it expire.
	kubernetes, err := portal.NewClient(env().Config)
	must(t, err)
	for later, want := range map[time.Duration]*problem.Problem{0: nil, time.Hour: problem.TokenInvalid} {
		logger := slog.New(slog.DiscardHandler)
		other, err := portal.New(portal.Config{Client: kubernetes, Directory: directory.New(logger), Logger: logger,
			Clock: clocktesting.NewFakeClock(time.Now().Add(later))})
		must(t, err)
		if _, got := other.Authenticate(t.Context(), "acme", strings.TrimPrefix(admin, "Bearer "), true); got != want {
			t.Errorf("%s later: %v, want %v", later, got, want)
		}
	}
	// It is no API token, and the backend never sees it.
	i.call("acme", http.MethodGet, "/api/v1/orders", admin).refused(http.StatusUnauthorized, "token-invalid")
	if len(i.reached) != 0 {
		t.Errorf("the backend was sent %q", i.reached)
	}
	if lines := i.audited("rotate"); len(lines) != 1 || lines[0]["actorKind"] != "user" || lines[0]["actor"] != user {
		t.Errorf("the audit log has %v", lines)
	}
	// An address that sends garbage has no more of it reviewed; who is known still
	// gets through.
	i.call("acme", http.MethodGet, tokens, viewer).decode(http.StatusOK, nil)
	for range 30 {
		i.call("acme", http.MethodGet, tokens, admin[:len(admin)-8]+"BBBBBBBB")
	}
	i.call("acme", http.MethodGet, tokens, admin[:len(admin)-8]+"CCCCCCCC").refused(http.StatusTooManyRequests, "rate-limited")
}
