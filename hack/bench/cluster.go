package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// benchTenant is the tenant whose tokens are made and ended one by one, and whose
// host gets the load of a single token.
const benchTenant = "bench"

// cluster is a real control plane with Latchkey installed.
type cluster struct {
	bench *bench
	dir   string
	plane *controlplane.ControlPlane
	// client is an administrator's, without a limit on its rate.
	client client.WithWatch
	// manager is nil while it is not wanted.
	manager *manager
	// kubeconfigs are the files with the access of our ServiceAccounts.
	kubeconfigs map[string]string
	// made are the tenants for large numbers of tokens, by their number, and issued
	// are the tokens that work.
	made   map[int]bool
	issued []issuedToken
	// perTenant is how many tokens a tenant gets before the next one is made.
	perTenant int
}

func (b *bench) startCluster(ctx context.Context, name string) (*cluster, error) {
	b.say("starting control plane %q …", name)
	binaries, err := controlplane.Binaries()
	if err != nil {
		return nil, err
	}
	c := &cluster{bench: b, dir: b.path(name), kubeconfigs: map[string]string{}, made: map[int]bool{}, perTenant: tokensPerTenant}
	logs := b.path("logs", name)
	if err := errors.Join(os.Mkdir(c.dir, 0o700), os.Mkdir(logs, 0o700)); err != nil {
		return nil, err
	}
	c.plane, err = controlplane.Start(ctx, controlplane.Options{Binaries: binaries, Dir: c.dir, LogDir: logs, Controllers: b.whole})
	if err != nil {
		return nil, err
	}
	b.onStop(c.plane.Stop)
	config := rest.CopyConfig(c.plane.Config)
	config.QPS = -1
	if c.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	if err := c.install(ctx, filepath.Join(binaries, "kubectl")); err != nil {
		return nil, err
	}
	if err := c.client.Create(ctx, newPublicApi("http://"+b.backend.address)); err != nil {
		return nil, err
	}
	if err := c.startManager(ctx); err != nil {
		return nil, err
	}
	return c, c.addTenant(ctx, benchTenant)
}

// install applies what an installation has besides its Deployments.
func (c *cluster) install(ctx context.Context, kubectl string) error {
	kubeconfig := filepath.Join(c.dir, "admin.kubeconfig")
	if err := c.plane.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "--kustomize=" + filepath.Join(controlplane.Root(), "config", "cluster")},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=1m"},
	} {
		cmd := exec.CommandContext(ctx, kubectl, append(args, "--kubeconfig="+kubeconfig)...)
		cmd.Env = append(os.Environ(), "KUBECACHEDIR="+filepath.Join(c.dir, "kubectl-cache"), "KUBERC=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// kubeconfig is a file with the access of one of our ServiceAccounts.
func (c *cluster) kubeconfig(ctx context.Context, account string) (string, error) {
	if file := c.kubeconfigs[account]; file != "" {
		return file, nil
	}
	access, err := c.plane.ServiceAccountConfig(ctx, v1alpha1.SystemNamespace, account, 24*time.Hour)
	if err != nil {
		return "", err
	}
	file := filepath.Join(c.dir, account+".kubeconfig")
	if err := controlplane.SaveKubeconfig(file, account, v1alpha1.SystemNamespace, access); err != nil {
		return "", err
	}
	c.kubeconfigs[account] = file
	return file, nil
}

// addTenant makes a Tenant and waits for its namespace. The manager must run.
func (c *cluster) addTenant(ctx context.Context, name string) error {
	tenant := &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.client.Create(ctx, tenant); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return false, err
		}
		if stalled := meta.FindStatusCondition(tenant.Status.Conditions, v1alpha1.ConditionStalled); stalled != nil && stalled.Status == metav1.ConditionTrue {
			return false, fmt.Errorf("the Tenant %s is stalled: %s", name, stalled.Message)
		}
		return meta.IsStatusConditionTrue(tenant.Status.Conditions, v1alpha1.ConditionReady), nil
	})
}
