package main

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// pair is an issued token as the Kubernetes API returns its two objects, managed
// fields included.
type pair struct {
	record   *corev1.Secret
	apiToken *v1alpha1.ApiToken
}

// The managed fields of a record and of an ApiToken, as the manager's and the
// plugin's writes leave them.
const (
	recordFields = `{"f:data":{".":{},"f:digest":{},"f:expires-at":{},"f:id":{},"f:name":{},"f:namespace":{},"f:owner":{},"f:scopes":{},` +
		`"f:tenant":{},"f:uid":{},"f:version":{}},"f:metadata":{"f:labels":{".":{},"f:app.kubernetes.io/managed-by":{},"f:latchkey.dev/tenant":{}}},"f:type":{}}`
	specFields   = `{"f:spec":{"f:credential":{},"f:description":{},"f:owner":{},"f:scopes":{}}}`
	statusFields = `{"f:status":{"f:conditions":{"k:{\"type\":\"Active\"}":{".":{},"f:lastTransitionTime":{},"f:message":{},"f:observedGeneration":{},` +
		`"f:reason":{},"f:status":{},"f:type":{}},"k:{\"type\":\"ExpiringSoon\"}":{".":{},"f:lastTransitionTime":{},"f:message":{},"f:observedGeneration":{},` +
		`"f:reason":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Stalled\"}":{".":{},"f:lastTransitionTime":{},"f:message":{},"f:observedGeneration":{},` +
		`"f:reason":{},"f:status":{},"f:type":{}}},"f:credential":{"f:digest":{},"f:expiresAt":{},"f:id":{}},"f:observedGeneration":{}}}`
)

const (
	tokenOwner       = "integrations@example.com"
	tokenDescription = "nightly export to the data warehouse"
)

var tokenScopes = []string{"orders:read"}

// newPair makes the objects of a token.
func newPair(tenant string, serial int, c record.Credential) *pair {
	uid := types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", serial))
	namespace, name := v1alpha1.TenantNamespacePrefix+tenant, fmt.Sprintf("token-%06d", serial)
	secret := (&record.Record{
		Tenant: tenant, Namespace: namespace, Name: name, UID: uid, Owner: tokenOwner, Scopes: tokenScopes, Current: c,
	}).Secret(v1alpha1.RecordsNamespace)
	stored(secret, types.UID(fmt.Sprintf("00000000-0000-4000-9000-%012d", serial)), managed("manager", "Update", "", recordFields))
	apiToken := &v1alpha1.ApiToken{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ApiToken"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ApiTokenSpec{
			Description: tokenDescription, Owner: tokenOwner, Scopes: tokenScopes,
			Credential: &v1alpha1.Credential{ID: c.ID, Digest: c.Digest.String(), IssuedAt: metav1.NewTime(c.NotAfter.Add(-24 * time.Hour))},
		},
		Status: v1alpha1.ApiTokenStatus{
			ObservedGeneration: 1,
			Credential:         &v1alpha1.IssuedCredential{ID: c.ID, Digest: c.Digest.String(), ExpiresAt: metav1.NewTime(c.NotAfter)},
		},
	}
	for _, condition := range []string{v1alpha1.ConditionActive, v1alpha1.ConditionExpiringSoon, v1alpha1.ConditionStalled} {
		apiToken.Status.Conditions = append(apiToken.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, ObservedGeneration: 1, LastTransitionTime: metav1.NewTime(c.NotAfter),
			Reason: v1alpha1.ReasonIssued, Message: fmt.Sprintf("Credential %s works until %s.", c.ID, c.NotAfter.Format(time.RFC3339)),
		})
	}
	stored(apiToken, uid, managed("kubectl-latchkey", "Apply", "", specFields), managed(v1alpha1.FieldOwnerApiToken, "Apply", "status", statusFields))
	return &pair{record: secret, apiToken: apiToken}
}

func stored(object metav1.Object, uid types.UID, fields ...metav1.ManagedFieldsEntry) {
	object.SetUID(uid)
	object.SetResourceVersion("1000000")
	object.SetGeneration(1)
	object.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	object.SetManagedFields(fields)
}

func managed(by string, operation metav1.ManagedFieldsOperationType, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: by, Operation: operation, Subresource: subresource, APIVersion: v1alpha1.SchemeGroupVersion.String(),
		Time: new(metav1.Now()), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

// received are the objects as a client has them that has just decoded them: they
// share no memory with others.
func (p *pair) received() (*pair, error) {
	binary, err := p.record.Marshal()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(p.apiToken)
	if err != nil {
		return nil, err
	}
	fresh := &pair{&corev1.Secret{}, &v1alpha1.ApiToken{}}
	if err := fresh.record.Unmarshal(binary); err != nil {
		return nil, err
	}
	return fresh, json.Unmarshal(text, fresh.apiToken)
}

// newTenant is an accepted Tenant.
func newTenant(name string) *v1alpha1.Tenant {
	return &v1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     v1alpha1.TenantStatus{Namespace: v1alpha1.TenantNamespacePrefix + name},
	}
}

// newPublicApi is the one of every tenant here.
func newPublicApi(backend string) *v1alpha1.PublicApi {
	return &v1alpha1.PublicApi{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPublicApi},
		Spec: v1alpha1.PublicApiSpec{
			Backend:     v1alpha1.Backend{URL: backend},
			BasePath:    "/api/v1",
			Scopes:      []v1alpha1.Scope{{Name: tokenScopes[0]}},
			TokenPolicy: v1alpha1.TokenPolicy{MaxPerTenant: 100_000},
		},
	}
}

// unknownToken is a well-formed token that nobody was issued.
func unknownToken() (string, error) {
	minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
	if err != nil {
		return "", err
	}
	return minted.Reveal(), nil
}
