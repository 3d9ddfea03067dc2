package story_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// guideBlocks are the commands of a guide, as written.
func guideBlocks(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "guides", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("the guide %s has no commands", name)
	}
	return strings.Join(blocks, "\n")
}

// The guides for tokens are run as written, against what make run starts, by the
// tenant's admin; only ports and folders are this test's.
func TestGuides(t *testing.T) {
	i := startAt(t, "localhost")
	here := strings.NewReplacer(
		"http://acme.localhost:8080", fmt.Sprintf("http://acme.localhost:%d", i.summary.HTTPPort),
		"$PWD/.run/acme-admin.kubeconfig", i.summary.MemberKubeconfig, "$PWD/.run/bin", filepath.Join(i.dir, "bin"),
		"$PWD/.run/kubeconfig", i.summary.Kubeconfig,
		".run/kubeconfig", i.summary.Kubeconfig,
		".run/acme-admin.kubeconfig", i.summary.MemberKubeconfig,
		"go tool -modfile=hack/tools/oapi-codegen/go.mod oapi-codegen", fmt.Sprintf(
			"$(go -C %q tool -modfile=hack/tools/oapi-codegen/go.mod -n oapi-codegen)", controlplane.Root()), // the folder here is no module
		"config/components", filepath.Join(controlplane.Root(), "config", "components"),
	)
	for _, guide := range []struct{ name, before, after string }{
		{name: "audit", after: `head -1 audit.csv | grep -q '^namespace,name,'; grep -q '"auditedAt"' audit.json`},
		{name: "rotate-without-downtime", after: `[ "$(stat -c %a new-tokens/web.token)" = 600 ]; [ "$OLD" != "$NEW" ]; [ "$NEW" != "$NEWER" ]`},
		{
			// One token is found by somebody, one is its owner's to revoke by name, and one
			// is in use. At the end none works, the ones that the guide made included.
			name: "leaked-token",
			before: `TOKEN=$(kubectl latchkey create found -n tenant-acme --lifetime 1h)
				kubectl latchkey create leaked -n tenant-acme --lifetime 1h --output-file leaked.token
				kubectl latchkey create other -n tenant-acme --lifetime 1h --output-file other.token
				FOUND=$TOKEN`,
			after: `[ "$NEW" != "$(cat other.token)" ]
				url=http://acme.localhost:8080/api/v1/token
				refused() { curl -sS -o answer "$url" -H "Authorization: token $1"; grep -q "#$2\"" answer || { cat answer; exit 1; }; }
				for t in "$FOUND" "$(cat leaked.token)" "$NEW" "$TOKEN"; do refused "$t" token-revoked; done`,
		},
		{name: "token-api", after: `kubectl get apitoken warehouse -n tenant-acme -o jsonpath='{.spec.revoked}' | grep -q true; curl -sS -H "Authorization: token $TOKEN" "$API/token" | grep -q token-revoked`},
		{name: "publish-your-api", after: publishedClient},
		{name: "settings", before: aBrowser, after: `grep -qi '^set-cookie: __Host-latchkey-session=' headers; kubectl get tenant acme -o yaml | grep -q oidc:acme-admins`},
		{name: "gitops", after: `[ -n "$TOKEN" ]; ! kubectl get apitoken nightly`},
	} {
		t.Run(guide.name, func(t *testing.T) {
			script := here.Replace(strings.Join([]string{guide.before, guideBlocks(t, guide.name), guide.after}, "\n"))
			bin := filepath.Join(i.dir, "bin")
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "KUBECONFIG="+i.summary.MemberKubeconfig, "PATH="+bin+":"+os.Getenv("PATH"), "KUBECACHEDIR="+filepath.Join(t.TempDir(), "cache"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// aBrowser signs in by what kubectl latchkey settings would open in one: it posts the
// form of the page on loopback, and the one that Settings asks with whether to go on.
const aBrowser = `
cat >browser <<'END'
#!/bin/bash
set -euo pipefail
value() { sed -n "s|.*$1=\"\([^\"]*\)\".*|\1|p" | head -1; }
page=$(curl -sS --fail "$1")
action=$(value action <<<"$page")
asked=$(curl -sS --fail --data-urlencode "token=$(value 'name="token" value' <<<"$page")" \
  -H "Origin: null" -H "Sec-Fetch-Site: cross-site" "$action")
curl -sS --fail -D headers -o /dev/null --data-urlencode "token=$(value 'name="token" value' <<<"$asked")" \
  -H "Origin: ${action%/settings/*}" -H "Sec-Fetch-Site: same-origin" "$action"
END
chmod +x browser
export BROWSER=$PWD/browser
`

// publishedClient compiles the client that the guide generates, and calls the API
// with it.
const publishedClient = `
cat >go.mod <<END
module example.com/shop

go 1.26
END
mkdir shop && mv client.go shop/
cat >main.go <<'END'
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"example.com/shop/shop"
)

func main() {
	withToken := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "token "+os.Getenv("TOKEN"))
		return nil
	}
	// Go's resolver, unlike curl and browsers, does not know names below localhost.
	loopback := func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(address)
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}
	local := &http.Client{Transport: &http.Transport{DialContext: loopback}}
	client, err := shop.NewClientWithResponses(os.Args[1], shop.WithRequestEditorFn(withToken), shop.WithHTTPClient(local))
	if err != nil {
		panic(err)
	}
	orders, err := client.ListOrdersWithResponse(context.Background(), &shop.ListOrdersParams{})
	if err != nil {
		panic(err)
	}
	self, err := client.GetTokenWithResponse(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(orders.StatusCode(), len(orders.JSON200.Items) > 0, self.JSON200.Name)
}
END
go mod edit -require=github.com/oapi-codegen/runtime@v1.8.0 && GOFLAGS=-mod=mod go build -o client .
server=$(sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' openapi.json | head -1)
got=$(TOKEN=$TOKEN ./client "$server")
[ "$got" = "200 true reader" ] || { echo "the client at $server printed: $got"; exit 1; }
`
