package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// schema is as much of a CRD's schema as the tests look at.
type schema struct {
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Description          string            `json:"description"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties any               `json:"additionalProperties"`
	Enum                 []any             `json:"enum"`
	MaxLength            *int              `json:"maxLength"`
	MaxItems             *int              `json:"maxItems"`
	Minimum              *float64          `json:"minimum"`
	Maximum              *float64          `json:"maximum"`
	ListType             string            `json:"x-kubernetes-list-type"`
	PreservesUnknown     bool              `json:"x-kubernetes-preserve-unknown-fields"`
	Rules                []struct {
		Rule    string `json:"rule"`
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
}

type definition struct {
	Spec struct {
		Scope    string `json:"scope"`
		Versions []struct {
			Name         string `json:"name"`
			Schema       struct{ OpenAPIV3Schema schema }
			Subresources struct{ Status *struct{} }
		} `json:"versions"`
	} `json:"spec"`
}

func readDefinition(t testing.TB, k kind) definition {
	t.Helper()
	file := filepath.Join(controlplane.Root(), "config", "crd", "bases", "latchkey.dev_"+k.plural+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d definition
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(d.Spec.Versions) != 1 || len(d.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties) == 0 {
		t.Fatalf("%s: want one version with a schema", file)
	}
	return d
}

// walk visits a schema and everything in it.
func (s schema) walk(path string, visit func(path string, s schema)) {
	visit(path, s)
	for name, property := range s.Properties {
		property.walk(path+"."+name, visit)
	}
	if s.Items != nil {
		s.Items.walk(path+"[]", visit)
	}
}

func visitAll(t *testing.T, visit func(t *testing.T, path string, s schema)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			fields := 0
			root := readDefinition(t, k).Spec.Versions[0].Schema.OpenAPIV3Schema
			root.walk(k.name, func(path string, s schema) {
				fields++
				visit(t, path, s)
			})
			if fields < 20 {
				t.Errorf("only %d fields were visited", fields)
			}
		})
	}
}

// kubectl explain teaches: everything in the schema says what it is.
func TestEveryFieldIsDescribed(t *testing.T) {
	visitAll(t, func(t *testing.T, path string, s schema) {
		// Kubernetes describes metadata itself; items are described by their list.
		isMetadata := strings.HasSuffix(path, ".metadata") && strings.Count(path, ".") == 1
		isScalarItem := strings.HasSuffix(path, "[]") && s.Type != "object"
		if strings.TrimSpace(s.Description) == "" && !isMetadata && !isScalarItem {
			t.Errorf("%s has no description", path)
		}
	})
}

// What tenants write is stored in etcd and held in memory: all of it is bounded.
func TestEveryFieldIsBounded(t *testing.T) {
	visitAll(t, func(t *testing.T, path string, s schema) {
		isTypeMeta := strings.HasSuffix(path, ".kind") && strings.Count(path, ".") == 1 || strings.HasSuffix(path, ".apiVersion")
		switch {
		case isTypeMeta:
		case s.PreservesUnknown || s.AdditionalProperties != nil:
			t.Errorf("%s takes unknown fields", path)
		case s.Type == "string" && s.MaxLength == nil && s.Enum == nil && s.Format != "date-time":
			t.Errorf("%s has no maxLength", path)
		case s.Type == "array" && s.MaxItems == nil:
			t.Errorf("%s has no maxItems", path)
		case s.Type == "array" && s.ListType == "":
			t.Errorf("%s says nothing of how server-side apply merges it", path)
		case s.Type == "integer" && strings.Contains(path, ".spec.") && (s.Minimum == nil || s.Maximum == nil):
			t.Errorf("%s has no minimum and maximum", path)
		}
	})
}

// A refusal by a rule of ours says what to do in words, not in CEL.
func TestEveryRuleHasAMessage(t *testing.T) {
	visitAll(t, func(t *testing.T, path string, s schema) {
		for _, rule := range s.Rules {
			if rule.Message == "" {
				t.Errorf("%s: %s has no message", path, rule.Rule)
			}
		}
	})
}

func TestScopesAndSubresources(t *testing.T) {
	want := map[string]string{apiTokens.name: "Namespaced", tenants.name: "Cluster", publicApis.name: "Cluster"}
	for _, k := range kinds {
		d := readDefinition(t, k)
		if d.Spec.Scope != want[k.name] {
			t.Errorf("%s: scope = %s", k.name, d.Spec.Scope)
		}
		if d.Spec.Versions[0].Name != "v1alpha1" || d.Spec.Versions[0].Subresources.Status == nil {
			t.Errorf("%s: want v1alpha1 with a status subresource", k.name)
		}
	}
}

// Short names and the category, as kubectl discovers them.
func TestDiscovery(t *testing.T) {
	var discovered struct {
		Resources []struct {
			Name, SingularName, Kind string
			ShortNames, Categories   []string
		}
	}
	getJSON(t, "/apis/latchkey.dev/v1alpha1", "", &discovered)
	shortNames := map[string]string{"apitokens": "apitok", "tenants": "tnt", "publicapis": "papi"}
	for _, k := range kinds {
		found := false
		for _, r := range discovered.Resources {
			if r.Name != k.plural {
				continue
			}
			found = true
			if !slices.Equal(r.ShortNames, []string{shortNames[k.plural]}) || !slices.Equal(r.Categories, []string{"latchkey"}) {
				t.Errorf("%s: short names %v, categories %v", r.Name, r.ShortNames, r.Categories)
			}
			if r.Kind != k.name || r.SingularName != strings.ToLower(k.name) {
				t.Errorf("%s: kind %s, singular %s", r.Name, r.Kind, r.SingularName)
			}
		}
		if !found {
			t.Errorf("%s are not served", k.plural)
		}
	}
}

// table is what kubectl get displays.
type table struct {
	ColumnDefinitions []struct {
		Name, Type string
		Priority   int
	}
	Rows []struct{ Cells []any }
}

// columns are those of the table, in order, as NAME:type, with a + for each that
// only -o wide shows.
func (t table) columns() string {
	columns := make([]string, 0, len(t.ColumnDefinitions))
	for _, c := range t.ColumnDefinitions {
		columns = append(columns, c.Name+":"+c.Type+strings.Repeat("+", c.Priority))
	}
	return strings.Join(columns, " ")
}

func getJSON(t testing.TB, path, accept string, into any) {
	t.Helper()
	request := restClient(t).Get().AbsPath(path)
	if accept != "" {
		request.SetHeader("Accept", accept)
	}
	text, err := request.Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// What kubectl get shows, with a status as the controllers write it.
func TestColumns(t *testing.T) {
	condition := func(conditionType string) string {
		return fmt.Sprintf(`"conditions":[
			{"type":"Stalled","status":"False","reason":"Other","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"},
			{"type":%q,"status":"True","reason":"Settled","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]`, conditionType)
	}
	cases := []struct {
		kind                  kind
		spec, status, columns string
		cells                 []any
	}{
		{
			apiTokens, `owner: ana`,
			`{` + condition("Active") + `,"credential":{"id":"0123456789","digest":"d","expiresAt":"2027-01-31T00:00:00Z","lastUsedAt":"2027-01-02T03:04:05Z"}}`,
			"Name:string ACTIVE:string REASON:string ID:string EXPIRES:string LAST USED:string OWNER:string+ AGE:date",
			[]any{"subject", "True", "Settled", "0123456789", "2027-01-31T00:00:00Z", "2027-01-02T03:04:05Z", "ana"},
		},
		{
			tenants, `displayName: Acme`,
			`{` + condition("Ready") + `,"host":"acme.example.com","namespace":"tenant-acme"}`,
			"Name:string READY:string REASON:string HOST:string NAMESPACE:string AGE:date",
			[]any{"subject", "True", "Settled", "acme.example.com", "tenant-acme"},
		},
		{
			publicApis, minimal[publicApis.name],
			`{` + condition("Ready") + `}`,
			"Name:string READY:string REASON:string BASE PATH:string AGE:date",
			[]any{"subject", "True", "Settled", "/api/v1"},
		},
	}
	for _, c := range cases {
		t.Run(c.kind.name, func(t *testing.T) {
			s := newSubject(t, c.kind, "subject")
			s.mustApply(t, c.spec)
			if err := s.patchStatus(t, c.status); err != nil {
				t.Fatal(err)
			}
			var shown table
			getJSON(t, s.path(), "application/json;as=Table;v=v1;g=meta.k8s.io", &shown)
			if got := shown.columns(); got != c.columns {
				t.Errorf("columns = %s\nwant      %s", got, c.columns)
			}
			if len(shown.Rows) != 1 || !slices.Equal(shown.Rows[0].Cells[:len(shown.Rows[0].Cells)-1], c.cells) {
				t.Errorf("rows = %v, want %v and an age", shown.Rows, c.cells)
			}
		})
	}
}

// Tokens can be asked for by their owner.
func TestOwnerIsSelectable(t *testing.T) {
	for name, spec := range map[string]string{"one": "owner: ana@example.com", "two": "owner: eve@example.com", "three": ""} {
		newSubject(t, apiTokens, name).mustApply(t, spec)
	}
	var list v1alpha1.ApiTokenList
	if err := env().Client.List(t.Context(), &list, client.MatchingFields{"spec.owner": "ana@example.com"}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Name != "one" {
		t.Errorf("tokens of ana = %+v", list.Items)
	}
}

func TestKubectlExplain(t *testing.T) {
	kubectl := newKubectl(t)
	for path, want := range map[string]string{
		"apitok.spec.lifetime":     "how long a credential works",
		"tnt.spec.members.role":    "Viewer",
		"papi.spec.backend.url":    "the backend's origin",
		"apitokens.metadata":       "Standard object's metadata",
		"publicapis.spec.basePath": "No trailing slash",
	} {
		out, err := kubectl("", "explain", path)
		if err != nil {
			t.Errorf("kubectl explain %s: %v\n%s", path, err, out)
		}
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("kubectl explain %s does not say %q:\n%s", path, want, out)
		}
	}
}
