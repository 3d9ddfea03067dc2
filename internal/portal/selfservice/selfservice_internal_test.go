package selfservice

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
)

var noon = time.Date(2027, 1, 2, 12, 0, 0, 0, time.UTC)

// A sign-in leads back to a page of Settings, and nowhere else.
func TestReturnPath(t *testing.T) {
	for wanted, want := range map[string]string{
		"":                                      "/settings",
		"/settings":                             "/settings",
		"/settings?q=ci&show=mine":              "/settings?q=ci&show=mine",
		"/settings?q=a%20b+c":                   "/settings?q=a%20b+c",
		"/settings/tokens/new":                  "/settings/tokens/new",
		"/settings/tokens/ci/rotate":            "/settings/tokens/ci/rotate",
		"/settings/signed-in":                   "/settings/signed-in",
		"https://evil.example":                  "/settings",
		"https://evil.example/settings":         "/settings",
		"//evil.example/settings":               "/settings",
		`/\evil.example/settings`:               "/settings",
		"/settings//evil.example":               "/settings",
		"/settings/../docs":                     "/settings",
		"/settings/%2e%2e/docs":                 "/settings",
		"/settings.evil.example":                "/settings",
		"/settings@evil.example":                "/settings",
		"/settingsx":                            "/settings",
		"/docs":                                 "/settings",
		"settings":                              "/settings",
		"/settings#x":                           "/settings",
		"/settings\r\nSet-Cookie: a=b":          "/settings",
		"/settings\t":                           "/settings",
		"/settings?q=\r\nx":                     "/settings",
		"/settings?q=a;b":                       "/settings",
		"/settings?q=%zz":                       "/settings",
		"/settings?next=//evil.example":         "/settings",
		"/settings/sign-in":                     "/settings",
		"/settings/sign-in/oidc":                "/settings",
		"/settings/callback?code=1":             "/settings",
		"/settings/sign-out":                    "/settings",
		"/settings/tokens":                      "/settings",
		"/settings/tokens/":                     "/settings",
		"/settings/tokens/Ci":                   "/settings",
		"/settings/tokens/ci/unknown":           "/settings",
		"/settings/assets/latchkey.css":         "/settings",
		"/settings?" + strings.Repeat("a", 600): "/settings",
	} {
		if got := returnPath("/settings", wanted); got != want {
			t.Errorf("%q leads to %q, want %q", wanted, got, want)
		}
	}
	if got := returnPath("/account/tokens", "/account/tokens/tokens/ci"); got != "/account/tokens/tokens/ci" {
		t.Errorf("elsewhere: %q", got)
	}
}

func FuzzReturnPath(f *testing.F) {
	for _, wanted := range []string{"/settings/tokens/ci?q=1", "//evil.example", `/\evil.example`, "/settings/..//x", "/settings?a=%2f"} {
		f.Add(wanted)
	}
	f.Fuzz(func(t *testing.T, wanted string) {
		got := returnPath("/settings", wanted)
		base, err := url.Parse("https://acme.example.com/settings/callback")
		if err != nil {
			t.Fatal(err)
		}
		to, err := base.Parse(got)
		if err != nil || to.Host != "acme.example.com" || to.Scheme != "https" || to.Path != "/settings" && !strings.HasPrefix(to.Path, "/settings/") {
			t.Fatalf("%q leads to %q: %v, %v", wanted, got, to, err)
		}
		if strings.ContainsAny(got, "\r\n\t\\ #") || strings.Contains(to.Path, "..") || returnPath("/settings", got) != got {
			t.Fatalf("%q leads to %q", wanted, got)
		}
	})
}

func TestDecodeForm(t *testing.T) {
	for content, want := range map[string]string{
		"":                             "",
		"name=ci&scope=a&scope=b":      "",
		"name=a+b%20c%0D%0A":           "",
		"name=ci&name=cd":              "The form has the field name 2 times.",
		"label=ci":                     `The form has the field "label", which is none of this page's. Reload the page it came from.`,
		"name=%ff":                     "The field name is not text.",
		"name=a%00":                    "The field name is not text.",
		"name=%zz":                     "The form can't be decoded.",
		"name=a;scope=b":               "The form can't be decoded.",
		strings.Repeat("scope=a&", 65): "The form has the field scope 65 times.",
		strings.Repeat("n", 50) + "=1": `The form has the field "` + strings.Repeat("n", 40) + `", which is none of this page's. Reload the page it came from.`,
	} {
		if _, wrong := decodeForm(content, createFields); wrong != want {
			t.Errorf("%q: %q, want %q", content, wrong, want)
		}
	}
}

func FuzzDecodeForm(f *testing.F) {
	f.Add("name=ci&description=for+CI&owner=ada&scope=a&scope=b&lifetime=720h&expires-on=&addresses=192.0.2.0%2F24")
	f.Add("name=a;b&name=%ff")
	f.Add("lifetime=custom&expires-on=2027-01-31&addresses=::1, 10.0.0.1%0D%0A")
	api := &directory.API{Policy: policy.Policy{DefaultLifetime: 24 * time.Hour, MaxLifetime: 48 * time.Hour, Scopes: []string{"a"}}}
	f.Fuzz(func(t *testing.T, content string) {
		form, wrong := decodeForm(content, createFields)
		if wrong != "" {
			return
		}
		v := &visit{Call: &Call{API: api}}
		asked, faults := requestOf(settings.FormOf(form), api, v.lifetimes(noon), noon)
		if len(faults) > 0 {
			return
		}
		if !isName(asked.Name) || (asked.Lifetime == nil) == (asked.ExpiresAt == nil) || len(*asked.AllowedCIDRs) > maxNetworks {
			t.Fatalf("%q asks for %+v", content, asked)
		}
		if asked.Lifetime != nil && asked.Lifetime.Duration > api.Policy.MaxLifetime || asked.ExpiresAt != nil && !asked.ExpiresAt.After(noon) {
			t.Fatalf("%q asks for %+v", content, asked)
		}
		for _, scope := range asked.Scopes {
			if scope != "a" {
				t.Fatalf("%q asks for the scope %q", content, scope)
			}
		}
	})
}

func TestRequestOf(t *testing.T) {
	api := &directory.API{Policy: policy.Policy{DefaultLifetime: 90 * day, MaxLifetime: 365 * day, Scopes: []string{"a", "b"}}}
	v := &visit{Call: &Call{API: api}}
	whole := settings.Form{Name: " ci ", Description: " for CI ", Owner: "ada@example.com", Lifetime: "720h", Scopes: []string{"b", "a", "b"}, Addresses: "192.0.2.0/24, 10.0.0.1\r\n2001:DB8::/32 ::1"}
	asked, wrong := requestOf(whole, api, v.lifetimes(noon), noon)
	if len(wrong) != 0 || asked.Name != "ci" || asked.Description != "for CI" || *asked.Owner != "ada@example.com" || asked.Lifetime.Duration != 30*day || asked.ExpiresAt != nil ||
		!slices.Equal(asked.Scopes, []string{"a", "b"}) || !slices.Equal(*asked.AllowedCIDRs, []string{"192.0.2.0/24", "10.0.0.1/32", "2001:db8::/32", "::1/128"}) {
		t.Errorf("%+v, %v", asked, wrong)
	}
	for name, c := range map[string]struct {
		change func(*settings.Form)
		field  string
	}{
		"no name":             {func(f *settings.Form) { f.Name = " " }, settings.FieldName},
		"upper case":          {func(f *settings.Form) { f.Name = "CI" }, settings.FieldName},
		"a hyphen at the end": {func(f *settings.Form) { f.Name = "ci-" }, settings.FieldName},
		"too long":            {func(f *settings.Form) { f.Name = strings.Repeat("a", 64) }, settings.FieldName},
		"a page's name":       {func(f *settings.Form) { f.Name = "new" }, settings.FieldName},
		"a long description":  {func(f *settings.Form) { f.Description = strings.Repeat("ü", 257) }, settings.FieldDescription},
		"an owner with space": {func(f *settings.Form) { f.Owner = "Ada Lovelace" }, settings.FieldOwner},
		"an unknown scope":    {func(f *settings.Form) { f.Scopes = []string{"a", "c"} }, settings.FieldScope},
		"to sign in":          {func(f *settings.Form) { f.Scopes = []string{"settings"} }, settings.FieldScope},
		"no lifetime":         {func(f *settings.Form) { f.Lifetime = "" }, settings.FieldLifetime},
		"one not offered":     {func(f *settings.Form) { f.Lifetime = "721h" }, settings.FieldLifetime},
		"one too long":        {func(f *settings.Form) { f.Lifetime = "87600h" }, settings.FieldLifetime},
		"no date":             {func(f *settings.Form) { f.Lifetime = settings.LifetimeCustom }, settings.FieldExpiresOn},
		"no such date":        {func(f *settings.Form) { f.Lifetime, f.ExpiresOn = settings.LifetimeCustom, "2027-02-30" }, settings.FieldExpiresOn},
		"today":               {func(f *settings.Form) { f.Lifetime, f.ExpiresOn = settings.LifetimeCustom, "2027-01-02" }, settings.FieldExpiresOn},
		"no network":          {func(f *settings.Form) { f.Addresses = "example.com" }, settings.FieldAddresses},
		"a zone":              {func(f *settings.Form) { f.Addresses = "fe80::1%eth0" }, settings.FieldAddresses},
		"twice the same":      {func(f *settings.Form) { f.Addresses = "10.0.0.1 10.0.0.1/32" }, settings.FieldAddresses},
	} {
		form := whole
		c.change(&form)
		if _, wrong := requestOf(form, api, v.lifetimes(noon), noon); len(wrong) != 1 || wrong[c.field] == "" {
			t.Errorf("%s: %v, want something about %s", name, wrong, c.field)
		}
	}
	custom := whole
	custom.Lifetime, custom.ExpiresOn = settings.LifetimeCustom, "2027-01-31"
	if asked, wrong := requestOf(custom, api, nil, noon); len(wrong) != 0 || asked.Lifetime != nil || !asked.ExpiresAt.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", asked, wrong)
	}
}

// What is offered is what the policy permits.
func TestLifetimes(t *testing.T) {
	for name, c := range map[string]struct {
		policy policy.Policy
		want   string
	}{
		"the defaults":   {policy.Policy{DefaultLifetime: 90 * day, MaxLifetime: 365 * day}, "168h 720h 2160h 4320h 8760h"},
		"a short policy": {policy.Policy{DefaultLifetime: time.Hour, MaxLifetime: 10 * day}, "1h 168h 240h"},
		"a very short":   {policy.Policy{DefaultLifetime: 90 * time.Second, MaxLifetime: 2 * time.Minute}, "1m30s 2m0s"},
	} {
		v := &visit{Call: &Call{API: &directory.API{Policy: c.policy}}}
		var got []string
		for _, choice := range v.lifetimes(noon) {
			got = append(got, choice.Value)
			if d, ok := chosen(v.lifetimes(noon), choice.Value); !ok || !choice.Ends.Equal(noon.Add(d)) {
				t.Errorf("%s: %+v", name, choice)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %s", name, got, c.want)
		}
	}
}

func TestFill(t *testing.T) {
	used := noon.Add(-time.Hour)
	var all []entry
	for n := range 120 {
		name := string(rune('a'+n/26)) + string(rune('a'+n%26))
		e := entry{Row: settings.Row{Name: name, CreatedAt: noon.Add(time.Duration(-n) * time.Hour)}, text: name + "\nfor ci\nada", shows: map[string]bool{settings.ShowAll: true}}
		if n%2 == 0 {
			e.ExpiresAt, e.shows[settings.ShowMine] = noon.Add(time.Duration(n)*time.Hour), true
		}
		if n == 7 {
			e.LastUsedAt = &used
		}
		all = append(all, e)
	}
	for name, c := range map[string]struct {
		list        settings.List
		wanted      int
		first, last string
		page, pages int
		matching    int
	}{
		"the first page":      {settings.List{Show: "all", Sort: "name"}, 0, "aa", "bx", 1, 3, 120},
		"the last page":       {settings.List{Show: "all", Sort: "name"}, 3, "dw", "ep", 3, 3, 120},
		"beyond the last":     {settings.List{Show: "all", Sort: "name"}, 99, "dw", "ep", 3, 3, 120},
		"before the first":    {settings.List{Show: "all", Sort: "name"}, -1, "aa", "bx", 1, 3, 120},
		"the other way":       {settings.List{Show: "all", Sort: "-name"}, 1, "ep", "cs", 1, 3, 120},
		"by creation":         {settings.List{Show: "all", Sort: "created"}, 1, "ep", "cs", 1, 3, 120},
		"what is used first":  {settings.List{Show: "all", Sort: "used"}, 1, "ah", "bx", 1, 3, 120},
		"used, reversed":      {settings.List{Show: "all", Sort: "-used"}, 1, "ah", "ct", 1, 3, 120},
		"latest expiry first": {settings.List{Show: "all", Sort: "-expires"}, 1, "eo", "au", 1, 3, 120},
		"a filter":            {settings.List{Show: "mine", Sort: "name"}, 2, "dw", "eo", 2, 2, 60},
		"a search":            {settings.List{Query: " B  CI ", Show: "all", Sort: "name"}, 1, "ab", "eb", 1, 1, 30},
		"nothing":             {settings.List{Query: "zz", Show: "all", Sort: "name"}, 1, "", "", 1, 1, 0},
	} {
		fill(&c.list, all, c.wanted)
		first, last := "", ""
		if n := len(c.list.Rows); n > 0 {
			first, last = c.list.Rows[0].Name, c.list.Rows[n-1].Name
		}
		if first != c.first || last != c.last || c.list.Page != c.page || c.list.Pages != c.pages || c.list.Matching != c.matching || c.list.Total != 120 {
			t.Errorf("%s: %s to %s, page %d of %d, %d of %d", name, first, last, c.list.Page, c.list.Pages, c.list.Matching, c.list.Total)
		}
	}
	list := settings.List{Show: "all", Sort: "name", Query: "ci"}
	fill(&list, all, 1)
	if list.Counts["all"] != 120 || list.Counts["mine"] != 60 || list.Counts["idle"] != 0 || len(list.Counts) != len(settings.Shows()) {
		t.Errorf("counts: %v", list.Counts)
	}
}

// Every endpoint that changes something is a POST, or one that the protocol has so.
func TestEndpoints(t *testing.T) {
	for path, e := range endpoints {
		if e.once && e.post != nil || e.foreign && path != pathTokenEntry || e.once && path != pathOIDC && path != pathCallback {
			t.Errorf("%s: %+v", path, e)
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			v := &visit{r: &http.Request{Method: method}}
			if _, p := v.method(e); p == nil || p.Allow == "" {
				t.Errorf("%s %s is answered", method, path)
			}
		}
	}
}
