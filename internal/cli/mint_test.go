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
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// No request may hold the token in any form: audit logs keep requests.
func TestCreateSendsNoToken(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	_, namespace := newTenant(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	file := filepath.Join(t.TempDir(), "ci.token")
	latchkey(t, viewer, "create", "ci", "-n", namespace, "--output-file", file).mustFail(t, "you may not create")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestOutputFileThatCannotBeMade(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	file := filepath.Join(t.TempDir(), "absent", "ci.token")
	latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--output-file", file).mustFail(t, "--output-file", file)
	mustHaveNone(t, namespace)
}

func TestUnprintableTokenIsReportedLost(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	unclear := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case isWrite(r):
			dropAnswer(w, r, next)
		case strings.Contains(r.URL.Path, "/apitokens/"):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			next.ServeHTTP(w, r)
		}
	}
	t.Run("unclear", func(t *testing.T) {
		r := run(t, "unclear", unclear)
		r.mustFail(t, "it is unclear", getToken(t, namespace, "unclear").Spec.Credential.ID, file+"unclear holds it")
		result{stdout: readFile(t, file+"unclear")}.mustPrintToken(t, "lk")
	})
	t.Run("unclear-without-file", func(t *testing.T) {
		r := latchkey(t, proxy{handle: unclear}.kubeconfig(t), "create", "lost", "-n", namespace)
		r.mustFail(t, "it is unclear", getToken(t, namespace, "lost").Spec.Credential.ID, "lost, so revoke it")
		if r.stdout != "" {
			t.Errorf("stdout = %q", r.stdout)
		}
	})
}

// A token that was minted is shown whatever the manager makes of it, since it
// can't be shown again.
func TestVerdicts(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	object := applyToken(t, namespace, "ci")
	setStatus(t, object, refused(v1alpha1.ReasonPolicyViolation, "of before"))
	latchkey(t, kubeconfig, "issue", "ci", "-n", namespace, "--wait", "300ms").mustSucceed(t).mustPrintToken(t, "lk")
}

func TestDeletedWhileWaiting(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t)
	kubeconfig := proxy{handle: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/apitokens/ci") {
			object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ci"}}
			if err := env().Client.Delete(r.Context(), object); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(w, r)
	}}.kubeconfig(t)
	r := latchkey(t, kubeconfig, "create", "ci", "-n", namespace, "--wait", "30s").mustFail(t, "deleted meanwhile")
	r.mustPrintToken(t, "lk")
}
