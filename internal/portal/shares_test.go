package portal_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/portal"
	apitokens "github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// While one tenant asks for its tokens as fast as it can, another's revocations wait for a
// turn among the portal's requests to the cluster, and not behind those of the first.
func TestAFloodOfOneTenantOnlySlowsItself(t *testing.T) {
	i := install(t)
	reader := i.make("acme", "reader", v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeTokensRead}})
	writer := i.make("globex", "writer", v1alpha1.ApiTokenSpec{Scopes: []string{v1alpha1.ScopeTokensWrite}})
	i.works("acme", reader)
	i.works("globex", writer)
	const revocations = 10
	var doomed []string
	for n := range revocations {
		name := fmt.Sprint("doomed-", n)
		i.works("globex", i.make("globex", name, v1alpha1.ApiTokenSpec{}))
		doomed = append(doomed, name)
	}
	asked := func() int {
		i.mu.Lock()
		defer i.mu.Unlock()
		return len(i.asked)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flood sync.WaitGroup
	defer flood.Wait()
	before := asked()
	for range 150 {
		flood.Go(func() {
			for ctx.Err() == nil {
				i.ask(ctx, tokens+"/reader", reader)
			}
		})
	}
	testenv.Eventually(t, func() error { // the burst is used up, and requests wait
		if n := asked() - before; n < 300 {
			return fmt.Errorf("%d requests of the flood reached the cluster", n)
		}
		return nil
	})
	for _, name := range doomed {
		began := asked()
		if a := i.call("globex", http.MethodDelete, tokens+"/"+name, writer); a.status != http.StatusNoContent {
			t.Errorf("a revocation amid the flood is answered %d %s", a.status, a.body)
		}
		// It takes two requests. Before them may pass what was let through already.
		if passed := asked() - began; passed > 60 {
			t.Errorf("a revocation waited for %d requests of another tenant", passed)
		}
	}
	stop()
}

// ask asks acme's host for something, and takes any answer.
func (i *installation) ask(ctx context.Context, target, plaintext string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, i.front.URL+target, http.NoBody)
	if err != nil {
		i.t.Error(err)
		return
	}
	r.Host = "acme." + i.site.domain
	r.Header.Set("Authorization", "token "+plaintext)
	if response, err := i.front.Client().Do(r); err == nil {
		_ = response.Body.Close()
	}
}

// paddedCluster serves ApiTokens whose annotations are large, a page at a time, as
// kube-apiserver does.
type paddedCluster struct {
	objects, padding int

	mu     sync.Mutex
	limits []int
}

// ServeHTTP implements http.Handler.
func (c *paddedCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	c.mu.Lock()
	c.limits = append(c.limits, limit)
	c.mu.Unlock()
	from := 0
	if next := r.URL.Query().Get("continue"); next != "" {
		decoded, _ := base64.RawURLEncoding.DecodeString(next)
		from, _ = strconv.Atoi(string(decoded))
	}
	to := min(c.objects, from+limit)
	list := &v1alpha1.ApiTokenList{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ApiTokenList"}}
	for n := from; n < to; n++ {
		list.Items = append(list.Items, v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("token-", n), Namespace: "tenant-acme", Annotations: map[string]string{"example.com/padding": strings.Repeat("x", c.padding)},
		}})
	}
	if to < c.objects {
		list.Continue = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// A list of ApiTokens is read in pieces that fit into memory, however much a tenant has
// padded them, and is complete.
func TestPaddedApiTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		padding int
		limits  []int
	}{
		"ordinary":      {100, []int{50, 50, 20}},
		"as etcd takes": {1400 << 10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := &paddedCluster{objects: 120, padding: tc.padding}
			server := httptest.NewServer(c)
			defer server.Close()
			kubernetes, err := portal.NewClient(&rest.Config{Host: server.URL})
			must(t, err)
			logger := slog.New(slog.DiscardHandler)
			service := apitokens.New(apitokens.Config{Client: kubernetes, Directory: directory.New(logger), TokenPrefix: "lk", Clock: clock.RealClock{}, Logger: logger})
			call := &apitokens.Call{
				Tenant: &directory.Tenant{Name: "acme", Namespace: "tenant-acme"},
				Caller: apitokens.Caller{Token: &directory.Token{Scopes: []string{v1alpha1.ScopeTokensRead}}},
			}
			var names []string
			next, err := service.List(t.Context(), call, 120, "", func(token *v1alpha1.ApiToken) { names = append(names, token.Name) })
			must(t, err)
			if next != "" || len(names) != 120 || len(slices.Compact(names)) != 120 || names[119] != "token-119" {
				t.Errorf("%d ApiTokens were listed, and then %q", len(names), next)
			}
			if tc.limits != nil && !slices.Equal(c.limits, tc.limits) {
				t.Errorf("pages of %v were asked for, want %v", c.limits, tc.limits)
			}
			if most := slices.Max(c.limits[1:]); tc.limits == nil && (most > 6 || len(c.limits) > 150) {
				t.Errorf("after one that was too large, %d pages were asked for, of at most %d", len(c.limits), most)
			}
		})
	}
}
