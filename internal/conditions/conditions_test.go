package conditions_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/conditions"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestSetAddsACondition(t *testing.T) {
	for status, want := range map[bool]metav1.ConditionStatus{true: metav1.ConditionTrue, false: metav1.ConditionFalse} {
		var list []metav1.Condition
		conditions.Set(&list, "Active", status, "Issued", "Works.", 7, noon)
		wanted := metav1.Condition{
			Type: "Active", Status: want, Reason: "Issued", Message: "Works.",
			ObservedGeneration: 7, LastTransitionTime: metav1.NewTime(noon),
		}
		if len(list) != 1 || list[0] != wanted {
			t.Errorf("list = %+v, want %+v", list, wanted)
		}
	}
}

// The transition time is that of the status, not of its reason or message.
func TestSetKeepsTheTransitionTime(t *testing.T) {
	var list []metav1.Condition
	conditions.Set(&list, "Stalled", true, "Other", "Stays.", 1, noon)
	conditions.Set(&list, "Active", false, "AwaitingCredential", "Wait.", 1, noon)

	conditions.Set(&list, "Active", false, "Expired", "Over.", 2, noon.Add(time.Hour))
	active := meta.FindStatusCondition(list, "Active")
	if !active.LastTransitionTime.Time.Equal(noon) {
		t.Errorf("lastTransitionTime moved to %s although the status stayed", active.LastTransitionTime)
	}
	if active.Reason != "Expired" || active.Message != "Over." || active.ObservedGeneration != 2 {
		t.Errorf("condition = %+v", active)
	}

	conditions.Set(&list, "Active", true, "Issued", "Works.", 3, noon.Add(2*time.Hour))
	if active := meta.FindStatusCondition(list, "Active"); !active.LastTransitionTime.Time.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("lastTransitionTime = %s although the status changed", active.LastTransitionTime)
	}
	if stalled := meta.FindStatusCondition(list, "Stalled"); len(list) != 2 || stalled.Message != "Stays." || stalled.ObservedGeneration != 1 {
		t.Errorf("the other condition changed: %+v", list)
	}
}

// A message that is too long for the API would lose the whole status.
func TestSetCutsLongMessages(t *testing.T) {
	const limit = 32768
	for name, message := range map[string]string{
		"empty":        "",
		"at the limit": strings.Repeat("a", limit),
		"over it":      strings.Repeat("a", limit+1),
		"non-ASCII":    "a" + strings.Repeat("ü", limit),
	} {
		t.Run(name, func(t *testing.T) {
			var list []metav1.Condition
			conditions.Set(&list, "Active", true, "Issued", message, 1, noon)
			got := list[0].Message
			if len(got) > limit || !strings.HasPrefix(message, got) || len(got) < min(len(message), limit-utf8.UTFMax) {
				t.Errorf("%d bytes of %d are left", len(got), len(message))
			}
			if !utf8.ValidString(got) {
				t.Error("a character was cut in two")
			}
		})
	}
}

func TestApply(t *testing.T) {
	var list []metav1.Condition
	conditions.Set(&list, "Active", true, "Issued", "Works.", 7, noon)
	conditions.Set(&list, "Stalled", false, "Other", "", 8, noon.Add(time.Hour))
	applied := conditions.Apply(list)
	if len(applied) != len(list) {
		t.Fatalf("%d conditions, want %d", len(applied), len(list))
	}
	for i, c := range applied {
		got := metav1.Condition{
			Type: *c.Type, Status: *c.Status, Reason: *c.Reason, Message: *c.Message,
			ObservedGeneration: *c.ObservedGeneration, LastTransitionTime: *c.LastTransitionTime,
		}
		if got != list[i] {
			t.Errorf("applied %+v, want %+v", got, list[i])
		}
	}
	if got := conditions.Apply(nil); len(got) != 0 {
		t.Errorf("Apply of nothing = %v", got)
	}
}

// list makes conditions from words such as "Active=False:Expired".
func list(words ...string) []metav1.Condition {
	conditions := make([]metav1.Condition, 0, len(words))
	for _, word := range words {
		conditionType, rest, _ := strings.Cut(word, "=")
		status, reason, _ := strings.Cut(rest, ":")
		conditions = append(conditions, metav1.Condition{
			Type: conditionType, Status: metav1.ConditionStatus(status), Reason: reason, Message: "says " + reason,
		})
	}
	return conditions
}

func TestAnnounce(t *testing.T) {
	cases := []struct {
		name          string
		before, after []metav1.Condition
		want          []string
	}{
		{"nothing", nil, nil, nil},
		{"works at once", nil, list("Active=True:Issued"), nil},
		{"works again", list("Active=False:TenantSuspended"), list("Active=True:Issued"), nil},
		{"fails at once", nil, list("Active=False:NoTenant"), []string{"Normal NoTenant says NoTenant"}},
		{"ends", list("Active=True:Issued"), list("Active=False:Expired"), []string{"Normal Expired says Expired"}},
		{"fails as before", list("Active=False:Expired"), list("Active=False:Expired"), nil},
		{"fails for another reason", list("Active=False:Expired"), list("Active=False:Revoked"), []string{"Normal Revoked says Revoked"}},
		{"quiet at once", nil, list("Active=False:AwaitingCredential"), nil},
		{"quiet after it worked", list("Active=True:Issued"), list("Active=False:AwaitingCredential"), nil},
		{"stalls", list("Active=True:Issued"), list("Active=True:Issued", "Stalled=True:PolicyViolation"),
			[]string{"Warning PolicyViolation says PolicyViolation"}},
		{"stalls as before", list("Stalled=True:PolicyViolation"), list("Stalled=True:PolicyViolation"), nil},
		{"stalls for another reason", list("Stalled=True:PolicyViolation"), list("Stalled=True:RecordConflict"),
			[]string{"Warning RecordConflict says RecordConflict"}},
		{"stalls no more", list("Stalled=True:PolicyViolation"), list("Stalled=False:Fine"), nil},
		{"both for one reason are one event", nil, list("Active=False:CredentialConflict", "Stalled=True:CredentialConflict"),
			[]string{"Warning CredentialConflict says CredentialConflict"}},
		{"both for two reasons are two", nil, list("Active=False:Expired", "Stalled=True:PolicyViolation"),
			[]string{"Normal Expired says Expired", "Warning PolicyViolation says PolicyViolation"}},
		{"other conditions are not announced", nil, list("ExpiringSoon=False:NotActive", "Ready=False:Other"), nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := announced(c.before, c.after); !slices.Equal(got, c.want) {
				t.Errorf("events = %q, want %q", got, c.want)
			}
		})
	}
}

// announced are the events of an ApiToken, for which AwaitingCredential is quiet.
func announced(before, after []metav1.Condition) []string {
	var recorder recorder
	conditions.Announce(&recorder, &v1alpha1.ApiToken{}, v1alpha1.ConditionActive, before, after, v1alpha1.ReasonAwaitingCredential)
	return recorder.events
}

// A message is not a format.
func TestAnnounceKeepsPercentSigns(t *testing.T) {
	after := list("Active=False:Expired")
	after[0].Message = "100%d of %s"
	if got := announced(nil, after); !slices.Equal(got, []string{"Normal Expired 100%d of %s"}) {
		t.Errorf("events = %q", got)
	}
}

// The API server refuses an event whose note is longer than 1 KiB, and the
// recorder then drops it: a list of all scopes that a PublicApi knows is longer.
func TestAnnounceCutsLongNotes(t *testing.T) {
	after := list("Stalled=True:PolicyViolation")
	for name, message := range map[string]string{
		"at the limit": strings.Repeat("a", 1024),
		"over it":      strings.Repeat("a", 1025),
		"a status":     strings.Repeat("a", 32768),
		"non-ASCII":    "a" + strings.Repeat("ü", 1024),
	} {
		t.Run(name, func(t *testing.T) {
			after[0].Message = message
			got := announced(nil, after)
			if len(got) != 1 {
				t.Fatalf("events = %q", got)
			}
			note := strings.TrimPrefix(got[0], "Warning PolicyViolation ")
			if len(note) > 1024 || len(note) < 1000 || !utf8.ValidString(note) {
				t.Errorf("the note has %d bytes (valid UTF-8: %t)", len(note), utf8.ValidString(note))
			}
		})
	}
}
