// Package keyring is the keys that seal sessions: what the manager writes into a Secret
// and the API server reads from it, and which of them counts when. It decides only, and
// by the time that it is told.
//
// A key is made each Period and seals from Delay later on, so that every replica has it
// by then. Once its successor seals, it only opens, and only as long as something that it
// sealed may live: who finds an old key in a backup can forge nothing with it.
package keyring

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// SecretName is the name of the Secret with the keys, in the installation's namespace.
const SecretName = "latchkey-session-keys"

const (
	// Period is how often a key is made.
	Period = 24 * time.Hour
	// Delay is how long after it was made a key seals.
	Delay = 10 * time.Minute
	// Retention is the longest that anything sealed may live, and so how long a key is
	// kept once its successor seals.
	Retention = 24 * time.Hour
	// MaxSkew is by how much the clocks of replicas and the manager may differ.
	MaxSkew = time.Minute
)

// Size is the length of a key's material, in bytes: AES-256.
const Size = 32

// Material is what must stay secret. It is printed, logged and encoded as nothing.
type Material [Size]byte

const redacted = "(secret)"

// Format implements fmt.Formatter, for every verb.
func (Material) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler, by which JSON and logs encode it.
func (Material) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Key is one of a ring's.
type Key struct {
	// ID names the key in what it seals: 16 hexadecimal digits.
	ID string
	// MadeAt is when it was made, by the manager's clock, in whole seconds.
	MadeAt   time.Time
	Material Material
}

// New makes a key.
func New(now time.Time) Key {
	k := Key{MadeAt: now.UTC().Truncate(time.Second)}
	_, _ = rand.Read(k.Material[:]) // never fails: the program ends instead
	var id [idBytes]byte
	_, _ = rand.Read(id[:])
	k.ID = hex.EncodeToString(id[:])
	return k
}

const (
	idBytes    = 8
	timeLayout = "20060102T150405Z"
)

// name is the key's in the Secret: when it was made can be seen without reading it.
func (k Key) name() string { return k.MadeAt.UTC().Format(timeLayout) + "." + k.ID }

func parse(name string, material []byte) (Key, error) {
	k := Key{}
	madeAt, id, found := strings.Cut(name, ".")
	if !found {
		return k, fmt.Errorf("%q is no name of a key: want one such as %s.0123456789abcdef", name, timeLayout)
	}
	var err error
	if k.MadeAt, err = time.Parse(timeLayout, madeAt); err != nil {
		return k, fmt.Errorf("%q: when the key was made: %w", name, err)
	}
	if decoded, err := hex.DecodeString(id); err != nil || len(decoded) != idBytes || strings.ToLower(id) != id {
		return k, fmt.Errorf("%q: want %d lower-case hexadecimal digits after the dot", name, 2*idBytes)
	}
	if len(material) != Size {
		return k, fmt.Errorf("%q has %d bytes, want %d", name, len(material), Size)
	}
	k.ID, k.Material = id, Material(material)
	return k, nil
}

// Ring is keys in the order in which they were made.
type Ring []Key

// Of returns the ring of some keys.
func Of(keys ...Key) Ring {
	r := slices.Clone(keys)
	slices.SortFunc(r, func(a, b Key) int { return cmp.Or(a.MadeAt.Compare(b.MadeAt), cmp.Compare(a.ID, b.ID)) })
	return r
}

// Parse reads the data of the Secret: the keys that can be read, and what is wrong with
// the others. No error has a key's bytes in it.
func Parse(data map[string][]byte) (Ring, []error) {
	var keys []Key
	var wrong []error
	ids := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		k, err := parse(name, data[name])
		if err == nil && ids[k.ID] {
			err = fmt.Errorf("%q: another key has this id", name)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		ids[k.ID] = true
		keys = append(keys, k)
	}
	return Of(keys...), wrong
}

// Data is the ring as the Secret holds it.
func (r Ring) Data() map[string][]byte {
	data := make(map[string][]byte, len(r))
	for _, k := range r {
		data[k.name()] = slices.Clone(k.Material[:])
	}
	return data
}

// Sealing is the key that seals at an instant: the last one that was made Delay ago or
// earlier. Where none is as old, as in a new installation, it is the first. ok is false
// for an empty ring.
func (r Ring) Sealing(now time.Time) (key Key, ok bool) {
	for _, k := range slices.Backward(r) {
		if !now.Before(k.MadeAt.Add(Delay)) {
			return k, true
		}
	}
	if len(r) == 0 {
		return Key{}, false
	}
	return r[0], true
}

// SealsUntil is when a key's successor seals in its place; ok is false for one that has
// no successor.
func (r Ring) SealsUntil(id string) (end time.Time, ok bool) {
	for i, k := range r {
		if k.ID == id && i+1 < len(r) {
			return r[i+1].MadeAt.Add(Delay), true
		}
	}
	return time.Time{}, false
}

// Opens says whether the ring has a key that may open at an instant what lives for at
// most lifetime after it was sealed.
func (r Ring) Opens(id string, now time.Time, lifetime time.Duration) bool {
	if !slices.ContainsFunc(r, func(k Key) bool { return k.ID == id }) {
		return false
	}
	end, superseded := r.SealsUntil(id)
	return !superseded || now.Before(end.Add(MaxSkew+lifetime))
}
