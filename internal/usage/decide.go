package usage

import (
	"encoding/json"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// credentialIn is the credential of the digest in status, and the name of its field;
// nil where status has none.
func credentialIn(s *v1alpha1.ApiTokenStatus, digest token.Digest) (c *v1alpha1.IssuedCredential, field string) {
	text := digest.String()
	switch {
	case s.Credential != nil && s.Credential.Digest == text:
		return s.Credential, "credential"
	case s.PreviousCredential != nil && s.PreviousCredential.Digest == text:
		return s.PreviousCredential, "previousCredential"
	}
	return nil, ""
}

// worthWriting says whether a use is written to a status that says what it says: the
// first use, the first of a replaced credential since its successor was issued, and
// one that is the interval later than the last. Else it says when one may be.
func worthWriting(s *v1alpha1.ApiTokenStatus, c *v1alpha1.IssuedCredential, used time.Time, interval time.Duration) (write bool, next time.Time) {
	if c.LastUsedAt == nil {
		return true, time.Time{}
	}
	last := c.LastUsedAt.Time
	if c == s.PreviousCredential && s.Credential != nil && s.Credential.IssuedAt != nil {
		if rotated := s.Credential.IssuedAt.Time; used.After(rotated) && !last.After(rotated) {
			return true, time.Time{}
		}
	}
	next = last.Add(interval)
	return !used.Before(next), next
}

// patch is a merge patch that notes last uses, by the field of their credential. It
// fails if the ApiToken is no more the one of the resourceVersion: then the
// credential may have moved, or a later use been noted.
func patch(resourceVersion string, uses map[string]time.Time) ([]byte, error) {
	status := map[string]any{}
	for field, used := range uses {
		status[field] = map[string]string{"lastUsedAt": used.UTC().Format(time.RFC3339)}
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": resourceVersion},
		"status":   status,
	})
}
