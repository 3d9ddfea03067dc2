// Package freeport finds TCP ports of loopback for programs that are started a moment
// later, so that no other process of these tests and tools takes one meanwhile.
//
// A port that the kernel chose, and that was closed again, may be chosen for anybody else
// before its program listens. So ports are taken from below those that kernels choose
// from, in blocks: each process holds the first port of its block until it ends, however
// it ends, and gives away the others in turn. Programs that know nothing of this may have
// any of these ports as their own, so one that is in use is passed over.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Kernels choose ports from 32768 on (Linux) or 49152 (RFC 6335), and Kubernetes its
// NodePorts from 30000 on.
const (
	first, last = 15000, 29999
	blockSize   = 100
	blocks      = (last + 1 - first) / blockSize
)

// dialTimeout is ample on loopback, which answers or refuses at once.
const dialTimeout = 100 * time.Millisecond

var block struct {
	sync.Mutex
	held net.Listener // on the block's first port
	next int
}

// Port is a TCP port of 127.0.0.1 that nobody listens on. It is given to no other process
// that asks this package, and to this one again only after all others of its block.
func Port() (int, error) {
	block.Lock()
	defer block.Unlock()
	if block.held == nil {
		if err := reserveBlock(); err != nil {
			return 0, err
		}
	}
	for range blockSize - 1 {
		port := portOf(block.held) + 1 + block.next
		block.next = (block.next + 1) % (blockSize - 1)
		listener, err := listen(port)
		if err == nil {
			return port, listener.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d, which are this process's", portOf(block.held)+1, portOf(block.held)+blockSize-1)
}

// Address is a Port with its host, as net.Listen takes it.
func Address() (string, error) {
	port, err := Port()
	return address(port), err
}

// reserveBlock takes the first block that no other process holds, beginning at one that
// depends on the process, as many may begin together.
func reserveBlock() error {
	for i := range blocks {
		listener, err := listen(first + (os.Getpid()+i)%blocks*blockSize)
		if err == nil {
			block.held = listener
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return errors.New("every " + strconv.Itoa(blockSize) + "th port from " + strconv.Itoa(first) + " on is taken")
}

// listen asks first whether somebody answers: macOS lets a program listen on 127.0.0.1
// beside another that listens on every address.
func listen(port int) (net.Listener, error) {
	if connection, err := net.DialTimeout("tcp", address(port), dialTimeout); err == nil {
		return nil, errors.Join(fmt.Errorf("port %d: %w", port, syscall.EADDRINUSE), connection.Close())
	}
	return net.Listen("tcp", address(port))
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
