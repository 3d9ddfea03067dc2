// Package signintest is an OpenID provider in the process of a test, over real HTTP: the
// library github.com/zitadel/oidc behind a login page of its own. A browser signs in with
// it, and so does a test without one, by a Browser. What a provider can get wrong can be
// had of it: tokens that are not good, keys that change, answers that don't come.
package signintest

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/signin"
)

// Paths of the provider's endpoints, for [Provider.Intercept] and [Provider.Requests].
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	AuthorizePath = "/authorize"
	TokenPath     = "/oauth/token"
	KeysPath      = "/keys"
	LogoutPath    = "/end_session"
	LoginPath     = "/login"
)

// Password is the password of users that have no other.
const Password = "correct horse"

// User is somebody who can sign in.
type User struct {
	// Name is what is typed to sign in, and the claim sub.
	Name string
	// Password is typed with it; Password if empty.
	Password string
	// FullName and Email are the claims name and email, left out where empty.
	FullName, Email string
	// EmailVerified is the claim email_verified.
	EmailVerified bool
	// Groups are the claim groups, left out where nil.
	Groups []string
	// Claims are more, or others instead; one that is nil is left out.
	Claims map[string]any
}

// Options say what the provider is like. The zero value has nobody in it.
type Options struct {
	Users []User
	// ClientID is the only client's; latchkey if empty.
	ClientID string
	// ClientSecret is the client's; without one it is a public client.
	ClientSecret string
	// RedirectURIs are where browsers may be sent back to, * being anything but a slash;
	// /settings/callback on any host if none. LogoutURIs are the same for after a logout;
	// /settings and what is directly below it if none.
	RedirectURIs, LogoutURIs []string
	// Clock is the provider's; the system's if nil.
	Clock clock.PassiveClock
	// TLS serves HTTPS, by a certificate that only [Provider.CA] vouches for.
	TLS bool
	// Listener is where it listens; a port of loopback if nil.
	Listener net.Listener
	// IssuerURL is what it calls itself; the listener's address if empty.
	IssuerURL string
}

// Provider is a running provider. Its methods may be called from any goroutine.
type Provider struct {
	options  Options
	server   *httptest.Server
	provider *op.Provider
	mux      *http.ServeMux

	mu          sync.Mutex
	requests    map[string]int
	interceptor map[string]http.Handler
	describing  func(map[string]any)
	tampering   func(*IDToken)
	namesItself bool
	key         signingKey
	flows       map[string]*request
	codes       map[string]string
	sessions    map[string]session
}

// Start starts a provider and stops it at the end of the test.
func Start(t testing.TB, options Options) *Provider {
	t.Helper()
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// New starts a provider, which its caller has to Close.
func New(options Options) (*Provider, error) {
	options.ClientID = cmp.Or(options.ClientID, "latchkey")
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.RedirectURIs == nil {
		options.RedirectURIs = []string{"https://*/settings/callback", "http://*/settings/callback"}
	}
	if options.LogoutURIs == nil {
		options.LogoutURIs = []string{"https://*/settings", "https://*/settings/*", "http://*/settings", "http://*/settings/*"}
	}
	p := &Provider{
		options: options, mux: http.NewServeMux(),
		requests: map[string]int{}, interceptor: map[string]http.Handler{},
		flows: map[string]*request{}, codes: map[string]string{}, sessions: map[string]session{},
	}
	p.RotateKey()
	p.server = httptest.NewUnstartedServer(p)
	if options.Listener != nil {
		_ = p.server.Listener.Close()
		p.server.Listener = options.Listener
	}
	if options.TLS {
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	p.options.IssuerURL = cmp.Or(options.IssuerURL, p.server.URL)
	if err := p.build(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Provider) build() error {
	config := &op.Config{CodeMethodS256: true, AuthMethodPost: true, SupportedScopes: []string{"openid", "profile", "email", "groups"}}
	_, _ = rand.Read(config.CryptoKey[:])
	provider, err := op.NewProvider(config, &storage{p: p}, op.StaticIssuer(p.options.IssuerURL), op.WithAllowInsecure())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.provider = provider
	p.mux.HandleFunc("GET "+DiscoveryPath, p.describe)
	p.mux.Handle(AuthorizePath, provider)
	p.mux.HandleFunc("GET "+AuthorizePath+"/callback", p.answer)
	p.mux.HandleFunc("POST "+TokenPath, p.token)
	p.mux.Handle("GET "+KeysPath, provider)
	p.mux.HandleFunc(LogoutPath, p.logout)
	p.mux.HandleFunc("GET "+LoginPath, p.login)
	p.mux.HandleFunc("POST "+LoginPath, p.loggedIn)
	return nil
}

// Close stops the provider.
func (p *Provider) Close() {
	p.server.CloseClientConnections() // ends what is stalled
	p.server.Close()
}

// ServeHTTP is the provider's own handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	handler := p.interceptor[r.URL.Path]
	if handler == nil {
		handler = p.interceptor[""]
	}
	p.mu.Unlock()
	if handler == nil {
		handler = p.mux
	}
	handler.ServeHTTP(w, r)
}

// IssuerURL is what the provider calls itself.
func (p *Provider) IssuerURL() string { return p.options.IssuerURL }

// CA is the certificate that vouches for a provider with TLS, as PEM.
func (p *Provider) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Config is how to sign in at the provider: its files are in a folder of the test's.
func (p *Provider) Config(t testing.TB) signin.Config {
	t.Helper()
	config := signin.Config{IssuerURL: p.options.IssuerURL, ClientID: p.options.ClientID, Clock: p.options.Clock}
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if p.options.ClientSecret != "" {
		config.ClientSecretFile = write("client-secret", p.options.ClientSecret+"\n")
	}
	if p.options.TLS {
		config.CAFile = write("ca.crt", string(p.CA()))
	}
	return config
}

// Intercept has a handler answer in an endpoint's place, or in all endpoints' where path
// is empty; nil ends that.
func (p *Provider) Intercept(path string, handler http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if handler == nil {
		delete(p.interceptor, path)
		return
	}
	p.interceptor[path] = handler
}

// Down is for Intercept: a provider that closes every connection.
func Down(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

// Stalled is for Intercept: a provider that does not answer until its client goes away.
func Stalled(_ http.ResponseWriter, r *http.Request) {
	// The server notices a client that goes away once the body was read.
	_ = r.ParseForm()
	<-r.Context().Done()
}

// Requests is how many requests a path has had.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Describe changes what the provider says of itself; nil ends that.
func (p *Provider) Describe(change func(document map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.describing = change
}

// NameItself has every answer that goes by the browser say whom it is from (RFC 9207).
func (p *Provider) NameItself() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.namesItself = true
}

func (p *Provider) describe(w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	p.provider.ServeHTTP(recorder, r)
	p.mu.Lock()
	change, namesItself := p.describing, p.namesItself
	p.mu.Unlock()
	document := map[string]any{}
	if err := json.Unmarshal(recorder.Body.Bytes(), &document); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if namesItself {
		document["authorization_response_iss_parameter_supported"] = true
	}
	if change != nil {
		change(document)
	}
	writeJSON(w, recorder.Code, document)
}

func writeJSON(w http.ResponseWriter, status int, document map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

// answer sends the browser back with a code.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	p.provider.ServeHTTP(recorder, r)
	p.sendBack(w, recorder)
}

// sendBack passes an answer of the library's on, with iss where the provider names
// itself.
func (p *Provider) sendBack(w http.ResponseWriter, recorded *httptest.ResponseRecorder) {
	p.mu.Lock()
	namesItself := p.namesItself
	p.mu.Unlock()
	maps.Copy(w.Header(), recorded.Header())
	if location, err := url.Parse(recorded.Header().Get("Location")); err == nil && location.IsAbs() && namesItself {
		query := location.Query()
		query.Set("iss", p.options.IssuerURL)
		location.RawQuery = query.Encode()
		w.Header().Set("Location", location.String())
	}
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(recorded.Body.Bytes())
}

func (p *Provider) user(name string) (User, bool) {
	i := slices.IndexFunc(p.options.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return p.options.Users[i], true
}

func (p *Provider) now() time.Time { return p.options.Clock.Now() }
