package v1alpha1_test

import (
	"strings"
	"testing"
)

// What is said of a name: the first by Kubernetes itself, the others by us.
const (
	notSubdomain   = "a lowercase RFC 1123 subdomain must consist of"
	notLabel       = "metadata.name must be a DNS label"
	reservedLabel  = "metadata.name must not have hyphens in third and fourth place: such labels (xn--…) are reserved"
	tenantTooLong  = "metadata.name must be a DNS label of at most 56 lower-case letters, digits and hyphens: it is the subdomain, and tenant-<name> the namespace"
	nameIsRequired = "name or generateName is required"
)

func TestNames(t *testing.T) {
	repeat := strings.Repeat
	cases := []struct{ name, ofTenants, ofOthers string }{
		{"a", accepted, accepted},
		{"7", accepted, accepted},
		{"1acme", accepted, accepted},
		{"acme-1", accepted, accepted},
		{"a--b", accepted, accepted},
		{"abc--d", accepted, accepted},
		{repeat("a", 56), accepted, accepted},
		{repeat("a", 57), tenantTooLong, accepted},
		{repeat("a", 63), tenantTooLong, accepted},
		{repeat("a", 64), tenantTooLong, notLabel},
		{repeat("a", 253), tenantTooLong, notLabel},
		{"xn--bcher-kva", reservedLabel, accepted},
		{"xn--", notSubdomain, notSubdomain},
		{"ab--c", reservedLabel, accepted},
		{"a.b", notLabel, notLabel},
		{"acme.example.com", notLabel, notLabel},
		{repeat("a", 254), "must be no more than 253", "must be no more than 253"},
		{"Acme", notSubdomain, notSubdomain},
		{"ACME", notSubdomain, notSubdomain},
		{"-acme", notSubdomain, notSubdomain},
		{"acme-", notSubdomain, notSubdomain},
		{"ac_me", notSubdomain, notSubdomain},
		{"ac me", notSubdomain, notSubdomain},
		{"acme:1", notSubdomain, notSubdomain},
		{"büro", notSubdomain, notSubdomain},
		{"acme\n", notSubdomain, notSubdomain},
	}
	for _, k := range kinds {
		for _, c := range cases {
			advice := c.ofOthers
			if k.name == tenants.name {
				advice = c.ofTenants
			}
			t.Run(k.name+"/create/"+c.name, func(t *testing.T) {
				s := newSubject(t, k, c.name)
				expect(t, s.create(t, minimal[k.name]), advice)
			})
			t.Run(k.name+"/apply/"+c.name, func(t *testing.T) {
				s := newSubject(t, k, c.name)
				expect(t, s.apply(t, minimal[k.name]), advice)
			})
		}
		t.Run(k.name+"/create without", func(t *testing.T) {
			manifest := strings.Replace(subject{kind: k}.manifest(minimal[k.name]), `name: ""`, `labels: {}`, 1)
			expect(t, subject{kind: k}.post(t, "application/yaml", manifest), nameIsRequired)
		})
	}
}

// A generated name is checked like any other.
func TestGeneratedNames(t *testing.T) {
	for _, k := range kinds {
		for prefix, advice := range map[string]string{"generated-": accepted, "generated.": notLabel} {
			t.Run(k.name+"/"+prefix, func(t *testing.T) {
				manifest := strings.Replace(subject{kind: k}.manifest(minimal[k.name]), `name: ""`, `generateName: `+prefix, 1)
				request := restClient(t).Post().AbsPath(k.path()).Param("dryRun", "All").SetHeader("Content-Type", "application/yaml")
				expect(t, send(t, request, manifest), advice)
			})
		}
	}
}
