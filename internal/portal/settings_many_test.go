package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const manyTokens = 1000

// A list of many tokens is paged, searched and filtered over all of them. How long that
// takes is printed, and is nothing that a busy machine should fail for.
func TestSettingsManyTokens(t *testing.T) {
	i := install(t)
	v := i.visitor("acme")
	v.enter("ticket", "grace")
	i.fill("acme")
	measured := func(target string, texts ...string) string {
		t.Helper()
		begun := time.Now()
		content := v.get(target).page(http.StatusOK, texts...)
		t.Logf("%s took %s, and has %d bytes", target, time.Since(begun), len(content))
		return content
	}
	rows := func(content string) int { return strings.Count(content, `<th role="rowheader"`) }
	if n := rows(measured("/settings", "ci-0000", "1,000")); n != 50 {
		t.Errorf("the first page has %d tokens", n)
	}
	if content := measured("/settings?page=20", "ci-0999"); rows(content) != 50 {
		t.Errorf("the last page has %d tokens", rows(content))
	}
	if content := measured("/settings?q=ci-0432", "/settings/tokens/ci-0432"); rows(content) != 1 {
		t.Errorf("the search finds %d tokens", rows(content))
	}
	measured("/settings?show=without-owner&sort=-created", "ci-0990")
	measured("/settings?show=mine", "Nothing matches")

	var together errgroup.Group
	begun := time.Now()
	for range 4 {
		together.Go(func() error {
			if a := (&visitor{i: i, tenant: "acme", cookies: v.cookies}).get("/settings"); a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
	}
	must(t, together.Wait())
	t.Logf("4 at the same time took %s", time.Since(begun))
}

// fill has the server find many tokens: copies of one that was issued, in a list as the
// API server writes it. Creating them would keep it busy for minutes.
func (i *installation) fill(tenant string) {
	t := i.t
	t.Helper()
	i.make(tenant, "ci", v1alpha1.ApiTokenSpec{Description: "what a job does", Scopes: []string{"orders:read", "orders:write"}})
	var list v1alpha1.ApiTokenList
	must(t, env().Client.List(t.Context(), &list, client.InNamespace(namespaceOf(t, tenant))))
	mold := list.Items[slices.IndexFunc(list.Items, func(o v1alpha1.ApiToken) bool { return o.Name == "ci" })]
	begun := time.Now().Add(-2 * time.Hour)
	list.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ApiTokenList"}
	list.Items = nil
	for n := range manyTokens {
		o := mold.DeepCopy()
		o.Name, o.UID = fmt.Sprintf("ci-%04d", n), types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
		o.CreationTimestamp = metav1.NewTime(begun.Add(time.Duration(n) * time.Second))
		if o.Spec.Owner = "ada@example.com"; n%10 == 0 {
			o.Spec.Owner = ""
		}
		list.Items = append(list.Items, *o)
	}
	body, err := json.Marshal(list)
	must(t, err)
	answer := func(r *http.Request) *http.Response {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/namespaces/"+namespaceOf(t, tenant)+"/apitokens") {
			return nil
		}
		return &http.Response{
			StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		}
	}
	i.inPlace.Store(&answer)
}
