package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/cli"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

// result is what a run of the plugin left.
type result struct {
	stdout, stderr string
	err            error
}

// latchkey runs the plugin with an empty standard input.
func latchkey(t testing.TB, kubeconfig string, args ...string) result {
	t.Helper()
	return latchkeyWithInput(t, "", kubeconfig, args...)
}

func latchkeyWithInput(t testing.TB, input, kubeconfig string, args ...string) result {
	t.Helper()
	streams, in, out, errOut := genericiooptions.NewTestIOStreams()
	in.WriteString(input)
	err := execute(t.Context(), streams, kubeconfig, args...)
	return result{out.String(), errOut.String(), err}
}

func execute(ctx context.Context, streams genericiooptions.IOStreams, kubeconfig string, args ...string) error {
	command := cli.NewCommand(streams, "v0.0.0-test")
	if kubeconfig != "" {
		args = append([]string{"--kubeconfig", kubeconfig}, args...)
	}
	command.SetArgs(args)
	return command.ExecuteContext(ctx)
}

// mustSucceed fails the test if the run failed.
func (r result) mustSucceed(t testing.TB) result {
	t.Helper()
	if r.err != nil {
		t.Fatalf("failed: %v\nstderr: %s", r.err, r.stderr)
	}
	return r
}

// mustFail fails the test unless the run failed with an error that contains all.
func (r result) mustFail(t testing.TB, all ...string) result {
	t.Helper()
	if r.err == nil {
		t.Fatalf("succeeded\nstdout: %s\nstderr: %s", r.stdout, r.stderr)
	}
	for _, want := range all {
		if !strings.Contains(r.err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, r.err)
		}
	}
	return r
}

// mustPrintToken fails the test unless standard output is a token with the
// prefix and a newline, and standard error does not hold it.
func (r result) mustPrintToken(t testing.TB, prefix string) string {
	t.Helper()
	plaintext, isLine := strings.CutSuffix(r.stdout, "\n")
	if _, err := token.Parse(prefix, plaintext); err != nil || !isLine {
		t.Fatalf("standard output is not a token and a newline: %q, %v", r.stdout, err)
	}
	if strings.Contains(r.stderr, plaintext) {
		t.Error("standard error holds the token")
	}
	return plaintext
}

var tenants atomic.Int32

// newTenant makes the namespace of a new tenant, as the Tenant's controller
// does, with further annotations, and returns both names.
func newTenant(t testing.TB, annotations ...string) (tenant, namespace string) {
	t.Helper()
	tenant = fmt.Sprintf("acme%d", tenants.Add(1))
	namespace = v1alpha1.TenantNamespacePrefix + tenant
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Annotations: map[string]string{
		v1alpha1.AnnotationTenant:          tenant,
		v1alpha1.AnnotationHost:            tenant + ".example.com",
		v1alpha1.AnnotationBasePath:        "/api/v1",
		v1alpha1.AnnotationTokenPrefix:     "lk",
		v1alpha1.AnnotationMaxLifetime:     "2160h0m0s",
		v1alpha1.AnnotationDefaultLifetime: "720h0m0s",
	}}}
	for i := 0; i < len(annotations); i += 2 {
		object.Annotations[annotations[i]] = annotations[i+1]
	}
	must(t, env().Client.Create(t.Context(), object))
	return tenant, namespace
}

// certificates are made one at a time: envtest counts them without a lock.
var certificates sync.Mutex

// member is the kubeconfig of a user whose only rights are those of a member.
func member(t testing.TB, user, namespace, clusterRole string) string {
	t.Helper()
	must(t, env().Client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "member-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	testenv.Eventually(t, func() error { return mayList(t, user, namespace) }) // the API server's authorizer lags behind
	certificates.Lock()
	_, kubeconfig, err := env().UserConfig(user)
	certificates.Unlock()
	must(t, err)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(file, kubeconfig, 0o600))
	return file
}

// mayList says whether a user has the right that members of either role have.
func mayList(t testing.TB, user, namespace string) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: "list", Group: v1alpha1.SchemeGroupVersion.Group, Resource: "apitokens",
		},
	}}
	if err := env().Client.Create(t.Context(), review); err != nil {
		return err
	}
	if !review.Status.Allowed {
		return fmt.Errorf("user %s may not list apitokens in %s: %s", user, namespace, review.Status.Reason)
	}
	return nil
}

// tenantAdmin is a new tenant's namespace and the kubeconfig of an admin of it.
func tenantAdmin(t testing.TB) (tenant, namespace, kubeconfig string) {
	t.Helper()
	tenant, namespace = newTenant(t)
	return tenant, namespace, member(t, "jo@example.com", namespace, v1alpha1.TenantAdminClusterRole)
}

// proxy stands between the plugin and the API server, which it reaches as an
// administrator. Every field may be nil.
type proxy struct {
	// handle answers a request, with the API server as next.
	handle func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// modify changes the API server's answers.
	modify func(*http.Response)
}

// kubeconfig starts the proxy and returns the kubeconfig that leads to it.
func (p proxy) kubeconfig(t testing.TB) string {
	t.Helper()
	transport, err := rest.TransportFor(env().Config)
	must(t, err)
	target, _, err := rest.DefaultServerUrlFor(env().Config)
	must(t, err)
	server := httptest.NewServer(p.handler(target, transport))
	t.Cleanup(server.Close)
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: server.URL}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(*config, file))
	return file
}

func (p proxy) handler(target *url.URL, transport http.RoundTripper) http.Handler {
	reverse := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if p.modify != nil {
				p.modify(r)
			}
			return nil
		},
	}
	if p.handle == nil {
		return reverse
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.handle(w, r, reverse) })
}

// isWrite says whether a request would change ApiTokens.
func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/apitokens")
}

// dropAnswer has the API server do what is asked, and cuts the connection
// instead of answering.
func dropAnswer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	cut(w)
}

func cut(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

// manage plays the manager's part for one ApiToken: when it has a credential,
// its status is written.
func manage(t testing.TB, namespace, name string, status func(*v1alpha1.ApiToken)) {
	t.Helper()
	manageOther(t, namespace, name, "", status)
}

// manageOther is manage once the credential is another than the one with the id.
func manageOther(t testing.TB, namespace, name, id string, status func(*v1alpha1.ApiToken)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := env().Client.Watch(ctx, &v1alpha1.ApiTokenList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			object, ok := event.Object.(*v1alpha1.ApiToken)
			if !ok || object.Spec.Credential == nil || object.Spec.Credential.ID == id {
				continue
			}
			status(object)
			if err := env().Client.Status().Update(ctx, object); err != nil && ctx.Err() == nil {
				t.Errorf("write the status: %v", err)
			}
			return
		}
	}()
	t.Cleanup(func() { cancel(); watch.Stop(); <-done })
}

// activated is the status of an ApiToken whose token works for so long.
func activated(lifetime time.Duration) func(*v1alpha1.ApiToken) {
	return func(object *v1alpha1.ApiToken) {
		credential := object.Spec.Credential
		object.Status.Credential = &v1alpha1.IssuedCredential{
			ID: credential.ID, Digest: credential.Digest, ExpiresAt: metav1.NewTime(credential.IssuedAt.Add(lifetime)),
		}
		setActive(object, metav1.ConditionTrue, v1alpha1.ReasonIssued, "The token works.")
	}
}

// refused is the status of an ApiToken whose token does not work.
func refused(reason, message string) func(*v1alpha1.ApiToken) {
	return func(object *v1alpha1.ApiToken) { setActive(object, metav1.ConditionFalse, reason, message) }
}

func setActive(object *v1alpha1.ApiToken, status metav1.ConditionStatus, reason, message string) {
	object.Status.ObservedGeneration = object.Generation
	meta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionActive, Status: status, Reason: reason, Message: message, ObservedGeneration: object.Generation,
	})
}

// getToken is an ApiToken as the API server has it.
func getToken(t testing.TB, namespace, name string) *v1alpha1.ApiToken {
	t.Helper()
	object := &v1alpha1.ApiToken{}
	must(t, env().Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object))
	return object
}

// applyToken makes an ApiToken, as if from YAML.
func applyToken(t testing.TB, namespace, name string, change ...func(*v1alpha1.ApiToken)) *v1alpha1.ApiToken {
	t.Helper()
	object := &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, f := range change {
		f(object)
	}
	must(t, env().Client.Create(t.Context(), object))
	return object
}

func setStatus(t testing.TB, object *v1alpha1.ApiToken, status func(*v1alpha1.ApiToken)) {
	t.Helper()
	status(object)
	must(t, env().Client.Status().Update(t.Context(), object))
}

// mustHaveNone fails the test if the namespace has an ApiToken.
func mustHaveNone(t testing.TB, namespace string) {
	t.Helper()
	list := &v1alpha1.ApiTokenList{}
	must(t, env().Client.List(t.Context(), list, client.InNamespace(namespace)))
	if len(list.Items) != 0 {
		t.Errorf("%d ApiTokens were created", len(list.Items))
	}
}

// mustMatch fails the test unless the object's credential is the token's, and
// the object does not hold the token itself.
func mustMatch(t testing.TB, object *v1alpha1.ApiToken, tenant, plaintext string) {
	t.Helper()
	credential := object.Spec.Credential
	if credential == nil {
		t.Fatal("there is no credential")
	}
	if want := token.DigestOf(tenant, plaintext).String(); credential.Digest != want {
		t.Errorf("digest = %s, want %s", credential.Digest, want)
	}
	if !strings.Contains(plaintext, "_"+credential.ID+"_") {
		t.Errorf("id %s is not that of the token", credential.ID)
	}
	content, err := json.Marshal(object)
	must(t, err)
	if strings.Contains(string(content), plaintext) {
		t.Error("the object holds the token")
	}
}

var must = check.Must

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

// brokenWriter is a full disk, or a closed pipe.
type brokenWriter struct{}

var errBroken = errors.New("no space left on device")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

var _ io.Writer = brokenWriter{}
