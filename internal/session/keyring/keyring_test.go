package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

var start = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// made are keys made at these times after the start, with the ids a, b, c …
func made(at ...time.Duration) keyring.Ring {
	var keys []keyring.Key
	for i, d := range at {
		k := keyring.New(start.Add(d))
		k.ID = string(rune('a' + i))
		keys = append(keys, k)
	}
	return keyring.Of(keys...)
}

func TestSealing(t *testing.T) {
	const day = keyring.Period
	for name, c := range map[string]struct {
		ring keyring.Ring
		at   time.Duration
		want string
	}{
		"no key":                           {nil, 0, ""},
		"the first one, at once":           {made(0), 0, "a"},
		"the first one, before its time":   {made(0), -time.Hour, "a"},
		"the only one, for ever":           {made(0), 100 * day, "a"},
		"a new one not yet":                {made(0, day), day + keyring.Delay - 1, "a"},
		"a new one from its delay on":      {made(0, day), day + keyring.Delay, "b"},
		"the last of several":              {made(0, day, 2*day), 3 * day, "c"},
		"one from the future not yet":      {made(0, 10*day), 5 * day, "a"},
		"the first of two that are new":    {made(0, time.Minute), 2 * time.Minute, "a"},
		"the order in which they are made": {keyring.Of(made(day)[0], keyring.Key{ID: "z", MadeAt: start}), day, "z"},
	} {
		t.Run(name, func(t *testing.T) {
			key, ok := c.ring.Sealing(start.Add(c.at))
			if key.ID != c.want || ok != (c.want != "") {
				t.Errorf("%q seals (%t), want %q", key.ID, ok, c.want)
			}
		})
	}
}

func TestOpens(t *testing.T) {
	const day, life = keyring.Period, time.Hour
	for name, c := range map[string]struct {
		ring keyring.Ring
		id   string
		at   time.Duration
		want bool
	}{
		"the one that seals":                 {made(0), "a", 0, true},
		"the last one, for ever":             {made(0), "a", 100 * day, true},
		"one that will seal":                 {made(0, day), "b", day, true},
		"one that is not there":              {made(0), "b", 0, false},
		"no key":                             {nil, "a", 0, false},
		"one that has just been superseded":  {made(0, day), "a", day + keyring.Delay, true},
		"what it sealed last may still live": {made(0, day), "a", day + keyring.Delay + keyring.MaxSkew + life - 1, true},
		"what it sealed last does not live":  {made(0, day), "a", day + keyring.Delay + keyring.MaxSkew + life, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.ring.Opens(c.id, start.Add(c.at), life); got != c.want {
				t.Errorf("opens: %t", got)
			}
		})
	}
}

func TestParseReadsWhatWasWritten(t *testing.T) {
	ring := keyring.Of(keyring.New(start.Add(time.Hour)), keyring.New(start.Add(time.Millisecond)))
	got, wrong := keyring.Parse(ring.Data())
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if !slices.Equal(got, ring) {
		t.Errorf("got %v, want %v", got, ring)
	}
}

func TestParseLeavesOutWhatIsWrong(t *testing.T) {
	good := keyring.Of(keyring.New(start))
	material := make([]byte, keyring.Size)
	for name, data := range map[string][]byte{
		"no dot":                              material,
		".0123456789abcdef":                   material,
		"20270102T030405.0123456789abcdef":    material,
		"20271302T030405Z.0123456789abcdef":   material,
		"20270102T030405Z.0123456789abcde":    material,
		"20270102T030405Z.0123456789abcdef00": material,
		"20270102T030405Z.0123456789ABCDEF":   material,
		"20270102T030405Z.0123456789abcdeg":   material,
		"20270102T030405Z.0123456789abcdef":   material[1:],
		"20270102T030405Z.1123456789abcdef":   slices.Concat(material, []byte{0}),
		"20270102T030405Z.2123456789abcdef":   nil,
		"20280102T030405Z." + good[0].ID:      material,
	} {
		t.Run(name, func(t *testing.T) {
			all := good.Data()
			all[name] = data
			got, wrong := keyring.Parse(all)
			if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), name) {
				t.Errorf("what is wrong: %v", wrong)
			}
			if !slices.Equal(got, good) {
				t.Errorf("got %v, want %v", got, good)
			}
		})
	}
}

func TestNewKeysDiffer(t *testing.T) {
	a, b := keyring.New(start), keyring.New(start)
	if a.ID == b.ID || a.Material == b.Material {
		t.Errorf("%s and %s", a.ID, b.ID)
	}
	if !a.MadeAt.Equal(start) {
		t.Errorf("made at %s", a.MadeAt)
	}
}

// However a key is printed, its bytes are not.
func TestMaterialIsNotPrinted(t *testing.T) {
	key := keyring.New(start)
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).Info("key", "key", key, "ring", keyring.Of(key), "material", key.Material)
	}
	encoded, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		printed += fmt.Sprintf(verb+verb, key, key.Material)
	}
	first := key.Material[:8]
	decimal := strings.Trim(fmt.Sprintf("%d", first), "[]")
	for _, secret := range []string{
		hex.EncodeToString(first), strings.ToUpper(hex.EncodeToString(first)), base64.StdEncoding.EncodeToString(first)[:10],
		decimal, strings.Trim(fmt.Sprintf("%#v", first), "[]byte{}"), strings.ReplaceAll(decimal, " ", ","),
	} {
		if strings.Contains(printed, secret) {
			t.Errorf("%s is in %s", secret, printed)
		}
	}
	if diff := cmp.Diff(6, strings.Count(log.String(), "(secret)")); diff != "" {
		t.Errorf("the log: %s\n%s", diff, log.String())
	}
}
