package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const scopesAnnotation = `[{"name":"tokens:read","description":"See tokens."},{"name":"orders:read"}]`

func TestScopes(t *testing.T) {
	t.Parallel()
	_, namespace := newTenant(t, v1alpha1.AnnotationScopes, scopesAnnotation)
	viewer := member(t, "viewer-of-"+namespace, namespace, v1alpha1.TenantViewerClusterRole)
	table := latchkey(t, viewer, "scopes", "-n", namespace).mustSucceed(t).stdout
	if diff := cmp.Diff([][]string{{"SCOPE", "DESCRIPTION"}, {"tokens:read", "See tokens."}, {"orders:read", "-"}}, cells(table)); diff != "" {
		t.Error(diff)
	}
	if names := latchkey(t, viewer, "scopes", "-n", namespace, "-o", "name").mustSucceed(t).stdout; names != "tokens:read\norders:read\n" {
		t.Errorf("names are %q", names)
	}
	var listed []v1alpha1.Scope
	must(t, json.Unmarshal([]byte(latchkey(t, viewer, "scopes", "-n", namespace, "-o", "json").mustSucceed(t).stdout), &listed))
	if len(listed) != 2 || listed[0].Description != "See tokens." {
		t.Errorf("listed are %+v", listed)
	}
}

func TestScopesUnknown(t *testing.T) {
	t.Parallel()
	_, namespace, admin := tenantAdmin(t)
	latchkey(t, admin, "scopes", "-n", namespace).mustFail(t, namespace, "documentation of the API")
	latchkey(t, admin, "scopes", "-n", namespace, "extra").mustFail(t, "no arguments")
	latchkey(t, admin, "scopes", "-n", namespace, "-o", "yaml").mustFail(t, `"yaml"`, "name, json")
}
