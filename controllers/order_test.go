package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// The manager's two writes of an ApiToken.
const (
	statusWrite = "status"
	recordWrite = "record"
)

// writes stands between a manager and the API server, and sees the writes of records
// and of the statuses of one namespace's ApiTokens, in their order.
type writes struct {
	namespace string
	// before is asked before a write goes on; an answer takes its place.
	before func(write string, request *http.Request) *http.Response

	mu   sync.Mutex
	seen []string
}

func (w *writes) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		write := ""
		switch path := request.URL.Path; {
		case request.Method == http.MethodGet, request.Method == http.MethodDelete:
		case strings.Contains(path, "/namespaces/"+w.namespace+"/apitokens/") && strings.HasSuffix(path, "/status"):
			write = statusWrite
		case strings.Contains(path, "/namespaces/"+v1alpha1.RecordsNamespace+"/secrets"):
			write = recordWrite
		}
		if write == "" {
			return next.RoundTrip(request)
		}
		w.mu.Lock()
		w.seen = append(w.seen, write)
		w.mu.Unlock()
		if w.before != nil {
			if instead := w.before(write, request); instead != nil {
				return instead, nil
			}
		}
		return next.RoundTrip(request)
	})
}

// since returns the writes after the first n, and how many there are.
func (w *writes) since(n int) ([]string, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[n:]), len(w.seen)
}

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
}

func writesOf(t *testing.T) *writes {
	return &writes{namespace: v1alpha1.TenantNamespacePrefix + name(t)}
}

// One write of status and then one of the record are all that it takes, and nothing is
// written for what did not change.
func TestStatusIsWrittenBeforeTheRecord(t *testing.T) {
	sent := writesOf(t)
	startManagerThrough(t, sent.wrap)
	owner := readyTenant(t)
	begin := time.Now().Add(-time.Minute)
	first, _ := credential(t, owner.Name, begin)
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Credential: first, Rotation: &v1alpha1.Rotation{Overlap: lifetime(time.Hour)}})
	got, n := sent.since(0)
	if want := []string{statusWrite, recordWrite}; !slices.Equal(got, want) {
		t.Errorf("to issue a token the manager wrote %q, want %q", got, want)
	}
	for i := range 3 {
		next, _ := credential(t, owner.Name, begin.Add(time.Duration(i+1)*time.Second))
		change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
		awaitStatus(t, object, next.ID)
		awaitRecord(t, object)
		if got, n = sent.since(n); !slices.Equal(got, []string{statusWrite, recordWrite}) {
			t.Errorf("to rotate a token the manager wrote %q", got)
		}
	}
	// One that comes afterwards shows that no other write is under way.
	issued(t, owner, "sentinel", v1alpha1.ApiTokenSpec{})
	if got, _ = sent.since(n); len(got) != 2 {
		t.Errorf("to issue another token the manager wrote %q", got)
	}
}

// Where the status can't be written there is no record either, until it can.
func TestNoRecordWithoutStatus(t *testing.T) {
	refused := 0
	sent := writesOf(t)
	sent.before = func(write string, _ *http.Request) *http.Response {
		if write == statusWrite && refused < 3 {
			refused++ // by one worker at a time: there is one ApiToken
			return answer(http.StatusConflict)
		}
		return nil
	}
	startManagerThrough(t, sent.wrap)
	object := issued(t, readyTenant(t), "ci", v1alpha1.ApiTokenSpec{})
	want := []string{statusWrite, statusWrite, statusWrite, statusWrite, recordWrite}
	if got, _ := sent.since(0); !slices.Equal(got, want) {
		t.Errorf("the manager wrote %q, want %q", got, want)
	}
	awaitRecord(t, object)
}

// A write that gets lost on a connection that stays alive is not waited for without end.
func TestALostWriteIsMadeAgain(t *testing.T) {
	sent := writesOf(t)
	var lost atomic.Int32
	swallow := func(next http.RoundTripper) http.RoundTripper {
		return sent.wrap(roundTripper(func(request *http.Request) (*http.Response, error) {
			isStatus := request.Method != http.MethodGet && strings.HasSuffix(request.URL.Path, "/namespaces/"+sent.namespace+"/apitokens/ci/status")
			if isStatus && lost.Add(1) == 1 {
				<-request.Context().Done()
				return nil, request.Context().Err()
			}
			return next.RoundTrip(request)
		}))
	}
	startManagerThrough(t, swallow, func(o *controllers.Options) { o.ReconcileTimeout = 2 * time.Second })
	object := issued(t, readyTenant(t), "ci", v1alpha1.ApiTokenSpec{})
	awaitRecord(t, object)
	want := []string{statusWrite, statusWrite, recordWrite}
	if got, _ := sent.since(0); !slices.Equal(got, want) {
		t.Errorf("the manager wrote %q, want %q", got, want)
	}
}

// gate holds the writes of records, from the call of shut until that of open.
type gate struct {
	// fails makes the API server fail those that were held.
	fails bool

	isShut         atomic.Bool
	arrived, opens chan struct{}
	open           func()
}

// gated puts a gate before a manager's writes.
func gated(sent *writes, fails bool) *gate {
	g := &gate{fails: fails, arrived: make(chan struct{}, 1), opens: make(chan struct{})}
	g.open = sync.OnceFunc(func() { g.isShut.Store(false); close(g.opens) })
	sent.before = func(write string, request *http.Request) *http.Response {
		if write != recordWrite || !g.isShut.Load() {
			return nil
		}
		select {
		case g.arrived <- struct{}{}:
		default:
		}
		select {
		case <-g.opens:
		case <-request.Context().Done(): // the manager ends
		}
		if g.fails {
			return answer(http.StatusInternalServerError)
		}
		return nil
	}
	return g
}

func (g *gate) shut() { g.isShut.Store(true) }

// A manager that ends between its two writes leaves a status without a record. The
// next one makes it.
func TestManagerDiesBetweenStatusAndRecord(t *testing.T) {
	sent := writesOf(t)
	records := gated(sent, false)
	records.shut()
	stop := startManagerThrough(t, sent.wrap)
	owner := readyTenant(t)
	minted, _ := credential(t, owner.Name, time.Now())
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{Credential: minted}))
	wait(t, records.arrived)
	awaitStatus(t, object, minted.ID)
	stop()
	if _, _, err := recordOf(t, object); !apierrors.IsNotFound(err) {
		t.Fatalf("there is a record already: %v", err)
	}
	before := object.ResourceVersion
	startManager(t)
	awaitRecord(t, object)
	if object.ResourceVersion != before {
		t.Error("the status was written once more")
	}
}

// anyCaller calls with all tokens over and over. From the first success on one of them
// has to succeed each time. They are tried in the order in which they were issued, so
// that one which ends after it was tried has a successor that is tried later.
func anyCaller(t *testing.T, call func(ctx context.Context, plaintext string) (int, string), plaintexts ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	first, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for rounds := 0; ctx.Err() == nil; <-pace.C {
			worked, last := false, ""
			for _, plaintext := range plaintexts {
				status, body := call(ctx, plaintext)
				if worked = status == http.StatusOK; worked {
					break
				}
				last = fmt.Sprint(status, " ", body)
			}
			switch {
			case ctx.Err() != nil:
			case worked:
				if rounds++; rounds == 1 {
					close(first)
				}
			case rounds > 0:
				t.Errorf("in round %d no token worked; the last answer was %s", rounds+1, last)
				return
			}
		}
	}()
	wait(t, first)
	return func() { cancel(); <-done }
}

// Who rotates again before the manager is done with the first rotation loses nothing:
// a credential that has worked keeps its overlap, and at any instant one works.
func TestRotationWithinARotation(t *testing.T) {
	for name, fails := range map[string]bool{"slow record": false, "failed record": true} {
		t.Run(name, func(t *testing.T) {
			sent := writesOf(t)
			records := gated(sent, fails)
			startManagerThrough(t, sent.wrap)
			front := startServer(t)
			owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath, a.Spec.Backend.URL = "/api/v1", backendURL(t) })
			begin := time.Now().Add(-time.Minute)
			var minted [3]*v1alpha1.Credential
			var plaintexts [3]string
			for i := range minted {
				c, plaintext := credential(t, owner.Name, begin.Add(time.Duration(i)*time.Second))
				minted[i], plaintexts[i] = c, plaintext.Reveal()
			}
			object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{
				Credential: minted[0], Rotation: &v1alpha1.Rotation{Overlap: lifetime(10 * time.Minute)},
			})
			stopAny := anyCaller(t, func(ctx context.Context, plaintext string) (int, string) {
				return call(ctx, front, owner.Name, plaintext)
			}, plaintexts[:]...)
			defer stopAny()

			records.shut()
			defer records.open()
			change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = minted[1] })
			wait(t, records.arrived)
			second, stopSecond := caller(t, front, owner.Name, plaintexts[1])
			defer stopSecond()
			change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = minted[2] })
			records.open()
			third, stopThird := caller(t, front, owner.Name, plaintexts[2])
			defer stopThird()
			wait(t, second)
			wait(t, third)
			awaitStatus(t, object, minted[2].ID)
			stored, _ := awaitRecord(t, object)
			if stored.Previous == nil || stored.Previous.ID != minted[1].ID || !stored.Previous.NotAfter.Equal(minted[2].IssuedAt.Add(10*time.Minute)) {
				t.Errorf("previous is %+v, want %s for its overlap", stored.Previous, minted[1].ID)
			}
			if status, _ := call(t.Context(), front, owner.Name, plaintexts[1]); status != http.StatusOK {
				t.Errorf("within its overlap the second credential was answered %d", status)
			}
		})
	}
}

// Without an overlap, and also where one is over that passed while no manager ran, the
// replaced credential works until its successor does, and then ends.
func TestRotationWithoutOverlapHasNoGap(t *testing.T) {
	startManager(t)
	front := startServer(t)
	owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath, a.Spec.Backend.URL = "/api/v1", backendURL(t) })
	begin := time.Now().Add(-time.Minute)
	first, old := credential(t, owner.Name, begin)
	next, plaintext := credential(t, owner.Name, begin.Add(time.Second))
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Credential: first})
	stop := anyCaller(t, func(ctx context.Context, plaintext string) (int, string) {
		return call(ctx, front, owner.Name, plaintext)
	}, old.Reveal(), plaintext.Reveal())
	defer stop()
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
	works, stopNext := caller(t, front, owner.Name, plaintext.Reveal())
	defer stopNext()
	wait(t, works)
	testenv.Eventually(t, func() error {
		if status, body := call(t.Context(), front, owner.Name, old.Reveal()); status != http.StatusUnauthorized || !strings.Contains(body, "token-expired") {
			return fmt.Errorf("the replaced token was answered %d %s", status, body)
		}
		return nil
	})
}

// However long the record takes, and also if its write fails, the replaced credential
// waits for its successor, and then ends within seconds.
func TestRotationWithoutOverlapWaitsForTheRecord(t *testing.T) {
	for name, fails := range map[string]bool{"slow record": false, "failed record": true} {
		t.Run(name, func(t *testing.T) {
			sent := writesOf(t)
			records := gated(sent, fails)
			startManagerThrough(t, sent.wrap)
			front := startServer(t)
			owner := readyTenant(t, func(a *v1alpha1.PublicApi) { a.Spec.BasePath, a.Spec.Backend.URL = "/api/v1", backendURL(t) })
			begin := time.Now().Add(-time.Minute)
			first, old := credential(t, owner.Name, begin)
			next, plaintext := credential(t, owner.Name, begin.Add(time.Second))
			object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Credential: first})
			stop := anyCaller(t, func(ctx context.Context, plaintext string) (int, string) {
				return call(ctx, front, owner.Name, plaintext)
			}, old.Reveal(), plaintext.Reveal())
			defer stop()
			records.shut()
			defer records.open()
			change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
			wait(t, records.arrived)
			held := time.Now()
			testenv.Eventually(t, func() error { // longer than the watches need
				if took := time.Since(held); took < 4*time.Second {
					return fmt.Errorf("held for %s", took)
				}
				return nil
			})
			records.open()
			works, stopNext := caller(t, front, owner.Name, plaintext.Reveal())
			defer stopNext()
			wait(t, works)
			worked := time.Now()
			testenv.Eventually(t, func() error {
				if status, body := call(t.Context(), front, owner.Name, old.Reveal()); status != http.StatusUnauthorized || !strings.Contains(body, "token-expired") {
					return fmt.Errorf("the replaced token was answered %d %s", status, body)
				}
				return nil
			})
			if took := time.Since(worked); took > 20*time.Second {
				t.Errorf("the replaced token worked for %s more", took)
			}
		})
	}
}

// An overlap that is shorter than the handover takes both writes once more.
func TestShortOverlapIsWrittenTwice(t *testing.T) {
	sent := writesOf(t)
	startManagerThrough(t, sent.wrap)
	owner := readyTenant(t)
	begin := time.Now().Add(-time.Minute)
	first, _ := credential(t, owner.Name, begin)
	next, _ := credential(t, owner.Name, begin.Add(time.Second))
	object := issued(t, owner, "ci", v1alpha1.ApiTokenSpec{Credential: first})
	awaitRecord(t, object)
	_, n := sent.since(0)
	change(t, object, func(o *v1alpha1.ApiToken) { o.Spec.Credential = next })
	testenv.Eventually(t, func() error {
		stored, _ := awaitRecord(t, object)
		if p := stored.Previous; p == nil || time.Until(p.NotAfter) > 10*time.Second {
			return fmt.Errorf("previous is %+v", p)
		}
		return nil
	})
	issued(t, owner, "sentinel", v1alpha1.ApiTokenSpec{})
	if got, _ := sent.since(n); !slices.Equal(got, []string{statusWrite, recordWrite, statusWrite, recordWrite, statusWrite, recordWrite}) {
		t.Errorf("to rotate a token, and to issue another, the manager wrote %q", got)
	}
}

// A Secret that somebody else makes in the instant before the manager does: the status
// that says Issued already is put right, and once the Secret is gone the credential is
// issued.
func TestForeignRecordInTheLastMoment(t *testing.T) {
	var foreign *corev1.Secret
	sent := writesOf(t)
	sent.before = func(write string, request *http.Request) *http.Response {
		if write == recordWrite && request.Method == http.MethodPost && foreign == nil {
			var tokens v1alpha1.ApiTokenList
			if err := env().Client.List(request.Context(), &tokens, client.InNamespace(sent.namespace)); err != nil || len(tokens.Items) != 1 {
				t.Errorf("%d ApiTokens, %v", len(tokens.Items), err)
				return nil
			}
			foreign = &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.RecordsNamespace, Name: record.Name(tokens.Items[0].UID)},
				StringData: map[string]string{"mine": "precious"},
			}
			if err := env().Client.Create(request.Context(), foreign); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	startManagerThrough(t, sent.wrap)
	owner := readyTenant(t)
	minted, _ := credential(t, owner.Name, time.Now())
	object := create(t, apiToken(owner, "ci", v1alpha1.ApiTokenSpec{Credential: minted}))
	waitFor(t, object, v1alpha1.ConditionActive, isFalse, v1alpha1.ReasonRecordConflict)
	if object.Status.Credential != nil {
		t.Errorf("status says that %s was issued", object.Status.Credential.ID)
	}
	waitForEvent(t, object, v1alpha1.ReasonRecordConflict)
	after := foreign.DeepCopy()
	if err := get(t, after); err != nil || after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign Secret was changed: %v\n%s", err, cmp.Diff(foreign, after))
	}
	if err := env().Client.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	awaitRecord(t, object)
}

// awaitRecord waits until an ApiToken's record has the credentials that its status
// has, and returns it: the manager writes it a moment after the status.
func awaitRecord(t *testing.T, object *v1alpha1.ApiToken) (stored *record.Record, secret *corev1.Secret) {
	t.Helper()
	same := func(issued *v1alpha1.IssuedCredential, stored *record.Credential) bool {
		if issued == nil || stored == nil {
			return issued == nil && stored == nil
		}
		return issued.Digest == stored.Digest.String() && issued.ExpiresAt.Time.Equal(stored.NotAfter)
	}
	testenv.Eventually(t, func() (err error) {
		if err := get(t, object); err != nil {
			return err
		}
		if object.Status.Credential == nil {
			return errors.New("status has no credential")
		}
		if stored, secret, err = recordOf(t, object); err != nil {
			return err
		}
		if !same(object.Status.Credential, &stored.Current) || !same(object.Status.PreviousCredential, stored.Previous) {
			return fmt.Errorf("record is %+v, status %+v", stored, object.Status)
		}
		return nil
	})
	return stored, secret
}
