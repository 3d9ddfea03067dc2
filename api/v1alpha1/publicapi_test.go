package v1alpha1_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	oneBackend      = "exactly one of the fields in [service url] must be set"
	notOrigin       = "must be an origin: http or https, a host, optionally a port, and no path, query or user"
	retentionBounds = "must be from 0s to 87600h (ten years)"
	longerThanMax   = "defaultLifetime (2160h unless set) must not be longer than maxLifetime (8760h unless set)"
)

func TestPublicApiBackend(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, publicApis, []specCase{
		{``, "spec: " + required},
		{`null`, "spec: "},
		{`{}`, "spec.backend: " + required},
		{`backend: {}`, oneBackend},
		{`backend: null`, "spec.backend: " + required},
		{`backend: {service: {name: web, port: 80}, url: "http://a"}`, oneBackend},
		{`backend: {service: {name: web, port: 80}, url: null}`, accepted},

		{`backend: {service: {name: web, port: 80}}`, accepted},
		{`backend: {service: {name: web, port: 65535, namespace: product}}`, accepted},
		{`backend: {service: {name: ` + repeat("a", 63) + `, port: 1, namespace: ` + repeat("n", 63) + `}}`, accepted},
		{`backend: {service: {name: ` + repeat("a", 64) + `, port: 1}}`, tooLong},
		{`backend: {service: {name: a, port: 1, namespace: ` + repeat("n", 64) + `}}`, tooLong},
		{`backend: {service: {name: 1st, port: 1}}`, accepted}, // as Services may be named since Kubernetes 1.34
		{`backend: {service: {name: Web, port: 80}}`, badPattern},
		{`backend: {service: {name: web.product, port: 80}}`, badPattern},
		{`backend: {service: {name: web-, port: 80}}`, badPattern},
		{`backend: {service: {name: "", port: 80}}`, tooShort},
		{`backend: {service: {name: web, port: 80, namespace: ""}}`, tooShort},
		{`backend: {service: {name: web, port: 80, namespace: a.b}}`, badPattern},
		{`backend: {service: {port: 80}}`, "spec.backend.service.name: " + required},
		{`backend: {service: {name: web}}`, "spec.backend.service.port: " + required},
		{`backend: {service: {name: web, port: 0}}`, tooSmall},
		{`backend: {service: {name: web, port: -1}}`, tooSmall},
		{`backend: {service: {name: web, port: 65536}}`, tooBig},
		{`backend: {service: {name: web, port: http}}`, badType},
		{`backend: {service: {name: web, port: "80"}}`, badType},
		{`backend: {service: {name: web, port: 80.5}}`, badType},

		{`backend: {url: "http://a", responseHeaderTimeout: 1s}`, accepted},
		{`backend: {url: "http://a", responseHeaderTimeout: 1h}`, accepted},
		{`backend: {url: "http://a", responseHeaderTimeout: 1h1s}`, "must be from 1s to 1h"},
		{`backend: {url: "http://a", responseHeaderTimeout: 0s}`, "must be from 1s to 1h"},
		{`backend: {url: "http://a", responseHeaderTimeout: ""}`, "must be from 1s to 1h"},
		{`backend: {url: "http://a", responseHeaderTimeout: 500ms}`, badPattern},
		{`backend: {url: "http://a", responseHeaderTimeout: 30}`, badType},
	})
}

func TestPublicApiBackendURL(t *testing.T) {
	cases := map[string]string{
		"http://a":                              accepted,
		"https://backend.internal:8443":         accepted,
		"http://192.0.2.1:8080":                 accepted,
		"http://[2001:db8::1]":                  accepted,
		"https://[::1]:8443":                    accepted,
		"http://127.0.0.1:65535":                accepted,
		"https://Backend.Example.com":           accepted,
		"http://backend.internal.":              accepted,
		"http://a/":                             notOrigin,
		"http://a/api":                          notOrigin,
		"http://a?q=1":                          notOrigin,
		"http://a?":                             notOrigin,
		"http://a#f":                            notOrigin,
		"http://user@a":                         notOrigin,
		"http://user:secret@a":                  notOrigin,
		"ftp://a.example":                       notOrigin,
		"HTTP://a":                              notOrigin,
		"h2c://a.example":                       notOrigin,
		"unix:///run/a":                         notOrigin,
		"//a.example.com":                       notOrigin,
		"a.example.com":                         notOrigin,
		"a.example.com:80":                      notOrigin,
		"http://:8080":                          notOrigin,
		"http:///path":                          notOrigin,
		"https://":                              notOrigin,
		"http://a:":                             notOrigin,
		"http://a:0":                            notOrigin,
		"http://a:65536":                        notOrigin,
		"http://a:99999":                        notOrigin,
		"http://a:999999":                       notOrigin,
		"http://a:http":                         notOrigin,
		"http://a:80:80":                        notOrigin,
		"http://::1:80":                         notOrigin,
		"http://[::1":                           notOrigin,
		"http://[::1]x":                         notOrigin,
		"http://[fe80::1%25eth0]":               notOrigin,
		"http://a b":                            notOrigin,
		"http://a%2fb":                          notOrigin,
		"http://a\\nb":                          notOrigin,
		"http://a\\n":                           notOrigin,
		"http://bücher.example":                 notOrigin,
		"http://...":                            notOrigin,
		"http://a,b":                            notOrigin,
		"http:a":                                tooShort,
		"":                                      tooShort,
		"http://" + strings.Repeat("a", 505):    accepted,
		"https://" + strings.Repeat("a.b", 200): tooLong,
	}
	specs := make([]specCase, 0, len(cases))
	for url, advice := range cases {
		specs = append(specs, specCase{`backend: {url: "` + url + `"}`, advice})
	}
	checkSpecs(t, publicApis, specs)
}

// withBackend completes specs that are about something else.
func withBackend(cases []specCase) []specCase {
	for i := range cases {
		cases[i].spec += "\n" + minimal[publicApis.name]
	}
	return cases
}

func TestPublicApiPathsScopesAndCORS(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, publicApis, withBackend([]specCase{
		{`basePath: /api/v1`, accepted},
		{`basePath: /a`, accepted},
		{`basePath: /~x/_y/-z/v1.0`, accepted},
		{`basePath: /` + repeat("a", 127), accepted},
		{`basePath: /` + repeat("a", 128), tooLong},
		{`basePath: /`, tooShort},
		{`basePath: ""`, tooShort},
		{`basePath: api/v1`, badPattern},
		{`basePath: /api/v1/`, badPattern},
		{`basePath: /api//v1`, badPattern},
		{`basePath: //api`, badPattern},
		{`basePath: /api/../v1`, badPattern},
		{`basePath: /api/./v1`, badPattern},
		{`basePath: /..`, badPattern},
		{`basePath: /.well-known`, badPattern},
		{`basePath: /api%2fv1`, badPattern},
		{`basePath: "/api v1"`, badPattern},
		{`basePath: "/api?x"`, badPattern},
		{`basePath: "/api#x"`, badPattern},
		{`basePath: "/api;x"`, badPattern},
		{`basePath: "/api\\v1"`, badPattern},
		{`basePath: "/api\n"`, badPattern},
		{`basePath: "/{id}"`, badPattern},
		{`basePath: /bücher`, badPattern},

		{`scopes: []`, accepted},
		{`scopes: [{name: "orders:read"}, {name: "orders:write", description: Änderungen}]`, accepted},
		{`scopes: [{name: a, description: ` + repeat("ü", 256) + `}]`, accepted},
		{`scopes: [{name: a, description: ` + repeat("a", 257) + `}]`, tooLong},
		{`scopes: [{name: ` + repeat("a", 64) + `}]`, accepted},
		{`scopes: [{name: ` + repeat("a", 65) + `}]`, tooLong},
		{`scopes: [{name: a}, {name: a, description: again}]`, duplicate},
		{`scopes: [{name: ""}]`, tooShort},
		{`scopes: [{description: none}]`, "spec.scopes[0].name: " + required},
		{`scopes: [{name: Orders}]`, badPattern},
		{`scopes: [{name: "a b"}]`, badPattern},
		{`scopes: ["orders:read"]`, badType},
		{`scopes: [{name: "settings:read"}, {name: tokens:read}]`, accepted},
		{`scopes: [{name: a}, {name: settings}]`, "spec.scopes: Invalid value: the scope settings is Latchkey's own"},
		{`scopes: ` + list(256, "{name: s%d}"), accepted},
		{`scopes: ` + list(257, "{name: s%d}"), tooMany},

		{`cors: null`, accepted},
		{`cors: {}`, "spec.cors.allowedOrigins: " + required},
		{`cors: {allowedOrigins: []}`, tooFew},
		{`cors: {allowedOrigins: ["*"]}`, accepted},
		{`cors: {allowedOrigins: ["https://app.example.com", "http://localhost:3000"]}`, accepted},
		{`cors: {allowedOrigins: ["https://a", "https://a"]}`, duplicate},
		{`cors: {allowedOrigins: ` + list(64, "https://a%d") + `}`, accepted},
		{`cors: {allowedOrigins: ` + list(65, "https://a%d") + `}`, tooMany},
		{`cors: {allowedOrigins: ["https://` + repeat("a", 248) + `"]}`, accepted},
		{`cors: {allowedOrigins: ["https://` + repeat("a", 249) + `"]}`, tooLong},
		{`cors: {allowedOrigins: [""]}`, tooShort},
		{`cors: {allowedOrigins: ["null"]}`, badPattern},
		{`cors: {allowedOrigins: ["**"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://*.example.com"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://a/"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://a/x"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://A.example.com"]}`, badPattern}, // browsers send lower case
		{`cors: {allowedOrigins: ["https://user@a"]}`, badPattern},
		{`cors: {allowedOrigins: ["a.example.com"]}`, badPattern},
		{`cors: {allowedOrigins: ["ftp://a"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://a:123456"]}`, badPattern},
		{`cors: {allowedOrigins: ["https://a\n"]}`, badPattern},
	}))
}

func TestPublicApiTokenPolicy(t *testing.T) {
	policy := func(fields, advice string) specCase { return specCase{`tokenPolicy: {` + fields + `}`, advice} }
	checkSpecs(t, publicApis, withBackend([]specCase{
		policy(``, accepted),
		policy(`defaultLifetime: 1s, maxLifetime: 1s`, accepted),
		policy(`defaultLifetime: 1h, maxLifetime: 60m`, accepted),
		policy(`defaultLifetime: 87600h, maxLifetime: 87600h`, accepted),
		policy(`defaultLifetime: 721h, maxLifetime: 720h`, longerThanMax),
		policy(`maxLifetime: 720h`, longerThanMax),
		policy(`defaultLifetime: 8761h`, longerThanMax),
		policy(`defaultLifetime: 0s`, lifetimeBounds),
		policy(`defaultLifetime: 87601h, maxLifetime: 87600h`, lifetimeBounds),
		policy(`maxLifetime: 876000h`, lifetimeBounds),
		policy(`maxLifetime: ""`, lifetimeBounds),
		policy(`maxLifetime: 99999999999999h`, lifetimeBounds),
		policy(`maxLifetime: 365d`, badPattern),
		policy(`defaultLifetime: 1.5h`, badPattern),
		policy(`maxLifetime: 8760`, badType),

		policy(`maxOverlap: 0s`, accepted),
		policy(`maxOverlap: 8760h`, accepted),
		policy(`maxOverlap: 8761h`, overlapBounds),
		policy(`maxOverlap: 1d`, badPattern),
		policy(`retention: 0s`, accepted),
		policy(`retention: 87600h`, accepted),
		policy(`retention: 87600h1s`, retentionBounds),
		policy(`retention: ""`, retentionBounds),
		policy(`retention: -1h`, badPattern),

		policy(`maxPerTenant: 1`, accepted),
		policy(`maxPerTenant: 100000`, accepted),
		policy(`maxPerTenant: 0`, tooSmall),
		policy(`maxPerTenant: -1`, tooSmall),
		policy(`maxPerTenant: 100001`, tooBig),
		policy(`maxPerTenant: 1.5`, badType),
		policy(`maxPerTenant: many`, badType),

		policy(`noticeDays: [1]`, accepted),
		policy(`noticeDays: [365, 180, 90, 30, 14, 7, 3, 1]`, accepted),
		policy(`noticeDays: [365, 180, 90, 30, 14, 7, 3, 2, 1]`, tooMany),
		policy(`noticeDays: []`, tooFew),
		policy(`noticeDays: [0]`, tooSmall),
		policy(`noticeDays: [-1]`, tooSmall),
		policy(`noticeDays: [366]`, tooBig),
		policy(`noticeDays: [7, 7]`, duplicate),
		policy(`noticeDays: ["7"]`, badType),
		policy(`noticeDays: 7`, badType),
	}))
}

func TestPublicApiDefaults(t *testing.T) {
	hours := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }
	want := v1alpha1.PublicApiSpec{
		Backend:  v1alpha1.Backend{URL: "http://a", ResponseHeaderTimeout: &metav1.Duration{Duration: time.Minute}},
		BasePath: "/api/v1",
		Docs:     v1alpha1.Docs{Path: "/docs", Visibility: v1alpha1.DocsPublic},
		Settings: v1alpha1.Settings{Path: "/settings", TokenSignIn: v1alpha1.TokenSignInAllow},
		TokenPolicy: v1alpha1.TokenPolicy{
			DefaultLifetime: hours(90 * 24),
			MaxLifetime:     hours(365 * 24),
			MaxOverlap:      hours(7 * 24),
			MaxPerTenant:    1000,
			SelfRotation:    v1alpha1.SelfRotationForbidden,
			NoticeDays:      []int32{14, 7, 1},
			Retention:       hours(30 * 24),
		},
	}
	for name, spec := range map[string]string{
		"left out": ``,
		"empty":    `tokenPolicy: {}`,
		"null":     "tokenPolicy: null\nbasePath: null\ndocs: null\nsettings: null",
		"nulls in it": `tokenPolicy: {defaultLifetime: null, maxLifetime: null, maxOverlap: null, maxPerTenant: null,
    selfRotation: null, noticeDays: null, retention: null}
docs: {path: null, visibility: null}
settings: {path: null, tokenSignIn: null}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(t, publicApis, "default")
			expect(t, s.create(t, minimal[publicApis.name]+"\n"+spec), accepted)
			if got := s.get(t).(*v1alpha1.PublicApi).Spec; !equality.Semantic.DeepEqual(got, want) {
				t.Errorf("spec = %+v\nwant %+v", got, want)
			}
		})
	}
}

// A rotation that names no overlap has none.
func TestApiTokenDefaults(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	expect(t, s.create(t, `rotation: {}`), accepted)
	spec := s.get(t).(*v1alpha1.ApiToken).Spec
	if spec.Rotation.Overlap == nil || spec.Rotation.Overlap.Duration != 0 {
		t.Errorf("overlap = %v, want 0s", spec.Rotation.Overlap)
	}
	s = newSubject(t, apiTokens, "bare")
	expect(t, s.create(t, ``), accepted)
	if spec := s.get(t).(*v1alpha1.ApiToken).Spec; !equality.Semantic.DeepEqual(spec, v1alpha1.ApiTokenSpec{}) {
		t.Errorf("spec = %+v, want nothing: the policy's defaults count when a credential is issued", spec)
	}
}
