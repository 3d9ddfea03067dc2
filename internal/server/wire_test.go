package server_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/proxy"
	"github.com/latchkey-dev/latchkey/internal/server"
	"github.com/latchkey-dev/latchkey/internal/testing/directorytest"
	"github.com/latchkey-dev/latchkey/internal/testing/wiretest"
)

// wire is a server between bytes and a backend that takes only what every parser
// reads alike.
type wire struct {
	front   *httptest.Server
	backend *wiretest.Backend
	stores  directory.Stores
	// rounds counts the texts that were sent, and sent what is known of the last ones by
	// their tenants: each has its own, since what reaches the backend may do so late.
	rounds int
	sent   map[string]*sentText
}

// sentText is what was sent in one round for one of its two tenants.
type sentText struct {
	text, plaintext string
	issued          *directorytest.Issued
	// reached is how many requests reached the backend.
	reached int
}

func newWire(f *testing.F) *wire {
	f.Helper()
	backend, err := wiretest.StartBackend()
	directorytest.Must(f, err)
	logger := slog.New(slog.DiscardHandler)
	view, backends := directory.New(logger), proxy.New(logger)
	w := &wire{backend: backend, stores: view.Stores(), sent: map[string]*sentText{}}
	directorytest.Sync(f, w.stores)
	directorytest.Must(f, w.stores.PublicApis.Add(directorytest.PublicApi("http://"+backend.Address())))
	handler, err := server.New(server.Config{
		BaseDomain: "example.com", TokenPrefix: v1alpha1.DefaultTokenPrefix, Directory: view, Proxy: backends, Logger: logger, Metrics: prometheus.NewRegistry(),
	})
	directorytest.Must(f, err)
	w.front = httptest.NewUnstartedServer(handler)
	w.front.Config.DisableGeneralOptionsHandler, w.front.Config.MaxHeaderBytes = true, 16<<10
	w.front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.front.Start()
	f.Cleanup(func() {
		w.front.CloseClientConnections()
		w.front.Close()
		backends.Close()
		directorytest.Must(f, backend.Close())
	})
	return w
}

// FuzzWire: whatever bytes a client sends over a connection, the backend is sent whole
// requests that every parser reads alike, no more of them than there are tokens in the
// bytes, each for the tenant of its host, and never a token.
func FuzzWire(f *testing.F) {
	w := newWire(f)
	cases, err := wiretest.Corpus("../../test/attacks/testdata/corpus")
	directorytest.Must(f, err)
	for _, c := range cases {
		if len(c.Text) < 4096 { // the fuzzer makes long ones itself
			f.Add(c.Text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = w.prepare(t, text)
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.front.Listener.Addr().String())
		directorytest.Must(t, err)
		defer connection.Close()
		directorytest.Must(t, connection.SetDeadline(time.Now().Add(10*time.Second)))
		_, _ = io.WriteString(connection, text) // the server may have had enough
		_ = connection.(*net.TCPConn).CloseWrite()
		var network net.Error
		if _, err := io.Copy(io.Discard, connection); errors.As(err, &network) && network.Timeout() {
			t.Fatalf("the server does not end the connection after %q", text)
		}
		requests, err := w.backend.Take()
		if err != nil {
			t.Fatalf("%v\nof %q, or of what was sent before it", err, text)
		}
		for _, r := range requests {
			w.check(t, r)
		}
	})
}

// prepare makes the tenants of the round, whose names are as long as those in the text,
// so that the text's lengths stay right.
func (w *wire) prepare(t *testing.T, text string) string {
	w.rounds++
	tokens := map[string]string{}
	var names []string
	for _, name := range []string{"acme", "globex"} {
		tenant := fmt.Sprintf("%c%0*x", name[0], len(name)-1, w.rounds%(1<<12))
		issued := directorytest.Issue(t, tenant, time.Now().Add(24*time.Hour))
		if last := w.sent[tenant]; last == nil {
			directorytest.Must(t, w.stores.Tenants.Add(directorytest.Tenant(tenant)))
		} else {
			directorytest.Must(t, w.stores.Records.Delete(last.issued.Secret()))
			directorytest.Must(t, w.stores.ApiTokens.Delete(last.issued.ApiToken))
		}
		issued.Add(t, w.stores)
		tokens[name] = issued.Token.Reveal()
		w.sent[tenant] = &sentText{plaintext: tokens[name], issued: issued}
		text = strings.ReplaceAll(text, name+".example.com", tenant+".example.com")
		names = append(names, tenant)
	}
	text = (&wiretest.Case{Text: text}).Bytes(tokens)
	for _, tenant := range names {
		w.sent[tenant].text = text
	}
	return text
}

// check looks at a request that reached the backend.
func (w *wire) check(t *testing.T, r *wiretest.Request) {
	t.Helper()
	label, _, _ := strings.Cut(strings.ToLower(r.Value("Host")), ".")
	sent := w.sent[label]
	switch {
	case sent == nil || r.Value("Latchkey-Tenant") != label || r.Value("Latchkey-Token-Id") != strings.Split(sent.plaintext, "_")[1]:
		t.Fatalf("%+v reached the backend", r)
	case !strings.Contains(sent.text, r.Target) || len(r.Values("Authorization")) > 0:
		t.Fatalf("%+v reached the backend, of %q", r, sent.text)
	}
	if sent.reached++; sent.reached > strings.Count(sent.text, sent.plaintext) {
		t.Fatalf("%d requests reached the backend, of %q", sent.reached, sent.text)
	}
	for _, field := range r.Fields {
		// In its target, or in a header of its own, a client may send what it likes.
		if strings.HasPrefix(field.Name, "Latchkey-") && strings.Contains(field.Value, sent.plaintext) {
			t.Fatalf("%s: %s reached the backend, of %q", field.Name, field.Value, sent.text)
		}
	}
}
