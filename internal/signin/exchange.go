package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
)

// oauth2Config is what the libraries need of the configuration.
func (p *Provider) oauth2Config(m *metadata, redirectURI, secret string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.config.ClientID, ClientSecret: secret, Endpoint: m.endpoint,
		RedirectURL: redirectURI, Scopes: p.config.Scopes,
	}
}

// clientSecret reads the secret; a public client's is empty.
func (p *Provider) clientSecret() (string, error) {
	file := p.config.ClientSecretFile
	if file == "" {
		return "", nil
	}
	content, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("--oidc-client-secret-file: %s is empty: put the client's secret there, or leave the flag out for a public client", file)
	}
	return secret, nil
}

// exchange has the provider give the ID token for the code.
func (p *Provider) exchange(ctx context.Context, m *metadata, flow Flow, code string) (string, error) {
	secret, err := p.clientSecret()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	answer, err := p.oauth2Config(m, flow.RedirectURI, secret).Exchange(m.context(ctx), code, oauth2.VerifierOption(flow.Verifier))
	if err != nil {
		return "", p.exchangeFailure(err, code, secret, flow.State, flow.Nonce, flow.Verifier)
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok || raw == "" {
		return "", fmt.Errorf("%w: %s gave no ID token: is the client one for OpenID Connect?", ErrUnavailable, p.config.IssuerURL)
	}
	return raw, nil
}

// exchangeFailure tells a code that is not good from a provider that is not.
func (p *Provider) exchangeFailure(err error, secrets ...string) error {
	kind, detail := ErrUnavailable, redact(err.Error(), secrets)
	if answered := (*oauth2.RetrieveError)(nil); errors.As(err, &answered) {
		status := answered.Response.StatusCode
		detail = fmt.Sprintf("status %d, %s", status, said(answered.ErrorCode, answered.ErrorDescription, secrets...))
		switch {
		case answered.ErrorCode == "invalid_grant":
			kind = ErrRefused
		case answered.ErrorCode == "invalid_client" || status == http.StatusUnauthorized:
			detail += ": check --oidc-client-id and what --oidc-client-secret-file holds"
		}
	}
	return fmt.Errorf("%w: %s, asked for a token: %s", kind, p.config.IssuerURL, detail)
}
