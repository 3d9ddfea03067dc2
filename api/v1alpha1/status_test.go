package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Who may write ApiTokens, as a tenant's admin may, can't write their status.
func TestStatusIsWrittenThroughItsSubresourceOnly(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			const forged = `{"observedGeneration":7,"conditions":[{"type":"Ready","status":"True","reason":"Forged","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}`
			s := newSubject(t, k, "subject")
			status := func() any {
				t.Helper()
				object := &unstructured.Unstructured{}
				object.SetAPIVersion(v1alpha1.SchemeGroupVersion.String())
				object.SetKind(k.name)
				if err := env().Client.Get(t.Context(), types.NamespacedName{Namespace: s.namespace, Name: s.object}, object); err != nil {
					t.Fatal(err)
				}
				return object.Object["status"]
			}
			expect(t, s.create(t, minimal[k.name]), accepted)
			for name, write := range map[string]func() error{
				"merge patch": func() error { return s.patch(t, types.MergePatchType, `{"status":`+forged+`}`) },
				"JSON patch": func() error {
					return s.patch(t, types.JSONPatchType, `[{"op":"add","path":"/status","value":`+forged+`}]`)
				},
			} {
				if err := write(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if got := status(); got != nil {
					t.Errorf("%s of the main resource wrote status: %v", name, got)
				}
			}
			if err := s.patchStatus(t, forged); err != nil {
				t.Fatal(err)
			}
			if status() == nil {
				t.Error("status was not written through its subresource")
			}
		})
	}
}

func TestStatusOfANewObjectIsEmpty(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	manifest := s.manifest(`description: a`) + "status: {credential: {id: aaaaaaaaaa, digest: d, expiresAt: \"2027-01-31T00:00:00Z\"}}\n"
	if err := s.post(t, "application/yaml", manifest); err != nil {
		t.Fatal(err)
	}
	if status := s.get(t).(*v1alpha1.ApiToken).Status; status.Credential != nil {
		t.Errorf("status = %+v", status)
	}
}

// Who may write status, as the manager may, can't change the spec with it.
func TestStatusSubresourceLeavesTheSpec(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	s.mustApply(t, credential("a", noon))
	before := s.get(t).GetGeneration()
	body := `{"spec":{"revoked":true,"credential":null},"metadata":{"labels":{"a":"b"}},"status":{"observedGeneration":1}}`
	if err := send(t, restClient(t).Patch(types.MergePatchType).AbsPath(s.path(), "status"), body); err != nil {
		t.Fatal(err)
	}
	after := s.get(t).(*v1alpha1.ApiToken)
	if after.Spec.Revoked || after.Spec.Credential == nil || after.Labels != nil {
		t.Errorf("spec = %+v, labels = %v", after.Spec, after.Labels)
	}
	if after.Status.ObservedGeneration != 1 {
		t.Error("status was not written")
	}
	if after.Generation != before {
		t.Errorf("generation went from %d to %d", before, after.Generation)
	}
}

// Times of status that the format date-time lets through and no Go client
// decodes: one of them in one object would break every list of its kind.
var poisonTimes = []string{
	"2026-01-01t00:00:00Z",
	"2026-01-01T00:00:00z",
	"2026-01-01T00:00:00ZTrailer",
	"2026-01-01T00:00:00+99:99",
	"2026-01-01T00:00:00x5Z",
	"2026-02-30T00:00:00Z",
	"2026-01-01T00:00:60Z",
	"2026-01-01",
	"20260-01-01T00:00:00Z",
	"",
}

func TestStatusTimesCanBeDecoded(t *testing.T) {
	const good = "2026-01-01T00:00:00Z"
	condition := `{"conditions":[{"type":"Active","status":"True","reason":"Issued","message":"","lastTransitionTime":"%s"}]}`
	issued := `{"%s":{"id":"aaaaaaaaaa","digest":"d","expiresAt":"%%s"}}`
	cases := []struct {
		kind   kind
		format string
	}{
		{apiTokens, condition},
		{tenants, condition},
		{publicApis, condition},
		{apiTokens, `{"revokedAt":"%s"}`},
		{apiTokens, fmt.Sprintf(issued, "credential")},
		{apiTokens, fmt.Sprintf(issued, "previousCredential")},
	}
	for _, c := range cases {
		field, _, _ := strings.Cut(strings.TrimPrefix(c.format, `{"`), `"`)
		t.Run(c.kind.name+" "+field, func(t *testing.T) {
			s := newSubject(t, c.kind, "subject")
			s.mustApply(t, minimal[c.kind.name])
			for _, poison := range poisonTimes {
				if err := s.patchStatus(t, fmt.Sprintf(c.format, poison)); err == nil {
					t.Errorf("%q was accepted", poison)
				}
				s.mustServeClients(t)
			}
			if err := s.patchStatus(t, fmt.Sprintf(c.format, good)); err != nil {
				t.Errorf("%q was refused: %v", good, err)
			}
			s.mustServeClients(t)
		})
	}
}

// The same for numbers that are too big for their Go types.
func TestStatusNumbersCanBeDecoded(t *testing.T) {
	for _, k := range kinds {
		s := newSubject(t, k, "subject")
		s.mustApply(t, minimal[k.name])
		for _, number := range []string{"1e15", "9007199254740993", "9223372036854775807", "9223372036854775808", "1e19", "1e400", "0.5", "-1", "1.0"} {
			t.Run(k.name+"/"+number, func(t *testing.T) {
				if err := s.patchStatus(t, `{"observedGeneration":`+number+`}`); err != nil {
					t.Logf("refused: %v", err)
				}
				s.mustServeClients(t)
			})
		}
	}
}

// Half a credential vouches for nothing and must not be stored.
func TestIssuedCredentialsAreWhole(t *testing.T) {
	parts := map[string]string{"id": `"aaaaaaaaaa"`, "digest": `"d"`, "expiresAt": `"2027-01-31T00:00:00Z"`}
	for _, field := range []string{"credential", "previousCredential"} {
		for left := range parts {
			t.Run(field+" without "+left, func(t *testing.T) {
				s := newSubject(t, apiTokens, "subject")
				s.mustApply(t, ``)
				var fields []string
				for name, value := range parts {
					if name != left {
						fields = append(fields, fmt.Sprintf("%q:%s", name, value))
					}
				}
				status := fmt.Sprintf(`{%q:{%s}}`, field, strings.Join(fields, ","))
				expect(t, s.patchStatus(t, status), "status."+field+"."+left+": "+required)
			})
		}
	}
}
