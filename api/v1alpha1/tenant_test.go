package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const systemMember = "system: users and groups are Kubernetes' own and can't be members"

func TestTenantSpec(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, tenants, []specCase{
		{``, accepted},
		{`{}`, accepted},
		{`null`, accepted},
		{`displayName: ""`, accepted},
		{`displayName: ACME GmbH & Co. KG – Süd`, accepted},
		{`displayName: ` + repeat("ü", 128), accepted},
		{`displayName: ` + repeat("a", 129), tooLong},
		{`displayName: 5`, badType},
		{`suspended: true`, accepted},
		{`suspended: "yes"`, badType},

		{`publicApi: orders`, accepted},
		{`publicApi: 1st`, accepted},
		{`publicApi: ` + repeat("a", 63), accepted},
		{`publicApi: ` + repeat("a", 64), tooLong},
		{`publicApi: ""`, tooShort},
		{`publicApi: null`, accepted},
		{`publicApi: Orders`, badPattern},
		{`publicApi: a.b`, badPattern},
		{`publicApi: a-`, badPattern},
		{`publicApi: "a\n"`, badPattern},

		{`namespace: acme`, accepted},
		{`namespace: ` + repeat("a", 63), accepted},
		{`namespace: ` + repeat("a", 64), tooLong},
		{`namespace: ""`, tooShort},
		{`namespace: a.b`, badPattern},
		{`namespace: -a`, badPattern},
		{`namespace: A`, badPattern},
		{`namespace: kube_system`, badPattern},
	})
}

func TestTenantMembers(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, tenants, []specCase{
		{`members: []`, accepted},
		{`members: [{kind: User, name: ana@example.com}]`, accepted},
		{`members: [{kind: User, name: ana}, {kind: Group, name: ana}]`, accepted},
		{`members: [{kind: Group, name: acme:admins, role: Viewer}]`, accepted},
		{`members: [{kind: User, name: "https://idp.example.com#ana"}]`, accepted},
		{`members: [{kind: User, name: system}]`, accepted},
		{`members: [{kind: User, name: ` + repeat("a", 253) + `}]`, accepted},
		{`members: [{kind: User, name: ` + repeat("a", 254) + `}]`, tooLong},
		{`members: [{kind: User, name: ""}]`, tooShort},
		{`members: [{kind: User}]`, "spec.members[0].name: " + required},
		{`members: [{name: ana}]`, "spec.members[0].kind: " + required},
		{`members: [{kind: ServiceAccount, name: ana}]`, unsupported},
		{`members: [{kind: user, name: ana}]`, unsupported},
		{`members: [{kind: User, name: ana, role: Owner}]`, unsupported},
		{`members: [{kind: User, name: ana, role: admin}]`, unsupported},
		{`members: [{kind: User, name: ana, role: ""}]`, unsupported},
		{`members: [{kind: User, name: ana, role: null}]`, accepted},
		{`members: [{kind: User, name: ana}, {kind: User, name: ana}]`, duplicate},
		{`members: [{kind: User, name: ana}, {kind: User, name: ana, role: Viewer}]`, duplicate},
		{`members: [{kind: User, name: "system:admin"}]`, systemMember},
		{`members: [{kind: User, name: "system:"}]`, systemMember},
		{`members: [{kind: Group, name: "system:authenticated"}]`, systemMember},
		{`members: [{kind: Group, name: "system:masters", role: Viewer}]`, systemMember},
		{`members: [{kind: User, name: ana}, {kind: User, name: "system:serviceaccount:kube-system:default"}]`, systemMember},
		{`members: ` + list(256, "{kind: User, name: u%d}"), accepted},
		{`members: ` + list(257, "{kind: User, name: u%d}"), tooMany},
		{`members: [ana]`, badType},
		{`members: [null]`, badType},
	})
}

func TestTenantDefaults(t *testing.T) {
	for name, spec := range map[string]string{"missing spec": "", "empty spec": "{}", "null spec": "null", "nulls in it": "{publicApi: null, members: null}"} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(t, tenants, "acme")
			expect(t, s.create(t, spec), accepted)
			tenant := s.get(t).(*v1alpha1.Tenant)
			if tenant.Spec.PublicApi != v1alpha1.DefaultPublicApi {
				t.Errorf("publicApi = %q, want %q", tenant.Spec.PublicApi, v1alpha1.DefaultPublicApi)
			}
			if tenant.Spec.Namespace != "" || tenant.Spec.Suspended || tenant.Spec.Members != nil || tenant.Spec.DisplayName != "" {
				t.Errorf("spec = %+v, want nothing but publicApi", tenant.Spec)
			}
			if got := tenant.NamespaceName(); got != "tenant-acme" {
				t.Errorf("NamespaceName = %q", got)
			}
		})
	}
	t.Run("role", func(t *testing.T) {
		s := newSubject(t, tenants, "acme")
		expect(t, s.create(t, "members: [{kind: User, name: ana}, {kind: User, name: eve, role: Viewer}]"), accepted)
		members := s.get(t).(*v1alpha1.Tenant).Spec.Members
		if members[0].Role != v1alpha1.MemberAdmin || members[1].Role != v1alpha1.MemberViewer {
			t.Errorf("roles = %q and %q, want Admin and Viewer", members[0].Role, members[1].Role)
		}
	})
}

// The methods fill in what no API server has defaulted.
func TestTenantNames(t *testing.T) {
	tenant := &v1alpha1.Tenant{}
	tenant.Name = "acme"
	if got := tenant.NamespaceName(); got != "tenant-acme" {
		t.Errorf("NamespaceName = %q", got)
	}
	if got := tenant.PublicApiName(); got != v1alpha1.DefaultPublicApi {
		t.Errorf("PublicApiName = %q", got)
	}
	tenant.Spec.Namespace, tenant.Spec.PublicApi = "customer-7", "orders"
	if got := tenant.NamespaceName(); got != "customer-7" {
		t.Errorf("NamespaceName = %q", got)
	}
	if got := tenant.PublicApiName(); got != "orders" {
		t.Errorf("PublicApiName = %q", got)
	}
}
