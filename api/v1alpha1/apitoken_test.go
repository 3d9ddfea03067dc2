package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	lifetimeBounds = "must be from 1s to 87600h (ten years)"
	overlapBounds  = "must be from 0s to 8760h"
	notBoth        = "set lifetime or expiresAt, not both"
	notCIDR        = "each must be a CIDR, such as 192.0.2.0/24 or 2001:db8::/32"
)

// list is a YAML list of n values.
func list(n int, format string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func TestApiTokenTexts(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, apiTokens, []specCase{
		{``, accepted},
		{`{}`, accepted},
		{`null`, accepted},
		{`description: ""`, accepted},
		{`description: "für den Bericht\nam Montag"`, accepted},
		{`description: ` + repeat("ü", 256), accepted},
		{`description: ` + repeat("a", 257), tooLong},
		{`description: 5`, badType},
		{`owner: a`, accepted},
		{`owner: ana@example.com`, accepted},
		{`owner: "Ana Lovelace <ana@example.com>"`, accepted},
		{`owner: ` + repeat("a", 253), accepted},
		{`owner: ` + repeat("a", 254), tooLong},
		{`owner: ""`, badPattern},
		{`owner: " ana"`, badPattern},
		{`owner: "ana "`, badPattern},
		{`owner: "ana\nX-Evil: 1"`, badPattern},
		{`owner: "ana\n"`, badPattern},
		{`owner: "ana\t1"`, badPattern},
		{`owner: "a\0b"`, badPattern},
		{`owner: José`, badPattern},
		{`revoked: true`, accepted},
		{`revoked: false`, accepted},
		{`revoked: "true"`, badType},
		{`revoked: 1`, badType},
		{`rotation: {}`, accepted},
		{`rotation: []`, badType},
	})
}

func TestApiTokenLists(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, apiTokens, []specCase{
		{`scopes: []`, accepted},
		{`scopes: [a, orders:read, orders.write, a/b, a_b, a-b, 1]`, badType},
		{`scopes: [a, orders:read, orders.write, a/b, a_b, a-b, "1"]`, accepted},
		{`scopes: ` + list(64, "s%d"), accepted},
		{`scopes: ` + list(65, "s%d"), tooMany},
		{`scopes: [` + repeat("a", 64) + `]`, accepted},
		{`scopes: [` + repeat("a", 65) + `]`, tooLong},
		{`scopes: [a, a]`, duplicate},
		{`scopes: [""]`, tooShort},
		{`scopes: [null]`, badType},
		{`scopes: ["orders read"]`, badPattern},
		{`scopes: ["a\n"]`, badPattern},
		{`scopes: [Orders]`, badPattern},
		{`scopes: [":read"]`, badPattern},
		{`scopes: ["read:"]`, badPattern},
		{`scopes: ["a,b"]`, badPattern},
		{`scopes: orders:read`, badType},

		{`allowedCIDRs: []`, accepted},
		{`allowedCIDRs: [192.0.2.0/24, 2001:db8::/32, 0.0.0.0/0, "::/0", 192.0.2.7/32]`, accepted},
		{`allowedCIDRs: [192.0.2.7/24]`, accepted},
		{`allowedCIDRs: [0000:0000:0000:0000:0000:0000:0000:0001/128]`, accepted},
		{`allowedCIDRs: ` + list(32, "192.0.2.%d/32"), accepted},
		{`allowedCIDRs: ` + list(33, "192.0.2.%d/32"), tooMany},
		{`allowedCIDRs: [192.0.2.0/24, 192.0.2.0/24]`, duplicate},
		{`allowedCIDRs: [192.0.2.1]`, notCIDR},
		{`allowedCIDRs: [192.0.2.0/24, 192.0.2.0/33]`, notCIDR},
		{`allowedCIDRs: ["2001:db8::/129"]`, notCIDR},
		{`allowedCIDRs: [192.0.2.0/-1]`, notCIDR},
		{`allowedCIDRs: [192.0.2.0/024]`, notCIDR},
		{`allowedCIDRs: [192.0.02.0/24]`, notCIDR},
		{`allowedCIDRs: [192.0.2/24]`, notCIDR},
		{`allowedCIDRs: ["fe80::1%eth0/64"]`, notCIDR},
		{`allowedCIDRs: ["::ffff:192.0.2.0/120"]`, notCIDR},
		{`allowedCIDRs: [192.0.2.0/24 ]`, accepted},
		{`allowedCIDRs: ["192.0.2.0/24 "]`, notCIDR},
		{`allowedCIDRs: [example.com]`, notCIDR},
		{`allowedCIDRs: [""]`, tooShort},
		{`allowedCIDRs: [` + repeat("1", 50) + `]`, badType},
		{`allowedCIDRs: ["` + repeat("1", 50) + `"]`, tooLong},
	})
}

func TestApiTokenLifetime(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, apiTokens, []specCase{
		{`lifetime: 1s`, accepted},
		{`lifetime: 720h`, accepted},
		{`lifetime: 1h30m15s`, accepted},
		{`lifetime: 90m`, accepted},
		{`lifetime: 1h0m0s`, accepted},
		{`lifetime: 87600h`, accepted},
		{`lifetime: 315360000s`, accepted},
		{`lifetime: ` + repeat("0", 30) + `1h`, accepted},
		{`lifetime: 87600h1s`, lifetimeBounds},
		{`lifetime: 876000h`, lifetimeBounds},
		{`lifetime: 0s`, lifetimeBounds},
		{`lifetime: 0h0m0s`, lifetimeBounds},
		{`lifetime: 9999999999999h`, lifetimeBounds},
		{`lifetime: 2562047h48m`, lifetimeBounds},
		{`lifetime: 9223372036854775808s`, lifetimeBounds},
		{`lifetime: ""`, lifetimeBounds},
		{`lifetime: -1h`, badPattern},
		{`lifetime: +1h`, badPattern},
		{`lifetime: 1d`, badPattern},
		{`lifetime: 1w`, badPattern},
		{`lifetime: P30D`, badPattern},
		{`lifetime: 1.5h`, badPattern},
		{`lifetime: 1h1h`, badPattern},
		{`lifetime: 1s1h`, badPattern},
		{`lifetime: 500ms`, badPattern},
		{`lifetime: 1H`, badPattern},
		{`lifetime: "1 h"`, badPattern},
		{`lifetime: " 1h"`, badPattern},
		{`lifetime: "1h\n"`, badPattern},
		{`lifetime: "3600"`, badPattern},
		{`lifetime: "0"`, badPattern},
		{`lifetime: ` + repeat("0", 31) + `1h`, tooLong},
		{`lifetime: 3600`, badType},
		{`lifetime: [1h]`, badType},
		{"lifetime: 1h\nexpiresAt: \"2027-01-31T00:00:00Z\"", notBoth},
		{"lifetime: 1h\nexpiresAt: null", accepted},
	})
}

func TestApiTokenExpiresAt(t *testing.T) {
	checkSpecs(t, apiTokens, []specCase{
		{`expiresAt: "2027-01-31T00:00:00Z"`, accepted},
		{`expiresAt: 2027-01-31T00:00:00Z`, accepted},
		{`expiresAt: "2020-01-31T23:59:59Z"`, accepted}, // the past is for the controller to refuse
		{`expiresAt: "2028-02-29T00:00:00Z"`, accepted},
		{`expiresAt: "2000-01-01T00:00:00Z"`, accepted},
		{`expiresAt: "2999-12-31T23:59:59Z"`, accepted},
		{`expiresAt: "2027-01-31T00:00:00+00:00"`, tooLong},
		{`expiresAt: "2027-01-31T00:00:00+01:00"`, tooLong},
		{`expiresAt: "2027-01-31T00:00:00.5Z"`, tooLong},
		{`expiresAt: "2027-01-31T00:00:00"`, badPattern},
		{`expiresAt: "2027-01-31T00:00:00z"`, badPattern},
		{`expiresAt: "2027-01-31t00:00:00Z"`, badPattern},
		{`expiresAt: "2027-01-31 00:00:00Z"`, badPattern},
		{`expiresAt: "2027-01-31"`, badPattern},
		{`expiresAt: 2027-01-31`, badPattern},
		{`expiresAt: "2027-01-31T00:00Z"`, badPattern},
		{`expiresAt: "2027-01-31T00:00:60Z"`, badPattern},
		{`expiresAt: "2027-01-31T24:00:00Z"`, badPattern},
		{`expiresAt: "2027-01-31T00:60:00Z"`, badPattern},
		{`expiresAt: "2027-01-31T00:00:00ZZ"`, tooLong},
		{`expiresAt: ""`, badPattern},
		{`expiresAt: never`, badPattern},
		{`expiresAt: 1801440000`, badType},
		{`expiresAt: "2026-02-30T00:00:00Z"`, badType},
		{`expiresAt: "2027-02-29T00:00:00Z"`, badType},
		{`expiresAt: "2027-13-01T00:00:00Z"`, badType},
		{`expiresAt: "2027-00-01T00:00:00Z"`, badType},
		{`expiresAt: "2027-01-00T00:00:00Z"`, badType},
		// Go's zero time: a typed client would drop it.
		{`expiresAt: "0001-01-01T00:00:00Z"`, badPattern},
		{`expiresAt: "1999-12-31T23:59:59Z"`, badPattern},
		{`expiresAt: "9999-12-31T23:59:59Z"`, badPattern},
	})
}

func TestApiTokenRotation(t *testing.T) {
	checkSpecs(t, apiTokens, []specCase{
		{`rotation: {overlap: 0s}`, accepted},
		{`rotation: {overlap: 24h}`, accepted},
		{`rotation: {overlap: 8760h}`, accepted},
		{`rotation: {overlap: 8760h1s}`, overlapBounds},
		{`rotation: {overlap: ""}`, overlapBounds},
		{`rotation: {overlap: 99999999999999h}`, overlapBounds},
		{`rotation: {overlap: -1s}`, badPattern},
		{`rotation: {overlap: 1d}`, badPattern},
		{`rotation: {overlap: 0.5h}`, badPattern},
		{`rotation: {overlap: 1h1h}`, badPattern},
		{`rotation: {overlap: ` + strings.Repeat("0", 32) + `s}`, tooLong},
		{`rotation: {overlap: 0}`, badType},
	})
}

func TestApiTokenCredential(t *testing.T) {
	const (
		id       = `0123456789`
		issuedAt = `2026-01-31T00:00:00Z`
	)
	digest := "sha256:" + strings.Repeat("0a", 32)
	spec := func(id, digest, issuedAt string) string {
		return fmt.Sprintf("credential: {id: %q, digest: %q, issuedAt: %q}", id, digest, issuedAt)
	}
	withID := func(id string) string { return spec(id, digest, issuedAt) }
	withDigest := func(digest string) string { return spec(id, digest, issuedAt) }
	issued := func(issuedAt string) string { return spec(id, digest, issuedAt) }
	hex := strings.Repeat

	checkSpecs(t, apiTokens, []specCase{
		{withID(id), accepted},
		{withID("AZaz09AZaz"), accepted},
		{withID("012345678"), tooShort},
		{withID("01234567890"), tooLong},
		{withID("01234-6789"), badPattern},
		{withID("01234_6789"), badPattern},
		{withID("01234 6789"), badPattern},
		{withID("01234ä6789"), badPattern},
		{withID("012345678\n"), badPattern},
		{withID(""), tooShort},

		{withDigest("sha256:" + hex("f", 64)), accepted},
		{withDigest("sha256:" + hex("0", 63) + "1"), accepted},
		{withDigest("sha256:" + hex("0", 64)), "all zeros is the digest of no token"},
		{withDigest("sha256:" + hex("f", 63)), tooShort},
		{withDigest("sha256:" + hex("f", 65)), tooLong},
		{withDigest("sha256:" + hex("F", 64)), badPattern},
		{withDigest("sha256:" + hex("g", 64)), badPattern},
		{withDigest("sha512:" + hex("f", 64)), badPattern},
		{withDigest(hex("f", 71)), badPattern},
		{withDigest(hex("f", 64)), tooShort},
		{withDigest("sha256:" + hex("f", 63) + "\n"), badPattern},
		{withDigest(""), tooShort},

		{issued("2026-02-30T00:00:00Z"), badType},
		{issued("2026-01-31T00:00:60Z"), badPattern},
		{issued("2026-01-31T00:00:00z"), badPattern},
		{issued("2026-01-31T00:00:00.1Z"), tooLong},
		{issued("2026-01-31T00:00:00+01:00"), tooLong},
		{issued("0001-01-01T00:00:00Z"), badPattern},
		{issued(""), badPattern},

		{`credential: null`, accepted},
		{`credential: {}`, required},
		{`credential: {id: "0123456789"}`, required},
		{`credential: {id: "0123456789", digest: "` + digest + `"}`, "spec.credential.issuedAt: " + required},
		{`credential: {issuedAt: "` + issuedAt + `", digest: "` + digest + `"}`, "spec.credential.id: " + required},
		{`credential: {issuedAt: "` + issuedAt + `", id: "` + id + `"}`, "spec.credential.digest: " + required},
	})
}

// The token itself has no place in an ApiToken: a field that a user invents for
// it is an error, not silently dropped.
func TestUnknownFieldsAreNamed(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := newSubject(t, k, "subject")
			err := s.create(t, minimal[k.name]+"\ntoken: lk_secret")
			if err == nil || !strings.Contains(err.Error(), `unknown field "spec.token"`) {
				t.Fatalf("err = %v, want one that names the unknown field", err)
			}
		})
	}
}

// What the API server accepted is what the Go types say.
func TestApiTokenIsDecodedExactly(t *testing.T) {
	s := newSubject(t, apiTokens, "subject")
	expect(t, s.create(t, `
lifetime: 1h30m15s
owner: ana@example.com
scopes: [orders:read]
allowedCIDRs: [192.0.2.0/24]
rotation: {overlap: 24h}
credential: {id: "0123456789", digest: "sha256:`+strings.Repeat("0a", 32)+`", issuedAt: "2026-01-31T01:02:03Z"}
`), accepted)
	spec := s.get(t).(*v1alpha1.ApiToken).Spec
	if want := 90*time.Minute + 15*time.Second; spec.Lifetime.Duration != want {
		t.Errorf("lifetime = %s, want %s", spec.Lifetime.Duration, want)
	}
	if spec.Rotation.Overlap.Duration != 24*time.Hour {
		t.Errorf("overlap = %s", spec.Rotation.Overlap.Duration)
	}
	if want := time.Date(2026, 1, 31, 1, 2, 3, 0, time.UTC); !spec.Credential.IssuedAt.Time.Equal(want) {
		t.Errorf("issuedAt = %s, want %s", spec.Credential.IssuedAt, want)
	}
	if spec.Owner != "ana@example.com" || len(spec.Scopes) != 1 || spec.Scopes[0] != "orders:read" {
		t.Errorf("owner %q, scopes %q", spec.Owner, spec.Scopes)
	}
	if spec.Revoked || spec.ExpiresAt != nil || spec.AllowedCIDRs[0] != "192.0.2.0/24" {
		t.Errorf("spec = %+v", spec)
	}
}
