package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress is the address that a request came from: that of the connection's
// other end, unless it is a trusted proxy. Then it is the last address in
// X-Forwarded-For that no trusted proxy has; what stands before it the client may
// have made up (oauth2-proxy CVE-2026-40575). The zero Addr means unknown.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := plainAddress(peer.Addr())
	forwarded := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(forwarded) - 1; i >= 0 && contains(trusted, address); i-- {
		text := strings.Trim(forwarded[i], " \t")
		if text == "" && len(forwarded) == 1 {
			break // the proxy itself is the client
		}
		next, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Addr{}
		}
		address = plainAddress(next)
	}
	return address
}

// clientScheme is the scheme that the client used: a trusted proxy's word, or the
// connection's.
func clientScheme(r *http.Request, trusted []netip.Prefix) string {
	if r.TLS != nil {
		return "https"
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err == nil && contains(trusted, plainAddress(peer.Addr())) && r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https"
	}
	return "http"
}

// plainAddress makes ::ffff:192.0.2.1 match 192.0.2.0/24, and drops zones.
func plainAddress(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// ParseCIDRs parses a comma-separated list of CIDRs. It refuses an IPv4 network in
// IPv6's clothes, such as ::ffff:10.0.0.0/104: no address would ever match it.
func ParseCIDRs(list string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not a CIDR such as 10.0.0.0/8", text)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}
