package signin_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/signintest"
)

// with is a person with claims of its own.
func with(claims map[string]any) signintest.Options {
	user := users()[0]
	user.Claims = claims
	return signintest.Options{Users: []signintest.User{user}}
}

func TestUsers(t *testing.T) {
	type claims = map[string]any
	for name, c := range map[string]struct {
		config signin.Config
		claims claims
		want   string
		kind   error
		says   string
	}{
		"the subject":            {want: "oidc:u-1"},
		"another prefix":         {config: signin.Config{UsernamePrefix: "id.example.com/"}, want: "id.example.com/u-1"},
		"no prefix":              {config: signin.Config{UsernamePrefix: signin.NoPrefix}, want: "u-1"},
		"the email":              {config: signin.Config{UsernameClaim: "email"}, want: "oidc:ada@example.com"},
		"the email, as text":     {config: signin.Config{UsernameClaim: "email"}, claims: claims{"email_verified": "true"}, want: "oidc:ada@example.com"},
		"a claim of its own":     {config: signin.Config{UsernameClaim: "https://example.com/login"}, claims: claims{"https://example.com/login": "ada"}, want: "oidc:ada"},
		"beyond ASCII":           {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": "Ада Лавлейс"}, want: "oidc:Ада Лавлейс"},
		"system: below a prefix": {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": "system:admin"}, want: "oidc:system:admin"},
		"as long as may be": {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": strings.Repeat("x", 248)},
			want: "oidc:" + strings.Repeat("x", 248)},
		"a subject of another case": {claims: claims{"Sub": "root", "SUB": "root"}, want: "oidc:u-1"},

		"an unverified email":    {config: signin.Config{UsernameClaim: "email"}, claims: claims{"email_verified": false}, kind: signin.ErrAccount, says: "email_verified"},
		"nobody verified":        {config: signin.Config{UsernameClaim: "email"}, claims: claims{"email_verified": nil}, kind: signin.ErrAccount, says: "email_verified"},
		"verified by another":    {config: signin.Config{UsernameClaim: "email"}, claims: claims{"email_verified": nil, "Email_Verified": true}, kind: signin.ErrAccount, says: "email_verified"},
		"verified by a number":   {config: signin.Config{UsernameClaim: "email"}, claims: claims{"email_verified": 1}, kind: signin.ErrAccount, says: "email_verified"},
		"no such claim":          {config: signin.Config{UsernameClaim: "upn"}, kind: signin.ErrAccount, says: "no claim upn"},
		"an empty claim":         {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": ""}, kind: signin.ErrAccount, says: "no claim name"},
		"a number":               {config: signin.Config{UsernameClaim: "uid"}, claims: claims{"uid": 0}, kind: signin.ErrAccount, says: "is no text"},
		"a list":                 {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": []string{"ada"}}, kind: signin.ErrAccount, says: "is no text"},
		"Kubernetes' own":        {config: signin.Config{UsernameClaim: "name", UsernamePrefix: "-"}, claims: claims{"name": "system:admin"}, kind: signin.ErrAccount, says: "--oidc-username-prefix"},
		"Kubernetes' own, built": {config: signin.Config{UsernameClaim: "name", UsernamePrefix: "sys"}, claims: claims{"name": "tem:masters"}, kind: signin.ErrAccount, says: "--oidc-username-prefix"},
		"a line break":           {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": "a\nb"}, kind: signin.ErrAccount, says: "can't be seen"},
		"the other direction":    {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": "a\u202eb"}, kind: signin.ErrAccount, says: "can't be seen"},
		"no width":               {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": "a\u200bb"}, kind: signin.ErrAccount, says: "can't be seen"},
		"spaces around":          {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": " ada"}, kind: signin.ErrAccount, says: "spaces around"},
		"too long":               {config: signin.Config{UsernameClaim: "name"}, claims: claims{"name": strings.Repeat("x", 249)}, kind: signin.ErrAccount, says: "longer than 253"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, with(c.claims), func(config *signin.Config) {
				config.UsernameClaim, config.UsernamePrefix = c.config.UsernameClaim, c.config.UsernamePrefix
			})
			identity, err := w.signIn(false)
			if c.kind != nil {
				wantError(t, err, c.kind, c.says)
				return
			}
			must(t, err)
			if identity.User != c.want {
				t.Errorf("got %q, want %q", identity.User, c.want)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	type claims = map[string]any
	numbered := func(n int) (groups, prefixed []string) {
		for i := range n {
			groups = append(groups, fmt.Sprint(i))
			prefixed = append(prefixed, fmt.Sprint("oidc:", i))
		}
		return groups, prefixed
	}
	many, manyPrefixed := numbered(1000)
	tooMany, _ := numbered(1001)
	for name, c := range map[string]struct {
		config signin.Config
		groups any
		more   claims
		want   []string
		says   string
		logs   string
	}{
		"a list":                 {groups: []string{"a", "b"}, want: []string{"oidc:a", "oidc:b"}},
		"a text":                 {groups: "a b,c", want: []string{"oidc:a b,c"}},
		"none":                   {groups: nil},
		"an empty list":          {groups: []string{}},
		"twice":                  {groups: []string{"a", "b", "a"}, want: []string{"oidc:a", "oidc:b"}},
		"another claim":          {config: signin.Config{GroupsClaim: "roles"}, groups: "a", more: claims{"roles": []string{"r"}}, want: []string{"oidc:r"}},
		"another case":           {groups: nil, more: claims{"Groups": "a", "GROUPS": []string{"b"}}},
		"another prefix":         {config: signin.Config{GroupsPrefix: "id/"}, groups: "a", want: []string{"id/a"}},
		"no prefix":              {config: signin.Config{GroupsPrefix: "-"}, groups: "a", want: []string{"a"}},
		"system: below a prefix": {groups: "system:masters", want: []string{"oidc:system:masters"}},
		"many":                   {groups: many, want: manyPrefixed},
		"Kubernetes' own":        {config: signin.Config{GroupsPrefix: "-"}, groups: []string{"a", "system:masters"}, want: []string{"a"}, logs: "system:masters"},
		"Kubernetes' own, built": {config: signin.Config{GroupsPrefix: "sys"}, groups: []string{"tem:masters", "a"}, want: []string{"sysa"}, logs: "system:masters"},
		"an empty one":           {config: signin.Config{GroupsPrefix: "-"}, groups: []string{"", "a"}, want: []string{"a"}, logs: "left out"},
		"a line break":           {groups: []string{"a\nb", "c"}, want: []string{"oidc:c"}, logs: "left out"},
		"too long":               {groups: []string{strings.Repeat("x", 249), "c"}, want: []string{"oidc:c"}, logs: "left out"},
		"kept elsewhere":         {groups: nil, more: claims{"_claim_names": claims{"groups": "src1"}, "_claim_sources": claims{"src1": claims{"endpoint": "https://graph.example.com"}}}, logs: "not followed"},
		"too many":               {groups: tooMany, says: "1001 groups"},
		"an object":              {groups: claims{"a": true}, says: "neither a text nor a list"},
		"numbers":                {groups: []int{1}, says: "neither a text nor a list"},
		"a list with another":    {groups: []any{"a", []string{"b"}}, says: "neither a text nor a list"},
	} {
		t.Run(name, func(t *testing.T) {
			all := claims{"groups": c.groups}
			maps.Copy(all, c.more)
			w := newWorld(t, with(all), func(config *signin.Config) {
				config.GroupsClaim, config.GroupsPrefix = c.config.GroupsClaim, c.config.GroupsPrefix
			})
			identity, err := w.signIn(false)
			if c.says != "" {
				wantError(t, err, signin.ErrAccount, c.says)
				return
			}
			must(t, err)
			if diff := cmp.Diff(c.want, identity.Groups); diff != "" {
				t.Error(diff)
			}
			if c.logs == "" && w.logs.String() != "" || !strings.Contains(w.logs.String(), c.logs) {
				t.Errorf("logs %q, want %q", w.logs, c.logs)
			}
		})
	}
}

func TestDisplay(t *testing.T) {
	type claims = map[string]any
	for name, c := range map[string]struct {
		claims claims
		want   string
	}{
		"the name":              {nil, "Ada Lovelace"},
		"no name":               {claims{"name": nil}, "u-1"},
		"neither":               {claims{"name": nil, "preferred_username": nil}, "ada@example.com"},
		"none of them":          {claims{"name": nil, "preferred_username": nil, "email": nil}, "oidc:u-1"},
		"a number":              {claims{"name": 7}, "u-1"},
		"blank":                 {claims{"name": " \t\u200b "}, "u-1"},
		"lines and directions":  {claims{"name": "Ada\n\u202eLovelace\x00"}, "Ada Lovelace"},
		"as long as it is":      {claims{"name": strings.Repeat("é", 50)}, strings.Repeat("é", 50)},
		"longer than is shown":  {claims{"name": strings.Repeat("é", 51)}, strings.Repeat("é", 48) + "…"},
		"longer than is looked": {claims{"name": strings.Repeat("x", 1000)}, strings.Repeat("x", 97) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, with(c.claims))
			identity, err := w.signIn(false)
			must(t, err)
			if identity.Display != c.want {
				t.Errorf("got %q, want %q", identity.Display, c.want)
			}
			if slices.ContainsFunc([]rune(identity.Display), func(r rune) bool { return r < ' ' }) {
				t.Error("it has control characters")
			}
		})
	}
}
