//go:build linux

package faults_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/testing/controlplane"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

var (
	full     = flag.Bool("full", false, "run every scenario at its full length, as make faults does: about half an hour")
	markdown = flag.String("markdown", "", "a file that gets the table, for docs/faults.md")
)

var env func() *testenv.Environment

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	// After a fault client-go tries again at intervals of up to a minute, the slowest
	// scenario may take 130 s, and a replica takes maxStaleness to say that it is stale.
	testenv.Patience = maxStaleness + time.Minute
	os.Exit(testenv.Run(m, &env, controlplane.Options{Controllers: true}))
}

// scenario is a fault and what is stated of it.
type scenario struct {
	// name is as in docs/faults.md.
	name string
	// short says that it is part of make test-system.
	short bool
	// recovery bounds the time from the end of the fault until a write takes effect on
	// every replica.
	recovery time.Duration
	run      func(*stage)
}

// scenarios run in this order: those that leave nothing as it was come last.
var scenarios = []scenario{
	{"nothing wrong", true, 3 * time.Second, nothingWrong},
	{"kube-apiserver killed", true, 40 * time.Second, apiServerKilled},
	{"kube-apiserver stopped", true, 40 * time.Second, apiServerStopped},
	{"etcd killed", true, 40 * time.Second, etcdKilled},
	{"etcd stopped", true, 40 * time.Second, etcdStopped},
	{"etcd cut off by reset", true, 40 * time.Second, etcdLost(link.Refused)},
	{"etcd cut off in silence", true, 70 * time.Second, etcdLost(link.Silent)},
	{"one of two kube-apiservers loses etcd", false, 3 * time.Second, apiServerLags},
	{"etcd slow", true, 10 * time.Second, etcdSlow},
	{"partition by reset", true, 40 * time.Second, partitionByReset},
	{"partition in silence", true, 40 * time.Second, partitionInSilence},
	{"slow link", true, 5 * time.Second, slowLink},
	{"compacted meanwhile", true, 70 * time.Second, compacted},
	{"watches open and mute", false, 3 * time.Second, muteWatches},
	{"--max-staleness passed", false, 70 * time.Second, tooStale},
	{"replica started without the plane", true, 40 * time.Second, startedAlone},
	{"ServiceAccount token expired", true, 130 * time.Second, accountExpired},
	{"replica killed between its writes", true, 10 * time.Second, replicaKilled},
	{"manager killed between its writes", true, 20 * time.Second, managerKilled},
	{"two managers lead", true, 3 * time.Second, twoLeaders},
	{"leader stopped, and woken", true, 3 * time.Second, leaderFrozen},
	{"no manager", true, 3 * time.Second, managersGone},
	{"upgrade, and back", true, 3 * time.Second, upgraded},
	{"file descriptors used up", true, 10 * time.Second, descriptorsUsedUp},
	{"panic in a handler", true, 3 * time.Second, handlerPanics},
	{"backends misbehave", true, 3 * time.Second, badBackends},
	{"namespace deleted in mid-stream", true, 3 * time.Second, namespaceDeleted},
	{"clock set by an hour", true, 3 * time.Second, clockSet},
	{"etcd restored from a snapshot", true, 90 * time.Second, etcdRestored},
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	r := &report{began: time.Now()}
	defer r.show(t)
	for _, s := range scenarios {
		if !s.short && !*full {
			continue
		}
		played := len(r.rows)
		if ok := t.Run(s.name, func(t *testing.T) { r.add(t, w.play(t, s)) }); !ok && len(r.rows) == played {
			t.Fatal("this scenario did not end, and has left what it broke: the others are not played")
		}
	}
	t.Run("a broken replica is found", w.testBroken)
}
