package session_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/latchkey-dev/latchkey/internal/session"
	"github.com/latchkey-dev/latchkey/internal/session/keyring"
)

func TestASessionIsWhatWasStarted(t *testing.T) {
	w := newWorld(t)
	one, other := w.replica(session.Lifetimes{}), w.replica(session.Lifetimes{})
	id := ann
	id.AuthenticatedAt = start.Add(-time.Minute)
	b, started := w.signIn(one, id)
	want := &session.Session{ID: started.ID, Tenant: "acme", Identity: id, StartedAt: start, SeenAt: start}
	for name, at := range map[string]*session.Store{"the replica": one, "another": other, "after a restart": w.replica(session.Lifetimes{})} {
		found := w.wantOpen(at, b)
		if diff := cmp.Diff(want, found, cmpopts.IgnoreUnexported(session.Session{}), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if strings.Contains(b.value, started.ID) || len(started.ID) != 22 {
		t.Errorf("the id is %q", started.ID)
	}
	if again, second := w.signIn(one, id); second.ID == started.ID || again.value == b.value {
		t.Error("two sessions are the same")
	}
}

func TestTheCookie(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	answer := httptest.NewRecorder()
	answer.Header().Set("Set-Cookie", "theirs=1")
	started, err := store.Start(answer, "acme", ann)
	w.must(err)
	lines := answer.Header()["Set-Cookie"]
	if len(lines) != 2 || lines[0] != "theirs=1" {
		t.Fatalf("the cookies are %q", lines)
	}
	name, rest, _ := strings.Cut(lines[1], "=")
	_, attributes, _ := strings.Cut(rest, "; ")
	if name != "__Host-latchkey-session" || attributes != "Path=/; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("the cookie is %q with %q", name, attributes)
	}
	w.must(store.End(t.Context(), answer, started))
	lines = answer.Header()["Set-Cookie"]
	if want := []string{"theirs=1", "__Host-latchkey-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"}; !cmp.Equal(lines, want) {
		t.Errorf("after the end the cookies are %q", lines)
	}
}

func TestLifetimes(t *testing.T) {
	short := session.Lifetimes{Idle: 10 * time.Minute, Absolute: time.Hour, Recent: 5 * time.Minute}
	long := session.Lifetimes{Idle: 20 * time.Hour, Absolute: 24 * time.Hour, Recent: time.Hour}
	for name, c := range map[string]struct {
		lifetimes session.Lifetimes
		kind      session.Kind
		// used is how often it is used, for how long.
		every, until time.Duration
		then         time.Duration
		want         session.Reason
	}{
		"not idle":                           {session.Lifetimes{}, session.OIDC, 0, 0, 30*time.Minute - 1, ""},
		"idle":                               {session.Lifetimes{}, session.OIDC, 0, 0, 30 * time.Minute, session.ReasonIdle},
		"used, not idle":                     {session.Lifetimes{}, session.OIDC, 20 * time.Minute, time.Hour, 29 * time.Minute, ""},
		"used, then idle":                    {session.Lifetimes{}, session.OIDC, 20 * time.Minute, time.Hour, 30 * time.Minute, session.ReasonIdle},
		"used often, then idle":              {session.Lifetimes{}, session.OIDC, time.Minute, time.Hour, 30 * time.Minute, session.ReasonIdle},
		"used, at the end":                   {session.Lifetimes{}, session.OIDC, 20 * time.Minute, 11*time.Hour + 40*time.Minute, 20*time.Minute - 1, ""},
		"used, past the end":                 {session.Lifetimes{}, session.OIDC, 20 * time.Minute, 11*time.Hour + 40*time.Minute, 20 * time.Minute, session.ReasonAbsolute},
		"by a token, at the end":             {session.Lifetimes{}, session.Token, 20 * time.Minute, 40 * time.Minute, 20*time.Minute - 1, ""},
		"by a token, past the end":           {session.Lifetimes{}, session.Token, 20 * time.Minute, 40 * time.Minute, 20 * time.Minute, session.ReasonAbsolute},
		"by a token, however long others go": {long, session.Token, 0, 0, time.Hour, session.ReasonAbsolute},
		"short, idle":                        {short, session.OIDC, 0, 0, 10 * time.Minute, session.ReasonIdle},
		"short, used, past the end":          {short, session.OIDC, 5 * time.Minute, 55 * time.Minute, 5 * time.Minute, session.ReasonAbsolute},
		"long, the next day":                 {long, session.OIDC, 10 * time.Hour, 20 * time.Hour, 4*time.Hour - 1, ""},
		"long, a day later":                  {long, session.OIDC, 10 * time.Hour, 20 * time.Hour, 4 * time.Hour, session.ReasonAbsolute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := w.replica(c.lifetimes)
			id := ann
			id.Kind = c.kind
			b, _ := w.signIn(store, id)
			for used := time.Duration(0); used < c.until; used += c.every {
				w.clock.Step(c.every)
				w.must(w.shared.Hear())
				w.use(store, b)
			}
			w.clock.Step(c.then)
			w.must(w.shared.Hear())
			if c.want == "" {
				w.wantOpen(store, b)
			} else {
				w.wantEnded(store, b, c.want)
			}
		})
	}
}

// use is a request.
func (w *world) use(at *session.Store, b *browser) {
	w.Helper()
	answer := httptest.NewRecorder()
	w.must(at.Renew(answer, w.wantOpen(at, b)))
	b.take(answer)
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, started := w.signIn(store, ann)
	renew := func() *httptest.ResponseRecorder {
		t.Helper()
		answer := httptest.NewRecorder()
		w.must(store.Renew(answer, w.wantOpen(store, b)))
		return answer
	}
	w.clock.Step(3*time.Minute - 1)
	if lines := renew().Header()["Set-Cookie"]; lines != nil {
		t.Errorf("before a tenth of the idle time the cookie is set anew: %q", lines)
	}
	w.clock.Step(1)
	answer := renew()
	if lines := answer.Header()["Set-Cookie"]; len(lines) != 1 {
		t.Fatalf("the cookies are %q", lines)
	}
	b.take(answer)
	if found := w.wantOpen(store, b); !found.SeenAt.Equal(start.Add(3*time.Minute)) || !found.StartedAt.Equal(start) || found.ID != started.ID {
		t.Errorf("renewed it is %+v", found)
	}
	// A flag that is raised does not lengthen what is under way.
	for range 30 {
		w.clock.Step(25 * time.Minute)
		w.must(w.shared.Hear())
		if w.clock.Since(start) >= 12*time.Hour {
			break
		}
		w.use(store, b)
	}
	w.wantEnded(w.replica(session.Lifetimes{Absolute: 24 * time.Hour}), b, session.ReasonAbsolute)
}

func TestRenewRefusesWhatHasEndedMeanwhile(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, _ := w.signIn(store, ann)
	found := w.wantOpen(store, b)
	w.must(store.End(t.Context(), httptest.NewRecorder(), found))
	w.clock.Step(5 * time.Minute)
	answer := httptest.NewRecorder()
	if err := store.Renew(answer, found); !errors.Is(err, session.ErrEnded) || len(answer.Header()) > 0 {
		t.Errorf("got %v, and %v", err, answer.Header())
	}
}

func TestIsRecent(t *testing.T) {
	for name, c := range map[string]struct {
		ago  time.Duration
		want bool
	}{
		"just now":                {0, true},
		"in time":                 {15*time.Minute - 1, true},
		"too long ago":            {15 * time.Minute, false},
		"at the provider's clock": {-time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := w.replica(session.Lifetimes{})
			id := ann
			id.AuthenticatedAt = start.Add(-c.ago)
			_, started := w.signIn(store, id)
			if got := store.IsRecent(started); got != c.want {
				t.Errorf("recent is %t", got)
			}
			if started.AuthenticatedAt.After(start) {
				t.Errorf("authenticated at %s, in the future", started.AuthenticatedAt)
			}
		})
	}
}

// Whatever is wrong with a cookie, there is no session; nothing is said of why.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	good, _ := w.signIn(store, ann)
	w.wantOpen(store, good)
	sealed, err := store.Seal("session", "acme", ann, start.Add(time.Minute))
	w.must(err)
	parts := strings.Split(good.value, ".")
	foreign := newWorld(t)
	theirs, _ := foreign.signIn(foreign.replica(session.Lifetimes{}), ann)
	const name = session.CookieName + "="
	for what, lines := range map[string][]string{
		"no cookie":                     nil,
		"another cookie":                {"session=" + good.value},
		"an empty one":                  {name},
		"twice in a line":               {name + good.value + "; " + name + good.value},
		"in two lines":                  {name + good.value, name + good.value},
		"with one that can't be read":   {name + good.value + "; " + name + "\"\x01"},
		"with one without a value":      {name + good.value + "; " + session.CookieName},
		"in quotes":                     {name + `"` + good.value + `"`},
		"a word":                        {name + "yes"},
		"dots":                          {name + "v1.."},
		"no key":                        {name + "v1.." + parts[2]},
		"another version":               {name + "v2." + parts[1] + "." + parts[2]},
		"an unknown key":                {name + "v1.0123456789abcdef." + parts[2]},
		"a part too many":               {name + good.value + ".x"},
		"padded":                        {name + good.value + "="},
		"too long":                      {name + "v1." + parts[1] + "." + strings.Repeat("A", 5000)},
		"a newline in the middle":       {name + good.value[:60] + "\n" + good.value[60:]},
		"by another installation's key": {name + theirs.value},
		"sealed for something else":     {name + sealed},
	} {
		t.Run(what, func(t *testing.T) {
			w := *w
			w.T = t
			r := (&browser{}).request()
			r.Header["Cookie"] = lines
			w.wantRefused(store, r, "acme", session.ErrNone)
		})
	}
	for _, tenant := range []string{"globex", "acm", "acme2", "", "acme\x00"} {
		w.wantRefused(store, good.request(), tenant, session.ErrNone)
	}
	for end := range good.value {
		w.wantRefused(store, (&browser{good.value[:end]}).request(), "acme", session.ErrNone)
	}
	for i := range good.value {
		for _, c := range []byte{good.value[i] ^ 1, 'A', '-', '.'} {
			if c != good.value[i] && c > ' ' && c != ';' {
				w.wantRefused(store, (&browser{good.value[:i] + string(c) + good.value[i+1:]}).request(), "acme", session.ErrNone)
			}
		}
	}
	if logged := w.logs.String(); logged != "" {
		t.Errorf("what strangers send is logged: %s", logged)
	}
}

// Other cookies, also of other sites' making, don't get in the way.
func TestAmongOtherCookies(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	b, _ := w.signIn(store, ann)
	r := b.request()
	r.Header["Cookie"] = []string{`a="b c"; x` + session.CookieName + "=1 ;  " + session.CookieName + "=" + b.value + " ;; =", "theme=dark"}
	if _, err := store.Of(r, "acme"); err != nil {
		t.Error(err)
	}
}

func TestKeysThatAreGoneOpenNothing(t *testing.T) {
	w := newWorld(t)
	first := keyring.New(start)
	w.must(w.shared.SetKeys(keyring.Of(first)))
	store := w.replica(session.Lifetimes{Idle: 23 * time.Hour, Absolute: 24 * time.Hour})
	old, _ := w.signIn(store, ann)
	w.clock.Step(22 * time.Hour)
	second := keyring.New(w.clock.Now())
	w.must(w.shared.SetKeys(keyring.Of(first, second)))
	w.clock.Step(keyring.Delay)
	w.must(w.shared.Hear())
	recent, _ := w.signIn(store, ann)
	if !strings.HasPrefix(old.value, "v1."+first.ID+".") || !strings.HasPrefix(recent.value, "v1."+second.ID+".") {
		t.Error("the keys are not those that were to seal")
	}
	w.wantOpen(store, old)
	w.must(w.shared.SetKeys(keyring.Of(second)))
	w.wantRefused(store, old.request(), "acme", session.ErrNone)
	w.wantOpen(store, recent)
}

// Whoever finds a key in a backup can't seal with it what opens a day later.
func TestAKeyThatSealsNoMoreSealsNothing(t *testing.T) {
	w := newWorld(t)
	first := keyring.New(start)
	thief := newWorld(t)
	thief.must(thief.shared.SetKeys(keyring.Of(first)))
	forging := thief.replica(session.Lifetimes{})
	store := w.replica(session.Lifetimes{})
	w.must(w.shared.SetKeys(keyring.Of(first, keyring.New(start.Add(time.Hour)))))
	for after, opens := range map[time.Duration]bool{
		time.Hour + keyring.Delay + 12*time.Hour: true,
		14 * time.Hour:                           false,
	} {
		for _, c := range []*system{w.clock, thief.clock} {
			c.SetTime(start.Add(after))
		}
		w.must(w.shared.Hear())
		thief.must(thief.shared.Hear())
		forged, _ := thief.signIn(forging, ann)
		if _, err := store.Of(forged.request(), "acme"); (err == nil) != opens || err != nil && !errors.Is(err, session.ErrNone) {
			t.Errorf("after %s: %v", after, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	similar := make([]string, 400)
	for i := range similar {
		similar[i] = "oidc:department-of-plumbing"
	}
	for name, c := range map[string]struct {
		groups []string
		fits   bool
	}{
		"few":                    {groups(20), true},
		"many that deflate well": {similar, true},
		"many":                   {groups(200), false},
		"more than is inflated":  {slices.Concat(similar, []string{strings.Repeat("x", 70_000)}), false},
	} {
		t.Run(name, func(t *testing.T) {
			id := ann
			id.Groups = c.groups
			answer := httptest.NewRecorder()
			_, err := store.Start(answer, "acme", id)
			if !c.fits {
				if !errors.Is(err, session.ErrTooLarge) || len(answer.Header()) > 0 {
					t.Errorf("got %v, and %v", err, answer.Header())
				}
				return
			}
			w.must(err)
			var b browser
			b.take(answer)
			if len(session.CookieName)+len(b.value) > 4096 {
				t.Errorf("the cookie has %d bytes", len(b.value))
			}
			if found := w.wantOpen(store, &b); !cmp.Equal(found.Groups, c.groups) {
				t.Errorf("the groups are %v", found.Groups)
			}
		})
	}
}

func TestStartRefusesNobody(t *testing.T) {
	w := newWorld(t)
	store := w.replica(session.Lifetimes{})
	for _, id := range []session.Identity{{Kind: session.OIDC}, {User: "oidc:ann"}, {User: "oidc:ann", Kind: "password"}} {
		answer := httptest.NewRecorder()
		if _, err := store.Start(answer, "acme", id); err == nil || len(answer.Header()) > 0 {
			t.Errorf("%+v: %v, %v", id, err, answer.Header())
		}
	}
}

func TestLifetimesAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		lifetimes session.Lifetimes
		flag      string
	}{
		"idle too short":         {session.Lifetimes{Idle: time.Second}, "--session-idle=1s"},
		"idle beyond absolute":   {session.Lifetimes{Idle: 2 * time.Hour, Absolute: time.Hour, Recent: time.Minute}, "--session-idle=2h0m0s"},
		"absolute too short":     {session.Lifetimes{Absolute: -time.Hour}, "--session-absolute=-1h0m0s"},
		"absolute too long":      {session.Lifetimes{Absolute: 25 * time.Hour}, "--session-absolute=25h0m0s"},
		"recent too short":       {session.Lifetimes{Recent: time.Millisecond}, "--session-recent=1ms"},
		"recent beyond absolute": {session.Lifetimes{Recent: 13 * time.Hour}, "--session-recent=13h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := session.New(session.Config{Namespace: "latchkey-system", Lifetimes: c.lifetimes}); err == nil || !strings.HasPrefix(err.Error(), c.flag+": must be from ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := session.New(session.Config{}); err == nil {
		t.Error("a Store without a namespace")
	}
}
