package portal_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Whoever puts a token where its name belongs, or into a text, must not have it sent
// to the Kubernetes API: it would stand in the audit log, in URLs already at the level
// Metadata. What was asked is looked at when the installation ends.
func TestATokenInAWrongPlaceStaysHere(t *testing.T) {
	i := install(t)
	caller := i.make("acme", "caller", v1alpha1.ApiTokenSpec{Scopes: manages, Owner: "ada@example.com", Lifetime: lifetime(time.Hour)})
	leaked := i.make("acme", "leaked", v1alpha1.ApiTokenSpec{Scopes: manages, Lifetime: lifetime(time.Hour)})
	workload := i.workload("acme", "robot", "latchkey.dev", "get", "list", "create", "patch", "delete")
	mistyped := i.remembered(leaked[:len(leaked)-1] + "~")
	inJSON := `\u006ck` + leaked[len("lk"):]
	for _, authorization := range []string{caller, "Bearer " + workload} {
		for _, value := range []string{leaked, mistyped} {
			for _, call := range []struct{ method, target, body string }{
				{http.MethodGet, tokens + "/" + value, ""},
				{http.MethodDelete, tokens + "/" + value, ""},
				{http.MethodPost, tokens + "/" + value + "/rotate", ""},
				{http.MethodPatch, tokens + "/" + value, `{"description":"x"}`},
			} {
				i.call("acme", call.method, call.target, authorization, call.body).refused(http.StatusNotFound, "not-found")
			}
			i.call("acme", http.MethodGet, tokens+"?continue="+url.QueryEscape(value), authorization).refused(http.StatusBadRequest, "request-invalid")
		}
		for _, body := range []string{
			`{"name":"` + leaked + `"}`, `{"name":"x","owner":"` + leaked + `"}`, `{"name":"x","owner":"` + inJSON + `"}`,
			`{"name":"x","description":"replaces ` + leaked + `, which leaked"}`, `{"name":"x","description":"` + leaked[:len(leaked)-8] + `"}`,
			`{"name":"x","scopes":["` + leaked + `"]}`, `{"name":"x","allowedCIDRs":["` + leaked + `"]}`, `{"` + leaked + `":1}`,
		} {
			i.call("acme", http.MethodPost, tokens, authorization, body).refused(http.StatusBadRequest, "request-invalid")
		}
		for _, body := range []string{`{"dropPrevious":"` + leaked + `"}`, `{"description":"was ` + leaked + `"}`} {
			i.call("acme", http.MethodPatch, tokens+"/caller", authorization, body).refused(http.StatusBadRequest, "request-invalid")
		}
	}
	// Its id may stand anywhere.
	if a := i.call("acme", http.MethodPost, tokens, caller, `{"name":"x","description":"replaces lk_`+leaked[3:13]+`"}`); a.status != http.StatusCreated {
		t.Errorf("a description with a token's id: %d %s", a.status, a.body)
	}
}
