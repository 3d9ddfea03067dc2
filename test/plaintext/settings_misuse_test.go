package plaintext_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// pages are addresses of Settings with a token in them. "{list}" is where the list is,
// which is read of a tenant with few tokens: what it shows is in the audit log every time.
var pages = []string{
	"{list}?q={}", "{list}?q={}x", "{list}?q=+{}+", "{list}?show={}", "{list}?sort={}", "{list}?page={}", "{list}?{}=1", "{list}?done={}",
	"/{}", "/tokens/{}", "/tokens/{}/rotate", "/tokens/{}/revoke", "/tokens/{}/{}", "/assets/{}.css",
	"/tokens/new?name={}", "/tokens/manages?done={}", "/tokens/manages?q={}",
	"/sign-in?return={}", "/sign-in?return=/settings/tokens/{}", "/sign-in?recent=1&return=/settings?q={}", "/sign-in/oidc?return={}",
	"/callback?code={}&state={}", "/callback?error={}&error_description={}", "/signed-in?return={}",
}

// forms are of Settings, with a token in a field where none belongs.
var forms = map[string]func(plaintext string) (target string, form url.Values){
	"as name":                   func(p string) (string, url.Values) { return newFormWith("name", p) },
	"as description":            func(p string) (string, url.Values) { return newFormWith("description", "it is "+p) },
	"as owner":                  func(p string) (string, url.Values) { return newFormWith("owner", p) },
	"as scope":                  func(p string) (string, url.Values) { return newFormWith("scope", p) },
	"as lifetime":               func(p string) (string, url.Values) { return newFormWith("lifetime", p) },
	"as day":                    func(p string) (string, url.Values) { return newFormWith("lifetime", "custom", "expires-on", p) },
	"as address":                func(p string) (string, url.Values) { return newFormWith("addresses", "10.0.0.0/8\r\n"+p) },
	"as field":                  func(p string) (string, url.Values) { return newFormWith(p, "1") },
	"as member of another form": func(p string) (string, url.Values) { return newFormWith("token", p) },
	"as replaced": func(p string) (string, url.Values) {
		return "/tokens/manages/rotate", url.Values{"credential": {p}, "overlap": {"1h"}}
	},
	"as overlap": func(p string) (string, url.Values) {
		return "/tokens/manages/rotate", url.Values{"credential": {"0123456789"}, "overlap": {p}}
	},
	"as dropped": func(p string) (string, url.Values) {
		return "/tokens/manages/drop-previous", url.Values{"credential": {p}}
	},
	"as typed name": func(p string) (string, url.Values) { return "/tokens/manages/revoke", url.Values{"name": {p}} },
	"revoked":       func(p string) (string, url.Values) { return "/tokens/" + p + "/revoke", url.Values{"name": {p}} },
	"rotated":       func(p string) (string, url.Values) { return "/tokens/" + p + "/rotate", url.Values{"credential": {p}} },
	"as ticket":     func(p string) (string, url.Values) { return "/sign-in/token", url.Values{"token": {p}} },
	"as broken ticket": func(p string) (string, url.Values) {
		return "/sign-in/token", url.Values{"token": {p[:len(p)-1]}, "return": {"/settings/tokens/" + p}}
	},
}

func newFormWith(fieldsAndValues ...string) (target string, form url.Values) {
	form = newForm("misused")
	for i := 0; i+1 < len(fieldsAndValues); i += 2 {
		form.Set(fieldsAndValues[i], fieldsAndValues[i+1])
	}
	return "/tokens", form
}

// misuseSettings has a token sent to Settings where none belongs, by somebody who is
// signed in, by nobody, and from elsewhere.
func (w *world) misuseSettings(plaintext string) {
	w.t.Helper()
	admin, elsewhere, nobody := w.atSettings(acme), w.atSettings(globex), w.newBrowser(acme)
	nobody.cookies["__Host-latchkey-session"] = plaintext
	for _, page := range pages {
		target, isList := strings.CutPrefix(strings.ReplaceAll(page, "{}", plaintext), "{list}")
		if isList {
			elsewhere.get(target)
		} else {
			admin.get(target)
		}
		nobody.get(target)
	}
	for name, fill := range forms {
		target, form := fill(plaintext)
		resumed := maps.Clone(form)
		resumed.Set("resume", "1")
		for whose, b := range map[string]*browser{"an admin": admin, "nobody": nobody} {
			if a := b.post(target, form); a.status < http.StatusBadRequest {
				w.t.Errorf("a token %s, of %s: %d %.300s", name, whose, a.status, withoutToken(a.body))
			}
			b.post(target, resumed) // which shows what was typed
		}
		if a := admin.send(http.MethodPost, target, form.Encode(), "Origin", "https://"+plaintext+".example", "Sec-Fetch-Site", "cross-site"); a.status < http.StatusBadRequest {
			w.t.Errorf("a token %s, from elsewhere: %d %.300s", name, a.status, withoutToken(a.body))
		}
	}
	for _, contentType := range []string{"application/json", "text/plain; x=" + plaintext} {
		if a := admin.post("/tokens", url.Values{"name": {plaintext}}, "Content-Type", contentType); a.status < http.StatusBadRequest {
			w.t.Errorf("a form of type %s: %d", withoutToken(contentType), a.status)
		}
	}
}
