package plaintext_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/latchkey-dev/latchkey/internal/token"
	"github.com/latchkey-dev/latchkey/test/plaintext"
)

// mint returns a token and its secret part, checksum included.
func mint(t testing.TB) (minted token.Token, secret string) {
	t.Helper()
	minted, err := token.Mint("lk")
	if err != nil {
		t.Fatal(err)
	}
	return minted, secretOf(minted.Reveal())
}

func secretOf(plaintext string) string { return plaintext[strings.LastIndexByte(plaintext, '_')+1:] }

func searchFor(t testing.TB, secrets ...string) *plaintext.Search {
	t.Helper()
	search := plaintext.NewSearch()
	for i, secret := range secrets {
		if err := search.AddSecret(fmt.Sprint(i), secret); err != nil {
			t.Fatal(err)
		}
	}
	return search
}

// encoders are ways in which programs write a string.
var encoders = map[string]func(string) string{
	"raw":        func(s string) string { return s },
	"JSON":       func(s string) string { return marshal(map[string]string{"token": s}) },
	"JSON bytes": func(s string) string { return marshal(map[string][]byte{"token": []byte(s)}) },
	"JSON array": func(s string) string {
		numbers := make([]int, len(s))
		for i := range len(s) {
			numbers[i] = int(s[i])
		}
		return marshal(numbers)
	},
	"query":   func(s string) string { return url.Values{"token": {s}}.Encode() },
	"percent": func(s string) string { return "%" + strings.Join(pairs(hex.EncodeToString([]byte(s))), "%") },
	"PERCENT": func(s string) string {
		return "%" + strings.ToUpper(strings.Join(pairs(hex.EncodeToString([]byte(s))), "%"))
	},
	"hex":            func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":            func(s string) string { return fmt.Sprintf("%X", s) },
	"hex dump":       func(s string) string { return fmt.Sprintf("%#x", []byte(s)) },
	"basic password": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("u:" + s)) },
	"basic user":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s + ":")) },
	"base64":         base64Of("", base64.StdEncoding),
	"base64 after 1": base64Of("x", base64.StdEncoding),
	"base64 after 2": base64Of("xy", base64.StdEncoding),
	"base64 for URLs": func(s string) string {
		return base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe" + s + "\xff\xfe"))
	},
	"Go's bytes": func(s string) string { return fmt.Sprintf("%d", []byte(s)) },
}

func base64Of(before string, encoding *base64.Encoding) func(string) string {
	return func(s string) string { return encoding.EncodeToString([]byte(before + s)) }
}

func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func pairs(s string) (all []string) {
	for ; len(s) > 0; s = s[2:] {
		all = append(all, s[:2])
	}
	return all
}

// Each is found wherever it stands: across the edges of what is read at a time, and
// at both ends of a stream.
func TestEveryFormIsFound(t *testing.T) {
	minted, secret := mint(t)
	_, other := mint(t)
	search := searchFor(t, other, secret)
	for name, encode := range encoders {
		written := encode(minted.Reveal())
		for _, before := range []int{0, 1, 7, 511, 512, 1<<20 - 60, 1 << 20, 1<<20 + 400, 1<<20 + 512, 3 << 20} {
			for _, after := range []int{0, 1, 600} {
				stream := strings.Repeat("\x00", before) + written + strings.Repeat(".", after)
				finds, size, err := search.Read(strings.NewReader(stream))
				if err != nil || size != int64(len(stream)) {
					t.Fatalf("%s: read %d bytes, error %v", name, size, err)
				}
				if len(finds) != 1 || finds[0].Needle != "1" {
					t.Errorf("%s, %d bytes before and %d after: found %+v, want the second secret once", name, before, after, finds)
				} else if at := finds[0].Offset; at < int64(before) || at >= int64(before+len(written)) {
					t.Errorf("%s: found at %d, which is not within %d and %d", name, at, before, before+len(written))
				}
			}
		}
	}
}

// A part is worth guessing the rest of: any 16 characters in a row are found, of a
// stream that comes in small pieces too.
func TestPartsAreFound(t *testing.T) {
	minted, secret := mint(t)
	search := searchFor(t, secret)
	for at := range len(secret) - plaintext.MinFragment + 1 {
		part := secret[at:][:plaintext.MinFragment]
		for _, written := range []string{part, hex.EncodeToString([]byte(part)), fmt.Sprintf("%%%s", strings.Join(pairs(hex.EncodeToString([]byte(part))), "%"))} {
			finds, _, err := search.Read(iotest.HalfReader(strings.NewReader("##" + written + "##")))
			if err != nil || len(finds) != 1 {
				t.Errorf("16 characters from the %dth on: %+v, error %v", at, finds, err)
			}
		}
		for offset := range 3 {
			written := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("#", offset) + part))
			if finds, _, err := search.Read(strings.NewReader(written)); err != nil || len(finds) != 1 {
				t.Errorf("base64 of 16 characters from the %dth on, after %d: %+v, error %v", at, offset, finds, err)
			}
		}
	}
	harmless := minted.ID() + minted.Digest("acme").String() + secret[:8] + "#" + secret[8:20] + secret[30:]
	if finds, _, err := search.Read(strings.NewReader(harmless)); err != nil || len(finds) != 1 || finds[0].Length != len(secret)-30 {
		t.Errorf("of id, digest and parts of 8, 12 and %d characters: %+v, error %v; want the last alone", len(secret)-30, finds, err)
	}
}

func TestNothingIsFoundInNoise(t *testing.T) {
	var secrets []string
	for range 500 {
		_, secret := mint(t)
		secrets = append(secrets, secret)
	}
	search := searchFor(t, secrets...)
	source := rand.NewChaCha8([32]byte{1})
	random := make([]byte, 4<<20)
	_, _ = source.Read(random)
	noise := slices.Clone(random)
	for range 2000 { // tokens of others
		minted, _ := mint(t)
		noise = append(noise, minted.Reveal()...)
		noise = append(noise, hex.EncodeToString([]byte(minted.Reveal()))...)
	}
	if finds, _, err := search.Read(bytes.NewReader(noise)); err != nil || len(finds) != 0 {
		t.Errorf("found %+v, error %v", finds, err)
	}
}

func TestTexts(t *testing.T) {
	search := plaintext.NewSearch()
	if err := search.AddText("id", "0123456789"); err != nil {
		t.Fatal(err)
	}
	if finds, _, _ := search.Read(strings.NewReader("012345678 0123456789")); len(finds) != 1 || finds[0].Offset != 10 {
		t.Errorf("found %+v, want the whole text alone", finds)
	}
	if err := search.AddText("short", "1234567"); err == nil {
		t.Error("a text of 7 bytes can't be found, and is no error")
	}
	broken := io.MultiReader(strings.NewReader("0123456789"), iotest.ErrReader(io.ErrClosedPipe))
	if finds, size, err := search.Read(broken); err == nil || size != 10 || len(finds) != 1 {
		t.Errorf("a stream that breaks off: %+v, %d bytes, error %v", finds, size, err)
	}
}

func BenchmarkSearch(b *testing.B) {
	var secrets []string
	for range 1000 {
		_, secret := mint(b)
		secrets = append(secrets, secret)
	}
	search := searchFor(b, secrets...)
	haystack := bytes.Repeat([]byte(`{"kind":"Event","level":"RequestResponse","auditID":"8f0d4f6e","stage":"ResponseComplete"}`), 1<<15)
	b.SetBytes(int64(len(haystack)))
	for b.Loop() {
		if _, _, err := search.Read(bytes.NewReader(haystack)); err != nil {
			b.Fatal(err)
		}
	}
}
