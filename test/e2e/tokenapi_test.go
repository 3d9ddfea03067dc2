//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const tokensPath = "/api/v1/tokens"

// madeToken is what creating and rotating answer.
type madeToken struct {
	Plaintext string
	Token     struct {
		Name       string
		Active     bool
		Credential struct{ ID string }
	}
}

// made reads such an answer, and remembers the plaintext.
func (w *world) made(t *testing.T, a answer, status int) (m madeToken) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status != status || m.Plaintext == "" || !m.Token.Active {
		t.Fatalf("the answer is %d %s", a.status, a.body)
	}
	w.tokens = append(w.tokens, m.Plaintext)
	for _, header := range []string{`cache-control: no-store`, `etag: "[^"]+"`} {
		if !regexp.MustCompile(`(?im)^` + header).MatchString(a.header) {
			t.Errorf("no header %s among\n%s", header, a.header)
		}
	}
	return m
}

func request(method, body string) []string {
	args := []string{"--request", method}
	if body != "" {
		args = append(args, "--header", "Content-Type: application/json", "--data", body)
	}
	return args
}

// tokenAPI is what a customer's program does with the customer's tokens, through the
// Ingress, which leads to the portal.
func tokenAPI(t *testing.T, w *world) {
	manages := w.create(t, "manages", "--scope", "tokens:read,tokens:write")
	call := func(caller, path string, args ...string) answer { return w.curl(t, "acme", path, caller, args...) }
	eventually(t, within, func() error { return call(manages, tokensPath).is(200, "") })

	first := w.made(t, call(manages, tokensPath, request("POST", `{"name":"warehouse","scopes":["orders:read"],"overlap":"1h"}`)...), 201)
	w.answered(t, first.Plaintext, 200, "")
	if a := call(manages, tokensPath+"/warehouse"); a.is(200, "") != nil || strings.Contains(a.body, first.Plaintext) {
		t.Errorf("the answer is %d %s", a.status, a.body)
	}
	second := w.made(t, call(manages, tokensPath+"/warehouse/rotate", request("POST", "")...), 200)
	w.answered(t, second.Plaintext, 200, "")
	w.answered(t, first.Plaintext, 200, "") // for its overlap

	t.Run("lists", func(t *testing.T) {
		var page struct {
			Items []struct{ Name string }
		}
		a := call(manages, tokensPath+"?wideScopes=tokens:*&limit=500")
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Items) != 1 || page.Items[0].Name != "manages" {
			t.Errorf("those with wide scopes: %d %s", a.status, a.body)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		for _, c := range []struct {
			name, caller, path, problem string
			status                      int
			args                        []string
		}{
			{"a scope that the caller lacks", manages, tokensPath, "exceeds-caller", 403, request("POST", `{"name":"wide","scopes":["orders:write"]}`)},
			{"a caller without the scope", second.Plaintext, tokensPath, "insufficient-scope", 403, nil},
			{"a caller that is unknown", manages + "x", tokensPath, "token-invalid", 401, nil},
			{"a name that is taken", manages, tokensPath, "conflict", 409, request("POST", `{"name":"warehouse"}`)},
			{"a change of what was changed", manages, tokensPath + "/warehouse", "precondition-failed", 412,
				append(request("PATCH", `{"owner":"ann"}`), "--header", `If-Match: "1"`)},
			{"a token that rotates itself", second.Plaintext, "/api/v1/token/rotate", "self-rotation-forbidden", 403, request("POST", "")},
		} {
			if err := call(c.caller, c.path, c.args...).is(c.status, c.problem); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
	t.Run("another tenant's host", func(t *testing.T) {
		if err := w.curl(t, "globex", tokensPath, manages).is(401, "token-invalid"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a workload", func(t *testing.T) { w.workload(t) })
	t.Run("a token that leaked", func(t *testing.T) {
		if err := call(first.Plaintext, "/api/v1/token", request("DELETE", "")...).is(204, ""); err != nil {
			t.Error(err)
		}
		w.answered(t, first.Plaintext, 401, "token-revoked")
		w.answered(t, second.Plaintext, 401, "token-revoked") // they are one ApiToken
	})
}

// workload calls with a Kubernetes token: RBAC decides what it may.
func (w *world) workload(t *testing.T) {
	w.apply(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: tenant-acme}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: robot, namespace: tenant-acme}
rules: [{apiGroups: [latchkey.dev], resources: [apitokens], verbs: [list, create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot, namespace: tenant-acme}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: robot}
subjects: [{kind: ServiceAccount, name: robot, namespace: tenant-acme}]
`)
	defer w.kubectl(t, "delete", "-n", "tenant-acme", "serviceaccount/robot", "role/robot", "rolebinding/robot")
	authorization := func(audience string) string {
		return "Authorization: Bearer " + w.kubectl(t, "create", "token", "robot", "-n", "tenant-acme", "--audience="+audience)
	}
	robot := authorization("latchkey.dev")
	call := func(header, path string, args ...string) answer {
		return w.curl(t, "acme", path, "", append(args, "--header", header)...)
	}
	eventually(t, within, func() error { return call(robot, tokensPath).is(200, "") })
	made := w.made(t, call(robot, tokensPath, request("POST", `{"name":"by-robot","lifetime":"1h"}`)...), 201)
	w.answered(t, made.Plaintext, 200, "")
	if a := call(robot, tokensPath+"/by-robot", request("DELETE", "")...); a.status != 403 {
		t.Errorf("without the right to delete: %d %s", a.status, a.body)
	}
	if a := call(authorization("https://elsewhere.example"), tokensPath); a.status != 401 {
		t.Errorf("for another audience: %d %s", a.status, a.body)
	}
	if a := call(robot, endpoint); a.status != 401 {
		t.Errorf("where API tokens are asked for: %d %s", a.status, a.body)
	}
}
