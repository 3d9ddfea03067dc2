package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestReserve(t *testing.T) {
	free, err := reserve("HTTP_PORT", 0)
	if err != nil {
		t.Fatal(err)
	}
	if free.port == 0 || free.address() != fmt.Sprintf("127.0.0.1:%d", free.port) {
		t.Errorf("got port %d, address %s", free.port, free.address())
	}
	for range 2 {
		if err := free.release(); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	again, err := reserve("HTTP_PORT", free.port)
	if err != nil {
		t.Fatalf("a port that was released: %v", err)
	}
	if err := again.release(); err != nil {
		t.Error(err)
	}
}

func TestReserveOfABusyPort(t *testing.T) {
	for _, network := range []struct{ name, address string }{
		{"tcp4", "127.0.0.1:0"},
		{"tcp6", "[::1]:0"},
		{"tcp", ":0"},
	} {
		t.Run(network.address, func(t *testing.T) {
			other, err := net.Listen(network.name, network.address)
			if err != nil {
				t.Skipf("not to be had here: %v", err)
			}
			defer func() { _ = other.Close() }()
			port := other.Addr().(*net.TCPAddr).Port
			_, err = reserve("HTTPS_PORT", port)
			for _, want := range []string{fmt.Sprintf("port %d is in use", port), "make run HTTPS_PORT="} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v; want an error with %q", err, want)
				}
			}
		})
	}
}
