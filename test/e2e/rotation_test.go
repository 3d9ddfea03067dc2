//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// rotation replaces a token that is in use all the time, and nobody notices: not who
// goes on with the old one for its overlap, nor who takes the new one.
func rotation(t *testing.T, w *world) {
	const perSecond, while = 40, 120
	plaintext := w.create(t, "rotated", "--overlap", "1h")
	w.everywhere(t, plaintext)
	for i := range 2 {
		// Within the overlap the older one ends at once: nobody may use it any more.
		old, before := plaintext, w.startLoadOf(t, plaintext, perSecond, endpoint)
		before.reached(t, while)
		plaintext = w.rotate(t, "rotated", "--yes")
		w.everywhere(t, plaintext)
		after := w.startLoadOf(t, plaintext, perSecond, endpoint)
		after.reached(t, while)
		before.flawless(t)
		after.flawless(t)
		if i == 0 {
			continue
		}
		t.Run("the old one's use is known", func(t *testing.T) { w.previousIsUsed(t, "rotated", old) })
		w.kubectl(t, "latchkey", "rotate", "rotated", "--drop-previous", "--yes", "-n", "tenant-acme", "--as=acme-admin")
		t.Logf("dropped: refused %s after kubectl latchkey rotate --drop-previous", w.answered(t, old, 401, "token-revoked"))
		w.answered(t, plaintext, 200, "")
	}
	t.Run("without an overlap", func(t *testing.T) {
		old := plaintext
		plaintext = w.rotate(t, "rotated", "--overlap", "0s", "--yes")
		w.answered(t, plaintext, 200, "")
		t.Logf("replaced: refused %s after kubectl latchkey rotate", w.answered(t, old, 401, "token-expired"))
	})
	t.Run("old YAML", func(t *testing.T) {
		var object struct {
			Spec struct {
				Credential struct {
					ID, Digest, IssuedAt string
				} `json:"credential"`
			} `json:"spec"`
		}
		get := func() string {
			text := w.kubectl(t, "get", "apitoken", "rotated", "-n", "tenant-acme", "-o", "json")
			if err := json.Unmarshal([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			return object.Spec.Credential.ID
		}
		before := get()
		yaml := fmt.Sprintf(oldYAML, object.Spec.Credential.ID, object.Spec.Credential.Digest, object.Spec.Credential.IssuedAt)
		old := plaintext
		plaintext = w.rotate(t, "rotated", "--yes")
		w.answered(t, old, 401, "token-expired")
		_, stderr, err := w.run(t.Context(), yaml, "kubectl", "apply", "--server-side", "--force-conflicts", "--as=acme-admin", "-f", "-")
		if err == nil || !strings.Contains(stderr, "only moves forward") {
			t.Errorf("applied by force, the old YAML got %v: %s", err, stderr)
		}
		if after := get(); after == before {
			t.Errorf("the old credential %s is back", before)
		}
		w.answered(t, old, 401, "token-expired")
		w.answered(t, plaintext, 200, "")
	})
}

const oldYAML = `
apiVersion: latchkey.dev/v1alpha1
kind: ApiToken
metadata: {name: rotated, namespace: tenant-acme}
spec: {credential: {id: %s, digest: %q, issuedAt: %q}}
`

// rotate replaces a token of acme's, with the rights of acme's admin.
func (w *world) rotate(t *testing.T, name string, args ...string) (plaintext string) {
	t.Helper()
	args = append([]string{"latchkey", "rotate", name, "-n", "tenant-acme", "--as", "acme-admin", "--wait", "30s"}, args...)
	plaintext = w.kubectl(t, args...)
	w.tokens = append(w.tokens, plaintext)
	return plaintext
}

// everywhere waits until every replica knows a token: until so many answers in a row
// to connections of their own, of which the Ingress gives each to any of them.
func (w *world) everywhere(t *testing.T, plaintext string) {
	t.Helper()
	const inARow = 20
	client := w.client(true)
	defer client.CloseIdleConnections()
	eventually(t, within, func() error {
		l := &load{}
		for range inARow {
			if l.one(t.Context(), client, "https://"+w.host("acme")+endpoint, endpoint, plaintext); len(l.failures) > 0 {
				return errors.New(l.failures[0].String())
			}
		}
		return nil
	})
}

// previousIsUsed waits until status knows that a replaced token was used since.
func (w *world) previousIsUsed(t *testing.T, name, old string) {
	t.Helper()
	eventually(t, within, func() error {
		var object struct {
			Status struct {
				Credential, PreviousCredential struct{ ID, IssuedAt, LastUsedAt string }
			}
		}
		text := w.kubectl(t, "get", "apitoken", name, "-n", "tenant-acme", "-o", "json")
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			return err
		}
		current, previous := object.Status.Credential, object.Status.PreviousCredential
		if previous.ID != strings.Split(old, "_")[1] || previous.LastUsedAt == "" || current.LastUsedAt == "" {
			return fmt.Errorf("status has %+v and %+v", current, previous)
		}
		return nil
	})
}
