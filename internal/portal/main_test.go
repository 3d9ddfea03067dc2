package portal_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/controllers/tenant"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal"
	"github.com/latchkey-dev/latchkey/internal/problem"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/signin"
	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/token"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(browsertest.Main(inEnvironment{m}))
}

// inEnvironment runs tests with a control plane.
type inEnvironment struct{ *testing.M }

func (e inEnvironment) Run() int { return testenv.Run(e.M, &env, controlplane.Options{}) }

// installation is a manager and a server with both surfaces, each with the rights
// of its ServiceAccount, for the tenants acme and globex.
type installation struct {
	t           *testing.T
	site        site
	api         *v1alpha1.PublicApi
	front       *httptest.Server
	logs        *buffer
	stopManager func()
	// clock is Settings', which can be ahead of the system's, and provider where people
	// sign in, or nil.
	clock    *aheadClock
	provider *signin.Provider
	// confirmTimeout is how long the server waits for the manager.
	confirmTimeout time.Duration
	// keyless keeps the server from reading the sessions' keys.
	keyless bool
	// afterWrite, if set, answers in the API server's place once it has done a write
	// of an ApiToken for the server; nil is the API server's own answer.
	afterWrite atomic.Pointer[func(*http.Request) *http.Response]
	// inPlace, if set, answers the server in the API server's place; nil is the API
	// server's own answer.
	inPlace atomic.Pointer[func(*http.Request) *http.Response]

	mu         sync.Mutex
	plaintexts []string
	reached    []string
	// asked is what the server asked the Kubernetes API.
	asked []string
}

// site is where the tenants' hosts are, and the scheme of their clients.
type site struct{ domain, scheme string }

// install starts everything and stops it at the end of the test, when it looks for
// plaintexts where none may be.
func install(t *testing.T, mutate ...func(*v1alpha1.PublicApi)) *installation {
	t.Helper()
	return installAt(t, site{"example.com", "https"}, mutate...)
}

// installWith is install with another server than the usual.
func installWith(t *testing.T, change func(*installation), mutate ...func(*v1alpha1.PublicApi)) *installation {
	t.Helper()
	i := &installation{t: t, site: site{"example.com", "https"}}
	change(i)
	return start(t, i, mutate...)
}

// installAt is install for other hosts: browsers find those below localhost.
func installAt(t *testing.T, at site, mutate ...func(*v1alpha1.PublicApi)) *installation {
	t.Helper()
	return start(t, &installation{t: t, site: at}, mutate...)
}

func start(t *testing.T, i *installation, mutate ...func(*v1alpha1.PublicApi)) *installation {
	t.Helper()
	if i.logs = (&buffer{}); i.clock == nil {
		i.clock = &aheadClock{}
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.reached = append(i.reached, fmt.Sprint(r.URL, r.Header))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"tenant":%q}`, r.Header.Get(proxy.HeaderTenant))
	}))
	t.Cleanup(backend.Close)
	i.api = &v1alpha1.PublicApi{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPublicApi},
		Spec: v1alpha1.PublicApiSpec{
			Backend: v1alpha1.Backend{URL: backend.URL}, BasePath: "/api/v1",
			Scopes: []v1alpha1.Scope{{Name: "orders:read"}, {Name: "orders:write"}},
		},
	}
	for _, m := range mutate {
		m(i.api)
	}
	create(t, i.api)
	for _, name := range []string{"acme", "globex"} {
		// The namespaces stay, since nothing here collects garbage; another test's
		// tenant of the same name finds its own again.
		create(t, &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TenantSpec{
			Namespace: namespaceOf(t, name), Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "grace"}},
		}})
		must(t, client.IgnoreAlreadyExists(env().Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: namespaceOf(t, name), Labels: map[string]string{v1alpha1.LabelAllowTenant: name},
		}})))
	}
	i.startManager()
	i.startServer()
	t.Cleanup(i.wantNoPlaintexts)
	for _, name := range []string{"acme", "globex"} {
		testenv.Eventually(t, func() error {
			if a := i.call(name, http.MethodGet, "/api/v1/token", ""); a.status != http.StatusUnauthorized {
				return fmt.Errorf("%s: %d %s", name, a.status, a.body)
			}
			return nil
		})
	}
	return i
}

func namespaceOf(t *testing.T, tenant string) string {
	return strings.ToLower(fmt.Sprintf("%s-%s", tenant, strings.ReplaceAll(t.Name(), "/", "-")))
}

func (i *installation) startManager() {
	i.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	config, err := env().ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, "latchkey-manager", time.Hour)
	must(i.t, err)
	manager, err := controllers.NewManager(ctx, config, controllers.Options{
		Tenant: tenant.Config{
			BaseDomain: i.site.domain, SystemNamespace: v1alpha1.SystemNamespace, TokenPrefix: v1alpha1.DefaultTokenPrefix,
			Ingress: tenant.IngressConfig{Class: "nginx", TLSSecret: "wildcard", Service: "latchkey-apiserver", PortalService: "latchkey-portal", Port: 80},
		},
		RecordsNamespace: v1alpha1.RecordsNamespace, MetricsAddress: "0", HealthAddress: "0",
		Logger: logr.Discard(), SkipNameValidation: true,
	})
	must(i.t, err)
	done := make(chan error, 1)
	go func() { done <- manager.Start(ctx) }()
	i.stopManager = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			i.t.Error(err)
		}
	})
	i.t.Cleanup(func() { i.stopManager() })
}

func (i *installation) startServer() {
	i.t.Helper()
	logger := slog.New(slog.NewJSONHandler(i.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config, err := env().ServiceAccountConfig(i.t.Context(), v1alpha1.SystemNamespace, "latchkey-portal", time.Hour)
	must(i.t, err)
	view := directory.New(logger)
	config.Wrap(i.losing)
	kubernetes, err := portal.NewClient(config)
	must(i.t, err)
	sessions, err := session.New(session.Config{Namespace: v1alpha1.SystemNamespace, Clock: i.clock, Logger: logger})
	must(i.t, err)
	own, err := portal.New(portal.Config{
		Client: kubernetes, Directory: view, TokenPrefix: v1alpha1.DefaultTokenPrefix, Logger: logger, ConfirmTimeout: cmp.Or(i.confirmTimeout, 5*time.Second),
		Sessions: sessions, Provider: i.provider, Clock: i.clock,
	})
	must(i.t, err)
	backends := proxy.New(logger)
	handler, err := server.New(server.Config{
		BaseDomain: i.site.domain, PublicScheme: i.site.scheme, TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: view, Proxy: backends, Portal: own,
		Logger: logger, Metrics: prometheus.NewRegistry(), Limits: server.Limits{BadTokensPerMinute: 30},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	must(i.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- view.Run(ctx, config, directory.Namespaces{Records: v1alpha1.RecordsNamespace, System: v1alpha1.SystemNamespace})
	}()
	sessionsDone := make(chan error, 1)
	go func() {
		if i.keyless {
			sessionsDone <- nil
			return
		}
		sessionsDone <- sessions.Run(ctx, config)
	}()
	i.front = httptest.NewServer(handler)
	i.front.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	i.t.Cleanup(func() {
		i.front.Close()
		cancel()
		must(i.t, <-done)
		must(i.t, <-sessionsDone)
		backends.Close()
	})
}

// losing puts inPlace before what the server asks and afterWrite behind its writes, and
// notes what it asks.
func (i *installation) losing(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		i.note(r)
		if inPlace := i.inPlace.Load(); inPlace != nil {
			if response := (*inPlace)(r); response != nil {
				return response, nil
			}
		}
		response, err := next.RoundTrip(r)
		instead := i.afterWrite.Load()
		if err != nil || instead == nil || r.Method == http.MethodGet || !strings.Contains(r.URL.Path, "/apitokens") {
			return response, err
		}
		if lost := (*instead)(r); lost != nil {
			_ = response.Body.Close()
			return lost, nil
		}
		return response, nil
	})
}

func (i *installation) note(r *http.Request) {
	var body []byte
	if r.GetBody != nil {
		if reader, err := r.GetBody(); err == nil {
			body, _ = io.ReadAll(reader) // of a buffer
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, fmt.Sprintf("%s %s %s", r.Method, r.URL, body))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is what a call got.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// call sends a request to a tenant's host. authorization is the header's value, or
// a token; headers are pairs.
func (i *installation) call(tenant, method, target, authorization string, bodyAndHeaders ...string) answer {
	i.t.Helper()
	var body io.Reader
	if len(bodyAndHeaders) > 0 && bodyAndHeaders[0] != "" {
		body = strings.NewReader(bodyAndHeaders[0])
	}
	r, err := http.NewRequestWithContext(i.t.Context(), method, i.front.URL+target, body)
	must(i.t, err)
	r.Host = tenant + "." + i.site.domain
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	if authorization != "" {
		if !strings.Contains(authorization, " ") {
			authorization = "token " + authorization
		}
		r.Header.Set("Authorization", authorization)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for n := 1; n+1 < len(bodyAndHeaders); n += 2 {
		r.Header.Set(bodyAndHeaders[n], bodyAndHeaders[n+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	response, err := i.front.Client().Do(r)
	must(i.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(i.t, err)
	if strings.HasPrefix(target, "/api/v1/token") && response.Header.Get("Cache-Control") != "no-store" {
		i.t.Errorf("%s %s: Cache-Control %q", method, target, response.Header.Get("Cache-Control"))
	}
	return answer{i.t, response.StatusCode, response.Header, string(content)}
}

// decode wants the status and returns the body.
func (a answer) decode(status int, into any) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if into != nil {
		must(a.t, json.Unmarshal([]byte(a.body), into))
	}
}

// refused wants a problem, and returns its body.
func (a answer) refused(status int, code string) string {
	a.t.Helper()
	var p struct{ Type, Title, Detail string }
	a.decode(status, &p)
	if p.Type != problem.DefaultBase+code || p.Detail == "" || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("%s, want a problem of type %s", a.body, code)
	}
	return a.body
}

// issued is what creating and rotating answer.
type issued struct {
	Plaintext string
	Token     shown
}

// shown is a token as the API shows it.
type shown struct {
	Name, Owner, Description, Overlap, Reason, CreatedBy, CreatedVia, IssuedBy, RevokedBy string
	Scopes, AllowedCIDRs                                                                  []string
	Active, Revoked                                                                       bool
	Credential, PreviousCredential                                                        struct {
		ID        string
		ExpiresAt time.Time
	}
}

// issued reads such an answer, and remembers the plaintext.
func (a answer) issued(i *installation, status int) issued {
	a.t.Helper()
	var got issued
	a.decode(status, &got)
	i.remember(got.Plaintext)
	if got.Plaintext == "" || a.header.Get("Etag") == "" {
		a.t.Fatalf("no plaintext, or no ETag: %v", a.header)
	}
	return got
}

func (i *installation) remember(plaintext string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.plaintexts = append(i.plaintexts, plaintext)
}

// remembered is remember, for a text that is used at once.
func (i *installation) remembered(plaintext string) string {
	i.remember(plaintext)
	return plaintext
}

// make makes a token of a tenant as a person would with kubectl, and waits until it
// works.
func (i *installation) make(tenant, name string, spec v1alpha1.ApiTokenSpec) (plaintext string) {
	i.t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	must(i.t, err)
	i.remember(minted.Reveal())
	spec.Credential = &v1alpha1.Credential{ID: minted.ID(), Digest: minted.Digest(tenant).String(), IssuedAt: metav1.NewTime(time.Now().Add(-5 * time.Second).UTC().Truncate(time.Second))}
	must(i.t, env().Client.Create(i.t.Context(), &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(i.t, tenant), Name: name}, Spec: spec}))
	i.works(tenant, minted.Reveal())
	return minted.Reveal()
}

// works waits until a token is accepted.
func (i *installation) works(tenant, plaintext string) {
	i.t.Helper()
	testenv.Eventually(i.t, func() error {
		if a := i.call(tenant, http.MethodGet, "/api/v1/token", plaintext); a.status != http.StatusOK {
			return errors.New(a.body)
		}
		return nil
	})
}

// ended waits until a token is answered with the problem.
func (i *installation) ended(tenant, plaintext, code string) {
	i.t.Helper()
	testenv.Eventually(i.t, func() error {
		if a := i.call(tenant, http.MethodGet, "/api/v1/token", plaintext); !strings.Contains(a.body, "#"+code) {
			return errors.New(a.body)
		}
		return nil
	})
}

// stored reads an ApiToken of the cluster.
func (i *installation) stored(tenant, name string) *v1alpha1.ApiToken {
	i.t.Helper()
	object := &v1alpha1.ApiToken{}
	must(i.t, env().Client.Get(i.t.Context(), client.ObjectKey{Namespace: namespaceOf(i.t, tenant), Name: name}, object))
	return object
}

// audited returns the audit log's lines of an action.
func (i *installation) audited(action string) []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(i.logs.String()) {
		var attributes map[string]any
		if json.Unmarshal([]byte(line), &attributes) == nil && attributes["msg"] == "audit" && attributes["action"] == action {
			lines = append(lines, attributes)
		}
	}
	return lines
}

// workload makes a ServiceAccount that may do the verbs to ApiTokens of the tenant,
// and returns a token of it for the audience.
func (i *installation) workload(tenant, name, audience string, verbs ...string) (jwt string) {
	i.t.Helper()
	namespace := namespaceOf(i.t, tenant)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	must(i.t, client.IgnoreAlreadyExists(env().Client.Create(i.t.Context(), account)))
	if len(verbs) > 0 {
		must(i.t, env().Client.Create(i.t.Context(), &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"latchkey.dev"}, Resources: []string{"apitokens"}, Verbs: verbs}},
		}))
		must(i.t, env().Client.Create(i.t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
		}))
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: new(int64(600))}}
	must(i.t, env().Client.SubResource("token").Create(i.t.Context(), account, request))
	i.remember(request.Status.Token)
	return request.Status.Token
}

// wantNoPlaintexts looks for every token's secret where it may not be.
func (i *installation) wantNoPlaintexts() {
	var objects v1alpha1.ApiTokenList
	var records corev1.SecretList
	ctx := context.Background()
	must(i.t, env().Client.List(ctx, &objects))
	must(i.t, env().Client.List(ctx, &records, client.InNamespace(v1alpha1.RecordsNamespace)))
	for what, text := range map[string]string{
		"the log": i.logs.String(), "what reached the backend": strings.Join(i.reached, "\n"),
		"an ApiToken": dump(objects), "a record": dump(records),
	} {
		for _, plaintext := range i.plaintexts {
			secret := plaintext[strings.LastIndex(plaintext, "_")+1:]
			if jwt := strings.Split(plaintext, "."); len(jwt) == 3 {
				secret = jwt[2] // without the signature it is worth nothing
			}
			if strings.Contains(text, secret) {
				i.t.Errorf("%s holds a token's secret", what)
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, plaintext := range i.plaintexts {
		isKubernetes := strings.Contains(plaintext, ".") // the cluster has to be shown its own
		for _, question := range i.asked {
			if !isKubernetes && strings.Contains(question, plaintext[strings.LastIndex(plaintext, "_")+1:]) {
				i.t.Errorf("the Kubernetes API was asked %s", strings.ReplaceAll(question, plaintext, "[a token]"))
			}
		}
	}
	if len(i.plaintexts) > 0 && !strings.Contains(i.logs.String(), strings.Split(i.plaintexts[0], "_")[1]) {
		i.t.Error("the log has not even the public id of a token: the search does not look at it")
	}
}

func dump(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	env().Create(t, object)
}

var must = check.Must

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

// buffer is a log that several goroutines write.
type buffer struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (b *buffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.Write(line)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.content.String()
}
