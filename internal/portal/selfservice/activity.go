package selfservice

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
)

// activity is what the ApiToken itself tells of what happened to it, the latest first.
// Who did it is a claim of who wrote the annotations.
func activity(t *v1alpha1.ApiToken) []settings.Event {
	by := func(annotation string) string { return t.Annotations[annotation] }
	events := []settings.Event{{
		At: t.CreationTimestamp.Time, What: settings.EventCreated, Who: by(v1alpha1.AnnotationCreatedBy), Detail: createdVia[by(v1alpha1.AnnotationCreatedVia)],
	}}
	add := func(at *metav1.Time, what settings.Occurrence, who, detail string) {
		if at != nil && !at.IsZero() {
			events = append(events, settings.Event{At: at.Time, What: what, Who: who, Detail: detail})
		}
	}
	current, previous := t.Status.Credential, t.Status.PreviousCredential
	if previous != nil {
		add(previous.IssuedAt, settings.EventIssued, "", "")
		add(previous.LastUsedAt, settings.EventPreviousUsed, "", "")
		add(&previous.ExpiresAt, settings.EventPreviousEnds, "", "")
	}
	if current != nil {
		what := settings.EventIssued
		if previous != nil {
			what = settings.EventRotated
		}
		add(current.IssuedAt, what, by(v1alpha1.AnnotationIssuedBy), "")
		add(current.LastUsedAt, settings.EventUsed, "", "")
		add(&current.ExpiresAt, settings.EventExpires, "", "")
		add(noticedAt(t), settings.EventNoticed, "", "")
	}
	add(t.Status.RevokedAt, settings.EventRevoked, by(v1alpha1.AnnotationRevokedBy), "")
	if stalled := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && stalled.Status == metav1.ConditionTrue {
		add(&stalled.LastTransitionTime, settings.EventRefused, "", stalled.Message)
	}
	// In the order of what happens at the same second, the last first.
	slices.Reverse(events)
	slices.SortStableFunc(events, func(a, b settings.Event) int { return b.At.Compare(a.At) })
	return events
}

// createdVia says by what a token was made.
var createdVia = map[string]string{v1alpha1.ViaSettings: textViaSettings, v1alpha1.ViaAPI: textViaAPI}

// noticedAt is when the last notice of the present credential's expiry was due.
func noticedAt(t *v1alpha1.ApiToken) *metav1.Time {
	notice, current := t.Status.Notice, t.Status.Credential
	if notice == nil || notice.CredentialID != current.ID {
		return nil
	}
	return &metav1.Time{Time: current.ExpiresAt.Add(-time.Duration(notice.Days) * 24 * time.Hour)}
}
