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

// Paths are compared as sent, and on whole segments.
func TestOf(t *testing.T) {
	for path, want := range map[string]surface.Set{
		"":               surface.API,
		"/":              surface.API,
		"/orders":        surface.API,
		"/orders/token":  surface.API,
		"/token":         surface.Portal,
		"/token/":        surface.Portal,
		"/token/x":       surface.Portal,
		"/tokenize":      surface.API,
		"/token/rotate":  surface.Portal,
		"/tok%65n":       surface.API,
		"/Token":         surface.API,
		"/tokens":        surface.Portal,
		"/tokens/":       surface.Portal,
		"/tokens/ci":     surface.Portal,
		"/tokens/ci/x":   surface.Portal,
		"/tokensearch":   surface.API,
		"/tokens-of-all": surface.API,
	} {
		if got := surface.Of(path); got != want {
			t.Errorf("Of(%q) = %v, want %v", path, got, want)
		}
	}
}

// What an Ingress sends to the portal is what the portal serves.
func TestPortalPathsAgreeWithOf(t *testing.T) {
	const base = "/v2/api"
	for _, p := range surface.PortalPaths(base) {
		for _, below := range []string{"", "/", "/x"} {
			if path := p + below; surface.Of(path[len(base):]) != surface.Portal {
				t.Errorf("%s is the portal's, but not to the server", path)
			}
		}
	}
}
