package session

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Whoever had a key could have anything inflated: it is bounded.
func TestInflationIsBounded(t *testing.T) {
	until := time.UnixMilli(1_800_000_000_000)
	for name, c := range map[string]struct {
		size int
		ok   bool
	}{"as much as there may be": {maxContent, true}, "more": {maxContent + 1, false}, "a bomb": {4 << 20, false}} {
		for _, deflate := range []bool{true, false} {
			packed, err := pack([]byte(strings.Repeat("x", c.size)), deflate, until)
			if err != nil {
				t.Fatal(err)
			}
			content, got, err := unpack(packed)
			if (err == nil) != c.ok || c.ok && (len(content) != c.size || !got.Equal(until)) || !c.ok && content != nil {
				t.Errorf("%s, deflated %t: %d bytes until %s, %v", name, deflate, len(content), got, err)
			}
		}
	}
}

// What is within a seal can only be another release's: it is read, or it is not.
func FuzzUnpack(f *testing.F) {
	until := time.UnixMilli(1_800_000_000_000)
	for _, deflate := range []bool{true, false} {
		packed, err := pack([]byte(`{"i":"1","u":"ann","k":"oidc"}`), deflate, until)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(packed[:len(packed)-3])
	}
	f.Add([]byte{})
	f.Add(append(make([]byte, headLength-1), 7))
	f.Fuzz(func(t *testing.T, packed []byte) {
		content, until, err := unpack(packed)
		if err != nil {
			return
		}
		if len(content) > maxContent {
			t.Fatalf("%d bytes", len(content))
		}
		again, err := pack(content, false, until)
		if err != nil {
			t.Fatal(err)
		}
		if read, _, err := unpack(again); err != nil || !bytes.Equal(read, content) {
			t.Errorf("%q became %q, %v", content, read, err)
		}
		if s, err := decode("acme", content); err == nil && (s.ID == "" || s.User == "" || s.Tenant != "acme") {
			t.Errorf("%q is %+v", content, s)
		}
	})
}
