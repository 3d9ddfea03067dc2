package attacks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// apiServer is a process of the API server.
type apiServer struct {
	address, tls, admin string
	pid                 int
	logs                string
}

// startServer starts the API server, in plain HTTP and in HTTPS, until the test ends.
func (w *world) startServer(t *testing.T, args ...string) *apiServer {
	t.Helper()
	s := &apiServer{logs: filepath.Join(t.TempDir(), "apiserver.log")}
	for _, address := range []*string{&s.address, &s.tls, &s.admin} {
		var err error
		*address, err = freeport.Address()
		must(t, err)
	}
	certFile, keyFile := certificate(t)
	p, err := process.Start(process.Command{
		Path: w.program,
		Args: append([]string{
			"--kubeconfig=" + w.kubeconfig, "--base-domain=" + baseDomain, "--surfaces=api",
			"--listen=" + s.address, "--admin-listen=" + s.admin,
			"--tls-listen=" + s.tls, "--tls-cert-file=" + certFile, "--tls-key-file=" + keyFile,
			"--shutdown-delay=0s", "--shutdown-grace-period=1s",
		}, args...),
		LogFile: s.logs,
	})
	must(t, err)
	s.pid = p.PID()
	t.Cleanup(func() {
		if err := p.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		s.wantNoPanic(t)
		if t.Failed() {
			t.Logf("the API server's log ends with:\n%s", process.Tail(s.logs, 20))
		}
	})
	testenv.Eventually(t, func() error {
		select {
		case <-p.Done():
			t.Fatal(p.Err())
		default:
		}
		return s.ready(t)
	})
	return s
}

func (s *apiServer) ready(t *testing.T) error {
	body, err := s.get(t, "/readyz")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(body)) != "ok" {
		return fmt.Errorf("not ready: %s", body)
	}
	return nil
}

// get reads a page of the listener for operators.
func (s *apiServer) get(t *testing.T, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	r.Close = true
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// wantNoPanic looks for one in the log: the server goes on after one in a handler.
func (s *apiServer) wantNoPanic(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(s.logs)
	must(t, err)
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "panic") {
			t.Errorf("the API server logged %s", line)
			return
		}
	}
}

// metrics are what it measures of itself: values by name, of those without labels, and
// the number of series of its own.
func (s *apiServer) metrics(t *testing.T) (values map[string]float64, series map[string]int, err error) {
	text, err := s.get(t, "/metrics")
	if err != nil {
		return nil, nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	values, series = map[string]float64{}, map[string]int{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
		if strings.HasPrefix(name, "latchkey_") {
			series[name] = len(family.GetMetric())
		}
	}
	return values, series, err
}

// certificate writes one for the tenants' hosts, signed by itself.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "attacks"}, DNSNames: []string{"*." + baseDomain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return certFile, keyFile
}
