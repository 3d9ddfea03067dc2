package record_test

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/latchkey-dev/latchkey/internal/record"
)

// secretMarker is put into every value that is refused: what a record says must
// not get into logs by way of an error.
const secretMarker = "hunter2"

// changed is the full record's Secret with one key changed; a nil value removes it.
func changed(key string, value *string) *corev1.Secret {
	secret := full.Secret("records")
	delete(secret.Data, key)
	if value != nil {
		secret.Data[key] = []byte(*value)
	}
	return secret
}

func mustRefuse(t *testing.T, secret *corev1.Secret, key string) {
	t.Helper()
	r, err := record.Decode(secret)
	if err == nil {
		t.Fatalf("decoded to %+v", r)
	}
	if r != nil {
		t.Errorf("an error and a record: %+v", r)
	}
	if !strings.Contains(err.Error(), "data key "+key+":") {
		t.Errorf("the error does not name the key %s: %v", key, err)
	}
	if strings.Contains(err.Error(), secretMarker) {
		t.Errorf("the error tells the value: %v", err)
	}
}

func TestDecodeNeedsEveryKey(t *testing.T) {
	needed := []string{
		"version", "tenant", "namespace", "name", "uid", "id", "digest", "expires-at",
		"previous-id", "previous-digest", "previous-expires-at",
	}
	for _, key := range needed {
		t.Run(key+" missing", func(t *testing.T) { mustRefuse(t, changed(key, nil), key) })
		t.Run(key+" empty", func(t *testing.T) { mustRefuse(t, changed(key, new("")), key) })
	}
	for _, key := range []string{"owner", "scopes", "allowed-cidrs"} {
		t.Run(key+" missing", func(t *testing.T) { mustDecode(t, changed(key, nil)) })
	}
	if got, want := len(full.Secret("records").Data), len(needed)+3; got != want {
		t.Errorf("a full record has %d keys, the test knows %d", got, want)
	}
}

func TestDecodeRefusesGarbledValues(t *testing.T) {
	labels := []string{
		secretMarker + ".example", secretMarker + "_", "-" + secretMarker, secretMarker + "-", "HUNTER2" + secretMarker,
		secretMarker + "\n", " " + secretMarker, strings.Repeat(secretMarker, 10), secretMarker + "\x00", "ä" + secretMarker,
	}
	ids := []string{"12" + secretMarker, "1234" + secretMarker, "12_" + secretMarker, "12 " + secretMarker, "ä1" + secretMarker, "12" + secretMarker + "\n"}
	zeros := strings.Repeat("0", 64)
	digests := []string{
		secretMarker, "sha256:" + secretMarker, "sha256:" + strings.Repeat("g", 57) + secretMarker,
		"sha512:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("a", 63), "sha256:" + strings.Repeat("a", 65),
		"sha256:" + zeros, strings.Repeat("a", 64), "SHA256:" + strings.Repeat("a", 64),
		"sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("a", 63) + "\n",
	}
	times := []string{
		secretMarker, "2027-01-31", "2027-01-31T01:02:03", "2027-01-31T01:02:03+00:00", "2027-01-31T01:02:03+01:00",
		"2027-01-31 01:02:03Z", "2027-01-31t01:02:03z", "2027-02-30T01:02:03Z", "2027-13-01T01:02:03Z",
		"2027-01-31T24:00:00Z", "2027-01-31T01:02:60Z", "1801440000", "2027-01-31T01:02:03Z" + secretMarker,
		"2027-01-31T01:02:03Z\n", "2027-01-31T01:02:03.5Z", "2027-01-31T01:02:03,5Z", "2027-01-31T1:02:03Z",
	}
	garbled := map[string][]string{
		"version":             {"0", "2", "1.0", " 1", "1\n", "v1", secretMarker},
		"tenant":              labels,
		"namespace":           labels,
		"name":                labels,
		"uid":                 {secretMarker, string(full.UID) + "\n", strings.ToUpper(string(full.UID))},
		"owner":               {secretMarker + "\n", "\t" + secretMarker, secretMarker + "\x7f", "José " + secretMarker, "\xff" + secretMarker, secretMarker + "\r\nX-Admin: 1"},
		"scopes":              {secretMarker + "ä", "orders:read " + secretMarker + "\x00", "\x1b[31m" + secretMarker, "\xff"},
		"allowed-cidrs":       {secretMarker, "192.0.2.1", "192.0.2.0/24," + secretMarker, "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/24 " + secretMarker, "fe80::1%eth0/64", "192.0.2.0/024"},
		"id":                  ids,
		"digest":              digests,
		"expires-at":          times,
		"previous-id":         ids,
		"previous-digest":     digests,
		"previous-expires-at": times,
	}
	for key := range full.Secret("records").Data {
		if len(garbled[key]) == 0 {
			t.Errorf("nothing is known about the key %s", key)
		}
	}
	for key, values := range garbled {
		for _, value := range values {
			t.Run(key+"="+value, func(t *testing.T) { mustRefuse(t, changed(key, &value), key) })
		}
	}
}

// Only Secrets of our type are records; everyone else's are none of our business.
func TestDecodeRefusesOtherTypes(t *testing.T) {
	for _, secretType := range []corev1.SecretType{"", corev1.SecretTypeOpaque, "latchkey.dev/api-tokens", "Latchkey.dev/api-token"} {
		secret := full.Secret("records")
		secret.Type = secretType
		if r, err := record.Decode(secret); err == nil || r != nil || !strings.Contains(err.Error(), "type") {
			t.Errorf("type %q: %+v, %v", secretType, r, err)
		}
	}
}

// A copy of a record under another name is not a record: its name says whose it is.
func TestDecodeRefusesOtherNames(t *testing.T) {
	for _, name := range []string{"", "apitoken-", "copy", "apitoken-" + secretMarker, record.Name(full.UID) + "-2"} {
		secret := full.Secret("records")
		secret.Name = name
		mustRefuse(t, secret, "uid")
	}
}

func TestDecodeOfNothing(t *testing.T) {
	mustRefuse(t, &corev1.Secret{Type: record.SecretType}, "version")
}

// The first thing that is wrong is what the error tells.
func TestDecodeTellsTheFirstError(t *testing.T) {
	secret := changed("tenant", new("-"))
	delete(secret.Data, "digest")
	mustRefuse(t, secret, "tenant")
}

// What others add to a Secret does not matter.
func TestDecodeIgnoresMetadata(t *testing.T) {
	secret := full.Secret("records")
	secret.Labels, secret.Annotations = nil, map[string]string{"a": "b"}
	secret.Namespace = "elsewhere"
	if got := mustDecode(t, secret); !reflect.DeepEqual(*got, full) {
		t.Errorf("got %+v", *got)
	}
}

// A record keeps nothing of the Secret that it was read from: the caller may
// reuse it.
func TestDecodeCopies(t *testing.T) {
	secret := full.Secret("records")
	decoded := mustDecode(t, secret)
	for _, value := range secret.Data {
		for i := range value {
			value[i] = '!'
		}
	}
	if !reflect.DeepEqual(*decoded, full) {
		t.Errorf("the record changed with its Secret: %+v", *decoded)
	}
}
