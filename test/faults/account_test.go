//go:build linux

package faults_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// leeway is for how long Kubernetes accepts ServiceAccounts' tokens after their expiry.
const leeway = time.Minute

// expiringAccountToken makes of a ServiceAccount's token one that Kubernetes accepts for
// so much longer, which it would issue for ten minutes at the least.
func (s *stage) expiringAccountToken(token string, works time.Duration) string {
	s.t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(s.t, err)
	claims := map[string]any{}
	must(s.t, json.Unmarshal(payload, &claims))
	end := time.Now().Add(works - leeway)
	claims["exp"], claims["iat"], claims["nbf"] = end.Unix(), end.Add(-time.Hour).Unix(), end.Add(-time.Hour).Unix()
	payload, err = json.Marshal(claims)
	must(s.t, err)
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	content, err := os.ReadFile(env().ServiceAccountKey())
	must(s.t, err)
	block, _ := pem.Decode(content)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(s.t, err)
	digest := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, parsed.(*ecdsa.PrivateKey), digest[:])
	must(s.t, err)
	signature := make([]byte, 64) // ES256: RFC 7518, section 3.4
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func anonymous() *rest.Config { return rest.AnonymousClientConfig(env().Config) }

// whoAmI is how the API server answers to a request of the account's.
func whoAmI(config *rest.Config) (status int, err error) {
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, err
	}
	defer c.CloseIdleConnections()
	response, err := c.Get(planeURL() + "/api")
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
