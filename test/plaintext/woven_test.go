package plaintext_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
)

// Names of what the woven programs look at.
const (
	// panicHeader has the step of a request that it names panic. Where no request is at
	// hand, the name of an ApiToken does.
	panicHeader = "Fault-Panic"
	// toldVariable names the file to which the woven API server writes each token that it
	// mints: of one that is answered with a panic the test would know nothing.
	toldVariable = "LATCHKEY_TEST_TOLD"
)

// wovenFault is a file of each package that can be made to panic. It prints what is at
// hand, as whoever looks for a fault might.
const wovenFault = `
import (
	"fmt"
	"strings"
	"sync"
)

var faults sync.Map

func fault(asked, step string, value any) {
	if !strings.HasPrefix(asked, "panic-"+step+"-") {
		return
	}
	if _, again := faults.LoadOrStore(asked, true); !again {
		panic(fmt.Sprintf("asked for: %s: %+v", asked, value))
	}
}
`

const wovenTold = `package tokens

import (
	"fmt"
	"os"

	"github.com/latchkey-dev/latchkey/internal/token"
)

func told(minted token.Token) {
	file, err := os.OpenFile(os.Getenv("` + toldVariable + `"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(file, minted.Reveal())
	}
	if err != nil {
		panic(err)
	}
	_ = file.Close()
}
`

// seam is where a step is woven in: before a text of a file, or behind it.
type seam struct {
	file, before, behind string
	// fault is what is called there.
	fault string
}

// seams are the steps at which a program can be made to panic, with what they have at
// hand. A token is in the memory of each process but the manager's then.
var seams = map[string][]seam{
	"apiserver": {
		{"internal/server/server.go", "", "func (s *Server) handle(c *call) *problem.Problem {\n", asks("c.r", "handled", "c")},
		{"internal/server/server.go", "", "func (s *Server) handle(c *call) *problem.Problem {\n", "go " + asks("c.r", "crashed", "c")},
		{"internal/server/server.go", "", "func (s *Server) serveAdmitted(c *call) *problem.Problem {\n", asks("c.r", "admitted", "c.token")},
		{"internal/server/gateway.go", "", "func (s *Server) judge(c *call) *problem.Problem {\n", asks("c.r", "judged", "c")},
		{"internal/proxy/proxy.go", "\th, err := newHead(r, length, request)\n", "", asks("r", "forwarded", "x")},
		{"internal/proxy/proxy.go", "\tx.pass(response)\n", "", asks("r", "passed", "x")},
		{"internal/portal/tokens/create.go", "\treturn minted, nil\n", "", `fault(object.Name, "minted", minted)`},
		{"internal/portal/tokens/create.go", "\treturn minted, nil\n", "", `told(minted)`},
		{"internal/portal/tokens/create.go", "\tv := s.await(ctx, i)\n", "", `fault(object.Name, "stored", i)`},
		{"internal/portal/tokens/rotate.go", "\tv := s.await(ctx, i)\n", "", `fault(name, "rotated", i)`},
		{"internal/portal/represent.go", "", "func issuedToken(i *tokens.Issued) tokenapi.IssuedToken {\n", `fault(i.Object.Name, "represented", i)`},
		{"internal/portal/selfservice/create.go", "", "\tt := issued.Object\n", `fault(t.Name, "revealed", issued)`},
		{"internal/portal/selfservice/signin.go", "\tif v.foreign {\n", "", asks("v.r", "redeemed", "ticket")},
	},
	"manager": {
		{"controllers/apitoken/reconciler.go", "", "func (r *Reconciler) Reconcile(ctx context.Context, object *v1alpha1.ApiToken) (ctrl.Result, error) {\n", `fault(object.Name, "reconciled", object)`},
		{"controllers/apitoken/reconciler.go", "\tif written == f.token {\n", "", `fault(f.token.Name, "recorded", p)`},
	},
}

func asks(request, step, value string) string {
	return fmt.Sprintf("fault(%s.Header.Get(%q), %q, %s)", request, panicHeader, step, value)
}

// woven is the name of the program that is another one with its seams.
func woven(program string) string { return program + "-woven" }

// weave builds the programs that can be made to panic. All else of them is as it is.
func (w *world) weave() {
	w.t.Helper()
	for program, all := range seams {
		overlay := controlplane.Overlay{}
		for _, s := range all {
			text := s.before + s.behind
			line := "\t" + s.fault + "\n"
			if s.before != "" {
				must(w.t, overlay.Change(s.file, text, line+text))
			} else {
				must(w.t, overlay.Change(s.file, text, text+line))
			}
			overlay[filepath.Join(filepath.Dir(s.file), "woven.go")] = "package " + filepath.Base(filepath.Dir(s.file)) + "\n" + wovenFault
		}
		if program == "apiserver" {
			overlay["internal/portal/tokens/told.go"] = wovenTold
		}
		must(w.t, overlay.Build(w.t.Context(), filepath.Join(w.bin, woven(program)), "./cmd/"+program))
	}
	w.told = filepath.Join(w.t.TempDir(), "told") // where nothing is searched
	must(w.t, os.WriteFile(w.told, nil, 0o600))
}

// listen takes in what the woven API server told: the tokens that nobody was given.
func (w *world) listen() {
	w.t.Helper()
	content, err := os.ReadFile(w.told)
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for plaintext := range strings.FieldsSeq(string(content)) {
		id := strings.Split(plaintext, "_")[1]
		if _, given := w.tokens[id]; !given {
			w.withheld[id] = plaintext
		}
	}
}
