package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

// What a client says of itself is not believed; what a trusted proxy says of whom it
// saw is (oauth2-proxy CVE-2026-40575).
func TestCVE2026_40575ClientAddress(t *testing.T) {
	const unknown = "invalid IP"
	proxies := prefixes("10.0.0.0/8", "fd00::/8")
	for name, c := range map[string]struct {
		peer      string
		trusted   []netip.Prefix
		forwarded []string
		want      string
	}{
		"no proxy":                               {"192.0.2.1:1234", proxies, nil, "192.0.2.1"},
		"a header from who is no proxy":          {"192.0.2.1:1234", proxies, []string{"203.0.113.9"}, "192.0.2.1"},
		"nobody is trusted":                      {"10.0.0.1:1234", nil, []string{"203.0.113.9"}, "10.0.0.1"},
		"a proxy":                                {"10.0.0.1:1234", proxies, []string{"203.0.113.9"}, "203.0.113.9"},
		"a proxy with IPv6":                      {"[fd00::1]:1234", proxies, []string{"2001:db8::1"}, "2001:db8::1"},
		"two proxies":                            {"10.0.0.1:1234", proxies, []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"two proxies, two headers":               {"10.0.0.1:1234", proxies, []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		"what the client made up is left out":    {"10.0.0.1:1234", proxies, []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},
		"made up in a header of its own":         {"10.0.0.1:1234", proxies, []string{"198.51.100.7", "203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"the client says it is a proxy":          {"10.0.0.1:1234", proxies, []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"proxies all the way":                    {"10.0.0.1:1234", proxies, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"the proxy itself asks":                  {"10.0.0.1:1234", proxies, nil, "10.0.0.1"},
		"the proxy itself, with an empty header": {"10.0.0.1:1234", proxies, []string{""}, "10.0.0.1"},
		"spaces and tabs":                        {"10.0.0.1:1234", proxies, []string{" \t203.0.113.9 ,\t10.0.0.2 "}, "203.0.113.9"},
		"mapped IPv4 peer":                       {"[::ffff:10.0.0.1]:1234", proxies, []string{"203.0.113.9"}, "203.0.113.9"},
		"mapped IPv4 client":                     {"10.0.0.1:1234", proxies, []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"zone":                                   {"[fe80::1%eth0]:1234", proxies, nil, "fe80::1"},
		"garbage":                                {"10.0.0.1:1234", proxies, []string{"garbage"}, unknown},
		"garbage last":                           {"10.0.0.1:1234", proxies, []string{"203.0.113.9, garbage"}, unknown},
		"garbage before what counts":             {"10.0.0.1:1234", proxies, []string{"garbage, 203.0.113.9"}, "203.0.113.9"},
		"empty element last":                     {"10.0.0.1:1234", proxies, []string{"203.0.113.9,"}, unknown},
		"empty element between proxies":          {"10.0.0.1:1234", proxies, []string{"203.0.113.9,,10.0.0.2"}, unknown},
		"with a port":                            {"10.0.0.1:1234", proxies, []string{"203.0.113.9:1234"}, "203.0.113.9"},
		"with a port, before another proxy":      {"10.0.0.1:1234", proxies, []string{"203.0.113.9:1234, 10.0.0.2:80"}, "203.0.113.9"},
		"IPv6 with a port":                       {"10.0.0.1:1234", proxies, []string{"[2001:db8::1]:1234"}, "2001:db8::1"},
		"in brackets":                            {"10.0.0.1:1234", proxies, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"in one bracket":                         {"10.0.0.1:1234", proxies, []string{"[2001:db8::1"}, unknown},
		"IPv4 in brackets":                       {"10.0.0.1:1234", proxies, []string{"[203.0.113.9]"}, unknown},
		"with a name for a port":                 {"10.0.0.1:1234", proxies, []string{"203.0.113.9:http"}, unknown},
		"unknown":                                {"10.0.0.1:1234", proxies, []string{"unknown"}, unknown},
		"CIDR":                                   {"10.0.0.1:1234", proxies, []string{"203.0.113.9/32"}, unknown},
		"octal":                                  {"10.0.0.1:1234", proxies, []string{"0313.0.113.9"}, unknown},
		"no peer":                                {"", proxies, []string{"203.0.113.9"}, unknown},
		"a Unix socket":                          {"@", proxies, []string{"203.0.113.9"}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.forwarded
			r.Header.Set("X-Real-Ip", "198.51.100.8")
			r.Header.Set("Forwarded", "for=198.51.100.8")
			if got := clientAddress(r, c.trusted); got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestContains(t *testing.T) {
	for _, c := range []struct {
		prefix, address string
		want            bool
	}{
		{"192.0.2.0/24", "192.0.2.255", true}, {"192.0.2.0/24", "192.0.3.0", false}, {"192.0.2.7/32", "192.0.2.7", true},
		{"0.0.0.0/0", "203.0.113.9", true}, {"0.0.0.0/0", "2001:db8::1", false}, {"::/0", "203.0.113.9", false},
		{"2001:db8::/32", "2001:db8:ffff::", true}, {"2001:db8::/32", "2001:db9::", false}, {"::ffff:0:0/96", "203.0.113.9", false},
	} {
		if got := contains(prefixes(c.prefix), netip.MustParseAddr(c.address)); got != c.want {
			t.Errorf("%s in %s: %t, want %t", c.address, c.prefix, got, c.want)
		}
	}
	if contains(prefixes("0.0.0.0/0", "::/0"), netip.Addr{}) {
		t.Error("an unknown address is in everything")
	}
}
