package cli

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// isOthers says whether a connection from one loopback address to another is, or may be,
// another user's. The page's address is in the browser's command line, which every
// user of the machine can read: who is quick could fetch the page first. Root, who can
// do anything here, may be what brings a browser's connection from outside of a
// virtual machine.
func isOthers(from, to string) bool {
	client, errFrom := netip.ParseAddrPort(from)
	server, errTo := netip.ParseAddrPort(to)
	if errFrom != nil || errTo != nil {
		return true // neither is ours
	}
	owner, ok := ownerOf(client, server)
	return !ok || owner != 0 && owner != os.Getuid()
}

// ownerOf is the user whose socket is connected from one address to another, as far as
// the kernel tells (proc(5), /proc/net/tcp).
func ownerOf(from, to netip.AddrPort) (uid int, ok bool) {
	for _, table := range []struct{ file, before string }{
		{"/proc/self/net/tcp", ""},
		// A socket of IPv6 can connect to an IPv4 address, as ::ffff:127.0.0.1.
		{"/proc/self/net/tcp6", kernelMapped},
	} {
		if uid, ok := ownerIn(table.file, [2]string{table.before + kernelAddress(from), table.before + kernelAddress(to)}); ok {
			return uid, true
		}
	}
	return 0, false
}

// ownerIn looks for a connection in one of the kernel's tables.
func ownerIn(file string, wanted [2]string) (uid int, ok bool) {
	table, err := os.Open(file) //nolint:gosec // one of two constants
	if err != nil {
		return 0, false
	}
	defer func() { _ = table.Close() }()
	for lines := bufio.NewScanner(table); lines.Scan(); {
		const localAddress, remoteAddress, owner = 1, 2, 7
		fields := strings.Fields(lines.Text())
		if len(fields) > owner && wanted == [2]string{fields[localAddress], fields[remoteAddress]} {
			uid, err := strconv.Atoi(fields[owner])
			return uid, err == nil
		}
	}
	return 0, false
}

// kernelMapped is what stands before an IPv4 address in IPv6 (::ffff:0:0/96), as the
// kernel's table has it: three words in the machine's byte order.
var kernelMapped = fmt.Sprintf("%08X%08X%08X", 0, 0, binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))

// kernelAddress is an IPv4 address and port as the kernel's table has them: the address
// as a number in the machine's byte order.
func kernelAddress(a netip.AddrPort) string {
	bytes := a.Addr().Unmap().As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(bytes[:]), a.Port())
}
