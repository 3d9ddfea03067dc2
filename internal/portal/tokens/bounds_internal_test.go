package tokens

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

var (
	noon   = time.Date(2027, 1, 2, 12, 0, 0, 0, time.UTC)
	caller = &directory.Token{
		Name:         "caller",
		Scopes:       []string{"orders:read", "tokens:write"},
		AllowedCIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		NotAfter:     noon,
	}
)

func TestExceedingAddresses(t *testing.T) {
	for cidrs, want := range map[string]string{
		"":                             "any address",
		"192.0.2.0/24":                 "",
		"192.0.2.7/32 2001:db8:1::/48": "",
		"192.0.0.0/16":                 "addresses 192.0.0.0/16",
		"192.0.2.0/25 198.51.100.0/24": "addresses 198.51.100.0/24",
		"0.0.0.0/0":                    "addresses 0.0.0.0/0",
		"::/0":                         "addresses ::/0",
		"::ffff:192.0.2.0/120":         "addresses ::ffff:192.0.2.0/120",
		"nonsense":                     "addresses nonsense",
	} {
		if got := strings.Join(exceedingAddresses(caller, strings.Fields(cidrs)), "; "); got != want {
			t.Errorf("%q: %q, want %q", cidrs, got, want)
		}
		if got := exceedingAddresses(&directory.Token{}, strings.Fields(cidrs)); got != nil {
			t.Errorf("%q exceeds a caller from anywhere: %q", cidrs, got)
		}
	}
}

// A change that lets a token do more must leave it within the caller.
func TestExceedingChange(t *testing.T) {
	type spec = v1alpha1.ApiTokenSpec
	inside := []string{"192.0.2.0/25"}
	for name, c := range map[string]struct {
		before, after spec
		expires       time.Time
		want          string
	}{
		"nothing":                  {spec{Scopes: []string{"x"}}, spec{Scopes: []string{"x"}}, noon.Add(1), ""},
		"fewer scopes":             {spec{Scopes: []string{"x", "y"}}, spec{Scopes: []string{"x"}}, noon.Add(1), ""},
		"fewer addresses":          {spec{Scopes: []string{"x"}, AllowedCIDRs: []string{"0.0.0.0/0"}}, spec{Scopes: []string{"x"}, AllowedCIDRs: []string{"10.0.0.0/8"}}, noon.Add(1), ""},
		"a limit of addresses":     {spec{Scopes: []string{"x"}}, spec{Scopes: []string{"x"}, AllowedCIDRs: []string{"10.0.0.0/8"}}, noon.Add(1), ""},
		"a scope of the caller's":  {spec{AllowedCIDRs: inside}, spec{AllowedCIDRs: inside, Scopes: []string{"orders:read"}}, noon, ""},
		"for longer than it":       {spec{AllowedCIDRs: inside}, spec{AllowedCIDRs: inside, Scopes: []string{"orders:read"}}, noon.Add(time.Second), "a token that expires at 2027-01-02T12:00:01Z, while the calling token expires at 2027-01-02T12:00:00Z"},
		"from anywhere":            {spec{}, spec{Scopes: []string{"orders:read"}}, noon, "any address"},
		"another scope":            {spec{AllowedCIDRs: inside}, spec{AllowedCIDRs: inside, Scopes: []string{"x"}}, noon, "scope x"},
		"the caller's addresses":   {spec{AllowedCIDRs: inside}, spec{AllowedCIDRs: []string{"192.0.2.0/24"}}, noon, ""},
		"for one that may do more": {spec{Scopes: []string{"x"}, AllowedCIDRs: inside}, spec{Scopes: []string{"x"}, AllowedCIDRs: []string{"192.0.2.0/24"}}, noon, "scope x"},
		"any address":              {spec{AllowedCIDRs: inside}, spec{}, noon, "any address"},
	} {
		after := &v1alpha1.ApiToken{Spec: c.after, Status: v1alpha1.ApiTokenStatus{
			Credential: &v1alpha1.IssuedCredential{ExpiresAt: metav1.NewTime(c.expires)},
		}}
		if got := strings.Join(exceedingChange(caller, &c.before, after, &policy.Policy{}, noon), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What is yet to be issued must not outlive the caller either.
func TestExceedingChangeOfWhatAwaitsIssue(t *testing.T) {
	now := noon.Add(-time.Hour)
	wanted := &v1alpha1.Credential{ID: "0000000002", Digest: "new", IssuedAt: metav1.NewTime(now)}
	bounded := &v1alpha1.Credential{ID: "0000000002", Digest: "new", IssuedAt: metav1.NewTime(now), NotAfter: new(metav1.NewTime(noon))}
	issued := &v1alpha1.IssuedCredential{Digest: "old", ExpiresAt: metav1.NewTime(noon)}
	for name, c := range map[string]struct {
		wanted  *v1alpha1.Credential
		issued  *v1alpha1.IssuedCredential
		expires *metav1.Time
		refused string
		want    string
	}{
		"no credential":                  {want: "a token that awaits being issued"},
		"none, but an expiry":            {expires: new(metav1.NewTime(noon))},
		"none, and a later expiry":       {expires: new(metav1.NewTime(noon.Add(1))), want: "a token that expires at"},
		"one that is not issued yet":     {wanted: wanted, want: "a token that expires at 2027-01-02T21:00:00Z"},
		"one that is bounded":            {wanted: bounded},
		"one that replaces":              {wanted: wanted, issued: issued, want: "a token that expires at 2027-01-02T21:00:00Z"},
		"one that was refused":           {wanted: wanted, issued: issued, refused: wanted.ID},
		"a first one that was refused":   {wanted: wanted, refused: wanted.ID, want: "a token that awaits being issued"},
		"one that is bounded, replacing": {wanted: bounded, issued: issued},
	} {
		object := &v1alpha1.ApiToken{
			Spec:   v1alpha1.ApiTokenSpec{Scopes: []string{"orders:read"}, AllowedCIDRs: []string{"192.0.2.1/32"}, Credential: c.wanted, ExpiresAt: c.expires},
			Status: v1alpha1.ApiTokenStatus{Credential: c.issued, RefusedCredentialID: c.refused},
		}
		before := &v1alpha1.ApiTokenSpec{AllowedCIDRs: object.Spec.AllowedCIDRs}
		got := strings.Join(exceedingChange(caller, before, object, &policy.Policy{DefaultLifetime: 10 * time.Hour}, now), "; ")
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A caller adds nothing to itself, whatever this replica thinks it may do.
func TestExceedingChangeOfItself(t *testing.T) {
	itself := *caller
	itself.Name = "ci"
	inside := []string{"192.0.2.0/25"}
	for name, c := range map[string]struct {
		scopes, cidrs []string
		want          string
	}{
		"nothing":           {[]string{"tokens:write"}, inside, ""},
		"less":              {nil, []string{"192.0.2.1/32"}, ""},
		"a scope it had":    {[]string{"tokens:write", "orders:read"}, inside, "scope orders:read"},
		"addresses it had":  {nil, []string{"192.0.2.0/24"}, "addresses 192.0.2.0/24"},
		"any address":       {nil, nil, "any address"},
		"both":              {[]string{"orders:read"}, nil, "scope orders:read; any address"},
		"another, and less": {[]string{"orders:read"}, []string{"192.0.2.1/32"}, "scope orders:read"},
	} {
		object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Name: "ci"}, Spec: v1alpha1.ApiTokenSpec{Scopes: c.scopes, AllowedCIDRs: c.cidrs}}
		before := &v1alpha1.ApiTokenSpec{Scopes: []string{"tokens:write"}, AllowedCIDRs: inside}
		if got := strings.Join(exceedingChange(&itself, before, object, &policy.Policy{}, noon), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestIsKubernetesToken(t *testing.T) {
	const header = "eyJhbGciOiJSUzI1NiJ9" // {"alg":"RS256"}
	for text, want := range map[string]bool{
		header + ".eyJhdWQiOiJsYXRjaGtleS5kZXYifQ.c2ln":         true,  // {"aud":"latchkey.dev"}
		header + ".eyJhdWQiOlsieCIsImxhdGNoa2V5LmRldiJdfQ.c2ln": true,  // {"aud":["x","latchkey.dev"]}
		header + ".eyJhdWQiOiJ4In0.c2ln":                        false, // {"aud":"x"}
		header + ".e30.c2ln":                                    false, // {}
		"e30.eyJhdWQiOiJsYXRjaGtleS5kZXYifQ.c2ln":               false, // no alg
		header + ".eyJhdWQiOiJsYXRjaGtleS5kZXYifQ.":             false, // no signature
		header + ".eyJhdWQiOiJsYXRjaGtleS5kZXYifQ":              false,
		"a.b.c":       false,
		"":            false,
		"lk_nonsense": false,
		header + ".eyJhdWQiOiJsYXRjaGtleS5kZXYifQ." + strings.Repeat("a", maxKubernetesToken): false,
	} {
		if got := IsKubernetesToken(text); got != want {
			t.Errorf("%.80q: %t", text, got)
		}
	}
}

// What is remembered ends in time, and is bounded.
func TestCache(t *testing.T) {
	c := newCache[int](3)
	for n := range 10 {
		c.put(key{byte(n)}, n, noon, noon.Add(time.Second))
		if got, ok := c.get(key{byte(n)}, noon); !ok || got != n {
			t.Fatalf("%d is remembered as %d, %t", n, got, ok)
		}
		if len(c.entries) > 3 {
			t.Fatalf("%d are remembered", len(c.entries))
		}
	}
	if _, ok := c.get(key{9}, noon.Add(time.Second)); ok {
		t.Error("it is remembered for longer than it may be")
	}
}
