// Package upgrade tests that what was made with the CRDs of a release goes on
// working with those of today. testdata has a folder for each release.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}

// forEachRelease runs a test with the folder of each release.
func forEachRelease(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no releases in testdata: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { test(t, dir) })
	}
}

func today() string { return filepath.Join(controlplane.Root(), "config/crd/bases") }

func crds(t *testing.T, dir string) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	found := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, object := range read(t, dir) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, crd); err != nil {
			t.Fatal(err)
		}
		found[crd.Name] = crd
	}
	if len(found) < 3 {
		t.Fatalf("%d CRDs in %s", len(found), dir)
	}
	return found
}

// read reads every document of a folder's files.
func read(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// serve makes the API server serve the CRDs of a folder, and waits until it does: by
// a column of a table, which changes together with the schema.
func serve(t *testing.T, dir, marker string) {
	t.Helper()
	for _, object := range read(t, dir) {
		versions, _, err := unstructured.NestedSlice(object.Object, "spec", "versions")
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range versions {
			v := version.(map[string]any)
			columns, _ := v["additionalPrinterColumns"].([]any)
			v["additionalPrinterColumns"] = append(columns, map[string]any{"name": marker, "type": "string", "jsonPath": ".metadata.uid"})
		}
		if err := unstructured.SetNestedSlice(object.Object, versions, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
		apply := client.ApplyConfigurationFromUnstructured(object)
		if err := env().Client.Apply(t.Context(), apply, client.FieldOwner("testenv"), client.ForceOwnership); err != nil {
			t.Fatalf("the CRDs of %s can't be applied over those before: %v", dir, err)
		}
	}
	rest := discovery.NewDiscoveryClientForConfigOrDie(env().Config).RESTClient()
	for _, crd := range crds(t, dir) {
		testenv.Eventually(t, func() error {
			table, err := rest.Get().AbsPath("/apis/latchkey.dev/v1alpha1/"+crd.Spec.Names.Plural).
				SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
			if err == nil && !strings.Contains(string(table), `"name":"`+marker+`"`) {
				return fmt.Errorf("%s is not served with the schema of %s yet", crd.Name, dir)
			}
			return err
		})
	}
}

// store makes the objects of a release, with their status, until the test ends.
func store(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	objects := read(t, filepath.Join(dir, "objects"))
	for _, object := range objects {
		if namespace := object.GetNamespace(); namespace != "" {
			err := env().Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
			if client.IgnoreAlreadyExists(err) != nil {
				t.Fatal(err)
			}
		}
		stored := object.DeepCopy()
		if err := env().Client.Create(t.Context(), stored, client.FieldValidation("Strict")); err != nil {
			t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		t.Cleanup(func() {
			if err := env().Client.Delete(context.Background(), stored); err != nil {
				t.Error(err)
			}
		})
		if status, ok := object.Object["status"]; ok {
			stored.Object["status"] = status
			if err := env().Client.Status().Update(t.Context(), stored, client.FieldValidation("Strict")); err != nil {
				t.Fatalf("status of %s %s: %v", object.GetKind(), object.GetName(), err)
			}
		}
	}
	return objects
}

func wantUnchanged(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	for _, object := range objects {
		got := object.DeepCopy()
		if err := env().Client.Get(t.Context(), client.ObjectKeyFromObject(object), got); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"spec", "status"} {
			if diff := cmp.Diff(object.Object[part], known(object.Object[part], got.Object[part])); diff != "" {
				t.Errorf("%s of %s %s:\n%s", part, object.GetKind(), object.GetName(), diff)
			}
		}
	}
}

// known is what of got the release knew too: fields that came later may have defaults.
func known(then, got any) any {
	switch got := got.(type) {
	case map[string]any:
		then, ok := then.(map[string]any)
		if !ok {
			return got
		}
		kept := map[string]any{}
		for name, value := range got {
			if _, ok := then[name]; ok {
				kept[name] = known(then[name], value)
			}
		}
		return kept
	case []any:
		then, ok := then.([]any)
		if !ok || len(then) != len(got) {
			return got
		}
		kept := make([]any, len(got))
		for i := range got {
			kept[i] = known(then[i], got[i])
		}
		return kept
	default:
		return got
	}
}

// What could be applied to a release can be applied today, and reads the same.
func TestObjectsOfAReleaseAreAccepted(t *testing.T) {
	forEachRelease(t, func(t *testing.T, dir string) {
		wantUnchanged(t, store(t, dir))
	})
}

// What was stored with the CRDs of a release is readable, and can be written, once
// the CRDs are those of today.
func TestCRDsAreUpgradedInPlace(t *testing.T) {
	t.Cleanup(func() { serveAgain(t) })
	forEachRelease(t, func(t *testing.T, dir string) {
		serve(t, filepath.Join(dir, "crds"), "BEFORE")
		objects := store(t, dir)
		serve(t, today(), "AFTER")
		wantUnchanged(t, objects)
		for _, object := range objects {
			writeTyped(t, object)
		}
	})
}

// serveAgain leaves the CRDs of today to the tests that follow.
func serveAgain(t *testing.T) {
	t.Helper()
	for _, object := range read(t, today()) {
		if err := env().Client.Apply(context.Background(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("testenv"), client.ForceOwnership); err != nil {
			t.Error(err)
		}
	}
}

// writeTyped writes status and spec as today's controllers and clients do.
func writeTyped(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	created, err := env().Client.Scheme().New(object.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	typed := created.(client.Object)
	if err := env().Client.Get(t.Context(), client.ObjectKeyFromObject(object), typed); err != nil {
		t.Fatal(err)
	}
	asStored := typed.DeepCopyObject().(client.Object)
	switch o := typed.(type) {
	case *v1alpha1.PublicApi:
		o.Spec.Scopes = append(o.Spec.Scopes, v1alpha1.Scope{Name: "invoices:read"})
		o.Status.ObservedGeneration = 2
	case *v1alpha1.Tenant:
		o.Spec.DisplayName += "!"
		o.Status.ObservedGeneration = 2
	case *v1alpha1.ApiToken:
		o.Spec.Description += "!"
		o.Status.ObservedGeneration = 2
	default:
		t.Fatalf("a %T is not tested", o)
	}
	strict := client.FieldValidation("Strict")
	changed := typed.DeepCopyObject().(client.Object)
	if err := env().Client.Update(t.Context(), typed, strict); err != nil {
		t.Errorf("update of %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	changed.SetResourceVersion(typed.GetResourceVersion())
	if err := env().Client.Status().Update(t.Context(), changed, strict); err != nil {
		t.Errorf("update of the status of %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	if changed.GetGeneration() != asStored.GetGeneration()+1 {
		t.Errorf("%s %s: the generation is %d after one change of %d", object.GetKind(), object.GetName(), changed.GetGeneration(), asStored.GetGeneration())
	}
	// The file of then, applied once more.
	again := object.DeepCopy()
	delete(again.Object, "status")
	if err := env().Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(again), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
		t.Errorf("apply of %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// A schema takes nothing away and demands nothing new, but for what allowed.yaml
// permits with a reason.
func TestSchemasStayCompatible(t *testing.T) {
	content, err := os.ReadFile("testdata/allowed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]string{}
	if err := sigsyaml.UnmarshalStrict(content, &allowed); err != nil {
		t.Fatal(err)
	}
	unused := maps.Clone(allowed)
	forEachRelease(t, func(t *testing.T, dir string) {
		now := crds(t, today())
		for name, crd := range crds(t, filepath.Join(dir, "crds")) {
			if now[name] == nil {
				t.Errorf("%s is gone", name)
				continue
			}
			for _, finding := range incompatible(crd, now[name]) {
				if allowed[finding] == "" {
					t.Errorf("%s", finding)
				}
				delete(unused, finding)
			}
		}
	})
	for finding := range unused {
		t.Errorf("allowed.yaml permits what is not found: %s", finding)
	}
}

// The objects of a release use every field that its CRDs have.
func TestObjectsUseEveryField(t *testing.T) {
	forEachRelease(t, func(t *testing.T, dir string) {
		used := map[string]bool{}
		for _, object := range read(t, filepath.Join(dir, "objects")) {
			for _, part := range []string{"spec", "status"} {
				collect(used, object.GetKind()+"."+part, object.Object[part])
			}
		}
		for _, crd := range crds(t, filepath.Join(dir, "crds")) {
			for _, part := range []string{"spec", "status"} {
				for _, field := range fields(crd.Spec.Names.Kind+"."+part, crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[part]) {
					if !used[field] {
						t.Errorf("no object has %s", field)
					}
				}
			}
		}
	})
}

func collect(used map[string]bool, at string, value any) {
	used[at] = true
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			collect(used, at+"."+name, below)
		}
	case []any:
		for _, below := range value {
			collect(used, at, below)
		}
	}
}

func fields(at string, schema apiextensionsv1.JSONSchemaProps) []string {
	all := []string{at}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		all = append(all, fields(at+"."+name, schema.Properties[name])...)
	}
	if schema.Items != nil {
		all = append(all, fields(at, *schema.Items.Schema)...)
	}
	return all
}

// Each kind of tightening is found, and what is loosened or added is not.
func TestTighteningIsFound(t *testing.T) {
	type props = apiextensionsv1.JSONSchemaProps
	const name = "apitokens.latchkey.dev"
	spec := func(c *apiextensionsv1.CustomResourceDefinition) props {
		return c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	}
	// change changes the schema of a field of spec.
	change := func(field string, mutate func(*props)) func(*apiextensionsv1.CustomResourceDefinition) {
		return func(c *apiextensionsv1.CustomResourceDefinition) {
			p := spec(c).Properties[field]
			mutate(&p)
			spec(c).Properties[field] = p
		}
	}
	for want, mutate := range map[string]func(*apiextensionsv1.CustomResourceDefinition){
		"": func(*apiextensionsv1.CustomResourceDefinition) {},
		"apitokens v1alpha1 .spec.owner: removed":                                               func(c *apiextensionsv1.CustomResourceDefinition) { delete(spec(c).Properties, "owner") },
		`apitokens v1alpha1 .spec.owner: type changed from "string" to "integer"`:               change("owner", func(p *props) { p.Type = "integer" }),
		`apitokens v1alpha1 .spec.owner: pattern changed from "^[!-~]([ -~]*[!-~])?$" to "^a$"`: change("owner", func(p *props) { p.Pattern = "^a$" }),
		"apitokens v1alpha1 .spec.owner: rule added: self != 'root'":                            change("owner", func(p *props) { p.XValidations = apiextensionsv1.ValidationRules{{Rule: "self != 'root'"}} }),
		"apitokens v1alpha1 .spec.owner: became an enum":                                        change("owner", func(p *props) { p.Enum = []apiextensionsv1.JSON{{Raw: []byte(`"a"`)}} }),
		"apitokens v1alpha1 .spec.owner: maxLength changed from 253 to 10":                      change("owner", func(p *props) { p.MaxLength = new(int64(10)) }),
		"apitokens v1alpha1 .spec.revoked: default changed":                                     change("revoked", func(p *props) { p.Default = &apiextensionsv1.JSON{Raw: []byte("true")} }),
		"apitokens v1alpha1 .spec.rotation: overlap became required":                            change("rotation", func(p *props) { p.Required = append(p.Required, "overlap") }),
		"apitokens v1alpha1 .spec.scopes: list type, map type or unknown fields changed":        change("scopes", func(p *props) { p.XListType = new("atomic-no-more") }),
		"apitokens v1alpha1 .spec.scopes[]: minLength changed from 1 to 3":                      change("scopes", func(p *props) { p.Items = p.Items.DeepCopy(); p.Items.Schema.MinLength = new(int64(3)) }),
		"apitokens v1alpha1: no longer served":                                                  func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Served = false },
		"apitokens v1alpha1: version removed":                                                   func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Name = "v1" },
		"apitokens v1alpha1: subresources changed":                                              func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Subresources = nil },
		"apitokens: group, scope or kind changed":                                               func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Scope = apiextensionsv1.ClusterScoped },
	} {
		t.Run(want, func(t *testing.T) {
			before := crds(t, today())[name]
			after := before.DeepCopy()
			mutate(after)
			var expected []string
			if want != "" {
				expected = []string{want}
			}
			if diff := cmp.Diff(expected, incompatible(before, after)); diff != "" {
				t.Error(diff)
			}
		})
	}
	before := crds(t, today())[name]
	after := before.DeepCopy()
	spec(after).Properties["comment"] = props{Type: "string", MaxLength: new(int64(10))}
	for _, loosen := range []func(*apiextensionsv1.CustomResourceDefinition){
		change("owner", func(p *props) { p.Pattern, p.MaxLength = "", new(int64(1000)) }),
		change("scopes", func(p *props) { p.MaxItems, p.XValidations = nil, nil }),
	} {
		loosen(after)
	}
	if found := incompatible(before, after); len(found) > 0 {
		t.Errorf("what is compatible is refused: %v", found)
	}
}
