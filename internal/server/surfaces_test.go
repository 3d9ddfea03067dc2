package server_test

import (
	"net/http"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/surface"
)

// Each surface serves its own paths, and does not find those of the other,
// whatever token is sent. What the portal has not got is not found anywhere.
func TestSurfaces(t *testing.T) {
	const proxied, own, missing = "/api/v1/example_endpoint", "/api/v1/token", "/api/v1/tokens"
	for surfaces, served := range map[surface.Set][]string{
		0:              {proxied, own},
		surface.All:    {proxied, own},
		surface.API:    {proxied},
		surface.Portal: {own},
	} {
		t.Run("surfaces="+surfaces.String(), func(t *testing.T) {
			h := newHarness(t, withConfig(func(c *server.Config) { c.Surfaces = surfaces }))
			plaintext := h.issue("acme").Token.Reveal()
			want := map[string]bool{}
			for _, path := range served {
				want[path] = true
			}
			for _, path := range []string{proxied, own, missing, missing + "/ci"} {
				for _, sent := range []string{plaintext, ""} {
					got := h.get(path, sent)
					switch {
					case !want[path]:
						got.wantProblem(t, http.StatusNotFound, "not-found")
					case sent == "":
						got.wantProblem(t, http.StatusUnauthorized, "authorization-missing")
					default:
						got.wantStatus(t, http.StatusOK)
					}
				}
			}
		})
	}
}
