package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// logLines takes a log, a line at a time.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// serving waits until run serves, and returns the address.
func (l logLines) serving(t *testing.T) string {
	t.Helper()
	var line struct{ Level, Msg, Address string }
	if err := json.Unmarshal([]byte(<-l), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "INFO" || line.Address == "" {
		t.Fatalf("run did not serve: %s", line.Msg)
	}
	return line.Address
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lines := make(logLines, 100)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--listen", "127.0.0.1:0"}, lines) }()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+lines.serving(t)+"/api/v1/events?interval=10s", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Latchkey-Tenant", "acme")
	req.Header.Set("Latchkey-Token-Scopes", "orders:read")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	// The open stream must neither delay the end nor break off.
	stop()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "id: 1\n") {
		t.Errorf("stream = %q, %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"port in use", []string{"--listen", busy.Addr().String()}, "another program listens on " + busy.Addr().String()},
		{"no port", []string{"--listen", "127.0.0.1"}, "missing port in address; give --listen a host and port"},
		{"unknown flag", []string{"--lisen", "127.0.0.1:0"}, "-lisen; run with --help"},
		{"argument", []string{"127.0.0.1:0"}, `unexpected argument "127.0.0.1:0"; run with --help`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines := make(logLines, 100)
			err := run(t.Context(), tt.args, lines)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("run = %v, want %q", err, tt.want)
			}
			var line struct{ Level, Msg string }
			if jsonErr := json.Unmarshal([]byte(<-lines), &line); jsonErr != nil || line.Level != "ERROR" || line.Msg != err.Error() {
				t.Errorf("logged %+v, %v", line, jsonErr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--help"}, &out); err != nil || !strings.Contains(out.String(), "127.0.0.1:9000") {
		t.Errorf("run = %v, printed %q", err, out.String())
	}
}
