//go:build linux

package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

const (
	baseDomain = "example.com"
	// stopGrace is how long a process may take to end.
	stopGrace = time.Minute
	// maxStaleness is the least that the API server takes.
	maxStaleness = 2 * time.Minute
)

// tenants are those of the constant traffic; each is the other's stranger.
var tenants = []string{"acme", "globex"}

// world is an installation: the control plane, managers, replicas of the API server, and
// a backend.
type world struct {
	t   *testing.T
	dir string
	// client is an administrator's, past every link, without a limit on its rate.
	client    client.WithWatch
	apiServer *controlplane.Component
	etcd      *controlplane.Component
	// toEtcd is between the two, once a scenario has asked for it. It outlives the API
	// server, which is stopped last.
	toEtcd   *link.Link
	backend  *httptest.Server
	managers []*manager
	replicas []*replica
	serial   int
}

var must = check.Must

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: env().Dir, backend: newBackend(t)}
	config := rest.CopyConfig(env().Config)
	config.QPS = -1
	var err error
	w.client, err = client.NewWithWatch(config, client.Options{Scheme: testenv.Scheme})
	must(t, err)
	w.apiServer, err = env().APIServer()
	must(t, err)
	w.etcd, err = env().Etcd()
	must(t, err)
	must(t, controlplane.InstallPrograms(t.Context(), w.dir, "manager", "apiserver", faultyServer))
	w.createPublicApi("default", w.backend.URL, 30*time.Second)
	w.startManagers()
	t.Cleanup(w.stopManagers)
	for _, name := range tenants {
		w.createTenant(name, "default")
	}
	for _, name := range []string{"one", "two"} {
		w.replicas = append(w.replicas, w.newReplica(name, w.program("apiserver")))
	}
	return w
}

func (w *world) program(name string) string { return filepath.Join(w.dir, name) }

// createPublicApi makes a PublicApi without an OpenAPI document: any token that works
// opens everything below its base path. patience is how long its backend may be silent.
func (w *world) createPublicApi(name, backend string, patience time.Duration) {
	w.t.Helper()
	api := &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: name}}
	api.Spec.BasePath, api.Spec.Backend.URL = "/api/v1", backend
	api.Spec.Backend.ResponseHeaderTimeout = &metav1.Duration{Duration: patience}
	api.Spec.TokenPolicy.MaxPerTenant = 100_000
	must(w.t, w.client.Create(w.t.Context(), api))
}

// createTenant waits until the tenant has its namespace.
func (w *world) createTenant(name, api string) {
	w.t.Helper()
	tenant := &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	tenant.Spec.PublicApi = api
	must(w.t, w.client.Create(w.t.Context(), tenant))
	testenv.Eventually(w.t, func() error {
		if err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(tenant.Status.Conditions, v1alpha1.ConditionReady) {
			return fmt.Errorf("the Tenant %s is not ready: %v", name, tenant.Status.Conditions)
		}
		return nil
	})
}

// streamPath is where the backend answers with a line now and then, for ever.
const streamPath = "/api/v1/stream"

// newBackend answers with the tenant that it was told of.
func newBackend(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant := r.Header.Get("Latchkey-Tenant")
		if r.URL.Path != streamPath {
			fmt.Fprint(w, tenant)
			return
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := fmt.Fprintln(w, tenant); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// access is a file with the rights of one of our ServiceAccounts, at an address that
// leads to the API server; ca is nil for the API server's own.
func (w *world) access(account, name, address string, ca []byte) string {
	w.t.Helper()
	config, err := env().ServiceAccountConfig(w.t.Context(), v1alpha1.SystemNamespace, account, 24*time.Hour)
	must(w.t, err)
	tokens := filepath.Join(w.dir, name+".token")
	must(w.t, os.WriteFile(tokens, []byte(config.BearerToken), 0o600))
	config.BearerToken, config.BearerTokenFile = "", tokens // as in a pod
	config.Host = "https://" + address
	if ca != nil {
		config.CAData = ca
	}
	file := filepath.Join(w.dir, name+".kubeconfig")
	must(w.t, controlplane.SaveKubeconfig(file, account, v1alpha1.SystemNamespace, config))
	return file
}

// planeAddress is the address of the kube-apiserver.
func planeAddress() string {
	return strings.TrimSuffix(strings.TrimPrefix(env().Config.Host, "https://"), "/")
}

func planeURL() string { return "https://" + planeAddress() }

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	must(t, err)
	return address
}

// manager is a process of the manager.
type manager struct {
	*process.Process
	program, name, kubeconfig string
	more                      []string
}

// startManagers starts two, of which one leads.
func (w *world) startManagers() {
	w.t.Helper()
	for _, name := range []string{"manager-1", "manager-2"} {
		w.managers = append(w.managers, w.startManager(name, w.access("latchkey-manager", name, planeAddress(), nil)))
	}
}

// startManager waits until the manager is ready, which says nothing of whether it leads.
func (w *world) startManager(name, kubeconfig string, more ...string) *manager {
	w.t.Helper()
	return w.startManagerAt(w.program("manager"), name, kubeconfig, more...)
}

func (w *world) startManagerAt(program, name, kubeconfig string, more ...string) *manager {
	w.t.Helper()
	health := freeAddress(w.t)
	p, err := process.Start(process.Command{
		Path:    program,
		Args:    append([]string{"--kubeconfig=" + kubeconfig, "--base-domain=" + baseDomain, "--health-listen=" + health, "--metrics-listen=0", "--log-level=WARN"}, more...),
		LogFile: w.log(name),
	})
	must(w.t, err)
	awaitReady(w.t, p, health)
	return &manager{p, program, name, kubeconfig, more}
}

// signal sends a signal, such as one that stops the manager where it is.
func (m *manager) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	must(t, syscall.Kill(m.PID(), signal))
}

// reviveManagers starts those again that have ended, as kubelet does: a manager ends itself
// when it can't renew its lease.
func (w *world) reviveManagers() {
	w.t.Helper()
	for n, m := range w.managers {
		select {
		case <-m.Done():
			w.managers[n] = w.startManagerAt(m.program, m.name, m.kubeconfig, m.more...)
		default:
		}
	}
}

func (w *world) stopManagers() {
	for _, m := range w.managers {
		if err := m.Stop(stopGrace); err != nil {
			w.t.Error(err)
		}
	}
	w.managers = nil
}

// log is a file that no other process writes. Its end is shown where the test fails.
func (w *world) log(name string) string {
	w.serial++
	file := filepath.Join(w.dir, fmt.Sprintf("%s-%d.log", name, w.serial))
	t := w.t
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s ends with:\n%s", file, process.Tail(file, 10))
		}
	})
	return file
}

// awaitReady waits until a process says that it is ready.
func awaitReady(t *testing.T, p *process.Process, address string) {
	t.Helper()
	testenv.Eventually(t, func() error {
		select {
		case <-p.Done():
			t.Fatal(p.Err())
		default:
		}
		return ready(address)
	})
}

func ready(address string) error {
	probes := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	response, err := probes.Get("http://" + address + "/readyz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is not ready: %s: %s", address, response.Status, body)
	}
	return err
}

// etcdCall calls etcd's API in JSON.
func (w *world) etcdCall(ctx context.Context, method, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, env().EtcdURL()+"/v3/"+method, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("etcd: " + method + ": " + response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
