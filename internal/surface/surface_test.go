package surface_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/surface"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		list string
		want surface.Set
	}{
		{"api", surface.API},
		{"portal", surface.Portal},
		{"api,portal", surface.All},
		{" portal , api ", surface.All},
		{"api,api", surface.API},
	} {
		got, err := surface.Parse(c.list)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q) = %v, %v; want %v", c.list, got, err, c.want)
		}
		if again, err := surface.Parse(got.String()); err != nil || again != got {
			t.Errorf("%v is written as %q, which is read as %v, %v", got, got.String(), again, err)
		}
	}
	for _, list := range []string{"", ",", "api,", "API", "all", "api portal"} {
		if got, err := surface.Parse(list); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", list, got)
		}
	}
}

var paths = surface.Paths{Base: "/v2/api", Docs: "/help", Settings: "/account/tokens", Document: true}

// Paths are compared as sent, and on whole segments.
func TestOf(t *testing.T) {
	for path, want := range map[string]surface.Set{
		"/v2/api":                 surface.API,
		"/v2/api/":                surface.API,
		"/v2/api/orders":          surface.API,
		"/v2/api/orders/token":    surface.API,
		"/v2/api/token":           surface.Portal,
		"/v2/api/token/":          surface.Portal,
		"/v2/api/token/x":         surface.Portal,
		"/v2/api/tokenize":        surface.API,
		"/v2/api/token/rotate":    surface.Portal,
		"/v2/api/tok%65n":         surface.API,
		"/v2/api/Token":           surface.API,
		"/v2/api/tokens":          surface.Portal,
		"/v2/api/tokens/":         surface.Portal,
		"/v2/api/tokens/ci":       surface.Portal,
		"/v2/api/tokens/ci/x":     surface.Portal,
		"/v2/api/tokensearch":     surface.API,
		"/v2/api/tokens-of-all":   surface.API,
		"/v2/api/openapi.json":    surface.Portal,
		"/v2/api/openapi.yaml":    surface.Portal,
		"/v2/api/openapi.yml":     surface.API,
		"/v2/api/x/openapi.json":  surface.API,
		"/help":                   surface.Portal,
		"/help/":                  surface.Portal,
		"/help/assets/x.css":      surface.Portal,
		"/helpers":                0,
		"/Help":                   0,
		"/account/tokens":         surface.Portal,
		"/account/tokens/":        surface.Portal,
		"/account/tokens/sign-in": surface.Portal,
		"/account/tokens-old":     0,
		"/account":                0,
		"/v2/api/account/tokens":  surface.API,
		"/v2":                     0,
		"/v2/apis":                0,
		"/v2/api%2ftoken":         0,
		"/":                       0,
		"":                        0,
		"/token":                  0,
		"/v2/api/help":            surface.API,
		"/help/../v2/api/tokens":  surface.Portal, // the guard refuses it
		"/v2/api/openapi.json.gz": surface.API,
	} {
		if got := paths.Of(path); got != want {
			t.Errorf("Of(%q) = %v, want %v", path, got, want)
		}
	}
	without := surface.Paths{Base: "/v2/api"}
	if got := without.Of("/help"); got != 0 {
		t.Errorf("without documentation its path is %v", got)
	}
	if got := without.Of("/v2/api/openapi.json"); got != surface.API || without.IsDocs("/v2/api/openapi.json") {
		t.Errorf("without a document its path is %v", got)
	}
}

func TestIsSettings(t *testing.T) {
	for path, want := range map[string]bool{
		"/account/tokens": true, "/account/tokens/": true, "/account/tokens/x/y": true,
		"/account/tokensx": false, "/account": false, "/help": false, "/v2/api/tokens": false, "": false, "/": false,
	} {
		if got := paths.IsSettings(path); got != want {
			t.Errorf("IsSettings(%q) = %t", path, got)
		}
	}
	if (surface.Paths{Base: "/v2/api"}).IsSettings("") {
		t.Error("where there are no Settings, they have a path")
	}
}

func TestIsDocs(t *testing.T) {
	for path, want := range map[string]bool{
		"/help": true, "/help/": true, "/help/assets/x.css": true, "/helpers": false,
		"/v2/api/openapi.json": true, "/v2/api/openapi.yaml": true, "/v2/api/openapi.json/x": true,
		"/v2/api/token": false, "/v2/api/orders": false, "/openapi.json": false,
	} {
		if got := paths.IsDocs(path); got != want {
			t.Errorf("IsDocs(%q) = %t", path, got)
		}
	}
}

// What an Ingress sends to the portal is what the portal serves.
func TestPortalAgreesWithOf(t *testing.T) {
	for _, of := range []surface.Paths{paths, {Base: "/v2/api"}} {
		for _, p := range of.Portal() {
			for _, below := range []string{"", "/", "/x"} {
				if of.Of(p+below) != surface.Portal {
					t.Errorf("%s is the portal's, but not to the server", p+below)
				}
			}
		}
	}
}

// It is on every request's way.
func TestOfAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { paths.Of("/v2/api/orders/7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
