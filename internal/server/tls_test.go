package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// certificate is one for the tenants' hosts, signed by itself.
type certificate struct {
	serial    int64
	cert, key []byte
	parsed    *x509.Certificate
}

var serial int64

func newCertificate(t *testing.T) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	directorytest.Must(t, err)
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"*.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour + time.Duration(serial)*time.Minute), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	directorytest.Must(t, err)
	parsed, err := x509.ParseCertificate(der)
	directorytest.Must(t, err)
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	directorytest.Must(t, err)
	return &certificate{
		serial: serial, parsed: parsed,
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encodedKey}),
	}
}

// write puts the certificate into files, and returns a client that trusts it.
func (c *certificate) write(t *testing.T) (certFile, keyFile string, client *http.Client) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	c.replace(t, certFile, keyFile)
	roots := x509.NewCertPool()
	roots.AddCert(c.parsed)
	return certFile, keyFile, newClient(t, &tls.Config{RootCAs: roots, ServerName: acmeHost, MinVersion: tls.VersionTLS12})
}

func (c *certificate) replace(t *testing.T, certFile, keyFile string) {
	t.Helper()
	directorytest.Must(t, os.WriteFile(certFile, c.cert, 0o600))
	directorytest.Must(t, os.WriteFile(keyFile, c.key, 0o600))
}

func newClient(t *testing.T, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestTLSListener(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("acme").Token.Reveal()
	first := newCertificate(t)
	certFile, keyFile, client := first.write(t)
	r := h.run(server.Listeners{HTTPS: loopback, CertFile: certFile, KeyFile: keyFile})
	url := "https://" + r.address("https") + endpoint

	a, err := fetch(t, client, url, acmeHost, plaintext)
	directorytest.Must(t, err)
	a.wantStatus(t, http.StatusOK)
	if a.ProtoMajor != 2 || a.TLS.PeerCertificates[0].SerialNumber.Int64() != first.serial {
		t.Errorf("%s with certificate %d, want HTTP/2 with %d", a.Proto, a.TLS.PeerCertificates[0].SerialNumber, first.serial)
	}
	if got := h.backend.last(t).Header.Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("the backend was told X-Forwarded-Proto: %s", got)
	}
	a, err = fetch(t, client, url, acmeHost, "")
	directorytest.Must(t, err)
	a.wantProblem(t, http.StatusUnauthorized, "authorization-missing")

	h.wantExpiry(first)
	second := newCertificate(t)
	second.replace(t, certFile, keyFile)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(second.parsed)
	testenv.Eventually(t, func() error {
		a, err := fetch(t, client, url, acmeHost, plaintext)
		if err != nil {
			return err
		}
		if got := a.TLS.PeerCertificates[0].SerialNumber.Int64(); got != second.serial {
			return fmt.Errorf("certificate %d is served, want %d", got, second.serial)
		}
		return nil
	})
	h.wantExpiry(second)
}

// wantExpiry wants the metric to tell when the certificate expires.
func (h *harness) wantExpiry(c *certificate) {
	h.t.Helper()
	families, err := h.registry.Gather()
	directorytest.Must(h.t, err)
	for _, family := range families {
		if family.GetName() == "latchkey_tls_certificate_expiry_timestamp_seconds" {
			if got, want := family.GetMetric()[0].GetGauge().GetValue(), float64(c.parsed.NotAfter.Unix()); got != want {
				h.t.Errorf("the certificate expires at %v, want %v", got, want)
			}
			return
		}
	}
	h.t.Error("no metric tells when the certificate expires")
}

// A certificate that was written halfway does not replace the one in use.
func TestBrokenCertificateDoesNotReplaceTheGoodOne(t *testing.T) {
	h := newHarness(t)
	certFile, keyFile, client := newCertificate(t).write(t)
	r := h.run(server.Listeners{HTTPS: loopback, CertFile: certFile, KeyFile: keyFile})
	url := "https://" + r.address("https") + endpoint
	directorytest.Must(t, os.WriteFile(certFile, []byte("garbage"), 0o600))
	for range 20 {
		if _, err := fetch(t, client, url, acmeHost, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	h := newHarness(t)
	certFile, keyFile, client := newCertificate(t).write(t)
	r := h.run(server.Listeners{HTTPS: loopback, CertFile: certFile, KeyFile: keyFile})
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
		config.MinVersion, config.MaxVersion = version, version
		connection, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", r.address("https"))
		if taken := err == nil; taken != want {
			t.Errorf("%s is taken: %t (%v)", tls.VersionName(version), taken, err)
		}
		if err == nil {
			directorytest.Must(t, connection.Close())
		}
	}
}

// The certificate was checked for one host; the request names another.
func TestRequestForAnotherHostThanTheConnections(t *testing.T) {
	h := newHarness(t)
	plaintext := h.issue("globex").Token.Reveal()
	certFile, keyFile, client := newCertificate(t).write(t)
	r := h.run(server.Listeners{HTTPS: loopback, CertFile: certFile, KeyFile: keyFile})
	a, err := fetch(t, client, "https://"+r.address("https")+endpoint, "globex.example.com", plaintext)
	directorytest.Must(t, err)
	if a.StatusCode != http.StatusMisdirectedRequest || len(h.backend.all()) != 0 {
		t.Errorf("status %d, want 421: %s", a.StatusCode, a.body)
	}
}
