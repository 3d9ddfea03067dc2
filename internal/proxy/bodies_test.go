package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/proxy"
)

const large = 5 << 20

func randomBytes() []byte {
	content := make([]byte, large)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(content)
	return content
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

func TestLargeBodiesUp(t *testing.T) {
	content := randomBytes()
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %d %v", sum(got), r.ContentLength, err)
	})
	for length, body := range map[int64]io.Reader{large: bytes.NewReader(content), -1: io.MultiReader(bytes.NewReader(content))} {
		r := f.newRequest(http.MethodPut, "/", body)
		r.ContentLength = length
		if _, got := f.do(r); got != fmt.Sprintf("%s %d <nil>", sum(content), length) {
			t.Errorf("length %d: the backend received %s", length, got)
		}
	}
}

func TestLargeBodiesDown(t *testing.T) {
	content := randomBytes()
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(large))
		}
		_, _ = w.Write(content)
	})
	for path, length := range map[string]int64{"/length": large, "/chunks": -1} {
		response, got := f.do(f.newRequest(http.MethodGet, path, nil))
		if sum([]byte(got)) != sum(content) || response.ContentLength != length {
			t.Errorf("%s: received %d bytes, announced %d", path, len(got), response.ContentLength)
		}
	}
}

// Buffers that are lent must not mix answers up.
func TestAnswersAtTheSameTimeDoNotMix(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		for range 20 {
			_, _ = io.WriteString(w, strings.Repeat(r.URL.Query().Get("fill"), 10_000))
		}
	})
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			fill := fmt.Sprint(n)
			response, err := f.front.Client().Do(f.newRequest(http.MethodGet, "/?fill="+fill, nil))
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(response.Body)
			if _ = response.Body.Close(); err != nil || string(body) != strings.Repeat(fill, 200_000) {
				t.Errorf("client %d received something else: %v", n, err)
			}
		})
	}
	clients.Wait()
}

func TestAnswersWithoutABody(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "body")
		}
	})
	for target, status := range map[string]int{"GET /204": 204, "GET /304": 304, "HEAD /": 200} {
		method, path, _ := strings.Cut(target, " ")
		response, body := f.do(f.newRequest(method, path, nil))
		if response.StatusCode != status || body != "" {
			t.Errorf("%s: status %d, body %q", target, response.StatusCode, body)
		}
	}
}

// The timeout is the backend's, not that of a client which sends slowly; once it has
// sent all, the backend has it again.
func TestSlowUploadIsNotASlowBackend(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"and the backend answers": true, "and the backend does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil || !answers {
					<-r.Context().Done()
				}
			})
			f.request.ResponseHeaderTimeout = time.Second
			reader, writer := io.Pipe()
			go func() {
				for range 5 {
					<-time.After(f.request.ResponseHeaderTimeout / 3)
					_, _ = io.WriteString(writer, "piece")
				}
				_ = writer.Close()
			}()
			response, _ := f.do(f.newRequest(http.MethodPost, "/", reader))
			if got := response.StatusCode == http.StatusOK; got != answers {
				t.Errorf("status %d", response.StatusCode)
			}
			if !answers {
				f.wantError(proxy.ErrTimeout)
			}
		})
	}
}

func TestErrorsOfServe(t *testing.T) {
	t.Run("the backend is slow", func(t *testing.T) {
		ended := make(chan struct{})
		f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(ended)
		})
		f.request.ResponseHeaderTimeout = 20 * time.Millisecond
		f.do(f.newRequest(http.MethodGet, "/", nil))
		f.wantError(proxy.ErrTimeout)
		<-ended
	})
	t.Run("the client goes", func(t *testing.T) {
		entered, ended := make(chan struct{}), make(chan struct{})
		f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(ended)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-entered
			cancel()
		}()
		if _, err := f.front.Client().Do(f.newRequest(http.MethodGet, "/", nil).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		<-ended
		f.front.Close() // waits for Serve
		f.wantError(proxy.ErrClientGone)
	})
	t.Run("the caller ends it", func(t *testing.T) {
		cause := errors.New("the caller's reason")
		entered := make(chan struct{})
		f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})
		inner := f.front.Config.Handler
		f.front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancelCause(r.Context())
			go func() {
				<-entered
				cancel(cause)
			}()
			inner.ServeHTTP(w, r.WithContext(ctx))
		})
		f.do(f.newRequest(http.MethodGet, "/", nil))
		f.wantError(cause)
	})
	t.Run("the backend is not reached", func(t *testing.T) {
		f := newFixture(t, ok)
		f.request.Backend = "http://127.0.0.1:1"
		f.do(f.newRequest(http.MethodGet, "/", nil))
		f.wantError(nil)
	})
	t.Run("the request's body is broken", func(t *testing.T) {
		f := newFixture(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		f.raw("POST / HTTP/1.1\r\nHost: acme.example.com\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		f.wantError(proxy.ErrRequestBody)
	})
	t.Run("the URL is broken", func(t *testing.T) {
		f := newFixture(t, ok)
		f.request.Backend = "http://" + marker + "%zz"
		f.do(f.newRequest(http.MethodGet, "/", nil))
		f.wantError(nil)
		if strings.Contains(f.errors[0].Error(), marker) {
			t.Errorf("the error quotes the URL: %v", f.errors[0])
		}
	})
}
