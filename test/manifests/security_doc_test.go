package manifests

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// docs/security.md lists every right of every account, each with a reason, and no
// right that the manifests don't give.
func TestRightsAreDocumented(t *testing.T) {
	if diff := cmp.Diff(grantedRights(t), documentedRights(t)); diff != "" {
		t.Errorf("config/rbac (-) and the table in docs/security.md (+) differ:\n%s", diff)
	}
}

// right is a verb on a resource, as one line.
func right(who, where, resource, name, verb string) string {
	line := fmt.Sprintf("%s: %s: %s %s", who, where, verb, resource)
	if name != "" {
		line += " named " + name
	}
	return line
}

func grantedRights(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, file := range []string{"apiserver_role.yaml", "manager_role.yaml", "portal_role.yaml"} {
		for _, role := range roles(t, filepath.Join(controlplane.Root(), "config", "rbac", file)) {
			where := role.Namespace
			if where == "" {
				where = "everywhere"
			}
			for _, rule := range role.Rules {
				all = append(all, flatten(role.Name, where, rule)...)
			}
		}
	}
	slices.Sort(all)
	return all
}

// roles reads the Roles and ClusterRoles of a file.
func roles(t *testing.T, file string) []rbacv1.Role {
	t.Helper()
	reader, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(reader, 4096)
	var list []rbacv1.Role
	for {
		var role rbacv1.Role
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if role.Kind == "Role" || role.Kind == "ClusterRole" {
			list = append(list, role)
		}
	}
}

func flatten(who, where string, rule rbacv1.PolicyRule) []string {
	var all []string
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			base, subresource, _ := strings.Cut(resource, "/")
			if group != "" {
				base += "." + group
			}
			if subresource != "" {
				base += "/" + subresource
			}
			for _, name := range names {
				for _, verb := range rule.Verbs {
					all = append(all, right(who, where, base, name, verb))
				}
			}
		}
	}
	return all
}

var code = regexp.MustCompile("`([^`]+)`")

func codes(cell string) []string {
	var all []string
	for _, match := range code.FindAllStringSubmatch(cell, -1) {
		all = append(all, match[1])
	}
	return all
}

// documentedRights reads the table | Account | Where | Resources | Verbs | Reason |.
func documentedRights(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(content), "| Account | Where | Resources | Verbs | Reason |\n|---|---|---|---|---|\n")
	if !found {
		t.Fatal("docs/security.md has no table of rights")
	}
	var all []string
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 {
			break
		}
		if strings.TrimSpace(cells[4]) == "" {
			t.Errorf("no reason is given for:%s", line)
		}
		where := "everywhere"
		if in := codes(cells[1]); len(in) == 1 {
			where = in[0]
		}
		resources, named, _ := strings.Cut(cells[2], " named ")
		names := codes(named)
		if len(names) == 0 {
			names = []string{""}
		}
		for _, who := range codes(cells[0]) {
			for _, resource := range codes(resources) {
				for _, name := range names {
					for _, verb := range codes(cells[3]) {
						all = append(all, right(who, where, resource, name, verb))
					}
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
