package portal

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/portal/tokenapi"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
)

// represent shows an ApiToken. Digests stay out: nobody has a use for them.
func represent(t *v1alpha1.ApiToken) tokenapi.Token {
	shown := tokenapi.Token{
		Name:               t.Name,
		Description:        text(t.Spec.Description),
		Owner:              text(t.Spec.Owner),
		Scopes:             list(t.Spec.Scopes),
		AllowedCIDRs:       list(t.Spec.AllowedCIDRs),
		ExpiresAt:          instant(t.Spec.ExpiresAt),
		Overlap:            policy.Overlap(&t.Spec).String(),
		RevokedAt:          instant(t.Status.RevokedAt),
		Credential:         credential(t.Status.Credential),
		PreviousCredential: credential(t.Status.PreviousCredential),
		UseRecordedSince:   instant(t.Status.UseRecordedSince),
		CreatedAt:          t.CreationTimestamp.UTC(),
		CreatedBy:          text(t.Annotations[v1alpha1.AnnotationCreatedBy]),
		CreatedVia:         text(t.Annotations[v1alpha1.AnnotationCreatedVia]),
		IssuedBy:           text(t.Annotations[v1alpha1.AnnotationIssuedBy]),
		RevokedBy:          text(t.Annotations[v1alpha1.AnnotationRevokedBy]),
	}
	if t.Spec.Lifetime != nil {
		shown.Lifetime = text(t.Spec.Lifetime.Duration.String())
	}
	if t.Spec.Revoked {
		shown.Revoked = new(true)
	}
	if active := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionActive); active != nil {
		// Revoking counts at once, whatever the manager has seen.
		shown.Active = active.Status == metav1.ConditionTrue && !t.Spec.Revoked
		shown.Reason, shown.Message = active.Reason, active.Message
	}
	return shown
}

func credential(c *v1alpha1.IssuedCredential) *tokenapi.Credential {
	if c == nil {
		return nil
	}
	return &tokenapi.Credential{ID: c.ID, IssuedAt: instant(c.IssuedAt), ExpiresAt: c.ExpiresAt.UTC(), LastUsedAt: instant(c.LastUsedAt)}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func instant(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

func issuedToken(i *tokens.Issued) tokenapi.IssuedToken {
	fault.ForToken(i.Object.Name, "represented", i)
	return tokenapi.IssuedToken{Plaintext: i.Plaintext(), Token: represent(i.Object)}
}

func confirmed(i *tokens.Issued) tokenapi.IssuedJSONResponse {
	return tokenapi.IssuedJSONResponse{Body: issuedToken(i), Headers: tokenapi.IssuedResponseHeaders{ETag: tokens.ETag(i.Object)}}
}

func unconfirmed(i *tokens.Issued) tokenapi.UnconfirmedJSONResponse {
	return tokenapi.UnconfirmedJSONResponse{Body: issuedToken(i), Headers: tokenapi.UnconfirmedResponseHeaders{ETag: tokens.ETag(i.Object)}}
}
