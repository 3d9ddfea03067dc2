package plaintext_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// misuses are requests that have a token where none belongs, as people and programs
// send them by mistake. They are to be answered, and forgotten.
var misuses = map[string]func(plaintext string) string{
	"in the query":    func(p string) string { return get(acme, asQuery("/api/v1/orders", "token", p)) },
	"as access_token": func(p string) string { return get(acme, asQuery("/api/v1/tokens", "access_token", p)) },
	"query of docs":   func(p string) string { return get(acme, asQuery("/docs", "t", p)) },
	"a broken query":  func(p string) string { return get(acme, "/api/v1/orders?a=1;"+p+"%zz") },
	"in a cookie":     func(p string) string { return get(acme, "/api/v1/orders", "Cookie: token="+p) },
	"on another host": func(p string) string { return get(globex, "/api/v1/orders", "Authorization: token "+p) },
	"on no tenant's":  func(p string) string { return get("nobody", "/api/v1/orders", "Authorization: token "+p) },
	"twice": func(p string) string {
		return get(acme, "/api/v1/orders", "Authorization: token "+p, "Authorization: token "+p)
	},
	"two in one":        func(p string) string { return get(acme, "/api/v1/orders", "Authorization: token "+p+", token "+p) },
	"quoted":            func(p string) string { return get(acme, "/api/v1/orders", `Authorization: token "`+p+`"`) },
	"no scheme":         func(p string) string { return get(acme, "/api/v1/orders", "Authorization: "+p) },
	"another scheme":    func(p string) string { return get(acme, "/api/v1/tokens", "Authorization: ApiKey "+p) },
	"two spaces":        func(p string) string { return get(acme, "/api/v1/orders", "Authorization: token  "+p) },
	"a character short": func(p string) string { return get(acme, "/api/v1/tokens", "Authorization: Bearer "+p[:len(p)-1]) },
	"a character more":  func(p string) string { return get(acme, "/api/v1/tokens", "Authorization: Bearer "+p+"x") },
	"as part of a JWT":  func(p string) string { return get(acme, "/api/v1/tokens", "Authorization: Bearer "+jwtOf(p)) },
	"as user": func(p string) string {
		return get(acme, "/api/v1/orders", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(p+":")))
	},
	"as password": func(p string) string {
		return get(acme, "/api/v1/orders", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ada:"+p)))
	},
	"in a proxy's":       func(p string) string { return get(acme, "/api/v1/orders", "Proxy-Authorization: token "+p) },
	"as API key":         func(p string) string { return get(acme, "/api/v1/orders", "X-Api-Key: "+p) },
	"as a header's name": func(p string) string { return get(acme, "/api/v1/orders", p+": x") },
	"in other headers": func(p string) string {
		return get(acme, "/api/v1/orders", "User-Agent: "+p, "Referer: https://x/?token="+p, "X-Request-Id: "+p, "Traceparent: "+p, "Accept-Language: "+p)
	},
	"as origin": func(p string) string { return get(acme, "/api/v1/orders", "Origin: https://"+p) },
	"as address": func(p string) string {
		return get(acme, "/api/v1/orders", "X-Forwarded-For: "+p, "Forwarded: for="+p, "X-Real-Ip: "+p)
	},
	"as upgrade":     func(p string) string { return get(acme, "/api/v1/orders", "Connection: upgrade, "+p, "Upgrade: "+p) },
	"in the path":    func(p string) string { return get(acme, "/api/v1/orders/"+p) },
	"as first path":  func(p string) string { return get(acme, "/"+p) },
	"escaped path":   func(p string) string { return get(acme, "/api/v1/"+percent(p)) },
	"escaped twice":  func(p string) string { return get(acme, "/api/v1/"+strings.ReplaceAll(percent(p), "%", "%25")) },
	"long path":      func(p string) string { return get(acme, "/api/v1/"+strings.Repeat("a/", 100)+p) },
	"unescaped path": func(p string) string { return get(acme, "/api/v1/%zz"+p) },
	"as host": func(p string) string {
		return lines("GET /api/v1/orders HTTP/1.1", "Host: "+p+".example.com", "Connection: close")
	},
	"as user of host": func(p string) string {
		return lines("GET /api/v1/orders HTTP/1.1", "Host: "+p+"@acme.example.com", "Connection: close")
	},
	"as user of URL": func(p string) string {
		return lines("GET http://"+p+":x@acme.example.com/api/v1/orders HTTP/1.1", "Host: acme.example.com", "Connection: close")
	},
	"as method": func(p string) string {
		return lines(p+" /api/v1/orders HTTP/1.1", "Host: acme.example.com", "Connection: close")
	},
	"as version": func(p string) string { return lines("GET /api/v1/orders "+p, "Host: acme.example.com") },
	"alone":      func(p string) string { return p + "\r\n\r\n" },
	"as length": func(p string) string {
		return lines("POST /api/v1/tokens HTTP/1.1", "Host: acme.example.com", "Content-Length: "+p)
	},
	"as coding": func(p string) string {
		return lines("POST /api/v1/tokens HTTP/1.1", "Host: acme.example.com", "Transfer-Encoding: "+p)
	},
	"traced": func(p string) string {
		return lines("TRACE /api/v1/orders HTTP/1.1", "Host: acme.example.com", "Authorization: token "+p, "Connection: close")
	},
	"cut off": func(p string) string {
		return "GET /api/v1/orders HTTP/1.1\r\nHost: acme.example.com\r\nAuthorization: token " + p
	},
	"as a body": func(p string) string {
		return lines("POST /api/v1/orders HTTP/1.1", "Host: acme.example.com", "Connection: close", fmt.Sprintf("Content-Length: %d", len(p))) + p
	},
	"as a cut body": func(p string) string {
		return lines("POST /api/v1/tokens HTTP/1.1", "Host: acme.example.com", "Authorization: token "+p, "Content-Type: application/json", "Content-Length: 999") + `{"name":"` + p
	},
}

// managing are requests of somebody who may manage tokens, with another token in a
// place that the API for tokens reads.
var managing = map[string]func(plaintext string) (method, target, body string){
	"shown by value":   func(p string) (string, string, string) { return http.MethodGet, "/tokens/" + p, "" },
	"revoked by value": func(p string) (string, string, string) { return http.MethodDelete, "/tokens/" + p, "" },
	"rotated by value": func(p string) (string, string, string) { return http.MethodPost, "/tokens/" + p + "/rotate", "" },
	"changed by value": func(p string) (string, string, string) {
		return http.MethodPatch, "/tokens/" + p, `{"description":"x"}`
	},
	"as a page":      func(p string) (string, string, string) { return http.MethodGet, asQuery("/tokens", "continue", p), "" },
	"as a filter":    func(p string) (string, string, string) { return http.MethodGet, asQuery("/tokens", "owner", p), "" },
	"as a parameter": func(p string) (string, string, string) { return http.MethodGet, asQuery("/tokens", p, "1"), "" },
	"as name":        func(p string) (string, string, string) { return http.MethodPost, "/tokens", `{"name":"` + p + `"}` },
	"as member": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","` + p + `":1}`
	},
	"as a broken body": func(p string) (string, string, string) { return http.MethodPost, "/tokens", `{"name":"x",` + p },
	"as lifetime": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","lifetime":"` + p + `"}`
	},
	"as scope": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","scopes":["` + p + `"]}`
	},
	"as address": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","allowedCIDRs":["` + p + `"]}`
	},
	"as description": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","description":"it is ` + p + `"}`
	},
	"as owner": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","owner":"` + p + `"}`
	},
	"as owner, escaped": func(p string) (string, string, string) {
		return http.MethodPost, "/tokens", `{"name":"x","owner":"\u006c` + p[1:] + `"}`
	},
	"as predecessor": func(p string) (string, string, string) {
		return http.MethodPatch, "/tokens/manages", `{"dropPrevious":"` + p + `"}`
	},
	"as a note": func(p string) (string, string, string) {
		return http.MethodPatch, "/tokens/manages", `{"description":"was ` + p + `"}`
	},
}

// asked are the headers with which gateways tell of the request that they ask about.
var asked = []string{"X-Original-Url", "X-Original-Uri", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Auth-Request-Redirect"}

// misuse sends all that is wrong. Nothing of it may be served.
func (w *world) misuse(plaintext string) {
	w.t.Helper()
	for name, request := range misuses {
		if status := raw(w, w.front, request(plaintext)); strings.HasPrefix(status, "HTTP/1.1 2") && name != "query of docs" {
			w.t.Errorf("a token %s was answered: %s", name, status)
		}
	}
	for name, request := range managing {
		for _, authorization := range []string{"token " + w.manages, "Bearer " + w.workload} {
			method, target, body := request(plaintext)
			a := w.call(acme, method, basePath+target, authorization, body)
			if a.status < 400 && name != "as a filter" {
				w.t.Errorf("a token %s: %d %.300s", name, a.status, withoutToken(a.body))
			}
		}
	}
	for _, gateway := range []string{"nginx", "ingress-nginx", "traefik", "envoy"} {
		headers := []string{"Authorization: Bearer x" + plaintext}
		for _, name := range asked {
			headers = append(headers, name+": /api/v1/orders/"+plaintext+"?token="+plaintext)
		}
		raw(w, w.gateway, get(acme, "/auth/"+gateway+"/"+plaintext, headers...))
		raw(w, w.gateway, get(acme, "/auth/"+gateway, headers...))
	}
}

// get is a request without a body.
func get(tenant, target string, headers ...string) string {
	return lines(append([]string{"GET " + target + " HTTP/1.1", "Host: " + tenant + ".example.com", "Connection: close"}, headers...)...)
}

func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

func percent(s string) string { return "%" + strings.Join(pairs(hex.EncodeToString([]byte(s))), "%") }

// jwtOf is a text with the form of a Kubernetes token, which nobody signed.
func jwtOf(plaintext string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"aud":["x"],"exp":9999999999,"sub":"`+plaintext+`"}`)) + "." + encode([]byte(plaintext))
}

// raw sends bytes and returns the first line of what came back.
func raw(w *world, address, request string) (status string) {
	w.t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	must(w.t, err)
	defer conn.Close()
	must(w.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, request)
	must(w.t, err)
	must(w.t, conn.(*net.TCPConn).CloseWrite())
	content, _ := io.ReadAll(io.LimitReader(conn, 1<<20)) // the server may cut the connection
	status, _, _ = strings.Cut(string(content), "\r\n")
	return status
}
