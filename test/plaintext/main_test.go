package plaintext_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var (
	env func() *testenv.Environment
	// auditDir gets the audit log, and what the API server rotates of it.
	auditDir string

	lifecycles = flag.Int("lifecycles", 48, "how many tokens are taken from issuing to their end; `make scan` takes 1000")
)

func TestMain(m *testing.M) {
	flag.Parse()
	ctrllog.SetLogger(logr.Discard())
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "latchkey-audit-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	auditDir = dir
	return testenv.Run(m, &env, controlplane.Options{AuditLog: filepath.Join(dir, "audit.log")})
}
