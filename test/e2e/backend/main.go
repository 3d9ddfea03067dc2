// Command backend is what the end-to-end tests put behind Latchkey: the example
// backend, large bodies, and a page of the product's own.
//
//	backend          serves
//	backend kill UID kills a pod's processes, from a pod with the host's processes
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/examplebackend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := serve
	if len(os.Args) == 3 && os.Args[1] == "kill" {
		run = func(context.Context) error { return kill(os.Args[2]) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	mux := http.NewServeMux()
	example := examplebackend.New(examplebackend.Options{})
	mux.Handle("/", example)
	document, err := withFiles(example)
	if err != nil {
		return err
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "The product's own page\n")
	})
	mux.HandleFunc("PUT /api/v1/files/{name}", upload)
	mux.HandleFunc("GET /api/v1/files/{name}", download)
	server := &http.Server{
		Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// withFiles is the example's OpenAPI document, with the operations for files.
func withFiles(example http.Handler) ([]byte, error) {
	recorder := httptest.NewRecorder()
	example.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var document map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &document); err != nil {
		return nil, fmt.Errorf("the example's document: %w", err)
	}
	paths, ok := document["paths"].(map[string]any)
	if !ok {
		return nil, errors.New("the example's document has no paths")
	}
	operation := map[string]any{"responses": map[string]any{"200": map[string]any{"description": "Bytes."}}}
	paths["/api/v1/files/{name}"] = map[string]any{
		"parameters": []any{map[string]any{"name": "name", "in": "path", "required": true, "schema": map[string]any{"type": "string"}}},
		"get":        operation, "put": operation,
	}
	return json.Marshal(document)
}

// upload answers with how many bytes came, and their SHA-256.
func upload(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "%d %x\n", n, hash.Sum(nil))
}

// download sends as many bytes as the query says, without a Content-Length.
func download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil {
		http.Error(w, "say ?bytes=", http.StatusBadRequest)
		return
	}
	_, _ = io.CopyN(w, zeros{}, n) // fails only where the client is gone
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// kill sends SIGKILL to the programs of the pod, whose UID is in their cgroups'
// names. The pod's sandbox is left alone: its container is to be restarted.
func kill(uid string) error {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return err
	}
	killed := 0
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // a file of /proc
		if err != nil {
			continue // it has ended meanwhile
		}
		// systemd's names have no hyphens.
		if !strings.Contains(strings.ReplaceAll(string(content), "_", "-"), uid) {
			continue
		}
		dir := filepath.Dir(file)
		if name, _ := os.ReadFile(filepath.Join(dir, "comm")); strings.TrimSpace(string(name)) == "pause" { //nolint:gosec // a file of /proc
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		killed++
	}
	if killed == 0 {
		return fmt.Errorf("the pod %s has no processes here", uid)
	}
	return nil
}
