package cli_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const month = 720 * time.Hour

func TestCreateAsMember(t *testing.T) {
	t.Parallel()
	tenant, namespace, kubeconfig := tenantAdmin(t)
	manage(t, namespace, "ci", activated(month))

	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--description", "for CI",
		"--scope", "reports:read,reports:write", "--scope", "users:read", "--lifetime", "30d",
		"--allow-cidr", "192.0.2.0/24", "--overlap", "1d", "--wait", "30s").mustSucceed(t)

	plaintext := r.mustPrintToken(t, "lk")
	object := getToken(t, namespace, "ci")
	mustMatch(t, object, tenant, plaintext)
	want := v1alpha1.ApiTokenSpec{
		Description: "for CI", Owner: "jo@example.com", Scopes: []string{"reports:read", "reports:write", "users:read"},
		Lifetime: &metav1.Duration{Duration: month}, AllowedCIDRs: []string{"192.0.2.0/24"},
		Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: 24 * time.Hour}}, Credential: object.Spec.Credential,
	}
	if got, want := asJSON(t, object.Spec), asJSON(t, want); got != want {
		t.Errorf("spec = %s\nwant   %s", got, want)
	}
	if owners := object.ManagedFields; !slices.ContainsFunc(owners, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == v1alpha1.FieldOwnerPlugin }) {
		t.Errorf("the field owner is not %s: %v", v1alpha1.FieldOwnerPlugin, owners)
	}
	for _, text := range []string{
		object.Spec.Credential.ID,
		"keep it like a password",
		"It expires at " + object.Status.Credential.ExpiresAt.UTC().Format(time.RFC3339) + " (in 30d).",
		`curl -X GET "https://` + tenant + `.example.com/api/v1/example_endpoint" -H "Authorization: token YOUR_API_TOKEN"`,
	} {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("standard error lacks %q:\n%s", text, r.stderr)
		}
	}
}

func TestCreateAsViewerIsRefused(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	r := latchkey(t, viewer, "create", "ci", "-n", namespace).mustFail(t,
		`you may not create apitokens in namespace "`+namespace+`"`, "spec.members", "role Admin", `User "vi@example.com"`)
	if r.stdout != "" {
		t.Errorf("standard output = %q", r.stdout)
	}
}

func TestNamespaceOfTheContext(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	inContext := strings.Replace(readFile(t, kubeconfig), "user: ", "namespace: "+namespace+"\n    user: ", 1)
	must(t, os.WriteFile(kubeconfig, []byte(inContext), 0o600))
	latchkey(t, kubeconfig, "create", "ci", "--wait", "0").mustSucceed(t)
	getToken(t, namespace, "ci")
}

func TestCreateExisting(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "ci")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t,
		`ApiToken "ci" in namespace "`+namespace+`" already exists`, "kubectl latchkey issue ci -n "+namespace, "delete it")
	if getToken(t, namespace, "ci").Spec.Credential != nil {
		t.Error("the existing ApiToken got a credential")
	}
}

func TestCreateInvalid(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--scope", "Not A Scope").mustFail(t, `create ApiToken "ci"`, "spec.scopes[0]")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--allow-cidr", "192.0.2.1").mustFail(t, "each must be a CIDR")
	mustHaveNone(t, namespace)
}

func TestExpiresAt(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	soon := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	elsewhere := soon.In(time.FixedZone("", 5*3600)).Format(time.RFC3339)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--expires-at", elsewhere, "--wait", "0").mustSucceed(t)
	if got := getToken(t, namespace, "ci").Spec.ExpiresAt; got == nil || !got.Time.Equal(soon) {
		t.Errorf("expiresAt = %v, want %v", got, soon)
	}
	for value, want := range map[string]string{
		time.Now().Add(-time.Hour).Format(time.RFC3339):           "expired already",
		time.Now().Add(365 * 24 * time.Hour).Format(time.RFC3339): "at most 90d",
		"2099-01-01T00:00:00.5Z":                                  "whole seconds",
		"tomorrow":                                                "--expires-at",
	} {
		latchkey(t, kubeconfig, "create", "bad", "-n", namespace, "--expires-at", value).mustFail(t, want)
	}
}

// What the policy would refuse is refused before a token is minted that nobody can use.
func TestOverlapBeyondThePolicy(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t, v1alpha1.AnnotationMaxOverlap, "48h0m0s")
	kubeconfig := proxy{}.kubeconfig(t)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--overlap", "49h", "--wait", "0").
		mustFail(t, "the overlap is 49h0m0s: the token policy permits at most 48h0m0s")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--overlap", "48h", "--wait", "0").mustSucceed(t)
	before := getToken(t, namespace, "ci").Spec.Credential
	const refusal = "the overlap is 72h0m0s: the token policy permits at most 48h0m0s"
	latchkey(t, kubeconfig, "rotate", "ci", "-n", namespace, "--overlap", "3d", "--wait", "0").mustFail(t, refusal)
	many := latchkey(t, kubeconfig, "rotate", "--all", "--yes", "--output-dir", t.TempDir(), "-n", namespace, "--overlap", "3d", "--wait", "0").mustSucceed(t)
	if !strings.Contains(many.stderr, `"ci"`) || !strings.Contains(many.stderr, "is left out: "+refusal) {
		t.Errorf("stderr = %s", many.stderr)
	}
	if after := getToken(t, namespace, "ci").Spec.Credential; after.ID != before.ID {
		t.Error("it was rotated")
	}
	// An overlap of 0 may be all that is permitted.
	_, strict := newTenant(t, v1alpha1.AnnotationMaxOverlap, "0s")
	latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", strict, "--overlap", "1s", "--wait", "0").mustFail(t, "permits at most 0s")
	latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", strict, "--wait", "0").mustSucceed(t)
}

// Annotations are a courtesy: without them the manager decides.
func TestCreateWithoutKnownPolicy(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t, v1alpha1.AnnotationMaxLifetime, "", v1alpha1.AnnotationDefaultLifetime, "soon",
		v1alpha1.AnnotationHost, "", v1alpha1.AnnotationTokenPrefix, "")
	r := latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t)
	r.mustPrintToken(t, v1alpha1.DefaultTokenPrefix)
	if strings.Contains(r.stderr, "curl") || strings.Contains(r.stderr, "It is to expire") {
		t.Errorf("says what it can't know:\n%s", r.stderr)
	}
	latchkey(t, proxy{}.kubeconfig(t), "create", "long", "-n", namespace, "--lifetime", "87600h", "--wait", "0").mustSucceed(t)
	latchkey(t, proxy{}.kubeconfig(t), "create", "overlapping", "-n", namespace, "--overlap", "360d", "--wait", "0").mustSucceed(t)
}

func TestTokenPrefixOfTheInstallation(t *testing.T) {
	t.Parallel()
	tenant, namespace := newTenant(t, v1alpha1.AnnotationTokenPrefix, "shop")
	plaintext := latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t).mustPrintToken(t, "shop")
	mustMatch(t, getToken(t, namespace, "ci"), tenant, plaintext)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	file := filepath.Join(t.TempDir(), "token")
	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--dry-run", "server", "--output-file", file).mustSucceed(t)
	if r.stdout != "" || !strings.Contains(r.stderr, "would be created") {
		t.Errorf("stdout = %q, stderr = %q", r.stdout, r.stderr)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--dry-run", "server", "--scope", "Not A Scope").mustFail(t, "spec.scopes[0]")
	mustHaveNone(t, namespace)
}

func TestOwner(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	asked := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	jo := member(t, "jo@example.com", namespace, v1alpha1.TenantAdminClusterRole)
	juergen := member(t, "jürgen", namespace, v1alpha1.TenantAdminClusterRole)
	cases := []struct{ name, kubeconfig, flag, want, note string }{
		{"default", jo, "--wait=0", "jo@example.com", ""},
		{"given", jo, "--owner=team ci", "team ci", ""},
		{"given-empty", jo, "--owner=", "", ""},
		{"not-said", asked, "--wait=0", "", "does not say who you are"},
		{"not-ascii", juergen, "--wait=0", "", `"jürgen" is too long, or not visible ASCII`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := latchkey(t, c.kubeconfig, "create", c.name, "-n", namespace, "--wait=0", c.flag).mustSucceed(t)
			if got := getToken(t, namespace, c.name).Spec.Owner; got != c.want {
				t.Errorf("owner = %q, want %q", got, c.want)
			}
			if hasNote := strings.Contains(r.stderr, "Note:"); hasNote != (c.note != "") || !strings.Contains(r.stderr, c.note) {
				t.Errorf("want the note %q:\n%s", c.note, r.stderr)
			}
		})
	}
}

func TestCreateUsage(t *testing.T) {
	t.Parallel()
	plaintext := mint(t)
	cases := map[string]struct {
		args []string
		want string
	}{
		"no name":           {nil, "NAME of the ApiToken is missing"},
		"two names":         {[]string{"a", "b"}, "one NAME is expected, not 2"},
		"name":              {[]string{"Not_A_Name"}, `NAME "Not_A_Name": must be`},
		"token as name":     {[]string{plaintext}, "treat that token as leaked"},
		"both expiries":     {[]string{"a", "--lifetime", "1h", "--expires-at", "2099-01-01T00:00:00Z"}, "not both"},
		"output":            {[]string{"a", "-o", "yaml"}, `-o "yaml": must be json`},
		"output twice":      {[]string{"a", "-o", "json", "--output-file", "f"}, "choose one"},
		"negative wait":     {[]string{"a", "--wait", "-1s"}, "must not be negative"},
		"dry run":           {[]string{"a", "--dry-run", "client"}, `--dry-run "client": must be none or server`},
		"unknown flag":      {[]string{"a", "--force"}, "unknown flag: --force"},
		"kubectl's --token": {[]string{"a", "--token", plaintext}, "unknown flag: --token"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := latchkey(t, "/nonexistent", append([]string{"create"}, c.args...)...)
			r.mustFail(t, c.want, "See 'kubectl latchkey create --help'")
			if strings.Contains(r.err.Error()+r.stdout+r.stderr, plaintext) {
				t.Error("repeats the token")
			}
			if r.stdout+r.stderr != "" {
				t.Errorf("prints besides the error: %q %q", r.stdout, r.stderr)
			}
		})
	}
}
