package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

const month = 720 * time.Hour

func TestCreateAsMember(t *testing.T) {
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

// No request may hold the token in any form: audit logs keep requests.
func TestCreateSendsNoToken(t *testing.T) {
	_, namespace := newTenant(t)
	var mu sync.Mutex
	var sent strings.Builder
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		sent.WriteString(r.RequestURI + asJSON(t, r.Header) + string(body))
		mu.Unlock()
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	plaintext := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t).mustPrintToken(t, "lk")
	if _, secret, _ := strings.Cut(plaintext[3:], "_"); strings.Contains(sent.String(), secret) {
		t.Error("a request held the token")
	}
	if digest := getToken(t, namespace, "ci").Spec.Credential.Digest; !strings.Contains(sent.String(), digest) {
		t.Error("the recording missed the request that creates the ApiToken")
	}
}

func TestIssuedAtIsTheServersDate(t *testing.T) {
	_, namespace := newTenant(t)
	kubeconfig := proxy{modify: func(r *http.Response) {
		r.Header.Set("Date", "Thu, 02 Jan 2020 03:04:05 GMT")
	}}.kubeconfig(t)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t)
	got := getToken(t, namespace, "ci").Spec.Credential.IssuedAt
	if want := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC); !got.Time.Equal(want) {
		t.Errorf("issuedAt = %s, want %s", got, want)
	}
}

func TestNothingIsIssuedWithoutTheServersDate(t *testing.T) {
	_, namespace := newTenant(t)
	kubeconfig := proxy{
		handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header()["Date"] = nil // keeps the proxy from adding one of its own
			next.ServeHTTP(w, r)
		},
		modify: func(r *http.Response) { r.Header.Del("Date") },
	}.kubeconfig(t)
	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t, "no Date header")
	if r.stdout != "" {
		t.Errorf("standard output = %q", r.stdout)
	}
	mustHaveNone(t, namespace)
	kubeconfig = proxy{modify: func(r *http.Response) { r.Header.Set("Date", "yesterday") }}.kubeconfig(t)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t, "the Date header")
	mustHaveNone(t, namespace)
}

func TestCreateJSON(t *testing.T) {
	type document struct {
		Token, ID, Name, Namespace, Host string
		ExpiresAt                        *time.Time
	}
	tenant, namespace, kubeconfig := tenantAdmin(t)
	manage(t, namespace, "confirmed", activated(month))
	for name, wait := range map[string]string{"confirmed": "30s", "unconfirmed": "0"} {
		t.Run(name, func(t *testing.T) {
			r := latchkey(t, kubeconfig, "create", name, "-n", namespace, "-o", "json", "--wait", wait).mustSucceed(t)
			var got document
			decoder := json.NewDecoder(strings.NewReader(r.stdout))
			decoder.DisallowUnknownFields()
			must(t, decoder.Decode(&got))
			object := getToken(t, namespace, name)
			mustMatch(t, object, tenant, got.Token)
			want := document{got.Token, object.Spec.Credential.ID, name, namespace, tenant + ".example.com", nil}
			if status := object.Status.Credential; status != nil {
				want.ExpiresAt = new(status.ExpiresAt.UTC())
			}
			if asJSON(t, got) != asJSON(t, want) {
				t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, want))
			}
			if strings.Contains(r.stderr, got.Token) {
				t.Error("standard error holds the token")
			}
		})
	}
}

func TestOutputFile(t *testing.T) {
	tenant, namespace, kubeconfig := tenantAdmin(t)
	file := filepath.Join(t.TempDir(), "ci.token")
	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--output-file", file, "--wait", "0").mustSucceed(t)
	if r.stdout != "" {
		t.Errorf("standard output = %q", r.stdout)
	}
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode())
	}
	plaintext := result{stdout: readFile(t, file), stderr: r.stderr}.mustPrintToken(t, "lk")
	mustMatch(t, getToken(t, namespace, "ci"), tenant, plaintext)
}

func TestOutputFileIsNeverOverwritten(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	file := filepath.Join(t.TempDir(), "ci.token")
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--output-file", file).mustFail(t, "a file that exists", file)
	if got := readFile(t, file); got != "precious" {
		t.Errorf("the file now holds %q", got)
	}
	mustHaveNone(t, namespace)
}

func TestOutputFileIsRemovedIfTheWriteIsRefused(t *testing.T) {
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	file := filepath.Join(t.TempDir(), "ci.token")
	latchkey(t, viewer, "create", "ci", "-n", namespace, "--output-file", file).mustFail(t, "you may not create")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestOutputFileThatCannotBeMade(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	file := filepath.Join(t.TempDir(), "absent", "ci.token")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--output-file", file).mustFail(t, "--output-file", file)
	mustHaveNone(t, namespace)
}

func TestUnprintableTokenIsReportedLost(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	for name, output := range map[string]string{"plain": "", "object": "json"} {
		t.Run(name, func(t *testing.T) {
			streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: brokenWriter{}, ErrOut: io.Discard}
			err := execute(t.Context(), streams, kubeconfig, "create", name, "-n", namespace, "--wait", "0", "-o", output)
			id := getToken(t, namespace, name).Spec.Credential.ID
			result{err: err}.mustFail(t, "the token with id "+id+" is lost", "Delete ApiToken", errBroken.Error())
		})
	}
}

// When the answer to the write is lost, what the cluster holds decides.
func TestLostAnswer(t *testing.T) {
	_, namespace := newTenant(t)
	file := filepath.Join(t.TempDir(), "token")
	run := func(t *testing.T, name string, handle func(http.ResponseWriter, *http.Request, http.Handler)) result {
		return latchkey(t, proxy{handle: handle}.kubeconfig(t), "create", name, "-n", namespace, "--wait", "0", "--output-file", file+name)
	}
	t.Run("written", func(t *testing.T) {
		run(t, "written", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isWrite(r) {
				dropAnswer(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}).mustSucceed(t)
		result{stdout: readFile(t, file+"written")}.mustPrintToken(t, "lk")
	})
	t.Run("not-written", func(t *testing.T) {
		run(t, "not-written", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isWrite(r) {
				cut(w)
				return
			}
			next.ServeHTTP(w, r)
		}).mustFail(t, `create ApiToken "not-written"`)
		if _, err := os.Stat(file + "not-written"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
	})
	t.Run("unclear", func(t *testing.T) {
		r := run(t, "unclear", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case isWrite(r):
				dropAnswer(w, r, next)
			case strings.HasSuffix(r.URL.Path, "/apitokens/unclear"):
				w.WriteHeader(http.StatusInternalServerError)
			default:
				next.ServeHTTP(w, r)
			}
		})
		id := getToken(t, namespace, "unclear").Spec.Credential.ID
		r.mustFail(t, "it is unclear", id, file+"unclear holds it")
		result{stdout: readFile(t, file+"unclear")}.mustPrintToken(t, "lk")
	})
}

func TestCreateAsViewerIsRefused(t *testing.T) {
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	r := latchkey(t, viewer, "create", "ci", "-n", namespace).mustFail(t,
		`you may not create apitokens in namespace "`+namespace+`"`, "spec.members", "role Admin", `User "vi@example.com"`)
	if r.stdout != "" {
		t.Errorf("standard output = %q", r.stdout)
	}
}

func TestNamespaceErrors(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	admin := proxy{}.kubeconfig(t)
	_, badHost := newTenant(t, v1alpha1.AnnotationHost, `acme.example.com"; rm -rf ~ #`)
	_, badPrefix := newTenant(t, v1alpha1.AnnotationTokenPrefix, "No_Prefix")
	cases := map[string]struct {
		kubeconfig, namespace string
		want                  []string
	}{
		"not a tenant's":    {admin, "default", []string{`namespace "default" is not a tenant's namespace`, "-n tenant-<name>", "kubectl get tenants"}},
		"absent":            {admin, "absent", []string{`namespace "absent" does not exist`, "-n tenant-<name>", "kubectl get tenants"}},
		"not a member's":    {kubeconfig, "default", []string{`you may not get namespace "default"`, "-n"}},
		"unusable host":     {admin, badHost, []string{v1alpha1.AnnotationHost, badHost}},
		"unusable prefix":   {admin, badPrefix, []string{v1alpha1.AnnotationTokenPrefix, badPrefix}},
		"member's own kept": {kubeconfig, namespace, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := latchkey(t, c.kubeconfig, "create", "ci", "-n", c.namespace, "--wait", "0")
			if c.want == nil {
				r.mustSucceed(t)
				return
			}
			r.mustFail(t, c.want...)
		})
	}
}

func TestNamespaceOfTheContext(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	inContext := strings.Replace(readFile(t, kubeconfig), "user: ", "namespace: "+namespace+"\n    user: ", 1)
	must(t, os.WriteFile(kubeconfig, []byte(inContext), 0o600))
	latchkey(t, kubeconfig, "create", "ci", "--wait", "0").mustSucceed(t)
	getToken(t, namespace, "ci")
}

func TestCreateExisting(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	applyToken(t, namespace, "ci")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t,
		`ApiToken "ci" in namespace "`+namespace+`" already exists`, "kubectl latchkey issue ci -n "+namespace, "delete it")
	if getToken(t, namespace, "ci").Spec.Credential != nil {
		t.Error("the existing ApiToken got a credential")
	}
}

func TestCreateInvalid(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--scope", "Not A Scope").mustFail(t, `create ApiToken "ci"`, "spec.scopes[0]")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--allow-cidr", "192.0.2.1").mustFail(t, "each must be a CIDR")
	mustHaveNone(t, namespace)
}

func TestNotInstalled(t *testing.T) {
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = strings.Replace(r.URL.Path, "/apis/latchkey.dev/", "/apis/absent.example.com/", 1)
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	for _, args := range [][]string{{"create", "ci"}, {"issue", "ci"}, {"list"}, {"revoke", "ci", "--yes"}} {
		latchkey(t, kubeconfig, append(args, "-n", namespace)...).mustFail(t, "Latchkey isn't installed")
	}
}

// Without kube-controller-manager the namespace stays as it is: terminating.
func TestNamespaceThatIsBeingDeleted(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	must(t, env.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace).mustFail(t, `namespace "`+namespace+`" is being deleted`)
}

func TestUnknownUser(t *testing.T) {
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusUnauthorized)
	}}.kubeconfig(t)
	latchkey(t, kubeconfig, "list", "-n", namespace).mustFail(t, "sign in to it again")
}

func TestDurations(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	const bad = "must be a duration of whole seconds"
	cases := []struct{ name, flag, value, want, err string }{
		{"go", "--lifetime", "720h", "720h0m0s", ""},
		{"days", "--lifetime", "30d", "720h0m0s", ""},
		{"weeks", "--lifetime", "2w", "336h0m0s", ""},
		{"mixed", "--lifetime", "1w2d3h4m5s", "219h4m5s", ""},
		{"fraction-of-hour", "--lifetime", "1.5h", "1h30m0s", ""},
		{"second", "--lifetime", "1s", "1s", ""},
		{"overlap", "--overlap", "1d", "24h0m0s", ""},
		{"overlap-zero", "--overlap", "0s", "0s", ""},
		{"zero", "--lifetime", "0s", "", "at least 1s"},
		{"empty", "--lifetime", "", "", bad},
		{"no-unit", "--lifetime", "30", "", bad},
		{"unknown-unit", "--lifetime", "3y", "", bad},
		{"fraction-of-day", "--lifetime", "1.5d", "", bad},
		{"days-last", "--lifetime", "3h2d", "", bad},
		{"weeks-after-days", "--lifetime", "2d1w", "", bad},
		{"negative", "--lifetime", "-5h", "", bad},
		{"negative-rest", "--lifetime", "1d-5h", "", bad},
		{"milliseconds", "--lifetime", "1500ms", "", bad},
		{"overflow-days", "--lifetime", "4000000000d", "", bad},
		{"overflow-number", "--lifetime", "99999999999999999999w", "", bad},
		{"beyond-the-policy", "--lifetime", "91d", "", "at most 90d"},
		{"beyond-the-field", "--overlap", "366d", "", "8760h"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := latchkey(t, kubeconfig, "create", c.name, "-n", namespace, c.flag+"="+c.value, "--wait", "0")
			if c.err != "" {
				r.mustFail(t, c.err)
				return
			}
			r.mustSucceed(t)
			spec := getToken(t, namespace, c.name).Spec
			got := spec.Lifetime
			if spec.Rotation != nil {
				got = spec.Rotation.Overlap
			}
			if got == nil || got.Duration.String() != c.want {
				t.Errorf("%s %s became %v, want %s", c.flag, c.value, got, c.want)
			}
		})
	}
}

func TestExpiresAt(t *testing.T) {
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

// Annotations are a courtesy: without them the manager decides.
func TestCreateWithoutKnownPolicy(t *testing.T) {
	_, namespace := newTenant(t, v1alpha1.AnnotationMaxLifetime, "", v1alpha1.AnnotationDefaultLifetime, "soon",
		v1alpha1.AnnotationHost, "", v1alpha1.AnnotationTokenPrefix, "")
	r := latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t)
	r.mustPrintToken(t, v1alpha1.DefaultTokenPrefix)
	if strings.Contains(r.stderr, "curl") || strings.Contains(r.stderr, "It is to expire") {
		t.Errorf("says what it can't know:\n%s", r.stderr)
	}
	latchkey(t, proxy{}.kubeconfig(t), "create", "long", "-n", namespace, "--lifetime", "87600h", "--wait", "0").mustSucceed(t)
}

func TestTokenPrefixOfTheInstallation(t *testing.T) {
	tenant, namespace := newTenant(t, v1alpha1.AnnotationTokenPrefix, "shop")
	plaintext := latchkey(t, proxy{}.kubeconfig(t), "create", "ci", "-n", namespace, "--wait", "0").mustSucceed(t).mustPrintToken(t, "shop")
	mustMatch(t, getToken(t, namespace, "ci"), tenant, plaintext)
}

func TestDryRun(t *testing.T) {
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

// A token that was minted is shown whatever the manager makes of it, since it
// can't be shown again.
func TestVerdicts(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	cases := []struct {
		name      string
		status    func(*v1alpha1.ApiToken)
		wait      string
		err, note string
	}{
		{"refused", refused(v1alpha1.ReasonPolicyViolation, "scope \x1b[2Jx is unknown"), "30s", "PolicyViolation: scope \uFFFD[2Jx is unknown", ""},
		{"suspended", refused(v1alpha1.ReasonTenantSuspended, "the tenant is suspended"), "30s", "TenantSuspended: the tenant is suspended", ""},
		{"awaiting", refused(v1alpha1.ReasonAwaitingCredential, "mint one"), "300ms", "", "has not confirmed it yet"},
		{"clock-behind", refused(v1alpha1.ReasonIssuedInFuture, "not yet"), "300ms", "", "has not confirmed it yet"},
		{"silent", func(*v1alpha1.ApiToken) {}, "300ms", "", "has not confirmed it yet. It is to expire at"},
		{"not-waiting", func(*v1alpha1.ApiToken) {}, "0", "", "has not confirmed it yet"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			manage(t, namespace, c.name, c.status)
			r := latchkey(t, kubeconfig, "create", c.name, "-n", namespace, "--wait", c.wait)
			r.mustPrintToken(t, "lk")
			if c.err == "" {
				r.mustSucceed(t)
			} else {
				r.mustFail(t, c.err, "does not work", getToken(t, namespace, c.name).Spec.Credential.ID)
			}
			if !strings.Contains(r.stderr, c.note) {
				t.Errorf("standard error lacks %q:\n%s", c.note, r.stderr)
			}
		})
	}
}

// A status about an older generation says nothing about this credential.
func TestVerdictOfAnOlderGenerationIsNone(t *testing.T) {
	_, namespace, kubeconfig := tenantAdmin(t)
	object := applyToken(t, namespace, "ci")
	setStatus(t, object, refused(v1alpha1.ReasonPolicyViolation, "of before"))
	latchkey(t, kubeconfig, "issue", "ci", "-n", namespace, "--wait", "300ms").mustSucceed(t).mustPrintToken(t, "lk")
}

func TestDeletedWhileWaiting(t *testing.T) {
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/apitokens/ci") {
			object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ci"}}
			if err := env.Client.Delete(r.Context(), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--wait", "30s").mustFail(t, "deleted meanwhile")
	r.mustPrintToken(t, "lk")
}

func TestCreateUsage(t *testing.T) {
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

func mint(t testing.TB) string {
	t.Helper()
	minted, err := token.Mint("lk")
	must(t, err)
	return minted.Reveal()
}

func readFile(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	must(t, err)
	return string(content)
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	content, err := json.Marshal(value)
	must(t, err)
	return string(content)
}
