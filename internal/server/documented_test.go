package server_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// The type URI of a problem points to a section of docs/errors.md.
func TestEveryProblemIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../problem/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\bCode\w+ += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 15 {
		t.Fatalf("found %d codes in problem.go: has their form changed?", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(page), "\n## "+code[1]+"\n") {
			t.Errorf("docs/errors.md has no section %s", code[1])
		}
	}
}

// What the access log has, docs/operations.md explains.
func TestEveryFieldOfTheAccessLogIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, withAPI(func(a *v1alpha1.PublicApiSpec) { a.Backend.URL = "http://127.0.0.1:1" }))
	h.get(endpoint, h.issue("acme").Token.Reveal()).wantProblem(t, http.StatusBadGateway, "backend-unavailable")
	h.wantLogged(1)
	line := h.logs.lines("request")[0]
	if len(line) != 13 {
		t.Errorf("%d fields, want all 13: %v", len(line), line)
	}
	for field := range line {
		if !strings.Contains(string(page), "`"+field+"`") {
			t.Errorf("docs/operations.md does not explain the field %s", field)
		}
	}
}
