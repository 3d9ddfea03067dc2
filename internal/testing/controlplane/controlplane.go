// Package controlplane starts a real etcd, kube-apiserver and, where asked, the controllers
// of Kubernetes that Latchkey depends on, on loopback, for `make run` and for the tests.
package controlplane

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/programs"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 20 * time.Second

	etcdLog      = "etcd.log"
	apiServerLog = "kube-apiserver.log"
)

// Options say what to start.
type Options struct {
	// Binaries is the folder with etcd, kube-apiserver and kube-controllers. See the
	// function Binaries.
	Binaries string
	// Dir keeps certificates and etcd's data. It must exist.
	Dir string
	// LogDir gets the processes' logs. It must exist; empty means Dir.
	LogDir string
	// Controllers also starts kube-controllers, the part of kube-controller-manager
	// that Latchkey depends on: deleted namespaces end, garbage is collected, and
	// ResourceQuotas are enforced.
	Controllers bool
	// AuditLog, if set, is the file to which the API server writes requests and
	// responses in full.
	AuditLog string
}

// ControlPlane is a control plane that was started.
type ControlPlane struct {
	// Config is an administrator's access to it.
	Config *rest.Config

	logDir      string
	environment *envtest.Environment
	apiServer   *envtest.APIServer
	controllers *process.Process
	// components are the processes that were handed out, last the latest.
	components []*Component
}

// Binaries finds or builds the control plane's programs, and returns their folder. Progress
// goes to stderr.
func Binaries() (string, error) {
	return programs.ControlPlane(context.Background(), programs.NewReport(os.Stderr))
}

// Root is the root of the checkout that this process was started in.
func Root() string { return programs.Root() }

// Start starts a control plane and waits until it is usable. When ctx ends
// before, what was started is stopped again.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	cp := &ControlPlane{logDir: cmp.Or(o.LogDir, o.Dir), apiServer: &envtest.APIServer{CertDir: filepath.Join(o.Dir, "pki")}}
	etcd := &envtest.Etcd{DataDir: filepath.Join(o.Dir, "etcd")}
	for _, dir := range []string{cp.apiServer.CertDir, etcd.DataDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	cp.configureAPIServer(o)
	if err := choosePorts(etcd, cp.apiServer); err != nil {
		return nil, err
	}
	logs, err := openLogs(cp.logDir, etcdLog, apiServerLog)
	if err != nil {
		return nil, err
	}
	defer func() { // the children have their own descriptors by then
		for _, log := range logs {
			_ = log.Close()
		}
	}()
	etcd.Out, etcd.Err = logs[0], logs[0]
	cp.apiServer.Out, cp.apiServer.Err = logs[1], logs[1]
	cp.environment = &envtest.Environment{
		UseExistingCluster:       new(false), // else the variable USE_EXISTING_CLUSTER decides
		ControlPlane:             envtest.ControlPlane{APIServer: cp.apiServer, Etcd: etcd},
		BinaryAssetsDirectory:    o.Binaries,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopTimeout,
	}
	// The folder is given, so an inherited KUBEBUILDER_ASSETS must not override it.
	cp.apiServer.Path = filepath.Join(o.Binaries, "kube-apiserver")
	etcd.Path = filepath.Join(o.Binaries, "etcd")

	if cp.Config, err = cp.environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane (logs in %s): %w", cp.logDir, err), cp.Stop())
	}
	if o.Controllers && ctx.Err() == nil {
		err = cp.startControllers(ctx, o)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return cp, nil
}

// choosePorts chooses the ports that envtest would ask the kernel for.
func choosePorts(etcd *envtest.Etcd, apiServer *envtest.APIServer) error {
	client, err := freeport.Address()
	if err != nil {
		return err
	}
	peer, err := freeport.Address()
	if err != nil {
		return err
	}
	port, err := freeport.Port()
	if err != nil {
		return err
	}
	etcd.URL = &url.URL{Scheme: "http", Host: client}
	etcd.Configure().Set("listen-peer-urls", "http://"+peer)
	apiServer.ListenAddr = envtest.ListenAddr{Address: "127.0.0.1", Port: strconv.Itoa(port)}
	return nil
}

func (cp *ControlPlane) configureAPIServer(o Options) {
	args := cp.apiServer.Configure()
	// The tests' clients share one flow; fairness between them is not their subject.
	args.Set("enable-priority-and-fairness", "false")
	args.Set("max-requests-inflight", "4000").Set("max-mutating-requests-inflight", "2000")
	if o.AuditLog != "" {
		policy := filepath.Join(o.Dir, "audit-policy.yaml")
		content := "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n"
		if err := os.WriteFile(policy, []byte(content), 0o600); err == nil {
			args.Set("audit-policy-file", policy).Set("audit-log-path", o.AuditLog)
		}
	}
}

func openLogs(dir string, names ...string) ([]*os.File, error) {
	files := make([]*os.File, 0, len(names))
	for _, name := range names {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (cp *ControlPlane) startControllers(ctx context.Context, o Options) error {
	kubeconfig := filepath.Join(o.Dir, "kube-controllers.kubeconfig")
	if err := cp.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	health, err := freeport.Address()
	if err != nil {
		return err
	}
	cp.controllers, err = process.Start(process.Command{
		Path:    filepath.Join(o.Binaries, "kube-controllers"),
		Args:    []string{"--kubeconfig=" + kubeconfig, "--health-listen=" + health},
		LogFile: filepath.Join(cp.logDir, "kube-controllers.log"),
	})
	if err != nil {
		return err
	}
	return cp.waitForControllers(ctx, "http://"+health+"/healthz")
}

func (cp *ControlPlane) waitForControllers(ctx context.Context, healthz string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := client.Get(healthz); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-cp.controllers.Done():
			return cp.controllers.Err()
		case <-ctx.Done():
			return fmt.Errorf("kube-controllers is not healthy: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop ends the control plane's processes.
func (cp *ControlPlane) Stop() error {
	var err error
	if cp.controllers != nil {
		err = cp.controllers.Stop(stopTimeout)
	}
	for _, c := range cp.components {
		err = errors.Join(err, c.stop())
	}
	return errors.Join(err, cp.environment.Stop())
}

// EtcdURL is where etcd answers, to anybody on this machine.
func (cp *ControlPlane) EtcdURL() string { return cp.environment.ControlPlane.Etcd.URL.String() }

// WriteKubeconfig writes an administrator's kubeconfig to a file with mode 0600.
func (cp *ControlPlane) WriteKubeconfig(file string) error {
	return os.WriteFile(file, cp.environment.KubeConfig, 0o600)
}

// UserConfig is the access of a user with the groups, by client certificate.
func (cp *ControlPlane) UserConfig(name string, groups ...string) (*rest.Config, []byte, error) {
	user, err := cp.environment.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("add user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("kubeconfig of user %s: %w", name, err)
	}
	return user.Config(), bytes.TrimSpace(kubeconfig), nil
}

// ServiceAccountConfig is the access of a ServiceAccount, by a token that the API
// server issues for the time given.
func (cp *ControlPlane) ServiceAccountConfig(ctx context.Context, namespace, name string, valid time.Duration) (*rest.Config, error) {
	admin, err := kubernetes.NewForConfig(cp.Config)
	if err != nil {
		return nil, err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(valid.Seconds()))}}
	issued, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	config := rest.AnonymousClientConfig(cp.Config)
	config.BearerToken = issued.Status.Token
	config.QPS, config.Burst = cp.Config.QPS, cp.Config.Burst
	return config, nil
}

// insecureTransport accepts any certificate: only the health of a process on loopback is
// asked for.
func insecureTransport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
}
