package v1alpha1_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// writers are the ways in which an object's spec can be changed. Each turns the
// spec from into the spec to, both YAML.
var writers = map[string]func(t testing.TB, s subject, from, to string) error{
	"replace": func(t testing.TB, s subject, _, to string) error {
		manifest := toMap(t, s.manifest(to))
		manifest["metadata"].(map[string]any)["resourceVersion"] = s.get(t).GetResourceVersion()
		return send(t, restClient(t).Put().AbsPath(s.path()), string(mustMarshal(t, manifest)))
	},
	"merge patch": func(t testing.TB, s subject, from, to string) error {
		return s.patch(t, types.MergePatchType, `{"spec":`+mergePatch(t, from, to)+`}`)
	},
	"JSON patch": func(t testing.TB, s subject, _, to string) error {
		if to == "" {
			return s.patch(t, types.JSONPatchType, `[{"op":"remove","path":"/spec"}]`)
		}
		return s.patch(t, types.JSONPatchType, `[{"op":"replace","path":"/spec","value":`+toJSON(t, to)+`}]`)
	},
	// By force, and by the owner of every field, so that what is left out is removed.
	"server-side apply": func(t testing.TB, s subject, _, to string) error { return s.apply(t, to) },
}

// mergePatch turns the fields of from into those of to, as kubectl apply does.
func mergePatch(t testing.TB, from, to string) string {
	t.Helper()
	if to == "" {
		return "null"
	}
	patch := toMap(t, to)
	for field := range toMap(t, from) {
		if _, kept := patch[field]; !kept {
			patch[field] = nil
		}
	}
	return string(mustMarshal(t, patch))
}

// transition is a change of a spec, and what the refusal says unless it is accepted.
type transition struct{ name, from, to, advice string }

// checkTransitions tries each change by every writer.
func checkTransitions(t *testing.T, k kind, transitions []transition) {
	for _, c := range transitions {
		for writer, write := range writers {
			t.Run(c.name+"/"+writer, func(t *testing.T) {
				s := newSubject(t, k, "subject")
				s.mustApply(t, c.from)
				before := s.get(t)
				expect(t, write(t, s, c.from, c.to), c.advice)
				after := s.get(t)
				if c.advice != accepted {
					if before.GetResourceVersion() != after.GetResourceVersion() {
						t.Error("the object changed although the change was refused")
					}
					return
				}
				wanted := newSubject(t, k, "wanted")
				wanted.mustApply(t, c.to)
				if got, want := s.spec(after), s.spec(wanted.get(t)); !equality.Semantic.DeepEqual(got, want) {
					t.Errorf("spec = %+v\nwant %+v", got, want)
				}
			})
		}
	}
}

func TestTenantNamespaceIsImmutable(t *testing.T) {
	const immutable = "namespace is immutable: delete the Tenant and make a new one"
	checkTransitions(t, tenants, []transition{
		{"kept", `namespace: acme`, "namespace: acme\nsuspended: true", accepted},
		{"never set", `displayName: Acme`, `displayName: ACME`, accepted},
		{"changed", `namespace: acme`, `namespace: other`, immutable},
		{"unset", `namespace: acme`, `displayName: Acme`, immutable},
		{"unset with the whole spec emptied", `namespace: acme`, `{}`, immutable},
		{"unset with the whole spec removed", `namespace: acme`, ``, immutable},
		{"set later", `displayName: Acme`, "displayName: Acme\nnamespace: acme", immutable},
		{"set to the default later", `displayName: Acme`, "displayName: Acme\nnamespace: tenant-subject", immutable},
		{"set where there was no spec", ``, `namespace: acme`, immutable},
	})
}

func TestTenantChanges(t *testing.T) {
	checkTransitions(t, tenants, []transition{
		{"suspended", `suspended: false`, `suspended: true`, accepted},
		{"resumed", `suspended: true`, `suspended: false`, accepted},
		{"resumed by leaving it out", `suspended: true`, `displayName: Acme`, accepted},
		{"another PublicApi", `publicApi: default`, `publicApi: orders`, accepted},
		{"members", `members: [{kind: User, name: ana}]`, `members: [{kind: User, name: ana, role: Viewer}, {kind: Group, name: a}]`, accepted},
		{"a system member", `members: [{kind: User, name: ana}]`, `members: [{kind: User, name: ana}, {kind: Group, name: "system:masters"}]`, systemMember},
	})
}

func TestPublicApiChanges(t *testing.T) {
	const service, url = `backend: {service: {name: web, port: 80}}`, `backend: {url: "http://a"}`
	checkTransitions(t, publicApis, []transition{
		{"base path", url + "\nbasePath: /api/v1", url + "\nbasePath: /api/v2", accepted},
		{"policy tightened", url, url + "\ntokenPolicy: {defaultLifetime: 1h, maxLifetime: 1h}", accepted},
		{"policy contradictory", url, url + "\ntokenPolicy: {defaultLifetime: 2h, maxLifetime: 1h}", longerThanMax},
		{"scopes removed", url + "\nscopes: [{name: a}, {name: b}]", url + "\nscopes: [{name: b}]", accepted},
		{"two backends", url, `backend: {url: "http://a", service: {name: web, port: 80}}`, oneBackend},
	})
	// A merge patch of the new backend alone would leave the old one beside it.
	s := newSubject(t, publicApis, "subject")
	s.mustApply(t, service)
	expect(t, s.patch(t, types.MergePatchType, `{"spec":{"backend":{"url":"http://a"}}}`), oneBackend)
	expect(t, s.patch(t, types.MergePatchType, `{"spec":{"backend":{"url":"http://a","service":null}}}`), accepted)
	expect(t, s.patch(t, types.JSONPatchType, `[{"op":"replace","path":"/spec/backend","value":{}}]`), oneBackend)
}

func TestApiTokenChanges(t *testing.T) {
	const reinstated = "a revoked ApiToken can't be reinstated: make a new one"
	checkTransitions(t, apiTokens, []transition{
		{"revoked", `description: a`, "description: a\nrevoked: true", accepted},
		{"revoked from false", `revoked: false`, `revoked: true`, accepted},
		{"revoked kept", `revoked: true`, "revoked: true\ndescription: b", accepted},
		{"revoked false kept", `revoked: false`, `description: b`, accepted},
		{"reinstated", `revoked: true`, `revoked: false`, reinstated},
		{"reinstated by leaving it out", `revoked: true`, `description: a`, reinstated},
		{"reinstated by emptying the spec", `revoked: true`, `{}`, reinstated},
		{"reinstated by removing the spec", `revoked: true`, ``, reinstated},
		{"lifetime to expiresAt", `lifetime: 1h`, `expiresAt: "2027-01-31T00:00:00Z"`, accepted},
		{"expiresAt to lifetime", `expiresAt: "2027-01-31T00:00:00Z"`, `lifetime: 1h`, accepted},
		{"expiresAt beside lifetime", `lifetime: 1h`, "lifetime: 1h\nexpiresAt: \"2027-01-31T00:00:00Z\"", notBoth},
		{"scopes", `scopes: [a]`, `scopes: [b, c]`, accepted},
		{"CIDRs", `allowedCIDRs: [192.0.2.0/24]`, `allowedCIDRs: [192.0.2.1]`, notCIDR},
	})
}

// What was dropped does not come back while no manager runs to remember it. An id that
// drops nothing can be corrected.
func TestDroppedCredentialStaysDropped(t *testing.T) {
	const (
		dropped    = "stays dropped: it changes together with spec.credential only"
		credential = "credential: {id: bbbbbbbbbb, digest: \"sha256:bb00000000000000000000000000000000000000000000000000000000000000\", issuedAt: \"2026-01-02T00:00:00Z\"}\n"
		successor  = "credential: {id: cccccccccc, digest: \"sha256:cc00000000000000000000000000000000000000000000000000000000000000\", issuedAt: \"2026-01-03T00:00:00Z\"}\n"
		drop       = "rotation: {overlap: 24h, dropPrevious: aaaaaaaaaa}"
		status     = `{"previousCredential":{"id":"aaaaaaaaaa","digest":"sha256:aa","expiresAt":"2026-02-01T00:00:00Z"}}`
	)
	for _, c := range []transition{
		{"set", credential, credential + drop, accepted},
		{"set where another was", credential + "rotation: {dropPrevious: zzzzzzzzzz}", credential + drop, accepted},
		{"another that drops nothing", credential + "rotation: {dropPrevious: zzzzzzzzzz}", credential + "rotation: {dropPrevious: yyyyyyyyyy}", accepted},
		{"kept", credential + drop, credential + "description: a\nrotation: {overlap: 1h, dropPrevious: aaaaaaaaaa}", accepted},
		{"changed", credential + drop, credential + "rotation: {overlap: 24h, dropPrevious: zzzzzzzzzz}", dropped},
		{"cleared with all of rotation", credential + drop, credential, dropped},
		{"cleared by the next rotation", credential + drop, successor + "rotation: {overlap: 24h}", accepted},
		{"changed by the next rotation", credential + drop, successor + "rotation: {dropPrevious: bbbbbbbbbb}", accepted},
	} {
		for writer, write := range writers {
			t.Run(c.name+"/"+writer, func(t *testing.T) {
				s := newSubject(t, apiTokens, "subject")
				s.mustApply(t, c.from)
				if err := s.patchStatus(t, status); err != nil {
					t.Fatal(err)
				}
				expect(t, write(t, s, c.from, c.to), c.advice)
			})
		}
	}
	s := newSubject(t, apiTokens, "subject")
	s.mustApply(t, credential+drop)
	if err := s.patchStatus(t, status); err != nil {
		t.Fatal(err)
	}
	expect(t, s.patch(t, types.MergePatchType, `{"spec":{"rotation":{"dropPrevious":null}}}`), dropped)
	expect(t, s.apply(t, credential+"rotation: {overlap: 24h}"), dropped)
}

// Values that were valid once must not block changes of other fields; the
// control: a change of such a value is checked.
func TestUnchangedFieldsStayValid(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	s.mustApply(t, `lifetime: 720h`)
	for i := range 3 {
		if err := s.apply(t, fmt.Sprintf("lifetime: 720h\ndescription: change %d", i)); err != nil {
			t.Fatalf("refused: %v", err)
		}
	}
	expect(t, s.apply(t, `lifetime: 876000h`), lifetimeBounds)
}
