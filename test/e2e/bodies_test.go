//go:build e2e

package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bodies pass as they come, however long they are.
func bodies(t *testing.T, w *world) {
	t.Run("events", func(t *testing.T) { w.events(t) })
	const size = 100 << 20
	upload := func(size int64) answer {
		file := filepath.Join(t.TempDir(), "upload")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		return w.curl(t, "acme", "/api/v1/files/x", w.token, "--upload-file", file)
	}
	t.Run("upload", func(t *testing.T) {
		hash := sha256.New()
		_, _ = io.CopyN(hash, zeros{}, size)
		start := time.Now()
		a := upload(size)
		if want := fmt.Sprintf("%d %x\n", size, hash.Sum(nil)); a.status != 200 || a.body != want {
			t.Errorf("%d %s, want %s", a.status, a.body, want)
		}
		t.Logf("100 MiB went up in %s", time.Since(start).Round(time.Millisecond))
	})
	t.Run("upload beyond the limit", func(t *testing.T) {
		a := upload(129 << 20)
		// curl may lose the body of an answer that comes while it uploads over HTTP/2 (curl/curl#15316).
		if a.status != 413 && !strings.HasPrefix(a.body, "curl: exit status 18: HTTP/2 413") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("download", func(t *testing.T) {
		start := time.Now()
		a := w.curl(t, "acme", fmt.Sprintf("/api/v1/files/x?bytes=%d", size), w.token)
		if a.status != 200 || len(a.body) != size {
			t.Errorf("%d, %d bytes", a.status, len(a.body))
		}
		t.Logf("100 MiB came down in %s", time.Since(start).Round(time.Millisecond))
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// events arrive when they are sent, not when the last one is.
func (w *world) events(t *testing.T) {
	host := w.host("acme")
	cmd := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--no-buffer", "--max-time", "60", "--cacert", w.ca.file,
		"--resolve", host+":443:"+w.ingress, "-H", "Authorization: token "+w.token, "https://"+host+"/api/v1/events?interval=500ms&count=4")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var arrived []time.Time
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data: ") {
			arrived = append(arrived, time.Now())
		}
	}
	if err := cmd.Wait(); err != nil || len(arrived) != 4 {
		t.Fatalf("%d events: %v", len(arrived), err)
	}
	if took := arrived[3].Sub(arrived[0]); took < time.Second {
		t.Errorf("what was sent over 1.5 s arrived within %s", took)
	}
}
