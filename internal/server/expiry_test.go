package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/server"
)

// Within the notice every answer to a token that works says how many days it has
// left, an error of ours too; before it, none does.
func TestDaysLeft(t *testing.T) {
	for left, want := range map[time.Duration]string{7*24*time.Hour + time.Second: "", 7 * 24 * time.Hour: "7", time.Hour: "1"} {
		h := newHarness(t, withAPI(func(s *v1alpha1.PublicApiSpec) { s.TokenPolicy.NoticeDays = []int32{1, 7} }))
		plaintext := h.issue("acme").Token.Reveal()
		h.clock.SetTime(expiry.Add(-left))
		for _, a := range []answer{
			h.get(endpoint, plaintext), h.get("/api/v1/token", plaintext),
			h.do(h.request(http.MethodPost, "/api/v1/token", plaintext)), // not allowed
		} {
			if got := a.Header.Get(server.HeaderTokenDaysLeft); got != want {
				t.Errorf("%s before the end, status %d: %q days left, want %q", left, a.StatusCode, got, want)
			}
		}
	}
}
