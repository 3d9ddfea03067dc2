package audit_test

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
)

var filterTime = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// days is the instant so many days from filterTime.
func days(n int) *metav1.Time {
	return new(metav1.NewTime(filterTime.Add(time.Duration(n) * audit.Day)))
}

// credential expires and was issued and used so many days from filterTime; 0 means that
// it was not used.
func credential(expires, issued, used int) *v1alpha1.IssuedCredential {
	c := &v1alpha1.IssuedCredential{ExpiresAt: *days(expires), IssuedAt: days(issued)}
	if used != 0 {
		c.LastUsedAt = days(used)
	}
	return c
}

var tokens = map[string]*v1alpha1.ApiToken{
	"awaiting": {},
	"busy": {
		Spec:   v1alpha1.ApiTokenSpec{Owner: "ada"},
		Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -40, -1), UseRecordedSince: days(-100)},
	},
	"idle": {
		Spec:   v1alpha1.ApiTokenSpec{Owner: "grace"},
		Status: v1alpha1.ApiTokenStatus{Credential: credential(7, -60, -30), UseRecordedSince: days(-100)},
	},
	"rotated": { // and called with what was replaced
		Spec: v1alpha1.ApiTokenSpec{Owner: "ada"},
		Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -40, 0),
			PreviousCredential: credential(1, -80, -2), UseRecordedSince: days(-100)},
	},
	"unused":        {Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -40, 0), UseRecordedSince: days(-100)}},
	"recently made": {Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -2, 0), UseRecordedSince: days(-100)}},
	"recently seen": {Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -40, 0), UseRecordedSince: days(-2)}},
	"not recorded":  {Status: v1alpha1.ApiTokenStatus{Credential: credential(90, -40, 0)}},
	"expired":       {Status: v1alpha1.ApiTokenStatus{Credential: credential(0, -60, -30), UseRecordedSince: days(-100)}},
	"overlapping": { // the shorter lifetime is the newer credential's
		Status: v1alpha1.ApiTokenStatus{Credential: credential(-1, -2, -2), PreviousCredential: credential(1, -60, 0), UseRecordedSince: days(-100)},
	},
	"revoked": {
		Spec:   v1alpha1.ApiTokenSpec{Revoked: true, Owner: "ada"},
		Status: v1alpha1.ApiTokenStatus{Credential: credential(7, -60, -30), UseRecordedSince: days(-100)},
	},
}

func TestMatches(t *testing.T) {
	for name, c := range map[string]struct {
		filter audit.Filter
		want   []string
	}{
		"idle for 30 days":     {audit.Filter{IdleDays: new(30)}, []string{"idle", "unused"}},
		"idle for 31 days":     {audit.Filter{IdleDays: new(31)}, []string{"unused"}},
		"idle for 2 days":      {audit.Filter{IdleDays: new(2)}, []string{"idle", "overlapping", "recently made", "recently seen", "rotated", "unused"}},
		"never used":           {audit.Filter{NeverUsed: true}, []string{"recently made", "recently seen", "unused"}},
		"expiring in 7 days":   {audit.Filter{ExpiringWithinDays: new(7)}, []string{"idle", "overlapping"}},
		"expiring in 6 days":   {audit.Filter{ExpiringWithinDays: new(6)}, []string{"overlapping"}},
		"expired":              {audit.Filter{Expired: true}, []string{"expired"}},
		"without owner":        {audit.Filter{WithoutOwner: true, Expired: true}, []string{"expired"}},
		"of an owner":          {audit.Filter{Owner: "ada"}, []string{"busy", "revoked", "rotated"}},
		"idle, of an owner":    {audit.Filter{Owner: "grace", IdleDays: new(7)}, []string{"idle"}},
		"idle, of another one": {audit.Filter{Owner: "ada", IdleDays: new(7)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for name, token := range tokens {
				if c.filter.Matches(token, filterTime) {
					got = append(got, name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
	for name, token := range tokens {
		if !(audit.Filter{}).Matches(token, filterTime) {
			t.Errorf("the empty filter does not find %s", name)
		}
	}
}
