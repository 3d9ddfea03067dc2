package record_test

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/internal/record"
)

// fuzzedKeys are a record's keys in the order of the fuzzer's arguments.
var fuzzedKeys = []string{
	"version", "tenant", "namespace", "name", "uid", "owner", "scopes", "allowed-cidrs",
	"id", "digest", "expires-at", "previous-id", "previous-digest", "previous-expires-at",
}

func texts(secret *corev1.Secret) []string {
	values := make([]string, len(fuzzedKeys))
	for i, key := range fuzzedKeys {
		values[i] = string(secret.Data[key])
	}
	return values
}

// FuzzDecode: no Secret makes Decode panic, and one that it reads is stored again
// as a Secret that means the same. An empty value is a missing key.
func FuzzDecode(f *testing.F) {
	add := func(secret *corev1.Secret) {
		v := texts(secret)
		f.Add(secret.Name, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13])
	}
	add(full.Secret("records"))
	add(minimal.Secret("records"))
	add(&corev1.Secret{})
	for key, value := range map[string]string{
		"scopes":        " a\tb\u00a0c\n",
		"allowed-cidrs": "192.0.2.7/24 2001:DB8::/32 ::ffff:192.0.2.0/120 0.0.0.0/0",
		"digest":        "sha256:ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD",
		"expires-at":    "2027-01-31T01:02:03.999999999Z",
		"owner":         " ",
	} {
		add(changed(key, &value))
	}
	for _, key := range fuzzedKeys {
		add(changed(key, nil))
	}
	f.Fuzz(func(t *testing.T, name, version, tenant, namespace, token, uid, owner, scopes, cidrs,
		id, digest, expiresAt, previousID, previousDigest, previousExpiresAt string,
	) {
		values := []string{
			version, tenant, namespace, token, uid, owner, scopes, cidrs,
			id, digest, expiresAt, previousID, previousDigest, previousExpiresAt,
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: record.SecretType, Data: map[string][]byte{}}
		for i, value := range values {
			if value != "" {
				secret.Data[fuzzedKeys[i]] = []byte(value)
			}
		}
		decoded, err := record.Decode(secret)
		if err != nil {
			if decoded != nil {
				t.Fatalf("an error and a record: %v, %+v", err, decoded)
			}
			return
		}
		again, err := record.Decode(decoded.Secret("records"))
		if err != nil {
			t.Fatalf("what was decoded is stored as what can't be: %v\n%+v", err, decoded)
		}
		if !reflect.DeepEqual(decoded, again) {
			t.Fatalf("what was decoded is stored as something else:\n%+v\n%+v", decoded, again)
		}
		if decoded.Current.Digest.IsZero() || decoded.Current.NotAfter.IsZero() || decoded.Tenant == "" || decoded.Name == "" {
			t.Fatalf("half a record: %+v", decoded)
		}
	})
}
