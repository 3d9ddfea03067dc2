// Package directorytest makes the objects with which tests feed a directory.
package directorytest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/document"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/testing/check"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// Issued is a token as it is once the manager has issued its credential.
type Issued struct {
	// Token is the token itself.
	Token token.Token
	// ApiToken vouches for Record.
	ApiToken *v1alpha1.ApiToken
	// Record is what the manager made of it.
	Record *record.Record
}

var serial atomic.Int64

// Issue mints a token for the tenant, with an ApiToken and a record that agree.
func Issue(t testing.TB, tenant string, expires time.Time) *Issued {
	t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		t.Fatal(err)
	}
	n := serial.Add(1)
	i := &Issued{
		Token: minted,
		ApiToken: &v1alpha1.ApiToken{ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace(tenant),
			Name:      fmt.Sprintf("token-%d", n),
			UID:       types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)),
		}},
	}
	i.Record = &record.Record{
		Tenant:    tenant,
		Namespace: i.ApiToken.Namespace,
		Name:      i.ApiToken.Name,
		UID:       i.ApiToken.UID,
	}
	i.Record.Current = Credential(minted, tenant, expires)
	i.ApiToken.Spec.Credential = Wanted(&i.Record.Current)
	i.ApiToken.Status.Credential = Accepted(&i.Record.Current)
	return i
}

// Rotate mints a successor, and leaves the present credential as the previous one
// that works until overlapEnd.
func (i *Issued) Rotate(t testing.TB, expires, overlapEnd time.Time) {
	t.Helper()
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		t.Fatal(err)
	}
	previous := i.Record.Current
	previous.NotAfter = overlapEnd
	i.Token = minted
	i.Record.Previous = &previous
	i.Record.Current = Credential(minted, i.Record.Tenant, expires)
	i.ApiToken.Spec.Credential = Wanted(&i.Record.Current)
	i.ApiToken.Status.Credential = Accepted(&i.Record.Current)
	i.ApiToken.Status.PreviousCredential = Accepted(&previous)
}

// Digest is the digest of the current credential.
func (i *Issued) Digest() token.Digest { return i.Record.Current.Digest }

// Secret is the record as it is stored.
func (i *Issued) Secret() *corev1.Secret { return i.Record.Secret(v1alpha1.RecordsNamespace) }

// Add feeds both halves.
func (i *Issued) Add(t testing.TB, stores directory.Stores) {
	t.Helper()
	Must(t, stores.Records.Add(i.Secret()))
	Must(t, stores.ApiTokens.Add(i.ApiToken.DeepCopy()))
}

// UpdateApiToken feeds the ApiToken after a change.
func (i *Issued) UpdateApiToken(t testing.TB, stores directory.Stores, change func(*v1alpha1.ApiToken)) {
	t.Helper()
	change(i.ApiToken)
	Must(t, stores.ApiTokens.Update(i.ApiToken.DeepCopy()))
}

// Credential is what a token leaves in its record.
func Credential(minted token.Token, tenant string, expires time.Time) record.Credential {
	return record.Credential{ID: minted.ID(), Digest: minted.Digest(tenant), NotAfter: expires.UTC()}
}

// Wanted is a credential as it is in an ApiToken's spec.
func Wanted(c *record.Credential) *v1alpha1.Credential {
	return &v1alpha1.Credential{ID: c.ID, Digest: c.Digest.String(), IssuedAt: metav1.NewTime(c.NotAfter.Add(-time.Hour))}
}

// Accepted is a credential as it is in an ApiToken's status.
func Accepted(c *record.Credential) *v1alpha1.IssuedCredential {
	return &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest.String(), ExpiresAt: metav1.NewTime(c.NotAfter)}
}

// Namespace is the namespace of a tenant.
func Namespace(tenant string) string { return v1alpha1.TenantNamespacePrefix + tenant }

// Tenant is an accepted Tenant.
func Tenant(name string) *v1alpha1.Tenant {
	return &v1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     v1alpha1.TenantStatus{Namespace: Namespace(name)},
	}
}

// PublicApi is the default one, with the backend at the URL.
func PublicApi(url string) *v1alpha1.PublicApi {
	return &v1alpha1.PublicApi{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPublicApi},
		Spec:       v1alpha1.PublicApiSpec{Backend: v1alpha1.Backend{URL: url}, BasePath: "/api/v1"},
	}
}

// Document is the ConfigMap that keeps the OpenAPI document of a PublicApi.
func Document(t testing.TB, api *v1alpha1.PublicApi, text string) *corev1.ConfigMap {
	t.Helper()
	c, err := (&document.Document{PublicApi: api.Name, Text: []byte(text)}).ConfigMap(v1alpha1.SystemNamespace, api)
	Must(t, err)
	return c
}

// Sync delivers an empty first list to every store.
func Sync(t testing.TB, stores directory.Stores) {
	t.Helper()
	for _, store := range []cache.ReflectorStore{stores.Records, stores.ApiTokens, stores.Tenants, stores.PublicApis, stores.Documents} {
		Must(t, store.Replace(nil, ""))
	}
}

// Must is check.Must.
var Must = check.Must
