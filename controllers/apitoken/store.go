package apitoken

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/conditions"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// errForeignRecord says that a Secret which is not ours has the record's name.
var errForeignRecord = errors.New("a Secret of this name exists that Latchkey did not make")

// storedRecord is the Secret with the ApiToken's record, or nil. foreign says
// that one of that name exists which is not ours: it is refused and left as it is
// (CVE-2026-42876: a controller that adopts what it finds hands its own rights
// to whoever was there first).
func (r *Reconciler) storedRecord(ctx context.Context, reader client.Reader, object *v1alpha1.ApiToken) (stored *corev1.Secret, foreign bool, err error) {
	stored = &corev1.Secret{}
	key := client.ObjectKey{Namespace: r.RecordsNamespace, Name: record.Name(object.UID)}
	if err := reader.Get(ctx, key, stored); apierrors.IsNotFound(err) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("record %s: %w", key, err)
	}
	if !isOurs(stored) {
		return nil, true, nil
	}
	return stored, false, nil
}

func isOurs(secret *corev1.Secret) bool {
	return secret.Type == record.SecretType && secret.Labels[v1alpha1.LabelManagedBy] == v1alpha1.ManagedBy
}

// mendRecord stores the wanted record of an ApiToken whose status says already what
// it says. Mostly the cache only does not show yet what was stored a moment ago, so
// that the API server is asked before anything is written: for the record, and for the
// ApiToken too, since by a state of it that has passed an older record would be put in
// a newer one's place.
func (r *Reconciler) mendRecord(ctx context.Context, object *v1alpha1.ApiToken, stored *corev1.Secret, wanted *record.Record) error {
	if isStored(stored, wanted) {
		return nil
	}
	stored, foreign, err := r.storedRecord(ctx, r.APIReader, object)
	if err != nil {
		return err
	}
	if foreign {
		return errForeignRecord
	}
	if isStored(stored, wanted) {
		return nil
	}
	latest := &v1alpha1.ApiToken{}
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(object), latest); err != nil {
		return client.IgnoreNotFound(err) // the record of one that is gone goes too
	}
	if latest.UID != object.UID || latest.ResourceVersion != object.ResourceVersion {
		return apierrors.NewConflict(v1alpha1.SchemeGroupVersion.WithResource("apitokens").GroupResource(), object.Name,
			errors.New("it has changed since the cache showed it; its record is left as it is until that is seen"))
	}
	return r.storeRecord(ctx, stored, wanted)
}

// isStored says whether the stored record is the wanted one, either of which may be
// nil.
func isStored(stored *corev1.Secret, wanted *record.Record) bool {
	if stored == nil || wanted == nil {
		return stored == nil && wanted == nil
	}
	secret := wanted.Secret(stored.Namespace)
	return equality.Semantic.DeepEqual(stored.Data, secret.Data) && equality.Semantic.DeepEqual(stored.Labels, secret.Labels)
}

// hasCurrent says whether the stored record, if there is one, has the credential that
// was issued last as its current one.
func hasCurrent(stored *corev1.Secret, issued *v1alpha1.IssuedCredential) bool {
	if stored == nil || issued == nil {
		return false
	}
	r, err := record.Decode(stored)
	return err == nil && r.Current.Digest.String() == issued.Digest
}

// storeRecord makes the stored record the wanted one, either of which may be
// nil. An update carries the resourceVersion that was read.
func (r *Reconciler) storeRecord(ctx context.Context, stored *corev1.Secret, wanted *record.Record) error {
	switch {
	case wanted == nil && stored == nil:
		return nil
	case wanted == nil:
		return r.deleteRecord(ctx, stored)
	case stored == nil:
		err := r.Client.Create(ctx, wanted.Secret(r.RecordsNamespace))
		if apierrors.IsAlreadyExists(err) {
			return r.explainExisting(ctx, wanted)
		}
		if err != nil {
			return fmt.Errorf("create record of ApiToken %s/%s: %w", wanted.Namespace, wanted.Name, err)
		}
		return nil
	}
	if isStored(stored, wanted) {
		return nil
	}
	secret := wanted.Secret(r.RecordsNamespace)
	secret.ResourceVersion, secret.UID = stored.ResourceVersion, stored.UID
	if err := r.Client.Update(ctx, secret); err != nil {
		return fmt.Errorf("update record of ApiToken %s/%s: %w", wanted.Namespace, wanted.Name, err)
	}
	return nil
}

// explainExisting tells a record of somebody else's from one that our cache does
// not show yet.
func (r *Reconciler) explainExisting(ctx context.Context, wanted *record.Record) error {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: r.RecordsNamespace, Name: record.Name(wanted.UID)}
	if err := r.APIReader.Get(ctx, key, secret); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	if !isOurs(secret) {
		return errForeignRecord
	}
	return fmt.Errorf("record %s: not in the cache yet", key)
}

func (r *Reconciler) deleteRecord(ctx context.Context, stored *corev1.Secret) error {
	err := r.Client.Delete(ctx, stored, client.Preconditions{UID: &stored.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete record %s: %w", stored.Name, err)
	}
	return nil
}

// recordConflict turns a plan into one for a token whose record's name is taken.
func (p *plan) recordConflict(f facts, name, namespace string) {
	message := fmt.Sprintf("Secret %s in namespace %s exists and was not made by Latchkey. It is left untouched; "+
		"once it is gone the credential is issued.", name, namespace)
	p.status.Credential, p.status.PreviousCredential = f.token.Status.Credential, f.token.Status.PreviousCredential
	conditions.Set(&p.status.Conditions, v1alpha1.ConditionActive, false, v1alpha1.ReasonRecordConflict, message, f.token.Generation, f.now)
	conditions.Set(&p.status.Conditions, v1alpha1.ConditionStalled, true, v1alpha1.ReasonRecordConflict, message, f.token.Generation, f.now)
}
