package apitoken

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/record"
)

// By a state of the ApiToken that has passed no record is mended: it would put an older
// one in a newer one's place.
func TestMendRecordWantsTheLatestState(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	f := someFacts(t)
	p, err := makePlan(f)
	if err != nil {
		t.Fatal(err)
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(f.token).Build()
	r := &Reconciler{Client: cluster, APIReader: cluster, RecordsNamespace: "records"}
	cached := &v1alpha1.ApiToken{}
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(f.token), cached); err != nil {
		t.Fatal(err)
	}
	latest := cached.DeepCopy()
	latest.Spec.Description = "changed since"
	if err := cluster.Update(t.Context(), latest); err != nil {
		t.Fatal(err)
	}
	stored := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "records", Name: record.Name(f.token.UID)}}
	if err := r.mendRecord(t.Context(), cached, nil, p.record); !apierrors.IsConflict(err) {
		t.Errorf("by the state that has passed: %v, want a conflict", err)
	}
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); !apierrors.IsNotFound(err) {
		t.Errorf("a record was stored: %v", err)
	}
	if err := r.mendRecord(t.Context(), latest, nil, p.record); err != nil {
		t.Error(err)
	}
	if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(stored), stored); err != nil {
		t.Errorf("the record was not stored: %v", err)
	}
	if err := cluster.Delete(t.Context(), latest); err != nil {
		t.Fatal(err)
	}
	if err := r.mendRecord(t.Context(), latest, stored, nil); err != nil {
		t.Errorf("of an ApiToken that is gone: %v", err)
	}
}
