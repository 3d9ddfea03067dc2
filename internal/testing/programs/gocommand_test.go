package programs

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for said, want := range map[string][]string{
		"go: downloading k8s.io/api v0.37.2\ngo: k8s.io/api@v0.37.2: Get \"https://proxy.example/\": dial tcp: lookup proxy.example: no such host\n": {"could not be downloaded", "GOPROXY", "no such host"},
		"go: k8s.io/api@v0.37.2: module lookup disabled by GOPROXY=off\n":                                                                            {"could not be downloaded", "GOPROXY=off"},
		"k8s.io/api/core/v1\n# k8s.io/api/core/v1\nwrite /tmp/x/_pkg_.a: no space left on device\n":                                                  {"the disk is full", "GOCACHE", "_pkg_.a"},
		"go: go.mod requires go >= 1.26.6 (running go 1.24.4; GOTOOLCHAIN=local)\n":                                                                  {"too old", "https://go.dev/dl"},
		"go: download go1.26.6 for linux/amd64: toolchain not available\n":                                                                           {"too old"},
		"github.com/x/y: /usr/lib/go/pkg/tool/linux_amd64/compile: signal: killed\n":                                                                 {"memory ran out"},
		"open /nonexistent/x: permission denied\n":                                                                                                   {"not writable", "/nonexistent/x"},
		"k8s.io/api/core/v1\n# github.com/latchkey-dev/latchkey/cmd/manager\ncmd/manager/main.go:3:1: syntax error\n":                                {"go build", "main.go:3:1: syntax error"},
		"# github.com/latchkey-dev/latchkey/cmd/manager\ncmd/manager/main.go:9:2: syntax error: unexpected EOF, expecting }\n":                       {"go build", "unexpected EOF, expecting }"},
	} {
		err := explain("build", said, errors.New("exit status 1"))
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("of %q: %v; want %q in it", said, err, part)
			}
		}
		if strings.Contains(err.Error(), "k8s.io/api/core/v1\n") || strings.Contains(err.Error(), "go: downloading") {
			t.Errorf("of %q: %v; want no lines of progress in it", said, err)
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := lines{each: func(line string) { got = append(got, line) }}
	for _, text := range []string{"one\ntw", "o\n", "\nlast"} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := []string{"one", "two", ""}; !slices.Equal(got, want) || l.text.String() != "one\ntwo\n\nlast" {
		t.Errorf("lines %q, text %q; want lines %q and all of the text", got, l.text.String(), want)
	}
}

func TestGoCommandThatIsInterrupted(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("GOTMPDIR", temporary)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("interrupted")
	// With an empty cache Go compiles, and is interrupted at the first package.
	t.Setenv("GOCACHE", t.TempDir())
	_, err := goCommand(ctx, Root(), []string{"build", "-v", "errors"}, func(string) { cancel(reason) })
	if !errors.Is(err, reason) {
		t.Errorf("got %v; want %v", err, reason)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
