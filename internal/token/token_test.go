package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// sample is fixed: a change of the format that would orphan tokens in the field
// must not pass unnoticed.
const (
	sample       = "lk_0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq09UFOB"
	sampleDigest = "sha256:c52188536ab30c8eb0b2bc7692a3724e1352eaf0a5cffe54d3c2a3ef50899a74"
)

func mint(t testing.TB, prefix string) token.Token {
	t.Helper()
	minted, err := token.Mint(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return minted
}

func TestFormatIsStable(t *testing.T) {
	id, err := token.Parse("lk", sample)
	if err != nil || id != "0123456789" {
		t.Fatalf("Parse(sample) = %q, %v", id, err)
	}
	if got := token.DigestOf("acme", sample).String(); got != sampleDigest {
		t.Errorf("digest = %s, want %s", got, sampleDigest)
	}
}

func TestMintedTokensParse(t *testing.T) {
	seen := map[string]bool{}
	for _, prefix := range []string{"lk", "a", "acme1", strings.Repeat("z", token.MaxPrefixLength)} {
		for range 500 {
			minted := mint(t, prefix)
			plaintext := minted.Reveal()
			id, err := token.Parse(prefix, plaintext)
			if err != nil || id != minted.ID() {
				t.Fatalf("Parse = %q, %v, want id %q", id, err, minted.ID())
			}
			if seen[plaintext] || seen[id] {
				t.Fatal("minted the same token or id twice")
			}
			seen[plaintext], seen[id] = true, true
		}
	}
}

// A uniform source gives each of 62 characters about 1/62 of the places.
func TestMintIsUniform(t *testing.T) {
	counts := map[rune]int{}
	const tokens = 4000
	for range tokens {
		secret := strings.SplitN(mint(t, "lk").Reveal(), "_", 3)[2]
		for _, r := range secret[:43] {
			counts[r]++
		}
	}
	want := float64(tokens*43) / 62
	if len(counts) != 62 {
		t.Fatalf("%d different characters, want 62", len(counts))
	}
	for r, n := range counts {
		if ratio := float64(n) / want; ratio < 0.88 || ratio > 1.12 {
			t.Errorf("%q occurs %.2f times as often as it should", r, ratio)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	valid := mint(t, "lk").Reveal()
	changed := func(i int) string {
		c := byte('A')
		if valid[i] == c {
			c = 'B'
		}
		return valid[:i] + string(c) + valid[i+1:]
	}
	cases := map[string]struct {
		in   string
		want error
	}{
		"empty":                {"", token.ErrPrefix},
		"prefix alone":         {"lk", token.ErrPrefix},
		"prefix and separator": {"lk_", token.ErrLength},
		"other prefix":         {mint(t, "xy").Reveal(), token.ErrPrefix},
		"longer prefix":        {mint(t, "lkk").Reveal(), token.ErrPrefix},
		"upper-case prefix":    {"LK" + valid[2:], token.ErrPrefix},
		"leading space":        {" " + valid, token.ErrPrefix},
		"trailing space":       {valid + " ", token.ErrLength},
		"trailing newline":     {valid + "\n", token.ErrLength},
		"cut":                  {valid[:len(valid)-1], token.ErrLength},
		"padded":               {valid + "=", token.ErrLength},
		"NUL inside":           {valid[:20] + "\x00" + valid[21:], token.ErrFormat},
		"non-ASCII inside":     {valid[:20] + "é" + valid[22:], token.ErrFormat},
		"second underscore":    {valid[:13] + "x" + valid[14:], token.ErrFormat},
		"underscore in secret": {valid[:20] + "_" + valid[21:], token.ErrFormat},
		"id changed":           {changed(5), token.ErrChecksum},
		"secret changed":       {changed(30), token.ErrChecksum},
		"checksum changed":     {changed(len(valid) - 1), token.ErrChecksum},
		"20 KB":                {strings.Repeat(valid, 300), token.ErrLength},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if id, err := token.Parse("lk", c.in); !errors.Is(err, c.want) || id != "" {
				t.Errorf("Parse = %q, %v; want error %v", id, err, c.want)
			}
		})
	}
}

func TestParseAndDigestDoNotAllocate(t *testing.T) {
	plaintext := mint(t, "lk").Reveal()
	garbage := plaintext[:len(plaintext)-1] + "!"
	tenant := strings.Repeat("a", 56)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = token.Parse("lk", plaintext)
		_, _ = token.Parse("lk", garbage)
		_ = token.DigestOf(tenant, plaintext)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestDigestIsBoundToTenantAndToken(t *testing.T) {
	a, b := mint(t, "lk").Reveal(), mint(t, "lk").Reveal()
	digests := map[token.Digest]string{}
	for _, c := range [][2]string{{"acme", a}, {"globex", a}, {"acme", b}, {"", a}, {"acme\x00" + a[:1], a[1:]}} {
		d := token.DigestOf(c[0], c[1])
		if other, dup := digests[d]; dup {
			t.Errorf("%q has the digest of %q", c, other)
		}
		digests[d] = c[0]
	}
}

func TestDigestText(t *testing.T) {
	d := token.DigestOf("acme", sample)
	parsed, err := token.ParseDigest(d.String())
	if err != nil || parsed != d {
		t.Fatalf("ParseDigest(String) = %v, %v", parsed, err)
	}
	text := d.String()
	for _, bad := range []string{
		"", "sha256:", text[:70], text + "0", "sha512:" + text[7:], text[:70] + "g",
		"sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 71), strings.ToUpper(text), "sha256:" + strings.ToUpper(text[7:]),
	} {
		if got, err := token.ParseDigest(bad); err == nil || !got.IsZero() {
			t.Errorf("ParseDigest(%q) = %v, %v; want an error", bad, got, err)
		}
	}
}

func TestPatternFindsTokens(t *testing.T) {
	pattern := regexp.MustCompile(token.Pattern("lk"))
	minted := mint(t, "lk").Reveal()
	for _, text := range []string{
		minted,
		"Authorization: token " + minted,
		`{"token":"` + minted + `"}`,
		"https://example.com/?key=" + minted + "&x=1",
		"export API_TOKEN=" + minted + "\n",
	} {
		if got := pattern.FindString(text); got != minted {
			t.Errorf("found %q in a text with a token", got)
		}
	}
	for _, text := range []string{minted[:len(minted)-1], minted + "x", "x" + minted, mint(t, "xy").Reveal()} {
		if pattern.MatchString(text) {
			t.Errorf("found a token in %q, which has none", text)
		}
	}
}

func TestTokenNeverPrintsItsPlaintext(t *testing.T) {
	minted := mint(t, "lk")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("minted", "token", minted)
	encoded, err := json.Marshal(map[string]any{"token": minted})
	if err != nil {
		t.Fatal(err)
	}
	// Of a field that is not exported fmt calls no method, as where something panics with
	// what has a token in it.
	holder := struct{ minted token.Token }{minted}
	printed := log.String() + string(encoded)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed += fmt.Sprintf(format, minted) + fmt.Sprintf(format, holder) + fmt.Sprintf(format, &holder)
	}
	for _, form := range []string{minted.Reveal(), fmt.Sprintf("%x", minted.Reveal())} {
		if strings.Contains(printed, form) {
			t.Error("the plaintext was printed")
		}
	}
	if !strings.Contains(printed, minted.ID()) {
		t.Error("the id was not printed")
	}
}

func TestNoTokenHasNoPlaintext(t *testing.T) {
	var none token.Token
	if none.Reveal() != "" || none.ID() != "" {
		t.Errorf("what was never minted has the id %q and %d bytes", none.ID(), len(none.Reveal()))
	}
}

func TestValidatePrefix(t *testing.T) {
	for _, good := range []string{"a", "lk", "acme2", strings.Repeat("a", token.MaxPrefixLength)} {
		if err := token.ValidatePrefix(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "1a", "Lk", "l_k", "l-k", "é", "a b", strings.Repeat("a", token.MaxPrefixLength+1)} {
		if err := token.ValidatePrefix(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
		if _, err := token.Mint(bad); err == nil {
			t.Errorf("Mint(%q) was accepted", bad)
		}
	}
}

// What Parse accepts has the one form that Mint makes: re-assembled from its
// parts it is the input again, and any change of a byte is noticed.
func FuzzParse(f *testing.F) {
	f.Add("lk", sample)
	f.Add("lk", "")
	f.Add("lk", "lk_0123456789_")
	f.Add("", "_0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq000000")
	f.Add("lk", strings.Repeat("lk_", 40))
	f.Fuzz(func(t *testing.T, prefix, s string) {
		id, err := token.Parse(prefix, s)
		if err != nil {
			if id != "" {
				t.Errorf("an id with an error: %q", id)
			}
			return
		}
		if token.ValidatePrefix(prefix) == nil && !regexp.MustCompile("^"+token.Pattern(prefix)+"$").MatchString(s) {
			t.Errorf("Parse accepts %q, the scanners' pattern does not", s)
		}
		if !strings.HasPrefix(s, prefix+"_"+id+"_") {
			t.Errorf("id %q is not in its place in %q", id, s)
		}
		i := len(s) / 2
		if _, err := token.Parse(prefix, s[:i]+string(s[i]^1)+s[i+1:]); err == nil {
			t.Errorf("accepted %q with byte %d changed", s, i)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(sampleDigest)
	f.Add("sha256:")
	f.Add("sha256:" + strings.Repeat("F", 64))
	f.Fuzz(func(t *testing.T, s string) {
		d, err := token.ParseDigest(s)
		if err == nil && d.String() != s {
			t.Errorf("ParseDigest(%q).String() = %q", s, d.String())
		}
	})
}

func BenchmarkParseAndDigest(b *testing.B) {
	plaintext := mint(b, "lk").Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Parse("lk", plaintext); err != nil {
			b.Fatal(err)
		}
		_ = token.DigestOf("acme", plaintext)
	}
}
