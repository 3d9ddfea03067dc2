package plaintext_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/fault"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

const (
	baseDomain = "example.com"
	basePath   = "/api/v1"
	// acme has the tokens, globex is somebody else, and crowded may have one token only.
	acme, globex, crowded = "acme", "globex", "crowded"
	member                = "ada"
)

// world is an installation of the real programs, that writes its files where the
// search will look.
type world struct {
	t *testing.T
	// bin has the programs, home is that of the plugin's user, logs is where
	// processes write.
	bin, home, logs string

	manager, apiServer *process.Process
	// managerProgram and apiServerProgram are what they run.
	managerProgram, apiServerProgram string
	// front is where the API server listens, gateway where it answers gateways, and
	// admin and managerMetrics where metrics are.
	front, gateway, admin, managerMetrics string
	// toMember and toPortal are the ways to the Kubernetes API of the plugin and of the
	// API server.
	toMember, toPortal *link
	kubeconfig         string
	// workload is a Kubernetes token that may manage acme's ApiTokens, and manages an
	// API token that may.
	workload, manages string

	mu     sync.Mutex
	tokens map[string]string // plaintexts, by their public ids
	// withheld are those that the API server minted and nobody was given, and told is
	// where it told of them; asked are the panics that were asked for.
	withheld map[string]string
	told     string
	asked    []string
	// starts counts how often each program was started.
	starts map[string]int

	signingIn sync.Mutex
	browsers  map[string]*browser // in which somebody is signed in, by tenant
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, tokens: map[string]string{}, withheld: map[string]string{}, starts: map[string]int{}, browsers: map[string]*browser{},
		managerProgram: "manager", apiServerProgram: "apiserver",
		bin: filepath.Join(env().Dir, "bin"), home: filepath.Join(env().Dir, "home"), logs: filepath.Join(env().Dir, "logs"),
	}
	for _, dir := range []string{w.home, w.logs} {
		must(t, os.Mkdir(dir, 0o700))
	}
	must(t, controlplane.InstallPrograms(t.Context(), w.bin, "manager", "apiserver", "kubectl-latchkey", "manager"+faulty, "apiserver"+faulty))
	w.installTenants()
	w.startManager()
	w.startAPIServer()
	w.admitMember()
	for _, tenant := range []string{acme, globex, crowded} {
		testenv.Eventually(t, func() error {
			object := &v1alpha1.Tenant{}
			if err := env().Client.Get(t.Context(), client.ObjectKey{Name: tenant}, object); err != nil {
				return err
			}
			if !meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady) {
				return fmt.Errorf("the Tenant %s is not ready: %+v", tenant, object.Status.Conditions)
			}
			return nil
		})
	}
	w.employWorkload()
	w.manages = w.plugin("create", "manages", "--scope", "tokens:read,tokens:write,orders:read", "--lifetime", "48h").token()
	w.works(acme, w.manages)
	return w
}

// installTenants says what the API is: a backend that writes down all that it gets.
func (w *world) installTenants() {
	w.t.Helper()
	file, err := os.Create(filepath.Join(w.logs, "backend.log"))
	must(w.t, err)
	var mu sync.Mutex
	backend := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		dump, err := httputil.DumpRequest(r, true)
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(file, "%s\n%v\n", dump, err)
		_, _ = io.WriteString(answer, "{}")
	}))
	w.t.Cleanup(func() {
		backend.Close()
		_ = file.Close()
	})
	for name, most := range map[string]int32{v1alpha1.DefaultPublicApi: 100_000, crowded: 1} {
		must(w.t, env().Client.Create(w.t.Context(), &v1alpha1.PublicApi{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.PublicApiSpec{
				Backend: v1alpha1.Backend{URL: backend.URL}, BasePath: basePath,
				Scopes:      []v1alpha1.Scope{{Name: "orders:read"}, {Name: "orders:write"}},
				TokenPolicy: v1alpha1.TokenPolicy{SelfRotation: v1alpha1.SelfRotationAllowed, MaxPerTenant: most},
			},
		}))
	}
	for tenant, api := range map[string]string{acme: "", globex: "", crowded: crowded} {
		must(w.t, env().Client.Create(w.t.Context(), &v1alpha1.Tenant{
			ObjectMeta: metav1.ObjectMeta{Name: tenant},
			Spec:       v1alpha1.TenantSpec{PublicApi: api, Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: member}}},
		}))
	}
}

// start starts one of the programs, that logs all it can, each time to another file.
func (w *world) start(name string, config *rest.Config, args ...string) *process.Process {
	w.t.Helper()
	kubeconfig := filepath.Join(env().Dir, name+".kubeconfig")
	writeKubeconfig(w.t, kubeconfig, config, "")
	w.starts[name]++
	p, err := process.Start(process.Command{
		Path: filepath.Join(w.bin, name),
		Args: append([]string{"--kubeconfig=" + kubeconfig, "--base-domain=" + baseDomain, "--log-level=DEBUG"}, args...),
		Env:  []string{"TMPDIR=" + w.home, "GOTRACEBACK=all", fault.MintedVariable + "=" + w.told}, LogFile: w.logOf(name),
	})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, p.Stop(20*time.Second)) })
	return p
}

func (w *world) startManager() {
	w.t.Helper()
	config, err := env().ServiceAccountConfig(w.t.Context(), v1alpha1.SystemNamespace, "latchkey-manager", 12*time.Hour)
	must(w.t, err)
	w.managerMetrics = freeAddress(w.t)
	w.manager = w.start(w.managerProgram, config, "--leader-elect=false", "--metrics-listen="+w.managerMetrics, "--health-listen=0", "--token-expiry-metrics=1000")
}

func (w *world) startAPIServer() {
	w.t.Helper()
	config, err := env().ServiceAccountConfig(w.t.Context(), v1alpha1.SystemNamespace, "latchkey-portal", 12*time.Hour)
	must(w.t, err)
	w.toPortal = newLink(w.t, config)
	w.front, w.gateway, w.admin = freeAddress(w.t), freeAddress(w.t), freeAddress(w.t)
	w.apiServer = w.start(w.apiServerProgram, w.toPortal.config(config), "--listen="+w.front, "--gateway-listen="+w.gateway, "--admin-listen="+w.admin,
		"--max-bad-tokens-per-minute=0", "--trusted-proxies=127.0.0.0/8", "--last-used-interval=1s", "--shutdown-delay=0s")
	testenv.Eventually(w.t, func() error { return answers("http://" + w.admin + "/readyz") })
}

// admitMember gives the tenants' admin a kubeconfig.
func (w *world) admitMember() {
	w.t.Helper()
	config, _, err := env().UserConfig(member)
	must(w.t, err)
	w.toMember = newLink(w.t, config)
	w.kubeconfig = filepath.Join(w.home, "kubeconfig")
	writeKubeconfig(w.t, w.kubeconfig, w.toMember.config(config), v1alpha1.TenantNamespacePrefix+acme)
	direct, err := client.New(config, client.Options{Scheme: testenv.Scheme})
	must(w.t, err)
	for _, tenant := range []string{acme, globex, crowded} {
		testenv.Eventually(w.t, func() error {
			return direct.List(w.t.Context(), &v1alpha1.ApiTokenList{}, client.InNamespace(v1alpha1.TenantNamespacePrefix+tenant))
		})
	}
}

// employWorkload makes a ServiceAccount that may manage acme's ApiTokens.
func (w *world) employWorkload() {
	w.t.Helper()
	const namespace, name = v1alpha1.TenantNamespacePrefix + acme, "robot"
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	must(w.t, env().Client.Create(w.t.Context(), account))
	must(w.t, env().Client.Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1alpha1.TenantAdminClusterRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}))
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"latchkey.dev"}, ExpirationSeconds: new(int64(12 * 3600))}}
	must(w.t, env().Client.SubResource("token").Create(w.t.Context(), account, request))
	w.workload = request.Status.Token
}

// remember keeps a plaintext, to search for it. It returns it.
func (w *world) remember(plaintext string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if parts := strings.Split(plaintext, "_"); len(parts) == 3 {
		w.tokens[parts[1]] = plaintext
	} else {
		w.t.Errorf("no token was issued, but %d bytes that are none", len(plaintext))
	}
	return plaintext
}

// signal sends a signal to a process.
func (w *world) signal(p *process.Process, s syscall.Signal) {
	w.t.Helper()
	must(w.t, syscall.Kill(p.PID(), s))
}

// ran is what a run of the plugin printed. Standard error is in its log.
type ran struct {
	w      *world
	stdout string
	err    error
}

// token wants a token on standard output.
func (r ran) token() string {
	r.w.t.Helper()
	if r.err != nil {
		r.w.t.Errorf("the plugin: %v; see plugin.log", r.err)
	}
	return r.w.remember(strings.TrimSpace(r.stdout))
}

// maybe is the token on standard output, if there is one.
func (r ran) maybe() []string {
	if plaintext := strings.TrimSpace(r.stdout); plaintext != "" {
		return []string{r.w.remember(plaintext)}
	}
	return nil
}

// plugin runs the plugin as acme's admin, as verbose as it can be.
func (w *world) plugin(args ...string) ran {
	w.t.Helper()
	return w.run(command{args: args})
}

// command is a run of the plugin.
type command struct {
	stdin string
	// env is what it gets beside the environment of all.
	args, env []string
}

func (c *command) cmd(ctx context.Context, w *world) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "kubectl-latchkey"), append(c.args, "-v=9")...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "HOME="+w.home, "TMPDIR="+w.home, "KUBECACHEDIR="+filepath.Join(w.home, "cache"))
	cmd.Env = append(cmd.Env, c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	return cmd
}

func (w *world) run(c command) ran {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := c.cmd(ctx, w)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	w.mu.Lock()
	defer w.mu.Unlock()
	log, openErr := os.OpenFile(filepath.Join(w.logs, "plugin.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(w.t, openErr)
	_, writeErr := stderr.WriteTo(log)
	must(w.t, writeErr)
	must(w.t, log.Close())
	return ran{w, stdout.String(), err}
}

// works waits until a token is accepted.
func (w *world) works(tenant, plaintext string) {
	w.t.Helper()
	testenv.Eventually(w.t, func() error {
		a := w.call(tenant, http.MethodGet, basePath+"/orders", "token "+plaintext, "")
		if a.status != http.StatusOK {
			return fmt.Errorf("%d: %.200s", a.status, a.body)
		}
		return nil
	})
}

// answer is what a request got.
type answer struct {
	status int
	body   string
}

// call sends a request that net/http finds well-formed.
func (w *world) call(tenant, method, target, authorization, body string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.front+target, strings.NewReader(body))
	must(w.t, err)
	r.Host = tenant + "." + baseDomain
	r.Header.Set("Authorization", authorization)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(w.t, err)
	return answer{response.StatusCode, string(content)}
}

func answers(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

func writeKubeconfig(t *testing.T, file string, config *rest.Config, namespace string) {
	t.Helper()
	const name = "test"
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	kubeconfig.CurrentContext = name
	must(t, clientcmd.WriteToFile(*kubeconfig, file))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	must(t, err)
	return address
}

var must = check.Must
