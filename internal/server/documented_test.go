package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The type URI of a problem points to a section of docs/errors.md.
func TestEveryProblemIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\bcode\w+ += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 15 {
		t.Fatalf("found %d codes in problem.go: has their form changed?", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(page), "\n## "+code[1]+"\n") {
			t.Errorf("docs/errors.md has no section %s", code[1])
		}
	}
}
