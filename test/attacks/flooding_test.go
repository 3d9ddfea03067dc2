package attacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/token"
)

// flooded is how a flood was answered, as flooder prints it.
type flooded struct {
	Answers map[int]int   `json:"answers"`
	Took    time.Duration `json:"took"`
}

func (f *flooded) count() (n int) {
	for _, answers := range f.Answers {
		n += answers
	}
	return n
}

// perSecond is the rate that was reached.
func (f *flooded) perSecond() float64 { return float64(f.count()) / f.Took.Seconds() }

func (f *flooded) String() string {
	return fmt.Sprintf("%d bad requests in %s (%.0f/s): %v", f.count(), f.Took.Round(time.Millisecond), f.perSecond(), f.Answers)
}

// asFastAsAnswered is the rate of a flood that waits for nothing else.
const asFastAsAnswered = 0

// flood sends the requests of a file from many addresses, and none may be served. At a
// rate, it has the lowest priority that there is: what it takes of the machine is not what
// is measured.
func (w *world) flood(t *testing.T, s *apiServer, file string, perSecond int) *flooded {
	t.Helper()
	in, err := os.Open(file)
	must(t, err)
	defer in.Close()
	priority := "0"
	if perSecond != asFastAsAnswered {
		priority = "19"
	}
	cmd := exec.CommandContext(t.Context(), "nice", "-n", priority, w.flooder, "-address="+s.address, "-rate="+strconv.Itoa(perSecond))
	cmd.Stdin = in
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%v\n%s", err, exit.Stderr)
	}
	must(t, err)
	var f flooded
	must(t, json.Unmarshal(out, &f))
	if least := slices.Min(append(slices.Collect(maps.Keys(f.Answers)), 600)); least < 400 {
		t.Errorf("bad requests were answered %d: %v", least, f.Answers)
	}
	return &f
}

// badRequests writes a file of them.
func (w *world) badRequests(t *testing.T, n int) (file string) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var all []byte
	for range n {
		all = append(all, w.bad(t, random)...)
	}
	file = filepath.Join(t.TempDir(), "requests")
	must(t, os.WriteFile(file, all, 0o600))
	return file
}

// bad is a request that nobody may be served.
func (w *world) bad(t *testing.T, random *rand.Rand) string {
	t.Helper()
	label := fmt.Sprintf("nobody-%d", random.Uint64())
	tenant := w.tenants[random.IntN(len(w.tenants))]
	other := w.tenants[random.IntN(len(w.tenants))]
	for other == tenant {
		other = w.tenants[random.IntN(len(w.tenants))]
	}
	switch random.IntN(10) {
	case 0: // a host that there is not
		return claims[0].request(label, w.tokens[tenant], "", "")
	case 1: // another tenant's token
		return claims[0].request(tenant, w.tokens[other], "", "")
	case 2: // no token's form
		return claims[0].request(tenant, label, "", "")
	case 3: // no token, and paths that nobody has seen
		return fmt.Sprintf("GET /api/v1/%s HTTP/1.1\r\nHost: %s\r\n\r\n", label, host(tenant))
	case 4: // methods that there are not
		return fmt.Sprintf("M%d %s HTTP/1.1\r\nHost: %s\r\n\r\n", random.Uint32(), endpoint, host(tenant))
	case 5: // what is refused before anything is looked up
		return fmt.Sprintf("GET /api/v1/../%s HTTP/1.1\r\nHost: %s\r\n\r\n", label, host(tenant))
	default:
		minted, err := token.Mint(v1alpha1.DefaultTokenPrefix)
		must(t, err)
		return claims[0].request(tenant, minted.Reveal(), "", "")
	}
}
