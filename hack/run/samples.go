package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// What config/samples names. The token is issued for the first tenant.
const (
	tenantName      = "acme"
	tenantNamespace = v1alpha1.TenantNamespacePrefix + tenantName
	memberName      = "acme-admin"
	tokenName       = "ci"
)

var sampleTenants = []string{tenantName, "globex"}

// applySamples says what the Public API is, makes the tenants, and asks for
// their tokens.
func (s *session) applySamples(ctx context.Context) error {
	platform, err := s.platformOverlay()
	if err != nil {
		return err
	}
	const awaiting = `jsonpath={.status.conditions[?(@.type=="` + v1alpha1.ConditionActive + `")].reason}=` + v1alpha1.ReasonAwaitingCredential
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", platform},
		{"wait", "--for=condition=" + v1alpha1.ConditionReady, "publicapis", "--all", "--timeout=" + patience.String()},
		{"wait", "--for=condition=" + v1alpha1.ConditionReady, "tenants", "--all", "--timeout=" + patience.String()},
		{"apply", "--server-side", "-k", filepath.Join("config", "samples", "tokens")},
		{"wait", "--for=" + awaiting, "apitokens", "--all", "--all-namespaces", "--timeout=" + patience.String()},
	} {
		if err := s.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// platformOverlay is a folder for kubectl apply -k, with the samples of the
// platform team and the address of the backend that runs here.
func (s *session) platformOverlay() (string, error) {
	folder := s.files.samples("")
	// kustomize wants relative paths, and finds out for itself where they lead.
	resolved, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(controlplane.Root())
	if err != nil {
		return "", err
	}
	samples, err := filepath.Rel(resolved, filepath.Join(root, "config", "samples", "platform"))
	if err != nil {
		return "", err
	}
	kustomization := fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- %q
patches:
- target:
    kind: PublicApi
    name: default
  patch: |-
    - op: replace
      path: /spec/backend
      value:
        url: %s
`, samples, s.backendURL)
	return folder, writeFile(s.files.samples("kustomization.yaml"), []byte(kustomization), 0o600)
}

// issuedToken is what the plugin printed. The token is in no file.
type issuedToken struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// issue has a member of the tenant issue the token, as people do: with the
// plugin, and no more rights than a member has.
func (s *session) issue(ctx context.Context) error {
	config, _, err := s.controlPlane.UserConfig(memberName)
	if err != nil {
		return err
	}
	if err := controlplane.SaveKubeconfig(s.files.memberKubeconfig(), memberName, tenantNamespace, config); err != nil {
		return err
	}
	if err := eventually(ctx, s.memberMayIssue); err != nil {
		return err
	}
	output, err := s.client("kubectl-latchkey", s.files.memberKubeconfig(),
		"issue", tokenName, "--namespace="+tenantNamespace, "--output=json", "--wait="+patience.String()).run(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(output, &s.token); err != nil || s.token.Token == "" {
		return fmt.Errorf("kubectl-latchkey issue --output=json did not print a token in JSON: %w", err)
	}
	return nil
}

// memberMayIssue waits for the API server to notice the member's RoleBinding.
func (s *session) memberMayIssue(ctx context.Context) error {
	_, err := s.client("kubectl", s.files.memberKubeconfig(), "auth", "can-i", "patch", "apitokens.latchkey.dev", "--quiet").run(ctx)
	if err != nil {
		return fmt.Errorf("user %s, a member of tenant %s, has no right to issue its tokens: %w", memberName, tenantName, err)
	}
	return nil
}
