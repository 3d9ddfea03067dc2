package cli_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

func TestIssueAsMember(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	before := applyToken(t, namespace, "ci", func(o *v1alpha1.ApiToken) {
		o.Spec.Description, o.Spec.Scopes = "from YAML", []string{"reports:read"}
	})
	setStatus(t, before, refused(v1alpha1.ReasonAwaitingCredential, "run kubectl latchkey issue"))
	manage(t, namespace, "ci", activated(month))

	r := latchkey(t, kubeconfig, "issue", "ci", "-n", namespace, "--wait", "30s").mustSucceed(t)
	plaintext := r.mustPrintToken(t, "lk")
	object := getToken(t, namespace, "ci")
	mustMatch(t, object, tenant, plaintext)
	if !strings.Contains(r.stderr, "It expires at") {
		t.Errorf("standard error does not say when it expires:\n%s", r.stderr)
	}
	rest := object.Spec.DeepCopy()
	rest.Credential = nil
	if got, want := asJSON(t, rest), asJSON(t, before.Spec); got != want {
		t.Errorf("spec became %s, was %s", got, want)
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	expired := func(o *v1alpha1.ApiToken) {
		activated(-time.Hour)(o)
		setActive(o, metav1.ConditionFalse, v1alpha1.ReasonExpired, "over")
	}
	withCredential := func(o *v1alpha1.ApiToken) { o.Spec.Credential = credential(t) }
	cases := map[string]struct {
		spec, status func(*v1alpha1.ApiToken)
		want         []string
	}{
		"active":      {withCredential, activated(month), []string{"already has a credential", "(active, expires at ", "rotation"}},
		"expired":     {withCredential, expired, []string{"already has a credential", "(expired at "}},
		"refused":     {withCredential, refused(v1alpha1.ReasonCredentialConflict, "taken"), []string{"(CredentialConflict: taken)"}},
		"unconfirmed": {withCredential, nil, []string{"(not confirmed by the manager yet)"}},
		"revoked":     {func(o *v1alpha1.ApiToken) { o.Spec.Revoked = true }, nil, []string{"it is revoked", "create a new one"}},
		"too-long":    {func(o *v1alpha1.ApiToken) { o.Spec.Lifetime = &metav1.Duration{Duration: 4 * month} }, nil, []string{"at most 90d"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			object := applyToken(t, namespace, name, c.spec)
			if c.status != nil {
				setStatus(t, object, c.status)
			}
			want := slices.Concat(c.want, []string{`ApiToken "` + name + `" in namespace "` + namespace + `"`})
			if object.Spec.Credential != nil {
				want = append(want, object.Spec.Credential.ID)
			}
			r := latchkey(t, kubeconfig, "issue", name, "-n", namespace).mustFail(t, want...)
			if r.stdout != "" {
				t.Errorf("standard output = %q", r.stdout)
			}
			if got := getToken(t, namespace, name); got.ResourceVersion != object.ResourceVersion {
				t.Error("the ApiToken was changed")
			}
		})
	}
}

func TestIssueForOneThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	object := applyToken(t, namespace, "ci", func(o *v1alpha1.ApiToken) { o.Finalizers = []string{"example.com/keep"} })
	must(t, env().Client.Delete(t.Context(), object))
	latchkey(t, kubeconfig, "issue", "ci", "-n", namespace).mustFail(t, "it is being deleted")
}

func TestIssueAbsent(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	latchkey(t, kubeconfig, "issue", "ci", "-n", namespace).mustFail(t,
		`ApiToken "ci" in namespace "`+namespace+`" does not exist`, "kubectl latchkey list -n "+namespace)
}

func TestIssueAsViewerIsRefused(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	applyToken(t, namespace, "ci")
	latchkey(t, viewer, "issue", "ci", "-n", namespace).mustFail(t, "you may not patch apitokens", "role Admin")
}

// Both have read the ApiToken without a credential before either writes.
func TestOfTwoWhoIssueAtOnceOneWins(t *testing.T) {
	t.Parallel()
	tenant, namespace := newTenant(t)
	applyToken(t, namespace, "ci")
	var bothRead sync.WaitGroup
	bothRead.Add(2)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isWrite(r) {
			bothRead.Done()
			bothRead.Wait()
		}
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)

	var results [2]result
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() { results[i] = latchkey(t, kubeconfig, "issue", "ci", "-n", namespace, "--wait", "0") })
	}
	both.Wait()
	winner, loser := results[0], results[1]
	if winner.err != nil {
		winner, loser = loser, winner
	}
	mustMatch(t, getToken(t, namespace, "ci"), tenant, winner.mustSucceed(t).mustPrintToken(t, "lk"))
	if loser.mustFail(t, "somebody else changed it at the same time", `ApiToken "ci"`); loser.stdout != "" {
		t.Errorf("the loser printed %q", loser.stdout)
	}
}

func TestIssueUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "NAME of the ApiToken is missing"},
		{[]string{"-x"}, "unknown shorthand flag"},
		{[]string{"UPPER"}, `NAME "UPPER": must be`},
		{[]string{mint(t)[:30] + "x" + mint(t)[31:]}, "treat that token as leaked"},
		{[]string{"a", "--force"}, "unknown flag: --force"},
		{[]string{"a", "-o", "yaml"}, "must be json"},
	} {
		latchkey(t, "/nonexistent", append([]string{"issue"}, c.args...)...).mustFail(t, c.want, "See 'kubectl latchkey issue --help'")
	}
}

// credential is one that some token left.
func credential(t testing.TB) *v1alpha1.Credential {
	t.Helper()
	minted, err := token.Mint("lk")
	must(t, err)
	return &v1alpha1.Credential{
		ID: minted.ID(), Digest: minted.Digest("any").String(), IssuedAt: metav1.NewTime(time.Now().UTC().Truncate(time.Second)),
	}
}
