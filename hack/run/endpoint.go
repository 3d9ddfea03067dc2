package main

import (
	"fmt"
	"regexp"
	"strings"
)

// endpoint is a way to the tenant's API.
type endpoint struct {
	scheme, host, address string
	port                  int
	// caFile is who vouches for it, where it is HTTPS.
	caFile string
}

// endpoints are those of the sample tenant: HTTP first on localhost, where it is
// as safe as HTTPS and shorter to type.
func (s *session) endpoints() []endpoint {
	host := tenantName + "." + s.settings.baseDomain
	plain := endpoint{scheme: "http", host: host, address: s.httpPort.address(), port: s.httpPort.port}
	secure := endpoint{scheme: "https", host: host, address: s.httpsPort.address(), port: s.httpsPort.port, caFile: s.files.ca("ca.crt")}
	if plain.isLocalhost() {
		return []endpoint{plain, secure}
	}
	return []endpoint{secure, plain}
}

// isLocalhost says whether clients know by themselves that the name is loopback's.
func (e endpoint) isLocalhost() bool { return strings.HasSuffix(e.host, ".localhost") }

func (e endpoint) url(path string) string {
	return fmt.Sprintf("%s://%s:%d%s", e.scheme, e.host, e.port, path)
}

// curl is a command line that calls the endpoint.
func (e endpoint) curl(token string) string {
	words := []string{"curl"}
	if !e.isLocalhost() {
		words = append(words, "--resolve", fmt.Sprintf("%s:%d:127.0.0.1", e.host, e.port))
	}
	if e.caFile != "" {
		words = append(words, "--cacert", quote(e.caFile))
	}
	return strings.Join(append(words, "-H", `"Authorization: token `+token+`"`, e.url(examplePath)), " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// quote makes one word of a shell's command line.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
