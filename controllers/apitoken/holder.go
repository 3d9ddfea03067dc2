package apitoken

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// The cache's indexes.
const (
	indexCredential      = "latchkey.dev/credential"
	indexUID             = "latchkey.dev/uid"
	indexTenantNamespace = "latchkey.dev/tenant-namespace"
	indexTenantPublicApi = "latchkey.dev/tenant-publicapi"
)

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		name   string
		values client.IndexerFunc
	}{
		{&v1alpha1.ApiToken{}, indexCredential, func(o client.Object) []string {
			return credentialKeys(o.(*v1alpha1.ApiToken))
		}},
		{&v1alpha1.ApiToken{}, indexUID, func(o client.Object) []string {
			return []string{string(o.GetUID())}
		}},
		{&corev1.Secret{}, indexCredential, func(o client.Object) []string {
			return recordKeys(o.(*corev1.Secret))
		}},
		{&v1alpha1.Tenant{}, indexTenantNamespace, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Tenant).Status.Namespace}
		}},
		{&v1alpha1.Tenant{}, indexTenantPublicApi, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Tenant).PublicApiName()}
		}},
	} {
		if err := indexer.IndexField(ctx, index.object, index.name, index.values); err != nil {
			return fmt.Errorf("index %s: %w", index.name, err)
		}
	}
	return nil
}

// credentialKeys are the ids and digests that an ApiToken has a claim to.
func credentialKeys(t *v1alpha1.ApiToken) []string {
	var keys []string
	if c := t.Spec.Credential; c != nil {
		keys = append(keys, c.ID, c.Digest)
	}
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c != nil {
			keys = append(keys, c.ID, c.Digest)
		}
	}
	return keys
}

// recordKeys are the ids and digests in a record, with its tenant's namespace:
// all records live in one.
func recordKeys(secret *corev1.Secret) []string {
	r, err := record.Decode(secret)
	if err != nil {
		return nil
	}
	keys := []string{recordKey(r.Namespace, r.Current.ID), recordKey(r.Namespace, r.Current.Digest.String())}
	if r.Previous != nil {
		keys = append(keys, recordKey(r.Namespace, r.Previous.ID), recordKey(r.Namespace, r.Previous.Digest.String()))
	}
	return keys
}

func recordKey(namespace, key string) string { return namespace + "/" + key }

// holderOf is the name of another ApiToken of the tenant that holds the
// credential in the object's spec, or empty. One to which it was issued holds
// it, as long as its record is there; else the oldest that names it and was not
// refused.
func (r *Reconciler) holderOf(ctx context.Context, object *v1alpha1.ApiToken) (string, error) {
	for _, key := range []string{object.Spec.Credential.ID, object.Spec.Credential.Digest} {
		var records corev1.SecretList
		err := r.Client.List(ctx, &records, client.InNamespace(r.RecordsNamespace),
			client.MatchingFields{indexCredential: recordKey(object.Namespace, key)})
		if err != nil {
			return "", fmt.Errorf("records with credential %s: %w", object.Spec.Credential.ID, err)
		}
		for i := range records.Items {
			if records.Items[i].Name != record.Name(object.UID) {
				return apiTokenKey(&records.Items[i]).Name, nil
			}
		}
		var rivals v1alpha1.ApiTokenList
		err = r.Client.List(ctx, &rivals, client.InNamespace(object.Namespace), client.MatchingFields{indexCredential: key})
		if err != nil {
			return "", fmt.Errorf("ApiTokens with credential %s: %w", object.Spec.Credential.ID, err)
		}
		for i := range rivals.Items {
			if rival := &rivals.Items[i]; rival.UID != object.UID && goesBefore(rival, object) {
				return rival.Name, nil
			}
		}
	}
	return "", nil
}

// goesBefore says whether the rival holds the credential that both claim.
func goesBefore(rival, object *v1alpha1.ApiToken) bool {
	c := object.Spec.Credential
	for _, issued := range []*v1alpha1.IssuedCredential{rival.Status.Credential, rival.Status.PreviousCredential} {
		if issued != nil && (issued.ID == c.ID || issued.Digest == c.Digest) {
			return true
		}
	}
	if rival.Spec.Credential == nil || rival.Status.RefusedCredentialID == rival.Spec.Credential.ID {
		return false
	}
	if !rival.CreationTimestamp.Equal(&object.CreationTimestamp) {
		return rival.CreationTimestamp.Before(&object.CreationTimestamp)
	}
	return rival.UID < object.UID
}

// liveBeside counts the tenant's other ApiTokens with a credential that has not
// expired or been revoked, without those that sign in for minutes. It reads the cache, so
// that many issued at the same moment may exceed the policy's number by as many as are
// under way.
func (r *Reconciler) liveBeside(ctx context.Context, object *v1alpha1.ApiToken, now time.Time) (int, error) {
	var all v1alpha1.ApiTokenList
	if err := r.Client.List(ctx, &all, client.InNamespace(object.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("ApiTokens of namespace %s: %w", object.Namespace, err)
	}
	live := 0
	for i := range all.Items {
		t := &all.Items[i]
		if t.UID != object.UID && isLive(t, now) && !signsIn(t) {
			live++
		}
	}
	return live, nil
}

// isLive says whether the ApiToken has a credential that works, or would if its
// tenant were not suspended.
func isLive(t *v1alpha1.ApiToken, now time.Time) bool {
	if t.Spec.Revoked {
		return false
	}
	for _, c := range []*v1alpha1.IssuedCredential{t.Status.Credential, t.Status.PreviousCredential} {
		if c != nil && now.Before(c.ExpiresAt.Time) {
			return true
		}
	}
	return false
}

// signsIn says whether the ApiToken was issued to sign in with, and for nothing else.
func signsIn(t *v1alpha1.ApiToken) bool {
	return t.Status.Credential != nil && policy.SignsIn(t.Status.Credential.Scopes)
}

// tokenOfRecord maps a Secret to the ApiToken whose record has its name: a record
// that somebody changed or deleted is put right, and where a foreign Secret stood
// in the way its end is noticed.
func (r *Reconciler) tokenOfRecord(ctx context.Context, object client.Object) []reconcile.Request {
	if object.GetNamespace() != r.RecordsNamespace {
		return nil
	}
	var owners v1alpha1.ApiTokenList
	uid := record.UID(object.GetName())
	if err := r.Client.List(ctx, &owners, client.UnsafeDisableDeepCopy, client.MatchingFields{indexUID: string(uid)}); err != nil {
		return nil // the cache's List fails only for a missing index, which addIndexes rules out
	}
	return requestsFor(owners.Items)
}

func apiTokenKey(secret *corev1.Secret) types.NamespacedName {
	namespace, name := record.ApiToken(secret)
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func (r *Reconciler) tokensOfTenant(ctx context.Context, object client.Object) []reconcile.Request {
	tenant := object.(*v1alpha1.Tenant)
	return r.tokensIn(ctx, tenant.NamespaceName())
}

func (r *Reconciler) tokensOfPublicApi(ctx context.Context, object client.Object) []reconcile.Request {
	var tenants v1alpha1.TenantList
	if err := r.Client.List(ctx, &tenants, client.MatchingFields{indexTenantPublicApi: object.GetName()}); err != nil {
		return nil // as in tokenOfRecord
	}
	var requests []reconcile.Request
	for i := range tenants.Items {
		requests = append(requests, r.tokensIn(ctx, tenants.Items[i].NamespaceName())...)
	}
	return requests
}

func (r *Reconciler) tokensIn(ctx context.Context, namespace string) []reconcile.Request {
	var all v1alpha1.ApiTokenList
	if err := r.Client.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // as in tokenOfRecord
	}
	return requestsFor(all.Items)
}

func requestsFor(tokens []v1alpha1.ApiToken) []reconcile.Request {
	requests := make([]reconcile.Request, 0, len(tokens))
	for i := range tokens {
		requests = append(requests, requestFor(&tokens[i]))
	}
	return requests
}

func requestFor(t *v1alpha1.ApiToken) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(t)}
}
