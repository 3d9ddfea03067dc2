package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// examplePath is an operation of the example backend that needs no scope.
const examplePath = "/api/v1/example_endpoint"

// docsPath and settingsPath are where the samples' documentation and Settings page are.
const (
	docsPath     = "/docs"
	settingsPath = "/settings"
)

// try makes sure that what is about to be printed works.
func (s *session) try(ctx context.Context) error {
	authorities := x509.NewCertPool()
	certificate, err := os.ReadFile(s.files.ca("ca.crt"))
	if err != nil {
		return err
	}
	if !authorities.AppendCertsFromPEM(certificate) {
		return errors.New("the development CA's certificate is not PEM")
	}
	for _, e := range s.endpoints() {
		transport := &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, e.address)
			},
			TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		}
		err := eventually(ctx, func(ctx context.Context) error { return s.call(ctx, transport, e) })
		transport.CloseIdleConnections()
		if err != nil {
			return fmt.Errorf("the token does not work: %w", err)
		}
	}
	return nil
}

func (s *session) call(ctx context.Context, transport *http.Transport, e endpoint) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url(examplePath), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "token "+s.token.Token)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("GET %s: %w", e.url(examplePath), err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("GET %s: %w", e.url(examplePath), err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", e.url(examplePath), response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
