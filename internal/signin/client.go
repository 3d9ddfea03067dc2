package signin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// maxAnswer and maxAnswerHeader bound what the provider may answer, in bytes. From
	// 1 MiB on oauth2 would cut an answer without a word.
	maxAnswer       = 512 << 10
	maxAnswerHeader = 64 << 10
	// maxFile bounds the files of Config, in bytes.
	maxFile = 1 << 20
)

// newHTTPClient makes a client for the provider alone. It keeps no connection: sign-ins
// are rare, and a request with a code, which works once, is not to be lost on a
// connection that the provider has just closed.
func newHTTPClient(caFile string, timeout time.Duration) (*http.Client, error) {
	roots, err := readCAs(caFile)
	if err != nil {
		return nil, fmt.Errorf("--oidc-ca-file: %w", err)
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: timeout / 2}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    timeout / 2,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableKeepAlives:      true,
	}
	return &http.Client{Transport: bounded{transport}, Timeout: timeout, CheckRedirect: refuseRedirect}, nil
}

// refuseRedirect keeps codes, secrets and the question for keys where the provider's
// own description says that they belong.
func refuseRedirect(r *http.Request, _ []*http.Request) error {
	return fmt.Errorf("it redirects to %s, which is not followed", r.URL.Host)
}

// bounded bounds the answers' bodies.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, maxAnswer)
	return response, nil
}

// readCAs returns nil, which is the system's, for no file.
func readCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	content, err := readFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s has no certificate: put the CA's there as PEM", file)
	}
	return pool, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // G304: a flag names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, errors.New(name + " is too large: is it the right file?")
	}
	return content, nil
}
