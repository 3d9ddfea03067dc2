// Package secretscanners tests the rules for secret scanners in
// docs/secret-scanners as those scanners use them: where a keyword is in a text,
// the regular expression is searched, and its first group measured. Both run Go's
// regular expressions.
package secretscanners

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// rule is what a file says.
type rule struct {
	keyword string
	regex   *regexp.Regexp
	entropy float64
}

// find returns the secrets that a scanner with the rule finds.
func (r rule) find(text []byte) []string {
	if !bytes.Contains(bytes.ToLower(text), []byte(r.keyword)) {
		return nil
	}
	var found []string
	for _, match := range r.regex.FindAllSubmatch(text, -1) {
		if secret := string(match[1]); entropy(secret) > r.entropy {
			found = append(found, secret)
		}
	}
	return found
}

// entropy is Shannon's, in bits a character.
func entropy(s string) (bits float64) {
	counts := map[rune]int{}
	for _, c := range s {
		counts[c]++
	}
	for _, n := range counts {
		p := float64(n) / float64(len(s))
		bits -= p * math.Log2(p)
	}
	return bits
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "secret-scanners", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// rules are those of the files, by scanner.
func rules(t *testing.T) map[string]rule {
	t.Helper()
	return map[string]rule{"gitleaks": gitleaks(t), "trufflehog": trufflehog(t)}
}

// gitleaks reads the one rule of its file, line by line: this is all the TOML
// that there is.
func gitleaks(t *testing.T) rule {
	t.Helper()
	_, text, _ := strings.Cut(string(read(t, "gitleaks.toml")), "[[rules]]\n")
	value := func(pattern string) string {
		found := regexp.MustCompile(`(?m)^`+pattern+`$`).FindAllStringSubmatch(text, -1)
		if len(found) != 1 {
			t.Fatalf("gitleaks.toml: %d lines are like %s, want one", len(found), pattern)
		}
		return found[0][1]
	}
	if value(`secretGroup = (\d+)`) != "1" {
		t.Error("gitleaks.toml: the secret is not the first group")
	}
	return rule{value(`keywords = \["([^"]+)"\]`), regexp.MustCompile(value(`regex = '''(.+)'''`)), number(t, value(`entropy = ([0-9.]+)`))}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func trufflehog(t *testing.T) rule {
	t.Helper()
	file := struct {
		Detectors []struct {
			Name     string            `json:"name"`
			Keywords []string          `json:"keywords"`
			Regex    map[string]string `json:"regex"`
			Entropy  float64           `json:"entropy"`
		} `json:"detectors"`
	}{}
	if err := yaml.UnmarshalStrict(read(t, "trufflehog.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Detectors) != 1 || len(file.Detectors[0].Keywords) != 1 || file.Detectors[0].Regex["token"] == "" {
		t.Fatalf("trufflehog.yaml has %+v", file.Detectors)
	}
	d := file.Detectors[0]
	return rule{d.Keywords[0], regexp.MustCompile(d.Regex["token"]), d.Entropy}
}

func mint(t *testing.T, prefix string) string {
	t.Helper()
	minted, err := token.Mint(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return minted.Reveal()
}

// Wherever a token stands, it is found, as it is.
func TestTokensAreFound(t *testing.T) {
	for scanner, rule := range rules(t) {
		for _, around := range []string{
			"§", "TOKEN=§\n", `"token": "§",`, "'§'", "Authorization: token §\r\n", "https://example.com/?t=§&x", "a=§#b", "<§>", "(§)", "- §", "\t§\t", "§.", "`§`",
			"Authorization%3A+token%20§%0A", `"first\n§\nlast"`, `"\t§\r"`, "é§é", "\x00§\x00",
			`{"html":"\u003c§\u003e"}`, `"a\u003D§"`, `'t\x3d§\x26'`, "\x1b[31m§\x1b[0m", "\x1b[1;31m§\x1b[m", `"\u001b[31m§\u001b[0m"`,
		} {
			plaintext := mint(t, "lk")
			text := strings.Replace(around, "§", plaintext, 1)
			if got := rule.find([]byte(text)); len(got) != 1 || got[0] != plaintext {
				t.Errorf("%s: in %q found %q", scanner, around, got)
			}
		}
		two := mint(t, "lk") + "," + mint(t, "lk")
		if got := strings.Join(rule.find([]byte(two)), ","); got != two {
			t.Errorf("%s: of two, found %q", scanner, got)
		}
	}
}

// No random token is too regular for the entropy that is asked for.
func TestEveryTokenIsFound(t *testing.T) {
	all := rules(t)
	for range 20_000 {
		plaintext := mint(t, "lk")
		for scanner, rule := range all {
			if got := rule.find([]byte(plaintext)); len(got) != 1 {
				t.Fatalf("%s does not find a token with %.2f bits a character", scanner, entropy(plaintext))
			}
		}
	}
}

func TestLookAlikesAreNot(t *testing.T) {
	plaintext := mint(t, "lk")
	for name, text := range map[string]string{
		"truncated":        plaintext[:len(plaintext)-1],
		"lengthened":       plaintext + "A",
		"other prefix":     mint(t, "shop"),
		"longer prefix":    mint(t, "xlk"),
		"upper-case":       strings.ToUpper(plaintext[:3]) + plaintext[3:],
		"id alone":         plaintext[:13],
		"other separator":  strings.Replace(plaintext, "_", "-", 2),
		"three parts":      plaintext[:30] + "_" + plaintext[31:],
		"line break":       plaintext[:30] + "\n" + plaintext[30:],
		"placeholder":      "lk_xxxxxxxxxx_" + strings.Repeat("x", 49),
		"documentation":    "Authorization: token lk_…",
		"digest":           "sha256:c52188536ab30c8eb0b2bc7692a3724e1352eaf0a5cffe54d3c2a3ef50899a74",
		"inside of a word": "wa" + plaintext,
	} {
		for scanner, rule := range rules(t) {
			if got := rule.find([]byte(text)); len(got) > 0 {
				t.Errorf("%s: %s: found %q", scanner, name, got)
			}
		}
	}
}

const (
	// enough and atMost bound how much source text is read below each root, in
	// bytes.
	enough = 6 << 20
	atMost = 8 << 20
	// maxFile is the largest file that counts as source text.
	maxFile = 4 << 20
)

// What people write every day is not found: the sources of Go and of the modules
// that this project is built from.
func TestOrdinaryTextHasNone(t *testing.T) {
	all := rules(t)
	for _, root := range []string{goenv(t, "GOROOT"), goenv(t, "GOMODCACHE")} {
		files, size := 0, 0
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			if size > atMost {
				return fs.SkipAll
			}
			if info, err := entry.Info(); err != nil || info.Size() > maxFile {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files, size = files+1, size+len(content)
			for scanner, rule := range all {
				for _, found := range rule.find(content) {
					t.Errorf("%s: %s: %q", scanner, path, found)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d files, %d MiB", root, files, size>>20)
		if size < enough {
			t.Errorf("%s has only %d MiB of source text", root, size>>20)
		}
	}
}

func goenv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
