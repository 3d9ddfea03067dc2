package signintest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Browser signs in as a person with a browser would, for tests without one. The provider
// knows it again.
type Browser struct {
	p      *Provider
	client *http.Client
}

// NewBrowser returns a browser that nobody has signed in with.
func (p *Provider) NewBrowser() *Browser {
	transport := &http.Transport{DisableKeepAlives: true}
	if p.options.TLS {
		roots := x509.NewCertPool()
		roots.AddCert(p.server.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	jar, _ := cookiejar.New(nil) // never fails
	return &Browser{p, &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SignIn goes to location, which signin's Begin returned, signs in as the user where the
// provider asks who it is, and returns the address that the provider sends it back to.
func (b *Browser) SignIn(ctx context.Context, location, user string) (*url.URL, error) {
	known, ok := b.p.user(user)
	if !ok {
		return nil, fmt.Errorf("no such user: %s", user)
	}
	password := known.Password
	if password == "" {
		password = Password
	}
	return b.follow(ctx, location, url.Values{"username": {user}, "password": {password}, "answer": {"sign-in"}})
}

// Deny goes to location, says no, and returns the address that the provider sends it
// back to.
func (b *Browser) Deny(ctx context.Context, location string) (*url.URL, error) {
	return b.follow(ctx, location, url.Values{"answer": {"deny"}})
}

// Visit goes to an address of the provider's and returns the one that it leads to
// elsewhere. Where the provider asks who it is, that is an error.
func (b *Browser) Visit(ctx context.Context, location string) (*url.URL, error) {
	return b.follow(ctx, location, nil)
}

// follow follows the provider's redirects to the first that leads elsewhere, and fills
// the login page in on the way.
func (b *Browser) follow(ctx context.Context, location string, form url.Values) (*url.URL, error) {
	own, err := url.Parse(b.p.server.URL)
	if err != nil {
		return nil, err
	}
	next, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	for range 10 {
		at := next.URL
		response, body, err := b.do(next) //nolint:bodyclose // do has read and closed it
		if err != nil {
			return nil, err
		}
		if to, err := response.Location(); err == nil {
			if to.Host != own.Host {
				return to, nil
			}
			next, err = http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
			if err != nil {
				return nil, err
			}
			continue
		}
		if at.Path != LoginPath || response.StatusCode != http.StatusOK || form == nil {
			return nil, fmt.Errorf("%s answered %s: %s", at.Path, response.Status, body)
		}
		form.Set("id", at.Query().Get("id"))
		next, err = http.NewRequestWithContext(ctx, http.MethodPost, own.String()+LoginPath, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		next.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return nil, fmt.Errorf("the provider redirects without an end")
}

func (b *Browser) do(r *http.Request) (*http.Response, string, error) {
	response, err := b.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}
