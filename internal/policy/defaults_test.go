package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestOf(t *testing.T) {
	api := &v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{
		Scopes: []v1alpha1.Scope{{Name: "orders:read"}, {Name: "settings"}, {Name: "orders:write", Description: "change orders"}},
		TokenPolicy: v1alpha1.TokenPolicy{
			DefaultLifetime: duration(time.Hour),
			MaxLifetime:     duration(2 * time.Hour),
			MaxOverlap:      duration(0),
			MaxPerTenant:    3,
			NoticeDays:      []int32{1, 30, 7},
			Retention:       duration(0),
		},
	}}
	want := policy.Policy{
		DefaultLifetime: time.Hour,
		MaxLifetime:     2 * time.Hour,
		MaxOverlap:      0,
		MaxPerTenant:    3,
		Notice:          30 * day,
		NoticeDays:      []int32{30, 7, 1},
		Retention:       0,
		Scopes:          []string{"tokens:read", "tokens:write", "orders:read", "orders:write"},
		TokenSignIn:     true,
	}
	if got := policy.Of(api); !reflect.DeepEqual(got, want) {
		t.Errorf("Of = %+v\nwant %+v", got, want)
	}
}

// The defaults are those of the CRD: an object that no API server has defaulted
// means the same as one that was.
func TestDefaultsAreThoseOfTheCRD(t *testing.T) {
	defaulted := &v1alpha1.PublicApi{Spec: v1alpha1.PublicApiSpec{TokenPolicy: defaultTokenPolicy(t)}}
	got, want := policy.Of(&v1alpha1.PublicApi{}), policy.Of(defaulted)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults = %+v\nof the CRD %+v", got, want)
	}
}

// defaultTokenPolicy is what the CRD fills in where a PublicApi names nothing.
func defaultTokenPolicy(t *testing.T) v1alpha1.TokenPolicy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "latchkey.dev_publicapis.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Default    json.RawMessage   `json:"default"`
		Properties map[string]schema `json:"properties"`
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	fields := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["tokenPolicy"].Properties
	defaults := map[string]json.RawMessage{}
	for name, field := range fields {
		if field.Default == nil {
			t.Errorf("tokenPolicy.%s has no default", name)
			continue
		}
		defaults[name] = field.Default
	}
	if want := reflect.TypeFor[v1alpha1.TokenPolicy]().NumField(); len(defaults) != want {
		t.Fatalf("%d defaults, want %d", len(defaults), want)
	}
	encoded, err := json.Marshal(defaults)
	if err != nil {
		t.Fatal(err)
	}
	var policy v1alpha1.TokenPolicy
	if err := json.Unmarshal(encoded, &policy); err != nil {
		t.Fatal(err)
	}
	return policy
}
