// Package record is the stored form of an issued token: a Secret that the
// manager writes and the API server reads. It holds digests, never tokens.
package record

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// SecretType is the type of every record Secret. Others are ignored.
const SecretType corev1.SecretType = "latchkey.dev/api-token"

const (
	version    = "1"
	namePrefix = "apitoken-"
)

// The keys of a record Secret's data.
const (
	keyVersion           = "version"
	keyTenant            = "tenant"
	keyNamespace         = "namespace"
	keyName              = "name"
	keyUID               = "uid"
	keyOwner             = "owner"
	keyScopes            = "scopes"
	keyAllowedCIDRs      = "allowed-cidrs"
	keyID                = "id"
	keyDigest            = "digest"
	keyExpiresAt         = "expires-at"
	keyPreviousID        = "previous-id"
	keyPreviousDigest    = "previous-digest"
	keyPreviousExpiresAt = "previous-expires-at"
)

// Credential is one issued credential.
type Credential struct {
	// ID is the public id.
	ID string
	// Digest is the key by which the credential is looked up.
	Digest token.Digest
	// NotAfter is the expiry, in UTC and whole seconds.
	NotAfter time.Time
}

// Record is everything that the API server knows of a token.
type Record struct {
	// Tenant is the name of the Tenant that the token belongs to.
	Tenant string
	// Namespace, Name and UID are those of the ApiToken.
	Namespace, Name string
	UID             types.UID
	// Owner is who answers for the token, or empty.
	Owner string
	// Scopes are what the token may do.
	Scopes []string
	// AllowedCIDRs are where it works from; empty means anywhere.
	AllowedCIDRs []netip.Prefix
	// Current is the credential that was issued last.
	Current Credential
	// Previous is the one before, or nil. It may have expired.
	Previous *Credential
}

// Name is the name of an ApiToken's record Secret.
func Name(uid types.UID) string { return namePrefix + string(uid) }

// UID is the UID of the ApiToken whose record has the name, or empty.
func UID(name string) types.UID {
	uid, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return ""
	}
	return types.UID(uid)
}

// ApiToken is the namespace and name of the ApiToken that a stored record names,
// also where the rest of it can't be decoded.
func ApiToken(secret *corev1.Secret) (namespace, name string) {
	return string(secret.Data[keyNamespace]), string(secret.Data[keyName])
}

// Secret is the record as it is stored.
func (r *Record) Secret(namespace string) *corev1.Secret {
	data := map[string]string{
		keyVersion:   version,
		keyTenant:    r.Tenant,
		keyNamespace: r.Namespace,
		keyName:      r.Name,
		keyUID:       string(r.UID),
		keyID:        r.Current.ID,
		keyDigest:    r.Current.Digest.String(),
		keyExpiresAt: formatTime(r.Current.NotAfter),
	}
	optional(data, keyOwner, r.Owner)
	optional(data, keyScopes, strings.Join(r.Scopes, " "))
	cidrs := make([]string, len(r.AllowedCIDRs))
	for i, prefix := range r.AllowedCIDRs {
		cidrs[i] = prefix.String()
	}
	optional(data, keyAllowedCIDRs, strings.Join(cidrs, " "))
	if r.Previous != nil {
		data[keyPreviousID] = r.Previous.ID
		data[keyPreviousDigest] = r.Previous.Digest.String()
		data[keyPreviousExpiresAt] = formatTime(r.Previous.NotAfter)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      Name(r.UID),
			Labels: map[string]string{
				v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
				v1alpha1.LabelTenant:    r.Tenant,
			},
		},
		Type: SecretType,
		Data: make(map[string][]byte, len(data)),
	}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

func optional(data map[string]string, key, value string) {
	if value != "" {
		data[key] = value
	}
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Decode reads a record. It is strict: whatever is missing, unparsable or not
// what Secret writes is an error, and the record then opens nothing. The errors
// name the key, never its value.
func Decode(secret *corev1.Secret) (*Record, error) {
	if secret.Type != SecretType {
		return nil, fmt.Errorf("type is not %s", SecretType)
	}
	d := decoder{data: secret.Data}
	if d.text(keyVersion) != version {
		d.fail(keyVersion, errors.New("is not "+version))
	}
	r := &Record{
		Tenant:       d.label(keyTenant),
		Namespace:    d.label(keyNamespace),
		Name:         d.label(keyName),
		UID:          types.UID(d.text(keyUID)),
		Owner:        string(secret.Data[keyOwner]),
		Scopes:       strings.Fields(string(secret.Data[keyScopes])),
		AllowedCIDRs: d.cidrs(),
		Current:      d.credential(keyID, keyDigest, keyExpiresAt),
	}
	if d.has(keyPreviousID) || d.has(keyPreviousDigest) || d.has(keyPreviousExpiresAt) {
		previous := d.credential(keyPreviousID, keyPreviousDigest, keyPreviousExpiresAt)
		r.Previous = &previous
	}
	if !printable.MatchString(r.Owner) {
		d.fail(keyOwner, errors.New("has a character that is not printable ASCII"))
	}
	for _, scope := range r.Scopes {
		if !printable.MatchString(scope) {
			d.fail(keyScopes, errors.New("has a character that is not printable ASCII"))
		}
	}
	if secret.Name != Name(r.UID) {
		d.fail(keyUID, errors.New("is not that of the Secret's name"))
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	publicID  = regexp.MustCompile(`^[0-9A-Za-z]{10}$`)
	printable = regexp.MustCompile(`^[ -~]*$`)
)

// decoder keeps the first error, so that reading a record is one expression.
type decoder struct {
	data map[string][]byte
	err  error
}

func (d *decoder) fail(key string, err error) {
	if d.err == nil {
		d.err = fmt.Errorf("data key %s: %w", key, err)
	}
}

func (d *decoder) has(key string) bool {
	_, ok := d.data[key]
	return ok
}

func (d *decoder) text(key string) string {
	if len(d.data[key]) == 0 {
		d.fail(key, errors.New("is missing or empty"))
	}
	return string(d.data[key])
}

func (d *decoder) match(key string, pattern *regexp.Regexp, what string) string {
	text := d.text(key)
	if !pattern.MatchString(text) {
		d.fail(key, errors.New("is not "+what))
	}
	return text
}

func (d *decoder) label(key string) string { return d.match(key, dnsLabel, "a DNS label") }

func (d *decoder) cidrs() []netip.Prefix {
	var prefixes []netip.Prefix
	for field := range strings.FieldsSeq(string(d.data[keyAllowedCIDRs])) {
		prefix, err := netip.ParsePrefix(field)
		if err != nil {
			d.fail(keyAllowedCIDRs, errors.New("has something that is not a CIDR"))
			return nil
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

func (d *decoder) credential(id, digest, expiresAt string) Credential {
	c := Credential{ID: d.match(id, publicID, "a token's id")}
	var err error
	if c.Digest, err = token.ParseDigest(d.text(digest)); err != nil {
		d.fail(digest, errors.New("is not a token's digest"))
	}
	// time.Parse also takes fractions and short numbers.
	if c.NotAfter, err = time.Parse(time.RFC3339, d.text(expiresAt)); err != nil || formatTime(c.NotAfter) != d.text(expiresAt) {
		d.fail(expiresAt, errors.New("is not a time in UTC and whole seconds"))
	}
	return c
}
