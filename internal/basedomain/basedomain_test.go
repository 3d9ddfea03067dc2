package basedomain_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/basedomain"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"example.com": "example.com", "Example.COM": "example.com", ".example.com": "example.com",
		"example.com.": "example.com", " example.com ": "example.com", "localhost": "localhost",
	} {
		if got, err := basedomain.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "not_a_domain", "a b", "https://example.com", "example.com/x", "example.com:443", strings.Repeat("a.", 100) + "com"} {
		if got, err := basedomain.Parse(text); err == nil || !strings.Contains(err.Error(), "--base-domain") {
			t.Errorf("Parse(%q) = %q, %v; want an error that names the flag", text, got, err)
		}
	}
}
