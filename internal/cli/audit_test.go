package cli_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// audited is a tenant's namespace with an ApiToken for every check, named after
// it, and one without a finding.
func audited(t testing.TB) (namespace string) {
	t.Helper()
	name, namespace := newTenant(t)
	tenant := &v1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.TenantSpec{
		PublicApi: name, Members: []v1alpha1.Member{{Kind: v1alpha1.MemberUser, Name: "jo"}, {Kind: v1alpha1.MemberGroup, Name: "ops"}},
	}}
	must(t, env().Client.Create(t.Context(), tenant))
	tenant.Status.Namespace = namespace
	must(t, env().Client.Status().Update(t.Context(), tenant))
	must(t, env().Client.Create(t.Context(), &v1alpha1.PublicApi{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PublicApiSpec{
		Backend: v1alpha1.Backend{URL: "http://127.0.0.1:9"}, Scopes: []v1alpha1.Scope{{Name: "a"}, {Name: "orders:write"}},
	}}))
	for _, c := range []struct {
		name   string
		spec   func(*v1alpha1.ApiTokenSpec)
		status func(*v1alpha1.ApiTokenStatus)
	}{
		{"sound", nil, nil},
		{"idle", nil, func(s *v1alpha1.ApiTokenStatus) {
			s.Credential.LastUsedAt = new(metav1.NewTime(time.Now().Add(-100 * 24 * time.Hour)))
		}},
		{"unused", nil, func(s *v1alpha1.ApiTokenStatus) { s.Credential.LastUsedAt = nil }},
		{"expiring", nil, func(s *v1alpha1.ApiTokenStatus) { s.Credential.ExpiresAt = metav1.NewTime(time.Now().Add(time.Hour)) }},
		{"expired", nil, func(s *v1alpha1.ApiTokenStatus) { s.Credential.ExpiresAt = metav1.NewTime(time.Now().Add(-time.Hour)) }},
		{"nobodys", func(s *v1alpha1.ApiTokenSpec) { s.Owner = "" }, nil},
		{"gone", func(s *v1alpha1.ApiTokenSpec) { s.Owner = "=cmd|eve" }, nil},
		{"forbidden", func(s *v1alpha1.ApiTokenSpec) { s.Scopes = []string{"unknown"} }, nil},
		{"wide", func(s *v1alpha1.ApiTokenSpec) { s.Scopes = []string{"a", "orders:write"} }, nil},
		{"rotated", nil, func(s *v1alpha1.ApiTokenStatus) {
			s.PreviousCredential = &v1alpha1.IssuedCredential{
				ID: "0123456789", Digest: s.Credential.Digest, ExpiresAt: metav1.NewTime(time.Now().Add(time.Hour)), LastUsedAt: new(metav1.Now()),
			}
		}},
	} {
		object := issued(t, namespace, c.name, func(o *v1alpha1.ApiToken) {
			o.Spec.Owner = "jo"
			if c.spec != nil {
				c.spec(&o.Spec)
			}
		})
		setStatus(t, object, func(o *v1alpha1.ApiToken) {
			o.Status.Credential.LastUsedAt = new(metav1.Now())
			o.Status.UseRecordedSince = new(metav1.NewTime(time.Now().Add(-365 * 24 * time.Hour)))
			if c.status != nil {
				c.status(&o.Status)
			}
		})
	}
	return namespace
}

type auditDocument struct {
	Items []struct {
		Name, Namespace, Owner string
		Findings               []struct{ Check, Detail string }
	}
}

func (d auditDocument) findings() map[string]string {
	all := map[string]string{}
	for _, item := range d.Items {
		var names []string
		for _, f := range item.Findings {
			names = append(names, f.Check)
		}
		all[item.Name] = strings.Join(names, ",")
	}
	return all
}

func auditJSON(t testing.TB, kubeconfig string, args ...string) auditDocument {
	t.Helper()
	r := latchkey(t, kubeconfig, append([]string{"audit", "-o", "json"}, args...)...).mustSucceed(t)
	document := auditDocument{}
	must(t, json.Unmarshal([]byte(r.stdout), &document))
	return document
}

func TestAuditChecks(t *testing.T) {
	t.Parallel()
	namespace := audited(t)
	kubeconfig := proxy{}.kubeconfig(t)
	for _, c := range []struct {
		args []string
		want map[string]string
	}{
		{nil, map[string]string{
			"sound": "", "idle": "idle", "unused": "never-used", "expiring": "expiring", "expired": "expired", "nobodys": "without-owner",
			"gone": "", "forbidden": "violates-policy", "wide": "", "rotated": "previous-in-use",
		}},
		{[]string{"--idle-days", "99"}, map[string]string{"idle": "idle"}},
		{[]string{"--idle-days", "101"}, map[string]string{}},
		{[]string{"--never-used"}, map[string]string{"unused": "never-used"}},
		{[]string{"--expiring-within-days", "1", "--expired"}, map[string]string{"expiring": "expiring", "expired": "expired"}},
		{[]string{"--without-owner"}, map[string]string{"nobodys": "without-owner"}},
		{[]string{"--owner-gone"}, map[string]string{"gone": "owner-gone"}},
		{[]string{"--violates-policy"}, map[string]string{"forbidden": "violates-policy"}},
		{[]string{"--wide-scopes", "1"}, map[string]string{"wide": "wide-scopes"}},
		{[]string{"--wide-scopes", "*:write"}, map[string]string{"wide": "wide-scopes"}},
		{[]string{"--previous-in-use"}, map[string]string{"rotated": "previous-in-use"}},
	} {
		got := auditJSON(t, kubeconfig, append(c.args, "-n", namespace)...).findings()
		if asJSON(t, got) != asJSON(t, c.want) {
			t.Errorf("%v found %v, want %v", c.args, got, c.want)
		}
	}
	everywhere := auditJSON(t, kubeconfig, "--all-tenants", "--owner-gone").Items
	if !slices.ContainsFunc(everywhere, func(i struct {
		Name, Namespace, Owner string
		Findings               []struct{ Check, Detail string }
	}) bool {
		return i.Namespace == namespace && i.Name == "gone"
	}) {
		t.Errorf("--all-tenants found %v", everywhere)
	}
}

func TestAuditOutputs(t *testing.T) {
	t.Parallel()
	namespace := audited(t)
	kubeconfig := proxy{}.kubeconfig(t)
	r := latchkey(t, kubeconfig, "audit", "-n", namespace, "--owner-gone").mustSucceed(t)
	rows := cells(r.stdout)
	if len(rows) != 2 || !slices.Equal(rows[0], []string{"NAME", "ACTIVE", "EXPIRES", "LAST USED", "OWNER", "FINDINGS"}) || rows[1][4] != "=cmd|eve" || rows[1][5] != "owner-gone" {
		t.Errorf("table:\n%s", r.stdout)
	}
	if !strings.Contains(r.stderr, "has groups among its members") {
		t.Errorf("stderr = %s", r.stderr)
	}
	if wide := latchkey(t, kubeconfig, "audit", "-A", "-o", "wide", "--owner-gone").mustSucceed(t).stdout; !strings.HasPrefix(wide, "NAMESPACE") || !strings.Contains(wide, "is no user among the members of Tenant") {
		t.Errorf("wide:\n%s", wide)
	}
	records, err := csv.NewReader(strings.NewReader(latchkey(t, kubeconfig, "audit", "-n", namespace, "--owner-gone", "-o", "csv").mustSucceed(t).stdout)).ReadAll()
	must(t, err)
	if len(records) != 2 || records[1][1] != "gone" || records[1][5] != "'=cmd|eve" {
		t.Errorf("csv: %q", records)
	}
	if r := latchkey(t, kubeconfig, "audit", "-n", namespace, "--idle-days", "1000").mustSucceed(t); r.stdout != "" || !strings.Contains(r.stderr, "There are no findings.") {
		t.Errorf("printed %q, %q", r.stdout, r.stderr)
	}
}

// Members may not read Tenants and PublicApis. Where they ask for what needs
// them, that is an error; else a note.
func TestAuditAsMember(t *testing.T) {
	t.Parallel()
	namespace := audited(t)
	viewer := member(t, "vi@example.com", namespace, v1alpha1.TenantViewerClusterRole)
	r := latchkey(t, viewer, "audit", "-n", namespace, "-o", "json").mustSucceed(t)
	if !strings.Contains(r.stderr, "you may not list Tenants") || strings.Contains(r.stdout, "violates-policy") || !strings.Contains(r.stdout, "without-owner") {
		t.Errorf("printed %s\n%s", r.stdout, r.stderr)
	}
	for _, check := range []string{"--owner-gone", "--violates-policy"} {
		latchkey(t, viewer, "audit", "-n", namespace, check).mustFail(t, "which you may not list", "ask the platform team")
	}
	latchkey(t, viewer, "audit", "--all-tenants", "--expired").mustFail(t, "in all namespaces")
	latchkey(t, viewer, "audit", "-n", namespace, "--expired").mustSucceed(t)
}

func TestAuditExitCode(t *testing.T) {
	t.Parallel()
	namespace := audited(t)
	kubeconfig := proxy{}.kubeconfig(t)
	exit := func(args ...string) (int, string) {
		command, stderr := pluginCommand(t, append([]string{"audit", "-n", namespace, "--kubeconfig", kubeconfig}, args...)...)
		err := command.Run()
		if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
			t.Fatal(err)
		}
		return command.ProcessState.ExitCode(), stderr.String()
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--expired", "--exit-code"}, 2},
		{[]string{"--exit-code"}, 2},
		{[]string{"--expired"}, 0},
		{[]string{"--idle-days", "1000", "--exit-code"}, 0},
		{[]string{"--idle-days", "0", "--exit-code"}, 1},
		{[]string{"--exit-code", "--context", "absent"}, 1},
	} {
		if got, stderr := exit(c.args...); got != c.want || (got == 2 && strings.Contains(stderr, "error:")) {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, got, c.want, stderr)
		}
	}
}

func TestAuditUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"x"}, "no arguments are expected"},
		{[]string{"-o", "yaml"}, "must be one of wide, json, csv"},
		{[]string{"--idle-days", "-1"}, "must be at least 1"},
		{[]string{"--expiring-within-days", "1000000000"}, "no more than"},
		{[]string{"--wide-scopes", "-1"}, "must not be negative"},
	} {
		latchkey(t, "/nonexistent", append([]string{"audit"}, c.args...)...).mustFail(t, c.want, "See 'kubectl latchkey audit --help'")
	}
}
