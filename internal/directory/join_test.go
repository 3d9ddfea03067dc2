package directory_test

import (
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Records and status hold whole seconds.
var (
	now    = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	expiry = now.Add(time.Hour)
)

func newDirectory() (*directory.Directory, directory.Stores) {
	d := directory.New(slog.New(slog.DiscardHandler))
	return d, d.Stores()
}

// verdict is what policy says of the credential at an instant.
func verdict(d *directory.Directory, tenant string, digest token.Digest, at time.Time) policy.Verdict {
	found, ok := d.Token(tenant, digest)
	if !ok {
		return policy.Unknown
	}
	t, _ := d.Tenant(tenant)
	return policy.Decide(found.State(t), at)
}

func at(t time.Time) *metav1.Time { return new(metav1.NewTime(t)) }

// Both halves are made to differ, and then fed in either order.
func TestRecordAndApiTokenMustAgree(t *testing.T) {
	const never = 0 * time.Second
	forged := digestOf("acme", "forged")
	cases := map[string]struct {
		change func(*directorytest.Issued)
		// works is how long from now on the record's current credential works.
		works time.Duration
	}{
		"both agree": {func(*directorytest.Issued) {}, time.Hour},
		"wanted in spec, but not in status": {func(i *directorytest.Issued) {
			i.ApiToken.Status.Credential = nil
		}, never},
		"in status, with nothing in spec": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.Credential = nil
		}, time.Hour},
		"in status, no more wanted in spec": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.Credential.Digest = forged.String()
		}, time.Hour},
		"forged record: neither spec nor status names its digest": {func(i *directorytest.Issued) {
			i.Record.Current.Digest = forged
		}, never},
		"ApiToken without a credential": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.Credential, i.ApiToken.Status.Credential = nil, nil
		}, never},
		"ApiToken with digests that can't be parsed": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.Credential.Digest = "sha256:"
			i.ApiToken.Status.Credential.Digest = ""
		}, never},
		"record in another namespace than the ApiToken": {func(i *directorytest.Issued) {
			i.Record.Namespace = "tenant-other"
		}, never},
		"record of another tenant": {func(i *directorytest.Issued) {
			i.Record.Tenant = "other"
		}, never},
		"record with the UID of another ApiToken": {func(i *directorytest.Issued) {
			i.Record.UID = "00000000-0000-4000-8000-ffffffffffff"
		}, never},
		"restored record with a longer expiry than status": {func(i *directorytest.Issued) {
			i.Record.Current.NotAfter = expiry.Add(1000 * time.Hour)
		}, time.Hour},
		"record with a shorter expiry than status": {func(i *directorytest.Issued) {
			i.Record.Current.NotAfter = now.Add(time.Minute)
		}, time.Minute},
		"status without an expiry": {func(i *directorytest.Issued) {
			i.ApiToken.Status.Credential.ExpiresAt = metav1.Time{}
		}, never},
		"spec.expiresAt brings forward": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.ExpiresAt = at(now.Add(time.Minute))
		}, time.Minute},
		"spec.expiresAt does not extend": {func(i *directorytest.Issued) {
			i.ApiToken.Spec.ExpiresAt = at(expiry.Add(time.Hour))
		}, time.Hour},
		"deletionTimestamp: gone, whatever finalizer holds it": {func(i *directorytest.Issued) {
			i.ApiToken.DeletionTimestamp = at(now)
			i.ApiToken.Finalizers = []string{"example.com/hold"}
		}, never},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, recordFirst := range []bool{true, false} {
				d, stores := newDirectory()
				directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
				i := directorytest.Issue(t, "acme", expiry)
				c.change(i)
				feed := []func() error{
					func() error { return stores.Records.Add(i.Secret()) },
					func() error { return stores.ApiTokens.Add(i.ApiToken) },
				}
				if !recordFirst {
					feed[0], feed[1] = feed[1], feed[0]
				}
				directorytest.Must(t, feed[0]())
				if got := verdict(d, "acme", i.Digest(), now); got != policy.Unknown {
					t.Errorf("record first %t: verdict %d with one half only, want Unknown", recordFirst, got)
				}
				directorytest.Must(t, feed[1]())
				wantWorksFor(t, d, i.Digest(), c.works)
			}
		})
	}
}

// wantWorksFor wants the tenant acme's credential to work from now on, strictly
// before the duration has passed.
func wantWorksFor(t *testing.T, d *directory.Directory, digest token.Digest, works time.Duration) {
	t.Helper()
	if works > 0 {
		if got := verdict(d, "acme", digest, now.Add(works-time.Millisecond)); got != policy.Works {
			t.Errorf("verdict %d 1 ms before the end, want Works", got)
		}
	}
	if got := verdict(d, "acme", digest, now.Add(works)); got == policy.Works {
		t.Errorf("it still works after %s", works)
	}
}

func digestOf(tenant, text string) token.Digest { return token.DigestOf(tenant, text) }

func TestTokenTellsWhatRecordAndApiTokenSay(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	i.Record.Owner, i.Record.Scopes = "ada@example.com", []string{"orders:read"}
	i.Add(t, stores)
	got, ok := d.Token("acme", i.Digest())
	if !ok {
		t.Fatal("not found")
	}
	if got.ID != i.Token.ID() || got.Tenant != "acme" || got.Namespace != "tenant-acme" || got.Name != i.ApiToken.Name ||
		got.Owner != "ada@example.com" || len(got.Scopes) != 1 || got.Scopes[0] != "orders:read" || !got.NotAfter.Equal(expiry) || got.Digest != i.Digest() {
		t.Errorf("got %+v", got)
	}
}

func TestRevokedAtOnceWithoutTheManager(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	i := directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores)
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Spec.Revoked = true })
	if got := verdict(d, "acme", i.Digest(), now); got != policy.Revoked {
		t.Errorf("verdict %d, want Revoked", got)
	}
}

func TestDeletedAtOnceWithoutTheManager(t *testing.T) {
	for name, remove := range map[string]func(directory.Stores, *directorytest.Issued) error{
		"ApiToken":              func(s directory.Stores, i *directorytest.Issued) error { return s.ApiTokens.Delete(i.ApiToken) },
		"record":                func(s directory.Stores, i *directorytest.Issued) error { return s.Records.Delete(i.Secret()) },
		"ApiToken, by a relist": func(s directory.Stores, _ *directorytest.Issued) error { return s.ApiTokens.Replace(nil, "2") },
		"record, by a relist":   func(s directory.Stores, _ *directorytest.Issued) error { return s.Records.Replace(nil, "2") },
		"record, by one that can't be decoded": func(s directory.Stores, i *directorytest.Issued) error {
			damaged := i.Secret()
			delete(damaged.Data, "expires-at")
			return s.Records.Update(damaged)
		},
		"record, by one of another type": func(s directory.Stores, i *directorytest.Issued) error {
			other := i.Secret()
			other.Type = "Opaque"
			return s.Records.Update(other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, stores := newDirectory()
			i := directorytest.Issue(t, "acme", expiry)
			i.Add(t, stores)
			if _, ok := d.Token("acme", i.Digest()); !ok {
				t.Fatal("not found before it was deleted")
			}
			directorytest.Must(t, remove(stores, i))
			if _, ok := d.Token("acme", i.Digest()); ok || d.Count().Tokens != 0 {
				t.Errorf("found %t after it was deleted; the directory holds %d", ok, d.Count().Tokens)
			}
		})
	}
}

func TestPreviousCredentialWorksForTheOverlap(t *testing.T) {
	const overlap = 10 * time.Minute
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	i := directorytest.Issue(t, "acme", expiry)
	first := i.Digest()
	i.Rotate(t, expiry, now.Add(overlap))
	i.Add(t, stores)
	wantWorksFor(t, d, first, overlap)
	wantWorksFor(t, d, i.Digest(), time.Hour)

	t.Run("a restored record does not bring it back", func(t *testing.T) {
		restored := *i.Record
		restored.Current, restored.Previous = *i.Record.Previous, nil
		restored.Current.NotAfter = expiry
		directorytest.Must(t, stores.Records.Update(restored.Secret("latchkey-records")))
		wantWorksFor(t, d, first, overlap)
		directorytest.Must(t, stores.Records.Update(i.Secret()))
	})
	t.Run("nor one that status has forgotten", func(t *testing.T) {
		i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Status.PreviousCredential = nil })
		wantWorksFor(t, d, first, 0)
		wantWorksFor(t, d, i.Digest(), time.Hour)
	})
}

// Whatever order a rotation's writes are seen in, the old credential works
// throughout, and the new one once both are.
func TestRotationDropsNothing(t *testing.T) {
	before := directorytest.Issue(t, "acme", expiry)
	first := before.Digest()
	after := *before
	after.ApiToken, after.Record = before.ApiToken.DeepCopy(), new(*before.Record)
	after.Rotate(t, expiry, now.Add(10*time.Minute))
	wanted := before.ApiToken.DeepCopy()
	wanted.Spec.Credential = after.ApiToken.Spec.Credential

	for name, recordFirst := range map[string]bool{"record before status": true, "status before record": false} {
		t.Run(name, func(t *testing.T) {
			d, stores := newDirectory()
			directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
			before.Add(t, stores)
			steps := []func() error{
				func() error { return stores.ApiTokens.Update(wanted) },
				func() error { return stores.ApiTokens.Update(after.ApiToken) },
				func() error { return stores.Records.Update(after.Secret()) },
			}
			if recordFirst {
				steps[1], steps[2] = steps[2], steps[1]
			}
			for n, step := range steps {
				directorytest.Must(t, step())
				if got := verdict(d, "acme", first, now); got != policy.Works {
					t.Fatalf("verdict %d of the old credential after step %d, want Works", got, n)
				}
			}
			wantWorksFor(t, d, after.Digest(), time.Hour)
		})
	}
}

// claim makes an ApiToken and a record that name another's digest.
func claim(t *testing.T, tenant string, uid types.UID, digest token.Digest) *directorytest.Issued {
	t.Helper()
	i := directorytest.Issue(t, tenant, expiry)
	i.Record.UID, i.ApiToken.UID = uid, uid
	i.Record.Current.Digest = digest
	i.ApiToken.Spec.Credential.Digest = digest.String()
	i.ApiToken.Status.Credential.Digest = digest.String()
	return i
}

// The manager refuses a second claim. What is served must not depend on the order
// of events even so: the lowest UID is.
func TestTwoApiTokensWithOneDigest(t *testing.T) {
	digest := digestOf("acme", "contested")
	claims := []*directorytest.Issued{claim(t, "acme", "1", digest), claim(t, "acme", "2", digest), claim(t, "acme", "3", digest)}
	served := func(d *directory.Directory) string {
		got, ok := d.Token("acme", digest)
		if !ok {
			return ""
		}
		return got.Name
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		d, stores := newDirectory()
		for _, n := range order {
			claims[n].Add(t, stores)
		}
		if got := served(d); got != claims[0].ApiToken.Name {
			t.Errorf("added in order %v: served is %s, want that with the lowest UID", order, got)
		}
		left := map[int]bool{0: true, 1: true, 2: true}
		for _, n := range order {
			directorytest.Must(t, stores.ApiTokens.Delete(claims[n].ApiToken))
			delete(left, n)
			want := ""
			for _, other := range []int{2, 1, 0} {
				if left[other] {
					want = claims[other].ApiToken.Name
				}
			}
			if got := served(d); got != want {
				t.Errorf("deleted in order %v: served is %q once %d is gone, want %q", order, got, n, want)
			}
		}
	}
}

func TestRelistForgetsWhoElseClaimedADigest(t *testing.T) {
	d, stores := newDirectory()
	digest := digestOf("acme", "contested")
	first, second := claim(t, "acme", "1", digest), claim(t, "acme", "2", digest)
	first.Add(t, stores)
	second.Add(t, stores)
	directorytest.Must(t, stores.ApiTokens.Replace([]any{first.ApiToken}, "2"))
	directorytest.Must(t, stores.Records.Replace([]any{first.Secret()}, "2"))
	directorytest.Must(t, stores.ApiTokens.Delete(first.ApiToken))
	if got, ok := d.Token("acme", digest); ok {
		t.Errorf("%s is served, which the lists had no more", got.Name)
	}
}

// A digest is no secret: who sees an ApiToken sees it. Naming it in one's own
// tenant must not stop the other's token.
func TestAnotherTenantsDigestDoesNotBlockIt(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	own := directorytest.Issue(t, "acme", expiry)
	thief := claim(t, "rival", "0", own.Digest()) // a lower UID than any
	for _, i := range []*directorytest.Issued{own, thief} {
		i.Add(t, stores)
	}
	wantWorksFor(t, d, own.Digest(), time.Hour)
	directorytest.Must(t, stores.Records.Replace([]any{thief.Secret(), own.Secret()}, "2"))
	wantWorksFor(t, d, own.Digest(), time.Hour)
	directorytest.Must(t, stores.ApiTokens.Delete(thief.ApiToken))
	wantWorksFor(t, d, own.Digest(), time.Hour)
}

// A Secret whose name only resembles a record's must not touch the record.
func TestSecretOfSimilarNameIsNobodysRecord(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores)
	similar := i.Secret()
	similar.Name = string(i.ApiToken.UID)
	directorytest.Must(t, stores.Records.Add(similar))
	directorytest.Must(t, stores.Records.Delete(similar))
	directorytest.Must(t, stores.Records.Replace([]any{i.Secret(), similar}, "2"))
	if _, ok := d.Token("acme", i.Digest()); !ok {
		t.Error("it took the record's place")
	}
}

// Dropping a previous credential takes no manager, and ends nothing else.
func TestDropPrevious(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	i := directorytest.Issue(t, "acme", expiry)
	first := i.Record.Current
	i.Rotate(t, expiry, expiry)
	i.Add(t, stores)
	drop := func(id string) {
		t.Helper()
		i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Spec.Rotation = &v1alpha1.Rotation{DropPrevious: id} })
	}
	for _, id := range []string{"", "0000000000", i.Record.Current.ID} {
		drop(id)
		if previous, current := verdict(d, "acme", first.Digest, now), verdict(d, "acme", i.Digest(), now); previous != policy.Works || current != policy.Works {
			t.Errorf("dropPrevious %q: the previous one's verdict is %d, the current one's %d; want both to work", id, previous, current)
		}
	}
	drop(first.ID)
	if previous, current := verdict(d, "acme", first.Digest, now), verdict(d, "acme", i.Digest(), now); previous != policy.Revoked || current != policy.Works {
		t.Errorf("the previous one's verdict is %d, want Revoked; the current one's %d, want Works", previous, current)
	}
}

// Who drops a credential with the same write as he replaces it ends it when the
// manager issues its successor, not before.
func TestDropPreviousWaitsForTheSuccessor(t *testing.T) {
	d, stores := newDirectory()
	directorytest.Must(t, stores.Tenants.Add(directorytest.Tenant("acme")))
	i := directorytest.Issue(t, "acme", expiry)
	first, next := i.Record.Current, directorytest.Issue(t, "acme", expiry)
	i.Add(t, stores)
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) {
		a.Spec.Credential, a.Spec.Rotation = next.ApiToken.Spec.Credential, &v1alpha1.Rotation{DropPrevious: first.ID}
	})
	if got := verdict(d, "acme", first.Digest, now); got != policy.Works {
		t.Errorf("verdict %d before the manager issued the successor, want Works", got)
	}
}

// What is known of a use is of the credential; of a previous one, since its
// successor was issued.
func TestUsed(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	first := i.Record.Current
	i.Add(t, stores)
	want := func(digest token.Digest, want bool, when string) {
		t.Helper()
		if found, ok := d.Token("acme", digest); !ok || found.Used != want {
			t.Errorf("%s: found %t, %+v; want Used %t", when, ok, found, want)
		}
	}
	want(first.Digest, false, "issued")
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Status.Credential.LastUsedAt = at(now) })
	want(first.Digest, true, "used")
	i.Rotate(t, expiry, expiry)
	i.ApiToken.Status.Credential.IssuedAt = at(now.Add(time.Second))
	i.ApiToken.Status.PreviousCredential.LastUsedAt = at(now)
	i.Add(t, stores)
	want(first.Digest, false, "rotated")
	want(i.Digest(), false, "rotated")
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Status.PreviousCredential.LastUsedAt = at(now.Add(2 * time.Second)) })
	want(first.Digest, true, "used after the rotation")
}

// A status with nothing new but the last use ends or reviews no request.
func TestLaterUsesAreNoNews(t *testing.T) {
	d, stores := newDirectory()
	i := directorytest.Issue(t, "acme", expiry)
	i.ApiToken.Status.Credential.LastUsedAt = at(now)
	i.Add(t, stores)
	before := d.Generation()
	i.UpdateApiToken(t, stores, func(a *v1alpha1.ApiToken) { a.Status.Credential.LastUsedAt = at(now.Add(time.Hour)) })
	if d.Generation() != before {
		t.Error("the directory changed")
	}
}
