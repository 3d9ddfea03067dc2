package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// subject is an object under test. It is written as the text that a user would
// write, so that nothing but the API server reads it.
type subject struct {
	kind
	object string
}

// newSubject names an object that does not exist yet, and deletes it at the end
// of the test.
func newSubject(t testing.TB, k kind, name string) subject {
	t.Helper()
	s := subject{kind: k, object: name}
	t.Cleanup(func() {
		err := restClient(t).Delete().AbsPath(s.path()).Do(context.Background()).Error()
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete %s: %v", s.path(), err)
		}
	})
	return s
}

func (k kind) path() string {
	path := "/apis/" + v1alpha1.SchemeGroupVersion.String()
	if k.namespace != "" {
		path += "/namespaces/" + k.namespace
	}
	return path + "/" + k.plural
}

func (s subject) path() string { return s.kind.path() + "/" + s.object }

// manifest is the object as YAML, without a spec where that is empty.
func (s subject) manifest(spec string) string {
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %q\n", v1alpha1.SchemeGroupVersion, s.name, s.object)
	if s.namespace != "" {
		text += "  namespace: " + s.namespace + "\n"
	}
	if spec != "" {
		text += "spec:\n  " + strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
	}
	return text
}

// create posts the object.
func (s subject) create(t testing.TB, spec string) error {
	t.Helper()
	return s.post(t, "application/yaml", s.manifest(spec))
}

func (s subject) post(t testing.TB, contentType, body string) error {
	t.Helper()
	return send(t, restClient(t).Post().AbsPath(s.kind.path()).SetHeader("Content-Type", contentType), body)
}

// apply does what a GitOps tool does: server-side apply, taking fields by force.
func (s subject) apply(t testing.TB, spec string) error {
	t.Helper()
	return s.applyAs(t, "gitops", spec)
}

func (s subject) applyAs(t testing.TB, owner, spec string) error {
	t.Helper()
	request := restClient(t).Patch(types.ApplyYAMLPatchType).AbsPath(s.path()).
		Param("fieldManager", owner).Param("force", "true")
	return send(t, request, s.manifest(spec))
}

func (s subject) mustApply(t testing.TB, spec string) {
	t.Helper()
	if err := s.apply(t, spec); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

func (s subject) patch(t testing.TB, patchType types.PatchType, body string) error {
	t.Helper()
	return send(t, restClient(t).Patch(patchType).AbsPath(s.path()), body)
}

// patchStatus writes the status as a controller may.
func (s subject) patchStatus(t testing.TB, status string) error {
	t.Helper()
	return send(t, restClient(t).Patch(types.MergePatchType).AbsPath(s.path(), "status"), `{"status":`+status+`}`)
}

func send(t testing.TB, request *rest.Request, body string) error {
	t.Helper()
	return request.Param("fieldValidation", "Strict").Body([]byte(body)).Do(t.Context()).Error()
}

// get decodes the object as our own programs do.
func (s subject) get(t testing.TB) client.Object {
	t.Helper()
	object := s.newObject()
	if err := env().Client.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: s.object}, object); err != nil {
		t.Fatalf("get: %v", err)
	}
	return object
}

// mustServeClients proves that an object which the API server accepted harms no
// client: one that can't be decoded would break every list of its kind, one that
// changes by decoding and encoding would lose what its author said.
func (s subject) mustServeClients(t testing.TB) {
	t.Helper()
	if err := env().Client.List(t.Context(), s.newList()); err != nil {
		t.Fatalf("a poison object: list: %v", err)
	}
	object := s.get(t)
	before := s.spec(object.DeepCopyObject().(client.Object))
	if err := env().Client.Update(t.Context(), object); err != nil {
		t.Fatalf("an update by a typed client that changes nothing: %v", err)
	}
	if after := s.spec(s.get(t)); !equality.Semantic.DeepEqual(before, after) {
		t.Fatalf("an update by a typed client that should change nothing changed\n%+v to\n%+v", before, after)
	}
}

func toJSON(t testing.TB, text string) string {
	t.Helper()
	if text == "" {
		return "null"
	}
	converted, err := yaml.ToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(converted)
}

func toMap(t testing.TB, text string) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(toJSON(t, text)), &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// specCase is the YAML of a spec, and what the refusal says unless it is accepted.
type specCase struct{ spec, advice string }

// checkSpecs creates an object with each spec.
func checkSpecs(t *testing.T, k kind, cases []specCase) {
	for _, c := range cases {
		t.Run(c.spec[:min(len(c.spec), 70)], func(t *testing.T) {
			s := newSubject(t, k, "subject")
			err := s.create(t, c.spec)
			expect(t, err, c.advice)
			if err == nil {
				s.mustServeClients(t)
			}
		})
	}
}

func mustMarshal(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
