package freeport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
)

// another has the test's program, as another process, print ports.
const another = "FREEPORT_TEST_PORTS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(another)); err == nil {
		for range n {
			port, err := freeport.Port()
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(port)
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // holds the block until the test has seen enough
		return
	}
	goleak.VerifyTestMain(m)
}

func TestPortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := freeport.Port()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < 15000 || port > 29999 {
			t.Errorf("port %d was given before, or is not one of ours", port)
		}
		seen[port] = true
	}
}

func TestAddressCanBeListenedOn(t *testing.T) {
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	// It comes round again, and is passed over while somebody listens.
	for range 200 {
		if next, err := freeport.Address(); err != nil || next == address {
			t.Fatalf("a port that somebody listens on is given: %s, %v", next, err)
		}
	}
}

func TestProcessesShareNoPort(t *testing.T) {
	const processes, each = 4, 20
	owner := map[string]int{}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range processes {
		command := exec.Command(program)
		command.Env = append(os.Environ(), another+"="+strconv.Itoa(each))
		hold, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		ports, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = hold.Close()
			if err := command.Wait(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		}()
		lines := bufio.NewScanner(ports)
		for range each {
			if !lines.Scan() {
				t.Fatalf("process %d ended early: %v", i, lines.Err())
			}
			if other, ok := owner[lines.Text()]; ok {
				t.Errorf("processes %d and %d are both given %q", other, i, lines.Text())
			}
			owner[lines.Text()] = i
		}
	}
}
