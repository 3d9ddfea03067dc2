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
		next, ok := parseForwarded(text)
		if !ok {
			return netip.Addr{}
		}
		address = plainAddress(next)
	}
	return address
}

// parseForwarded reads an address of X-Forwarded-For. Some proxies, such as Azure's
// Application Gateway, write the client's port behind it.
func parseForwarded(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address, true
	}
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr(), true
	}
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	bracketed, err := netip.ParseAddr(inner)
	return bracketed, opened && closed && err == nil && bracketed.Is6()
}

// countedAddress is the client's address where what it does wrong is counted, and the zero
// Addr where that is not known. Where no trusted proxy is configured, one that forwards
// requests stands for all its clients: to count by its address would let any of them have
// all the others refused.
func (s *Server) countedAddress(r *http.Request) netip.Addr {
	if len(s.config.TrustedProxies) == 0 && (len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0) {
		return netip.Addr{}
	}
	return clientAddress(r, s.config.TrustedProxies)
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
