// Package negotiation reads the headers by which a client chooses among the forms of
// what it asks for, and says which form it has.
package negotiation

import (
	"strconv"
	"strings"
)

// AcceptsGzip reads the values of Accept-Encoding (RFC 9110, section 12.5.3): gzip is
// named and has not the weight 0, or is not named and * has not. A weight that can't
// be read is 0: what is not compressed is right for everyone.
func AcceptsGzip(values []string) bool {
	others := false
	for option := range strings.SplitSeq(strings.Join(values, ","), ",") {
		coding, parameters, _ := strings.Cut(option, ";")
		accepted := !hasZeroWeight(parameters)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return accepted
		case "*":
			others = accepted
		}
	}
	return others
}

func hasZeroWeight(parameters string) bool {
	name, value, _ := strings.Cut(strings.TrimSpace(parameters), "=")
	weight, err := strconv.ParseFloat(strings.TrimSpace(value), 32)
	return strings.EqualFold(strings.TrimSpace(name), "q") && (err != nil || !(weight > 0))
}

// HasTag says whether the values of If-None-Match (RFC 9110, section 13.1.2) name an
// entity tag. Tags are compared weakly.
func HasTag(values []string, tag string) bool {
	for named := range strings.SplitSeq(strings.Join(values, ","), ",") {
		named = strings.TrimPrefix(strings.TrimSpace(named), "W/")
		if named == "*" || named == tag {
			return true
		}
	}
	return false
}
