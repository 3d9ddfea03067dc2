package portal_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// change changes an ApiToken as a person would.
func (i *installation) change(tenant, name string, mutate func(*v1alpha1.ApiToken)) {
	i.t.Helper()
	testenv.Eventually(i.t, func() error {
		object := i.stored(tenant, name)
		mutate(object)
		return env().Client.Update(i.t.Context(), object)
	})
}

// What the manager may yet issue is handed out: else its predecessor would end, or the
// tenant have a token that works and that nobody holds.
func TestUndecidedRotationIsHandedOut(t *testing.T) {
	i := install(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.MaxPerTenant = 2 })
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Lifetime: lifetime(time.Hour)})
	i.make("acme", "second", v1alpha1.ApiTokenSpec{})
	must(t, env().Client.Create(t.Context(), &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(t, "acme"), Name: "third"}}))
	third := i.call("acme", http.MethodPost, tokens+"/third/rotate", caller).issued(i, http.StatusAccepted)
	if third.Token.Active || third.Token.Reason != v1alpha1.ReasonPolicyViolation {
		t.Errorf("it is %+v", third.Token)
	}
	i.change("acme", "second", func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true })
	i.change("acme", "third", func(o *v1alpha1.ApiToken) { o.Spec.Description = "looked at" })
	i.works("acme", third.Plaintext)
}

// A rotation that was refused does not keep the token from the next one.
func TestSelfRotationAfterARefusal(t *testing.T) {
	i := install(t, func(a *v1alpha1.PublicApi) { a.Spec.TokenPolicy.SelfRotation = v1alpha1.SelfRotationAllowed })
	robot := i.make("acme", "robot", v1alpha1.ApiTokenSpec{Lifetime: lifetime(time.Hour)})
	refused, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	must(t, err)
	i.change("acme", "robot", func(o *v1alpha1.ApiToken) {
		o.Spec.Scopes = []string{"unknown"}
		o.Spec.Credential = &v1alpha1.Credential{ID: refused.ID(), Digest: refused.Digest("acme").String(), IssuedAt: metav1.NewTime(o.Spec.Credential.IssuedAt.Add(time.Second))}
	})
	testenv.Eventually(t, func() error {
		if got := i.stored("acme", "robot").Status.RefusedCredentialID; got != refused.ID() {
			return fmt.Errorf("refused is %q", got)
		}
		return nil
	})
	i.change("acme", "robot", func(o *v1alpha1.ApiToken) { o.Spec.Scopes = nil })
	i.works("acme", robot)
	next := i.call("acme", http.MethodPost, "/api/v1/token/rotate", robot).issued(i, http.StatusOK)
	i.works("acme", next.Plaintext)
}

// What was dropped is not brought back.
func TestDroppedStaysDropped(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Lifetime: lifetime(time.Hour)})
	old := i.make("acme", "ci", v1alpha1.ApiTokenSpec{Rotation: &v1alpha1.Rotation{Overlap: lifetime(time.Hour)}})
	rotated := i.call("acme", http.MethodPost, tokens+"/ci/rotate", caller).issued(i, http.StatusOK)
	i.call("acme", http.MethodPatch, tokens+"/ci", caller, `{"dropPrevious":"`+rotated.Token.PreviousCredential.ID+`"}`).decode(http.StatusOK, nil)
	i.ended("acme", old, "token-revoked")
	for _, id := range []string{"", "0000000000"} {
		body := i.call("acme", http.MethodPatch, tokens+"/ci", caller, `{"dropPrevious":"`+id+`"}`).refused(http.StatusUnprocessableEntity, "request-invalid")
		if !strings.Contains(body, "stays dropped") {
			t.Errorf("%q: %s", id, body)
		}
	}
}

// A write that was done although its answer says that it was not, or that nobody knows,
// comes with its plaintext.
func TestLostAnswers(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Lifetime: lifetime(time.Hour)})
	for status, body := range map[int]string{
		http.StatusGatewayTimeout:      "upstream timed out",
		http.StatusInternalServerError: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"etcdserver: request timed out"}`,
		http.StatusServiceUnavailable:  "", // with Retry-After, which makes client-go write once more
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			name := fmt.Sprintf("ci-%d", status)
			lose := func() {
				var done atomic.Bool
				once := func(*http.Request) *http.Response {
					if done.Swap(true) {
						return nil
					}
					lost := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
					if body == "" {
						lost.Header.Set("Retry-After", "0")
					}
					return lost
				}
				i.afterWrite.Store(&once)
			}
			lose()
			made := i.call("acme", http.MethodPost, tokens, caller, `{"name":"`+name+`","overlap":"10m"}`).issued(i, http.StatusCreated)
			i.works("acme", made.Plaintext)
			lose()
			rotated := i.call("acme", http.MethodPost, tokens+"/"+name+"/rotate", caller).issued(i, http.StatusOK)
			i.works("acme", rotated.Plaintext)
			i.works("acme", made.Plaintext)
			if got := i.stored("acme", name).Status.PreviousCredential; got == nil || got.ID != made.Token.Credential.ID {
				t.Errorf("it was rotated more than once: previous is %+v", got)
			}
			i.afterWrite.Store(nil)
		})
	}
}
