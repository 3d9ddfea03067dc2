package v1alpha1_test

import (
	"testing"
)

// TestWhatIsAcceptedCanBeDecoded sends what a JSON parser and a schema may read
// in more than one way. Whether each is accepted is the API server's business;
// what it accepts must not break those who read it.
func TestWhatIsAcceptedCanBeDecoded(t *testing.T) {
	const zeros = "00000000000000000000000000000" // 29 of them
	candidates := map[string][]string{
		apiTokens.name: {
			`{"lifetime":"` + zeros + `1h"}`,
			`{"lifetime":"0h0m1s"}`,
			`{"lifetime":"2562047h47m16s"}`,
			`{"lifetime":"2562048h"}`,
			`{"lifetime":"153722867280m"}`,
			`{"lifetime":"9223372036s"}`,
			`{"lifetime":"9223372037s"}`,
			`{"lifetime":"99999999999999999999999999999h"}`,
			`{"lifetime":"1h\u0000"}`,
			`{"lifetime":"١h"}`,
			`{"lifetime":null}`,
			`{"rotation":{"overlap":"2562047h48m"}}`,
			`{"rotation":{"overlap":null}}`,
			`{"rotation":null}`,
			`{"expiresAt":"2026-02-30T00:00:00Z"}`,
			`{"expiresAt":"2100-02-29T00:00:00Z"}`,
			`{"expiresAt":"2000-02-29T00:00:00Z"}`,
			`{"expiresAt":"2999-12-31T23:59:59Z"}`,
			`{"expiresAt":"2026-01-01T00:00:00Z\n"}`,
			`{"expiresAt":"٢٠٢٦-01-01T00:00:00Z"}`,
			`{"expiresAt":"0000-01-01T00:00:00Z"}`,
			`{"expiresAt":"0000-00-00T00:00:00Z"}`,
			`{"expiresAt":null}`,
			`{"description":"\u0000\u001b[31m\ud800 \ufffe\u2028"}`,
			"{\"description\":\"\xff\xfe\"}",
			`{"revoked":null}`,
			`{"scopes":null,"allowedCIDRs":null}`,
			`{"credential":null}`,
			`{"description":"a","description":"b"}`,
		},
		tenants.name: {
			`{"members":[{"kind":"User","name":"\u0000"}]}`,
			`{"members":[{"kind":"User","name":"a","role":null}]}`,
			`{"members":{}}`,
			`{"suspended":null}`,
			`{"namespace":null}`,
		},
		publicApis.name: {
			`{"backend":{"service":{"name":"a","port":80.0}}}`,
			`{"backend":{"service":{"name":"a","port":8e1}}}`,
			`{"backend":{"service":{"name":"a","port":0.8e2}}}`,
			`{"backend":{"service":{"name":"a","port":4294967376}}}`,
			`{"backend":{"service":{"name":"a","port":80.00000000000000000001}}}`,
			`{"backend":{"service":{"name":"a","port":1e400}}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"noticeDays":[1.0,7e0,1.4e1]}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"noticeDays":[1,1.0]}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"maxPerTenant":1e3}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"maxPerTenant":4294967297}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"retention":"2562047h47m16s"}}`,
			`{"backend":{"url":"http://a"},"tokenPolicy":{"maxLifetime":"2562048h"}}`,
			`{"backend":{"url":"http://a","responseHeaderTimeout":"0000000000000000000000000000001s"}}`,
		},
	}
	for _, k := range kinds {
		accepted := 0
		for _, spec := range candidates[k.name] {
			t.Run(k.name+"/"+spec, func(t *testing.T) {
				s := newSubject(t, k, "subject")
				body := `{"apiVersion":"latchkey.dev/v1alpha1","kind":"` + k.name + `","metadata":{"name":"subject"},"spec":` + spec + `}`
				if err := s.post(t, "application/json", body); err != nil {
					t.Logf("refused: %v", err)
					return
				}
				accepted++
				s.mustServeClients(t)
			})
		}
		if accepted == 0 {
			t.Errorf("no candidate of %s was accepted, so that nothing was shown", k.name)
		}
	}
}
