package attacks

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

const (
	baseDomain = "example.com"
	endpoint   = "/api/v1/orders"
	// tenantCount is how many tenants there are, each with a token.
	tenantCount = 50
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	code := testenv.Run(m, &env, controlplane.Options{})
	if theWorld != nil {
		if err := theWorld.close(); err != nil {
			fmt.Fprintln(os.Stderr, "attacks:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is what every test attacks: a control plane with tenants and their tokens, and
// the backend behind all of them.
type world struct {
	backend *wiretest.Backend
	kube    *kubeProxy
	// kubeconfig goes through kube, which has the rights of the API server's account.
	kubeconfig string
	// tenants are those with a token that works, and tokens theirs. The first two are
	// acme and globex.
	tenants []string
	tokens  map[string]string
	// dead are tokens that were issued and do not work, by the reason.
	dead map[string]string
	// program is the API server, and flooder what floods it.
	program, flooder string
}

var (
	theWorld     *world
	makeTheWorld sync.Once
)

// newWorld makes the world, or finds it as another test left it.
func newWorld(t *testing.T) *world {
	t.Helper()
	makeTheWorld.Do(func() {
		w := &world{tokens: map[string]string{}, dead: map[string]string{}}
		var err error
		w.backend, err = wiretest.StartBackend()
		must(t, err)
		theWorld = w
		access, err := env().ServiceAccountConfig(t.Context(), v1alpha1.SystemNamespace, "latchkey-apiserver", 24*time.Hour)
		must(t, err)
		w.kube, err = startKubeProxy(access)
		must(t, err)
		w.kubeconfig, err = w.writeKubeconfig()
		must(t, err)
		w.populate(t)
		must(t, controlplane.InstallPrograms(t.Context(), env().Dir, "apiserver", "flooder"))
		w.program, w.flooder = filepath.Join(env().Dir, "apiserver"), filepath.Join(env().Dir, "flooder")
	})
	if theWorld == nil || theWorld.program == "" {
		t.Fatal("the world could not be made; see the first test")
	}
	_, _ = theWorld.backend.Take() // what an earlier test left
	return theWorld
}

func (w *world) close() error {
	err := w.backend.Close()
	if w.kube != nil {
		err = errors.Join(err, w.kube.server.Close())
	}
	return err
}

func host(tenant string) string { return tenant + "." + baseDomain }

// populate stores what the manager would: the tests are about the API server.
func (w *world) populate(t *testing.T) {
	t.Helper()
	must(t, env().Client.Create(t.Context(), directorytest.PublicApi("http://"+w.backend.Address())))
	w.tenants = []string{"acme", "globex"}
	for n := len(w.tenants); n < tenantCount; n++ {
		w.tenants = append(w.tenants, fmt.Sprintf("customer-%02d", n))
	}
	var group errgroup.Group
	group.SetLimit(8)
	var mu sync.Mutex
	for _, name := range w.tenants {
		group.Go(func() error {
			plaintext, err := w.addTenant(t, name)
			mu.Lock()
			defer mu.Unlock()
			w.tokens[name] = plaintext
			return err
		})
	}
	must(t, group.Wait())
	plaintext, err := w.addTenant(t, "dormant", func(tenant *v1alpha1.Tenant) { tenant.Spec.Suspended = true })
	must(t, err)
	w.dead["of a suspended tenant"] = plaintext
	plaintext, err = issue(t, "acme", -time.Hour)
	must(t, err)
	w.dead["expired"] = plaintext
	plaintext, err = issue(t, "acme", time.Hour, func(i *directorytest.Issued) { i.ApiToken.Spec.Revoked = true })
	must(t, err)
	w.dead["revoked"] = plaintext
}

// addTenant makes a Tenant as the manager accepts it, with a token.
func (w *world) addTenant(t *testing.T, name string, changes ...func(*v1alpha1.Tenant)) (plaintext string, err error) {
	tenant := directorytest.Tenant(name)
	for _, change := range changes {
		change(tenant)
	}
	status := tenant.Status
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: status.Namespace}}
	if err := errors.Join(env().Client.Create(t.Context(), namespace), env().Client.Create(t.Context(), tenant)); err != nil {
		return "", err
	}
	tenant.Status = status
	if err := env().Client.Status().Update(t.Context(), tenant); err != nil {
		return "", err
	}
	return issue(t, name, 24*time.Hour)
}

// issue stores a token of the tenant: ApiToken, status and record.
func issue(t *testing.T, tenant string, lifetime time.Duration, changes ...func(*directorytest.Issued)) (plaintext string, err error) {
	i := directorytest.Issue(t, tenant, time.Now().Add(lifetime).Truncate(time.Second))
	for _, change := range changes {
		change(i)
	}
	status := i.ApiToken.Status
	i.ApiToken.UID = ""
	if err := env().Client.Create(t.Context(), i.ApiToken); err != nil {
		return "", err
	}
	i.ApiToken.Status = status
	if err := env().Client.Status().Update(t.Context(), i.ApiToken); err != nil {
		return "", err
	}
	i.Record.UID = i.ApiToken.UID
	return i.Token.Reveal(), env().Client.Create(t.Context(), i.Secret())
}

// kubeProxy is between the API server and kube-apiserver, and keeps what is called.
type kubeProxy struct {
	server *http.Server
	url    string

	mu    sync.Mutex
	calls []string
}

// startKubeProxy starts one with the access given. client-go keeps its token to itself
// where it does not speak TLS, so that it is the proxy's.
func startKubeProxy(config *rest.Config) (*kubeProxy, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	p := &kubeProxy{url: "http://" + address}
	forward := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	p.server = &http.Server{Addr: address, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls = append(p.calls, r.Method+" "+r.URL.RequestURI())
		p.mu.Unlock()
		forward.ServeHTTP(answer, r)
	})}
	go func() { _ = p.server.ListenAndServe() }()
	return p, nil
}

// since returns the calls after the first n, and how many there are.
func (p *kubeProxy) since(n int) ([]string, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.calls[n:]...), len(p.calls)
}

func (w *world) writeKubeconfig() (file string, err error) {
	const name = "attacks"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: w.kube.url}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name}
	config.CurrentContext = name
	file = filepath.Join(env().Dir, "apiserver.kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}

// take is what reached the backend, which has to be requests that everybody reads
// alike, for the tenant of their host, without a token.
func (w *world) take(t *testing.T) []*wiretest.Request {
	t.Helper()
	requests, err := w.backend.Take()
	if err != nil {
		t.Error(err)
	}
	for _, r := range requests {
		tenant, _, _ := strings.Cut(r.Value("Host"), ".")
		if !strings.EqualFold(r.Value("Latchkey-Tenant"), tenant) || tenant == "" {
			t.Errorf("%s %s on %q reached the backend for the tenants %q", r.Method, r.Target, r.Values("Host"), r.Values("Latchkey-Tenant"))
		}
		for _, field := range r.Fields {
			// In a header of its own a client may send the backend what it likes.
			told := strings.HasPrefix(field.Name, "Latchkey-") && strings.Contains(field.Value, v1alpha1.DefaultTokenPrefix+"_")
			if told || strings.EqualFold(field.Name, "Authorization") {
				t.Errorf("%s %s reached the backend with %s: %s", r.Method, r.Target, field.Name, field.Value)
			}
		}
	}
	return requests
}

var must = check.Must
