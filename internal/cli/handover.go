package cli

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// handoverTimeout bounds each request to the page, and its end.
const handoverTimeout = 10 * time.Second

// handoverPage is what the page tells.
type handoverPage struct {
	// Tenant, User and Host say what the token is for.
	Tenant, User, Host string
	// Action is where the token is posted to.
	Action string
	// Token goes there, in a form: what is posted is in no address, history or log.
	Token string
}

// handover gives a token to the browser of this machine's user: a page on loopback
// that is served once, at an address that nobody can guess.
type handover struct {
	// url is the page's address.
	url string
	// fetched is closed once the page was served, and failed has why it can't be.
	fetched <-chan struct{}
	failed  <-chan error

	server *http.Server
}

// Parts of the page that its Content-Security-Policy names by their hashes. Without
// JavaScript the button does it.
const (
	handoverScript = `document.forms[0].submit()`
	handoverStyle  = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}button{font:inherit;font-weight:600;padding:.6rem 1.2rem}`
)

var handoverTemplate = template.Must(template.New("handover").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Signing in to {{.Tenant}}</title>
<style>` + handoverStyle + `</style>
</head>
<body>
<main>
<h1>Signing in to {{.Tenant}}</h1>
<p>You go on to <strong>{{.Host}}</strong> as <strong>{{.User}}</strong>.</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="token" value="{{.Token}}">
<button>Continue</button>
</form>
</main>
<script>` + handoverScript + `</script>
</body>
</html>
`))

// newHandover starts to serve the page.
func newHandover(page handoverPage) (*handover, error) {
	var body bytes.Buffer
	if err := handoverTemplate.Execute(&body, page); err != nil {
		return nil, fmt.Errorf("make the page for the browser: %w", err)
	}
	action, err := url.Parse(page.Action)
	if err != nil {
		return nil, fmt.Errorf("the address of the Settings page: %w", err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback for the browser, without which --no-browser does: %w", err)
	}
	path := "/" + rand.Text()
	fetched, failed := make(chan struct{}), make(chan error, 1)
	h := &handover{url: "http://" + listener.Addr().String() + path, fetched: fetched, failed: failed}
	h.server = &http.Server{
		Handler: &handoverHandler{
			host: listener.Addr().String(), path: path, body: body.Bytes(),
			policy: handoverPolicy(action.Scheme + "://" + action.Host), fetched: sync.OnceFunc(func() { close(fetched) }),
		},
		ReadTimeout:    handoverTimeout,
		WriteTimeout:   handoverTimeout,
		MaxHeaderBytes: 64 << 10,
	}
	go func() {
		if err := h.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return h, nil
}

func (h *handover) close() { _ = h.server.Close() }

// handoverPolicy permits the page its own style and script, and a form that goes to
// the origin alone.
func handoverPolicy(origin string) string {
	hash := func(source string) string {
		sum := sha256.Sum256([]byte(source))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + hash(handoverScript), "style-src " + hash(handoverStyle),
		"form-action " + origin, "base-uri 'none'", "frame-ancestors 'none'",
	}, "; ")
}

type handoverHandler struct {
	host, path, policy string
	body               []byte
	fetched            func()

	mu       sync.Mutex
	isServed bool
}

// ServeHTTP serves the page to the first who asks for it as a browser does. The host
// is compared, so that no page of elsewhere reaches it by a name of its own that leads
// to loopback (DNS rebinding).
func (h *handoverHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Host != h.host || r.URL.Path != h.path || r.Method != http.MethodGet:
		http.NotFound(w, r)
	case r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "":
		http.Error(w, "This page is not fetched ahead.", http.StatusServiceUnavailable)
	case isOthers(r.RemoteAddr, h.host):
		http.Error(w, "This page is for the user who asked for it.", http.StatusForbidden)
	case !h.take():
		http.Error(w, "This page was served already, and is served once. Run kubectl latchkey settings again.", http.StatusGone)
	default:
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", h.policy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		_, _ = w.Write(h.body) // who hangs up has to run the command again
		h.fetched()
	}
}

// take says whether the page is still to be had, and takes it.
func (h *handoverHandler) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	isServed := h.isServed
	h.isServed = true
	return !isServed
}
