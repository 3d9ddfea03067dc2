package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	caValidity = 5 * 365 * 24 * time.Hour
	// servingValidity is longer than a run, and shorter than the 398 days that
	// browsers accept. A CA that ends before is replaced.
	servingValidity = 90 * 24 * time.Hour
	// clockSkew is how far back certificates begin.
	clockSkew = time.Hour
)

// keyPair is a certificate with its key.
type keyPair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// certify makes the certificate with which the API server serves HTTPS, by a
// development CA that is kept from run to run, so that it has to be trusted once.
func (s *session) certify() error {
	domain := s.settings.baseDomain
	authority, err := loadCA(s.files.ca("ca.crt"), s.files.ca("ca.key"), domain, time.Now())
	if err != nil {
		return err
	}
	if authority == nil {
		if authority, err = newCA(domain, time.Now()); err != nil {
			return err
		}
		if err := authority.write(s.files.ca("ca.crt"), s.files.ca("ca.key")); err != nil {
			return err
		}
	}
	serving, err := authority.issueServing(domain, time.Now())
	if err != nil {
		return err
	}
	return serving.write(s.files.serving("tls.crt"), s.files.serving("tls.key"))
}

// loadCA returns the CA that an earlier run left, or nil if there is none that is
// good for the domain and long enough.
func loadCA(certFile, keyFile, domain string, now time.Time) (*keyPair, error) {
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	if err := errors.Join(certErr, keyErr); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the development CA: %w", err)
	}
	ca, err := parseKeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the development CA in %s and %s is damaged; remove both files, and the next run makes a new one: %w", certFile, keyFile, err)
	}
	if !slices.Equal(ca.certificate.PermittedDNSDomains, []string{domain}) || now.Add(servingValidity).After(ca.certificate.NotAfter) {
		return nil, nil
	}
	return ca, nil
}

func parseKeyPair(certPEM, keyPEM []byte) (*keyPair, error) {
	certificate, err := parseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &keyPair{certificate, signer}, nil
}

func parseCertificate(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("the certificate is not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// newCA makes a CA that can vouch for the domain and nothing else: whoever trusts
// it trusts whoever gets hold of its key.
func newCA(domain string, now time.Time) (*keyPair, error) {
	template := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: "Latchkey development CA for " + domain},
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    now.Add(caValidity),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomains:         []string{domain},
		PermittedDNSDomainsCritical: true,
	}
	return sign(template, nil)
}

// issueServing makes a certificate for the tenants' hosts. The samples' are named
// besides the wildcard: some clients refuse one right below a top-level domain,
// which localhost is.
func (p *keyPair) issueServing(domain string, now time.Time) (*keyPair, error) {
	names := []string{domain, "*." + domain}
	for _, tenant := range sampleTenants {
		names = append(names, tenant+"."+domain)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Latchkey development"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(servingValidity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
	}
	return sign(template, p)
}

// sign gives the template a key and the issuer's signature, or its own without an
// issuer.
func sign(template *x509.Certificate, issuer *keyPair) (*keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if issuer == nil {
		issuer = &keyPair{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, &key.PublicKey, issuer.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %q: %w", template.Subject.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	return &keyPair{certificate, key}, err
}

func (p *keyPair) write(certFile, keyFile string) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600),
		writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate.Raw}), 0o644),
	)
}
