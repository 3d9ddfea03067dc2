package controllers_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/controllers"
	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// shopDocument has four operations below /api/v1.
const shopDocument = `openapi: 3.1.0
info: {title: Shop, version: "%s"}
servers: [{url: /api/v1}]
components:
  securitySchemes:
    oauth: {type: oauth2, flows: {clientCredentials: {tokenUrl: /t, scopes: {"orders:read": See orders., "orders:write": Change orders.}}}}
paths:
  /orders:
    get: {security: [{oauth: ["orders:read"]}], responses: {"200": {description: Orders.}}}
    post: {security: [{oauth: ["orders:write"]}], responses: {"201": {description: The order.}}}
  /me:
    get: {security: [{oauth: []}], responses: {"200": {description: Me.}}}
  /status:
    get: {security: [], responses: {"200": {description: Up.}}}
`

// origin is a backend that serves a document, and remembers how it was asked.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	answer   http.HandlerFunc
	requests []http.Header
}

func newOrigin(t *testing.T, text string) *origin {
	t.Helper()
	o := &origin{}
	o.serve(document200(text))
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.requests = append(o.requests, r.Header.Clone())
		o.answer(w, r)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(answer http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *origin) asked() []http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]http.Header(nil), o.requests...)
}

// document200 gives the document, or says that it has not changed.
func document200(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf(`"%d"`, len(text))
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, text)
	}
}

func fromPath(o *origin) func(*v1alpha1.PublicApi) {
	return func(a *v1alpha1.PublicApi) {
		a.Spec.Backend.URL = o.URL
		a.Spec.Scopes = nil
		a.Spec.OpenAPI = &v1alpha1.OpenAPI{Path: "/openapi.yaml", RefreshInterval: &metav1.Duration{Duration: time.Minute}}
	}
}

// storedDocument is what the manager keeps of a PublicApi's document.
func storedDocument(api *v1alpha1.PublicApi) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: document.Name(api.Name)}}
}

func wantStored(t *testing.T, api *v1alpha1.PublicApi, text string) {
	t.Helper()
	testenv.Eventually(t, func() error {
		stored := storedDocument(api)
		if err := get(t, stored); err != nil {
			return err
		}
		decoded, err := document.Decode(stored)
		if err == nil && string(decoded.Text) != text {
			err = fmt.Errorf("stored is %q, want %q", decoded.Text, text)
		}
		return err
	})
}

// again has the manager look at a PublicApi once the time has come.
func again(t *testing.T, clock *clocktesting.FakeClock, api *v1alpha1.PublicApi) {
	t.Helper()
	clock.Step(2 * time.Minute)
	change(t, api, func(a *v1alpha1.PublicApi) {
		metav1.SetMetaDataAnnotation(&a.ObjectMeta, "test/looked-at", clock.Now().String())
	})
}

func TestDocumentIsFetchedFromTheBackend(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	withClock := func(o *controllers.Options) { o.Clock = clock }
	first := fmt.Sprintf(shopDocument, "1")
	o := newOrigin(t, first)
	stop := startManager(t, withClock)
	api := publicApi(t, fromPath(o))
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
	waitFor(t, api, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonAccepted)
	wantStored(t, api, first)
	d := api.Status.Document
	if d == nil || d.Title != "Shop" || d.Version != "1" || d.Operations != 4 || d.Digest != document.Digest([]byte(first)) || d.ConfigMap != document.Name(api.Name) {
		t.Errorf("status.document = %+v", d)
	}
	if want := []v1alpha1.Scope{{Name: "orders:read", Description: "See orders."}, {Name: "orders:write", Description: "Change orders."}}; len(d.Scopes) != 2 || d.Scopes[0] != want[0] || d.Scopes[1] != want[1] {
		t.Errorf("scopes are %+v, want %+v", d.Scopes, want)
	}

	// Asked again, it has not changed; then it has.
	again(t, clock, api)
	testenv.Eventually(t, func() error {
		if asked := o.asked(); len(asked) != 2 || asked[1].Get("If-None-Match") == "" {
			return fmt.Errorf("asked %d times, the last with %v", len(asked), asked[len(asked)-1])
		}
		return nil
	})
	second := fmt.Sprintf(shopDocument, "1.1")
	o.serve(document200(second))
	again(t, clock, api)
	wantStored(t, api, second)

	// It fails, and the last good one stays, also for a new manager.
	for what, answer := range map[string]struct {
		serve  http.HandlerFunc
		reason string
		says   string
	}{
		"an error":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, v1alpha1.ReasonDocumentFetchFailed, "502"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, v1alpha1.ReasonDocumentFetchFailed, "302"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, document.MaxBytes+1))
		}, v1alpha1.ReasonDocumentFetchFailed, "too large"},
		"half of it": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, first[:100])
		}, v1alpha1.ReasonDocumentFetchFailed, "broke off"},
		"a page":          {document200("<html>Sign in</html>"), v1alpha1.ReasonDocumentInvalid, ""},
		"another format":  {document200("swagger: '2.0'\ninfo: {title: a, version: b}\npaths: {}\n"), v1alpha1.ReasonDocumentInvalid, "3."},
		"an external ref": {document200(strings.Replace(second, "{description: Me.}", "{$ref: 'http://127.0.0.1:1/x'}", 1)), v1alpha1.ReasonDocumentInvalid, "/paths/~1me/get/responses/200"},
	} {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			o.serve(answer.serve)
			again(t, clock, api)
			message := waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isFalse, answer.reason)
			if !strings.Contains(message, answer.says) || !strings.Contains(message, o.URL) || !strings.Contains(message, "stays in use") {
				t.Errorf("the condition says %q, want %q, the URL and what stays in use in it", message, answer.says)
			}
			waitFor(t, api, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonAccepted)
			wantStored(t, api, second)
			o.serve(document200(second))
			again(t, clock, api)
			waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
		})
	}
	stop()
	o.Close()
	startManager(t, withClock)
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isFalse, v1alpha1.ReasonDocumentFetchFailed)
	waitFor(t, api, v1alpha1.ConditionReady, isTrue, v1alpha1.ReasonAccepted)
	wantStored(t, api, second)
}

func TestDocumentFromAConfigMap(t *testing.T) {
	startManager(t)
	api := publicApi(t, func(a *v1alpha1.PublicApi) {
		a.Spec.OpenAPI = &v1alpha1.OpenAPI{ConfigMap: &v1alpha1.ConfigMapKey{Name: "shop"}}
	})
	message := waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isFalse, v1alpha1.ReasonDocumentNotFound)
	if !strings.Contains(message, "ConfigMap shop") || !strings.Contains(message, v1alpha1.SystemNamespace) {
		t.Errorf("the condition says %q", message)
	}
	waitFor(t, api, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonDocumentUnavailable)

	text := fmt.Sprintf(shopDocument, "1")
	source := create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "shop"}, Data: map[string]string{"other": text}})
	testenv.Eventually(t, func() error {
		if message := waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isFalse, v1alpha1.ReasonDocumentNotFound); !strings.Contains(message, "no key openapi.yaml") {
			return fmt.Errorf("the condition says %q", message)
		}
		return nil
	})
	change(t, source, func(c *corev1.ConfigMap) { c.Data["openapi.yaml"] = text })
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
	wantStored(t, api, text)

	// What somebody spoils or deletes is made anew, and it goes when it is not wanted.
	stored := storedDocument(api)
	change(t, stored, func(c *corev1.ConfigMap) { c.BinaryData = nil })
	wantStored(t, api, text)
	change(t, stored, func(c *corev1.ConfigMap) { c.Labels = nil }) // no replica sees it then
	testenv.Eventually(t, func() error {
		if err := get(t, stored); err != nil || !document.IsDocument(stored) {
			return fmt.Errorf("the labels are %v: %w", stored.Labels, err)
		}
		return nil
	})
	if err := env().Client.Delete(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	wantStored(t, api, text)
	change(t, api, func(a *v1alpha1.PublicApi) { a.Spec.OpenAPI = nil })
	gone(t, storedDocument(api))
	testenv.Eventually(t, func() error {
		if err := get(t, api); err != nil || api.Status.Document != nil || len(api.Status.Conditions) != 1 {
			return fmt.Errorf("status is %+v, %w", api.Status, err)
		}
		return nil
	})
}

// CVE-2026-42876: a controller that adopts what it finds hands its rights to whoever
// was there first.
func TestForeignConfigMapIsLeftUntouched(t *testing.T) {
	startManager(t)
	foreign := create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: document.Name(name(t))},
		Data:       map[string]string{"theirs": "yes"},
	})
	api := publicApi(t, fromPath(newOrigin(t, fmt.Sprintf(shopDocument, "1"))))
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isFalse, v1alpha1.ReasonDocumentConflict)
	waitFor(t, api, v1alpha1.ConditionReady, isFalse, v1alpha1.ReasonDocumentUnavailable)
	before := foreign.ResourceVersion
	if err := get(t, foreign); err != nil || foreign.ResourceVersion != before {
		t.Errorf("the foreign ConfigMap was touched: %v", err)
	}
	if err := env().Client.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
}

// The document's scopes may be asked for, and status counts what they open.
func TestTokensOfADocument(t *testing.T) {
	startManager(t)
	o := newOrigin(t, fmt.Sprintf(shopDocument, "1"))
	owner := readyTenant(t, fromPath(o))
	api := &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: owner.PublicApiName()}}
	waitFor(t, api, v1alpha1.ConditionDocumentCurrent, isTrue, v1alpha1.ReasonDocumentLoaded)
	for scopes, want := range map[string]int32{"": 2, "orders:read": 3, "orders:read orders:write": 4} {
		wanted, _ := credential(t, owner.Name, time.Now())
		object := create(t, apiToken(owner, fmt.Sprintf("operations-%d", want), v1alpha1.ApiTokenSpec{
			Scopes: strings.Fields(scopes), Credential: wanted, Lifetime: lifetime(time.Hour),
		}))
		waitFor(t, object, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
		if got := object.Status.Operations; got == nil || *got != want {
			t.Errorf("scopes %q open %v operations, want %d", scopes, got, want)
		}
	}
	wanted, _ := credential(t, owner.Name, time.Now())
	unknown := create(t, apiToken(owner, "unknown", v1alpha1.ApiTokenSpec{Scopes: []string{"orders:delete"}, Credential: wanted}))
	if message := waitFor(t, unknown, v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonPolicyViolation); !strings.Contains(message, "orders:delete") || !strings.Contains(message, "orders:read, orders:write") {
		t.Errorf("the condition says %q", message)
	}
	// A new document that knows the scope lets it be issued.
	o.serve(document200(strings.ReplaceAll(fmt.Sprintf(shopDocument, "22"), "orders:write", "orders:delete")))
	change(t, api, func(a *v1alpha1.PublicApi) { a.Spec.OpenAPI.UnknownOperations = v1alpha1.UnknownOperationsAllow })
	waitFor(t, unknown, v1alpha1.ConditionActive, isTrue, v1alpha1.ReasonIssued)
	testenv.Eventually(t, func() error {
		namespace := namespaceOf(owner)
		if err := get(t, namespace); err != nil {
			return err
		}
		if listed := namespace.Annotations[v1alpha1.AnnotationScopes]; !strings.Contains(listed, `{"name":"orders:delete","description":"Change orders."}`) {
			return fmt.Errorf("the namespace lists %s", listed)
		}
		return nil
	})
}
