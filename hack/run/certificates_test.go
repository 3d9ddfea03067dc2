package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCertify(t *testing.T) {
	s := newTestSession(t, "localhost")
	if err := s.certify(); err != nil {
		t.Fatal(err)
	}
	ca, serving := readCertificate(t, s.files.ca("ca.crt")), readCertificate(t, s.files.serving("tls.crt"))
	for name, valid := range map[string]bool{
		"localhost":              true,
		"acme.localhost":         true,
		"globex.localhost":       true,
		"another.localhost":      true,
		"a.b.localhost":          false,
		"acme.localhost.example": false,
		"example.com":            false,
	} {
		if err := verify(ca, serving, name); (err == nil) != valid {
			t.Errorf("for %s: %v", name, err)
		}
	}
	for _, key := range []string{s.files.ca("ca.key"), s.files.serving("tls.key")} {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", key, info.Mode(), err)
		}
	}
}

func TestCAVouchesForItsDomainOnly(t *testing.T) {
	ca, err := newCA("localhost", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.issueServing("example.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(ca.certificate, serving.certificate, "acme.example.com"); err == nil {
		t.Error("a CA for localhost vouches for example.com")
	}
}

func TestCAIsKept(t *testing.T) {
	s := newTestSession(t, "localhost")
	certify := func() []byte {
		if err := s.certify(); err != nil {
			t.Fatal(err)
		}
		return readCertificate(t, s.files.ca("ca.crt")).Raw
	}
	first := certify()
	if string(certify()) != string(first) {
		t.Error("the second run made another CA")
	}
	s.settings.baseDomain = "example.com"
	if string(certify()) == string(first) {
		t.Error("a CA for localhost was kept for example.com")
	}
}

func TestCAThatIsOfNoUse(t *testing.T) {
	s := newTestSession(t, "localhost")
	if err := s.certify(); err != nil {
		t.Fatal(err)
	}
	crt, key := s.files.ca("ca.crt"), s.files.ca("ca.key")
	late := time.Now().Add(caValidity - servingValidity + time.Hour)
	if ca, err := loadCA(crt, key, "localhost", late); ca != nil || err != nil {
		t.Errorf("one that ends too soon: %v, %v; want neither", ca, err)
	}
	if ca, err := loadCA(crt, filepath.Join(t.TempDir(), "none"), "localhost", time.Now()); ca != nil || err != nil {
		t.Errorf("one without its key: %v, %v; want neither", ca, err)
	}
	if _, err := loadCA(crt, crt, "localhost", time.Now()); err == nil {
		t.Error("one whose key is none: no error")
	}
	if _, err := loadCA(crt, s.files.serving("tls.key"), "localhost", time.Now()); err == nil {
		t.Error("one with another's key: no error")
	}
}

func newTestSession(t *testing.T, domain string) *session {
	t.Helper()
	s := newSession(settings{baseDomain: domain, dir: t.TempDir()}, t.Output(), t.Output())
	if err := s.files.prepare(); err != nil {
		t.Fatal(err)
	}
	return s
}

func readCertificate(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := parseCertificate(content)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func verify(ca, serving *x509.Certificate, name string) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := serving.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}
