package attacks

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
	"github.com/latchkey-dev/latchkey/internal/testing/testenv"
)

// startProxy starts nginx or HAProxy before the API server, with few connections that
// all clients share, so that what one leaves behind another would get.
func startProxy(t *testing.T, name, server string) (address string) {
	t.Helper()
	program := installed(t, name)
	address, err := freeport.Address()
	must(t, err)
	dir := t.TempDir()
	file := map[string]string{"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]
	text, err := os.ReadFile(filepath.Join("testdata", file))
	must(t, err)
	config := strings.NewReplacer("{{dir}}", dir, "{{listen}}", address, "{{latchkey}}", server).Replace(string(text))
	file = filepath.Join(dir, file)
	must(t, os.WriteFile(file, []byte(config), 0o600))
	command := process.Command{Path: program, LogFile: filepath.Join(dir, "log")}
	if name == "nginx" {
		command.Args = []string{"-p", dir, "-e", "stderr", "-c", file}
	} else {
		command.Args = []string{"-db", "-f", file}
	}
	p, err := process.Start(command)
	must(t, err)
	t.Cleanup(func() {
		if err := p.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, process.Tail(command.LogFile, 40))
		}
	})
	testenv.Eventually(t, func() error {
		select {
		case <-p.Done():
			t.Fatal(p.Err())
		default:
		}
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	return address
}

// installed is the program's path. Without it what it is for is left out, as
// hack/test.sh says; where CI=true, that is a fault.
func installed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed here", program)
	return ""
}
