package main

import "testing"

func TestCurl(t *testing.T) {
	const header = ` -H "Authorization: token T" `
	for want, e := range map[string]endpoint{
		"curl" + header + "http://acme.localhost:8080/api/v1/example_endpoint":                                                                            {scheme: "http", host: "acme.localhost", port: 8080},
		"curl --cacert /x/ca.crt" + header + "https://acme.localhost:8443/api/v1/example_endpoint":                                                        {scheme: "https", host: "acme.localhost", port: 8443, caFile: "/x/ca.crt"},
		"curl --resolve acme.epochapp.com:8443:127.0.0.1 --cacert '/my files/ca.crt'" + header + "https://acme.epochapp.com:8443/api/v1/example_endpoint": {scheme: "https", host: "acme.epochapp.com", port: 8443, caFile: "/my files/ca.crt"},
	} {
		if got := e.curl("T"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"/a/.run/ca.crt": "/a/.run/ca.crt",
		"/a b":           "'/a b'",
		"/it's":          `'/it'\''s'`,
		"$HOME":          "'$HOME'",
		"":               "''",
	} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s; want %s", word, got, want)
		}
	}
}
