//go:build e2e

package e2e

import (
	"errors"
	"testing"
	"time"
)

// endings take effect at once, and with no manager at work too.
func endings(t *testing.T, w *world) {
	revoke := func(name string) {
		w.kubectl(t, "latchkey", "revoke", name, "--yes", "-n", "tenant-acme", "--as=acme-admin")
	}
	remove := func(name string) { w.kubectl(t, "delete", "apitoken", name, "-n", "tenant-acme", "--as=acme-admin") }
	round := func(t *testing.T, prefix string, between func()) {
		revoked, deleted := w.create(t, prefix+"revoked"), w.create(t, prefix+"deleted")
		expiresAt := time.Now().Truncate(time.Second).Add(8 * time.Second)
		if prefix != "" {
			expiresAt = expiresAt.Add(20 * time.Second) // until the manager is gone
		}
		brief := w.create(t, prefix+"brief", "--expires-at", expiresAt.UTC().Format(time.RFC3339))
		for _, plaintext := range []string{revoked, deleted, brief} {
			w.answered(t, plaintext, 200, "")
		}
		between()
		revoke(prefix + "revoked")
		t.Logf("revoked: refused %s after kubectl latchkey revoke", w.answered(t, revoked, 401, "token-revoked"))
		remove(prefix + "deleted")
		t.Logf("deleted: refused %s after kubectl delete", w.answered(t, deleted, 401, "token-invalid"))
		w.expires(t, brief, expiresAt)
	}
	t.Run("with a manager", func(t *testing.T) { round(t, "", func() {}) })
	t.Run("without a manager", func(t *testing.T) {
		defer func() {
			w.kubectl(t, "-n", system, "scale", "deployment/latchkey-manager", "--replicas=2")
			w.available(t, "latchkey-manager")
		}()
		round(t, "unmanaged-", func() {
			w.kubectl(t, "-n", system, "scale", "deployment/latchkey-manager", "--replicas=0")
			w.kubectl(t, "-n", system, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=latchkey-manager", "--timeout=1m")
		})
	})
}

var errNotYet = errors.New("it goes on working")

// expires calls until the token is refused. No call that was answered before it
// expired may be refused, and none that was sent afterwards may pass. The clocks
// of this machine and the cluster are one, or half a second apart at most.
func (w *world) expires(t *testing.T, plaintext string, at time.Time) {
	t.Helper()
	const apart = 500 * time.Millisecond
	eventually(t, time.Until(at)+10*time.Second, func() error {
		sent := time.Now()
		a := w.curl(t, "acme", endpoint, plaintext)
		received := time.Now()
		if err := a.is(401, "token-expired"); err == nil {
			if received.Before(at.Add(-apart)) {
				t.Errorf("refused %s before it expired", at.Sub(received))
			}
			t.Logf("expired: refused from %s after its time", received.Sub(at).Round(time.Millisecond))
			return nil
		}
		err := a.is(200, "")
		if err != nil {
			t.Error(err)
			return nil
		}
		if sent.After(at.Add(apart)) {
			t.Errorf("accepted %s after it expired", sent.Sub(at))
		}
		return errNotYet
	})
}
