package proxy

import (
	"slices"
	"strings"
)

// cookiePrefix begins the names of Latchkey's own cookies. A browser takes one only
// from the host itself, for all of it and over HTTPS (RFC 6265bis, section 4.1.3.2),
// and so sends it to the product's paths too.
const cookiePrefix = "__Host-latchkey-"

// withoutOwnCookies is a Cookie header without Latchkey's own cookies; the others stay
// as they are, byte for byte. Servers do not agree on where a cookie ends in a header
// that no browser sends, such as one with quotes or commas: a piece between semicolons
// that has the prefix anywhere goes as a whole.
func withoutOwnCookies(header string) string {
	if !mentionsOwnCookie(header) {
		return header
	}
	var kept strings.Builder
	for pair := range strings.SplitSeq(header, ";") {
		if mentionsOwnCookie(pair) {
			continue
		}
		if kept.Len() == 0 {
			pair = strings.TrimLeft(pair, " \t")
		} else {
			kept.WriteByte(';')
		}
		kept.WriteString(pair)
	}
	return kept.String()
}

// withoutOwnSetCookies are a backend's Set-Cookie headers without those that would set
// or delete a cookie of Latchkey's, that of no name included, which some browsers send
// back as if its value were name and value.
func withoutOwnSetCookies(headers []string) []string {
	setsOwn := func(header string) bool {
		pair, _, _ := strings.Cut(header, ";")
		return mentionsOwnCookie(pair)
	}
	if !slices.ContainsFunc(headers, setsOwn) {
		return headers
	}
	return slices.DeleteFunc(slices.Clone(headers), setsOwn)
}

// mentionsOwnCookie looks for the prefix in whatever case: browsers heed it so. It is
// on every request's way and allocates nothing.
func mentionsOwnCookie(s string) bool {
	for {
		i := strings.Index(s, "__")
		if i < 0 || len(s)-i < len(cookiePrefix) {
			return false
		}
		if s = s[i:]; strings.EqualFold(s[:len(cookiePrefix)], cookiePrefix) {
			return true
		}
		s = s[1:]
	}
}
