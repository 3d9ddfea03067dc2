// Package manifests tests what is installed: the rights, the manifests, the chart.
package manifests

import (
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(testenv.Run(m, &env, controlplane.Options{}))
}
