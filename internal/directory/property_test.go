package directory_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var seedFlag = flag.Uint64("seed", 0, "the seed of the property test; 0 means a new one")

// answer is what the directory says of a token, as far as it depends on events.
type answer struct {
	Name, Namespace string
	Revoked         bool
	NotAfter        time.Time
	RateLimit       ratelimit.Limit
}

// After any sequence of events the directory answers as the slow model does, which
// looks at everything that is stored, anew for every question.
func TestAnyOrderOfEventsGivesWhatTheModelSays(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	const runs, events = 100, 80
	found := 0
	for run := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed, run))
		d, stores := newDirectory()
		w := newWorld(t, random, stores)
		var history []string
		for range events {
			history = append(history, w.event())
			n, difference := w.compare(d)
			if found += n; difference != "" {
				t.Fatalf("-seed %d, run %d: %s\nafter %q", seed, run, difference, history)
			}
		}
	}
	if found < runs*events/3 {
		t.Errorf("-seed %d: only %d look-ups found a token; the events are no test", seed, found)
	}
}

// compare asks the directory everything. It returns how many tokens were found, and
// the first difference from the model.
func (w *world) compare(d *directory.Directory) (found int, difference string) {
	answers := w.answers()
	for _, tenant := range worldTenants {
		for _, digest := range worldDigests {
			want, wanted := answers[question{tenant, digest}]
			t, ok := d.Token(tenant, digest)
			if ok != wanted {
				return found, fmt.Sprintf("a token of %s: the directory found it %t, the model %t", tenant, ok, wanted)
			}
			if !ok {
				continue
			}
			found++
			if got := (answer{t.Name, t.Namespace, t.Revoked, t.NotAfter, t.RateLimit}); got != want || t.Digest != digest || t.Tenant != tenant {
				return found, "a token of " + tenant + ": the directory says " + describe(got) + ", the model " + describe(want)
			}
		}
		want, wanted := w.tenants[tenant]
		got, ok := d.Tenant(tenant)
		if ok != wanted || ok && (got.Suspended != want.Spec.Suspended || (got.Namespace == "") != (want.DeletionTimestamp != nil)) {
			return found, "tenant " + tenant + " differs"
		}
	}
	if got := d.Count(); got.Tokens != len(answers) || got.Tenants != len(w.tenants) {
		return found, fmt.Sprintf("the directory counts %+v, the model %d tokens", got, len(answers))
	}
	return found, ""
}

func describe(a answer) string {
	text := a.Namespace + "/" + a.Name + " until " + a.NotAfter.Format(time.RFC3339)
	if a.Revoked {
		text += ", revoked"
	}
	if !a.RateLimit.IsZero() {
		text += fmt.Sprintf(", limited to %+v", a.RateLimit)
	}
	return text
}

type question struct {
	tenant string
	digest token.Digest
}

// answers are the model's: of all ApiTokens with a record that agrees, that with
// the lowest UID answers for a digest.
func (w *world) answers() map[question]answer {
	answers := map[question]answer{}
	for _, uid := range worldUIDs { // in ascending order
		secret, a := w.records[record.Name(uid)], w.apiTokens["token-"+string(uid)]
		if secret == nil || a == nil || a.DeletionTimestamp != nil {
			continue
		}
		r, err := record.Decode(secret)
		if err != nil || r.Namespace != a.Namespace {
			continue
		}
		for _, digest := range worldDigests {
			q := question{r.Tenant, digest}
			if _, taken := answers[q]; taken {
				continue
			}
			if notAfter, ok := agreed(r, a, digest); ok {
				answers[q] = answer{a.Name, a.Namespace, a.Spec.Revoked || dropped(a, digest), notAfter, ownLimit(a)}
			}
		}
	}
	return answers
}

// dropped says whether the ApiToken dropped the credential before its overlap ended.
func dropped(a *v1alpha1.ApiToken, digest token.Digest) bool {
	previous := a.Status.PreviousCredential
	return previous != nil && previous.Digest == digest.String() && a.Spec.Rotation != nil && a.Spec.Rotation.DropPrevious == previous.ID
}

// ownLimit is the ApiToken's, whose burst is as many as its requests unless set.
func ownLimit(a *v1alpha1.ApiToken) ratelimit.Limit {
	l := a.Spec.RateLimit
	if l == nil {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{Requests: int(l.Requests), Period: time.Minute, Burst: int(cmp.Or(l.Burst, l.Requests))}
}

// agreed is until when record and ApiToken agree on a credential.
func agreed(r *record.Record, a *v1alpha1.ApiToken, digest token.Digest) (time.Time, bool) {
	var bounds []time.Time
	switch {
	case r.Current.Digest == digest:
		bounds = append(bounds, r.Current.NotAfter)
	case r.Previous != nil && r.Previous.Digest == digest:
		bounds = append(bounds, r.Previous.NotAfter)
	default:
		return time.Time{}, false
	}
	named := false
	for _, c := range []*v1alpha1.IssuedCredential{a.Status.Credential, a.Status.PreviousCredential} {
		if c != nil && c.Digest == digest.String() {
			named = true
			bounds = append(bounds, c.ExpiresAt.Time)
		}
	}
	if a.Spec.ExpiresAt != nil {
		bounds = append(bounds, a.Spec.ExpiresAt.Time)
	}
	lowest := bounds[0]
	for _, bound := range bounds {
		if bound.Before(lowest) {
			lowest = bound
		}
	}
	return lowest, named
}
