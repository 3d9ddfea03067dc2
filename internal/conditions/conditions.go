// Package conditions is what the controllers share about conditions and the
// events that go with them.
package conditions

import (
	"slices"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// The API's own bounds, in bytes: a longer message fails the whole write, a longer
// note loses the event.
const (
	maxMessageLength = 32768
	maxNoteLength    = 1024
)

// Set sets a condition. Its lastTransitionTime becomes now when the status
// changes.
func Set(list *[]metav1.Condition, conditionType string, status bool, reason, message string, generation int64, now time.Time) {
	condition := metav1.Condition{
		Type:               conditionType,
		Status:             metav1.ConditionFalse,
		Reason:             reason,
		Message:            cut(message, maxMessageLength),
		ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(now),
	}
	if status {
		condition.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(list, condition)
}

// Apply is the list as server-side apply takes it.
func Apply(list []metav1.Condition) []*metav1ac.ConditionApplyConfiguration {
	applied := make([]*metav1ac.ConditionApplyConfiguration, 0, len(list))
	for _, c := range list {
		applied = append(applied, metav1ac.Condition().
			WithType(c.Type).
			WithStatus(c.Status).
			WithReason(c.Reason).
			WithMessage(c.Message).
			WithObservedGeneration(c.ObservedGeneration).
			WithLastTransitionTime(c.LastTransitionTime))
	}
	return applied
}

// Announce records an event for each condition that changed in a way that its
// object's users should hear of: the main condition became False, or Stalled
// became True, or either changed its reason. quiet are reasons that are not worth
// an event.
func Announce(recorder events.EventRecorder, object runtime.Object, main string, before, after []metav1.Condition, quiet ...string) {
	for _, c := range after {
		bad := c.Type == main && c.Status == metav1.ConditionFalse ||
			c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue
		old := meta.FindStatusCondition(before, c.Type)
		if !bad || slices.Contains(quiet, c.Reason) || old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		if stalled := meta.FindStatusCondition(after, v1alpha1.ConditionStalled); c.Type == main && stalled != nil && stalled.Reason == c.Reason {
			continue // Stalled says the same and is announced itself
		}
		eventType := corev1.EventTypeNormal
		if c.Type == v1alpha1.ConditionStalled {
			eventType = corev1.EventTypeWarning
		}
		recorder.Eventf(object, nil, eventType, c.Reason, "Reconcile", "%s", cut(c.Message, maxNoteLength))
	}
}

// cut shortens a text to at most n bytes, without cutting a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
