package cli_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// listed is a namespace with an ApiToken in every state that list shows.
func listed(t testing.TB) (namespace string, active *v1alpha1.ApiToken) {
	t.Helper()
	_, namespace = newTenant(t)
	active = applyToken(t, namespace, "active", func(o *v1alpha1.ApiToken) {
		o.Labels = map[string]string{"team": "ci"}
		o.Spec.Credential = credential(t)
		o.Spec.Owner, o.Spec.Scopes, o.Spec.Description = "jo", []string{"a", "b"}, "first\n\x1b[31msecond"
	})
	setStatus(t, active, activated(12*24*time.Hour))
	applyToken(t, namespace, "fresh", func(o *v1alpha1.ApiToken) { o.Spec.Credential = credential(t) })
	waiting := applyToken(t, namespace, "waiting")
	setStatus(t, waiting, refused(v1alpha1.ReasonAwaitingCredential, "mint one"))
	return namespace, active
}

// at is a kubeconfig for an API server whose clock says when.
func at(t testing.TB, when time.Time) string {
	return proxy{modify: func(r *http.Response) { r.Header.Set("Date", when.UTC().Format(http.TimeFormat)) }}.kubeconfig(t)
}

// cells are a table's cells, which two or more spaces divide.
func cells(table string) [][]string {
	var rows [][]string
	for line := range strings.Lines(table) {
		rows = append(rows, regexp.MustCompile(` {2,}`).Split(strings.TrimRight(line, " \n"), -1))
	}
	return rows
}

func TestListTable(t *testing.T) {
	t.Parallel()
	namespace, active := listed(t)
	credential := active.Status.Credential
	expiresAt := credential.ExpiresAt.UTC().Format(time.RFC3339)
	fresh := getToken(t, namespace, "fresh").Spec.Credential.ID
	issuedAt := active.Spec.Credential.IssuedAt.Time
	cases := []struct {
		name string
		when time.Time
		args []string
		want [][]string
	}{
		{"plain", issuedAt.Add(2 * time.Hour), nil, [][]string{
			{"NAME", "ACTIVE", "REASON", "ID", "EXPIRES", "AGE"},
			{"active", "True", "Issued", credential.ID, expiresAt + " (in 11d)", "AGE"},
			{"fresh", "-", "-", fresh, "-", "AGE"},
			{"waiting", "False", "AwaitingCredential", "-", "-", "AGE"},
		}},
		{"after expiry", credential.ExpiresAt.Add(3 * time.Hour), []string{"-l", "team=ci"}, [][]string{
			{"NAME", "ACTIVE", "REASON", "ID", "EXPIRES", "AGE"},
			{"active", "True", "Issued", credential.ID, expiresAt + " (3h ago)", "AGE"},
		}},
		{"wide", issuedAt, []string{"-o", "wide", "-l", "team=ci"}, [][]string{
			{"NAME", "ACTIVE", "REASON", "ID", "EXPIRES", "AGE", "OWNER", "SCOPES", "DESCRIPTION"},
			{"active", "True", "Issued", credential.ID, expiresAt + " (in 12d)", "AGE", "jo", "a,b", "first\uFFFD\uFFFD[31msecond"},
		}},
		{"everywhere", issuedAt, []string{"-A", "-l", "team=ci"}, [][]string{
			{"NAMESPACE", "NAME", "ACTIVE", "REASON", "ID", "EXPIRES", "AGE"},
			{namespace, "active", "True", "Issued", credential.ID, expiresAt + " (in 12d)", "AGE"},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := latchkey(t, at(t, c.when), append([]string{"list", "-n", namespace}, c.args...)...).mustSucceed(t)
			if strings.Contains(r.stdout, "sha256:") {
				t.Error("the table holds a digest")
			}
			got := cells(r.stdout)
			age := slices.Index(got[0], "AGE")
			got = slices.DeleteFunc(got, func(row []string) bool { return c.name == "everywhere" && row[0] != "NAMESPACE" && row[0] != namespace })
			for _, row := range got[1:] {
				if !regexp.MustCompile(`^[0-9]+[smhd]`).MatchString(row[age]) {
					t.Errorf("age = %q", row[age])
				}
				row[age] = "AGE"
			}
			if asJSON(t, got) != asJSON(t, c.want) {
				t.Errorf("got  %s\nwant %s", asJSON(t, got), asJSON(t, c.want))
			}
		})
	}
}

func TestListObjects(t *testing.T) {
	t.Parallel()
	namespace, _ := listed(t)
	kubeconfig := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	decoders := map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(b []byte, v any) error { return yaml.UnmarshalStrict(b, v) },
	}
	for output, decode := range decoders {
		list := &v1alpha1.ApiTokenList{}
		r := latchkey(t, kubeconfig, "list", "-n", namespace, "-o", output).mustSucceed(t)
		must(t, decode([]byte(r.stdout), list))
		if list.Kind != "ApiTokenList" || len(list.Items) != 3 || list.Items[0].Kind != "ApiToken" || list.Items[0].ManagedFields != nil {
			t.Errorf("-o %s printed %s", output, r.stdout)
		}
	}
	r := latchkey(t, kubeconfig, "list", "-n", namespace, "-o", "name").mustSucceed(t)
	if want := "apitoken.latchkey.dev/active\napitoken.latchkey.dev/fresh\napitoken.latchkey.dev/waiting\n"; r.stdout != want {
		t.Errorf("-o name printed %q, want %q", r.stdout, want)
	}
}

func TestListNothing(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	r := latchkey(t, kubeconfig, "list", "-n", namespace).mustSucceed(t)
	if want := "There are no ApiTokens in namespace \"" + namespace + "\".\n"; r.stdout != "" || r.stderr != want {
		t.Errorf("stdout = %q, stderr = %q, want %q", r.stdout, r.stderr, want)
	}
	if r := latchkey(t, kubeconfig, "list", "-n", namespace, "-o", "json").mustSucceed(t); !strings.Contains(r.stdout, `"items": []`) {
		t.Errorf("-o json printed %s", r.stdout)
	}
}

func TestListRefused(t *testing.T) {
	t.Parallel()
	_, namespace, kubeconfig := tenantAdmin(t)
	latchkey(t, kubeconfig, "list", "-A", "-n", namespace).mustFail(t, "you may not list apitokens in all namespaces", "choose a namespace with -n")
	latchkey(t, kubeconfig, "list", "-n", "default").mustFail(t, `you may not list apitokens in namespace "default"`, "role Viewer or Admin")
}

func TestListUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ci"}, "no arguments are expected"},
		{[]string{"-o", "xml"}, `-o "xml": must be one of wide, json, yaml, name`},
		{[]string{"-l", "!!"}, "--selector"},
	} {
		latchkey(t, "/nonexistent", append([]string{"list"}, c.args...)...).mustFail(t, c.want, "See 'kubectl latchkey list --help'")
	}
}
