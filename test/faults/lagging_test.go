//go:build linux

package faults_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
	"github.com/latchkey-dev/latchkey/test/faults/history"
	"github.com/latchkey-dev/latchkey/test/faults/link"
)

// lagLimit is within what a replica has found another kube-apiserver, where the one that it
// was connected to has lost etcd, and has heard of everything.
const lagLimit = 150 * time.Second

// apiServerLags has one of two kube-apiservers lose etcd in silence, and keep its
// connections: it answers pings, and says that nothing has changed. New connections are
// led to the other, as by the Service of both.
func apiServerLags(s *stage) {
	toEtcd, err := link.New(strings.TrimPrefix(env().EtcdURL(), "http://"))
	must(s.t, err)
	second := s.startSecondAPIServer(toEtcd.Address())
	s.t.Cleanup(func() {
		toEtcd.Set(link.Whole)
		if err := second.Stop(stopGrace); err != nil {
			s.t.Error(err)
		}
		must(s.t, toEtcd.Close())
	})
	r := s.prepareReplica("lagging", s.program("apiserver"), second.address, nil)
	s.startReplica(r)
	s.join(r)
	s.lasts(2 * time.Second)
	end := s.deaf(r)
	toEtcd.Set(link.Silent)
	r.link.Lead(planeAddress())
	marker := s.doomed.take()
	must(s.t, s.endToken(s.t.Context(), marker, history.Revoked))
	took := s.until(lagLimit, "to find the kube-apiserver that has etcd", func() error { return s.refuses(r, marker) })
	s.note("found the other after %s", round(took))
	s.mended(end)
}

// secondAPIServer is another kube-apiserver of the same cluster.
type secondAPIServer struct {
	*process.Process
	address string
}

func (s *stage) startSecondAPIServer(etcd string) *secondAPIServer {
	s.t.Helper()
	second := &secondAPIServer{address: freeAddress(s.t)}
	_, port, _ := strings.Cut(second.address, ":")
	var args []string
	for _, arg := range s.apiServer.Args[1:] {
		name, _, _ := strings.Cut(arg, "=")
		switch name {
		case "--secure-port":
			arg = "--secure-port=" + port
		case "--etcd-servers":
			arg = "--etcd-servers=http://" + etcd
		}
		args = append(args, arg)
	}
	// Both have one address, by which the endpoints of the Service kubernetes are told apart.
	args = append(args, "--endpoint-reconciler-type=none")
	var err error
	second.Process, err = process.Start(process.Command{
		Path: s.apiServer.Args[0], Args: args, LogFile: filepath.Join(s.dir, "kube-apiserver-second.log"),
	})
	must(s.t, err)
	client, err := rest.HTTPClientFor(env().Config)
	must(s.t, err)
	testenv.Eventually(s.t, func() error {
		response, err := client.Get("https://" + second.address + "/readyz")
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			err = errors.New("the second kube-apiserver is not ready: " + response.Status)
		}
		return errors.Join(err, response.Body.Close())
	})
	return second
}
