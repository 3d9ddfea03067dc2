package browsertest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// dialTimeout bounds how long a host may take to show its certificate.
const dialTimeout = 10 * time.Second

// reachable is what the browser is told of hosts that no resolver knows and that no
// authority of the system vouches for.
var reachable hosts

type hosts struct {
	mu    sync.Mutex
	rules []string
	keys  []string
}

// Reach has the browser find a host, such as acme.example.com, at an address of this
// machine or of a cluster on it, host:port, and believe the certificate that it shows
// now. That one is checked here: it has to be the host's, by one of the authorities.
// It has to be called before the first page of the test binary is opened.
func Reach(t *testing.T, host, address string, authorities *x509.CertPool) {
	t.Helper()
	if browser.context != nil {
		t.Fatal("Reach comes too late: Chromium was started already")
	}
	ip, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: dialTimeout}, "tcp", address,
		&tls.Config{ServerName: host, RootCAs: authorities, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("the certificate of %s at %s: %v", host, address, err)
	}
	defer func() { _ = connection.Close() }()
	key := sha256.Sum256(connection.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	reachable.mu.Lock()
	defer reachable.mu.Unlock()
	reachable.rules = append(reachable.rules, "MAP "+host+" "+ip)
	reachable.keys = append(reachable.keys, base64.StdEncoding.EncodeToString(key[:]))
}

// flags are Chromium's. It pins the keys, and checks every other certificate as ever.
func (h *hosts) flags() []chromedp.ExecAllocatorOption {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rules) == 0 {
		return nil
	}
	return []chromedp.ExecAllocatorOption{
		chromedp.Flag("host-resolver-rules", strings.Join(h.rules, ",")),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(h.keys, ",")),
	}
}
