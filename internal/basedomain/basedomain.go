// Package basedomain is what manager and API server agree on about the domain
// whose subdomains are the tenants.
package basedomain

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxLength leaves room for the longest tenant's name and a dot in a host name of
// at most 253 characters.
const maxLength = 253 - 56 - 1

// Parse returns the domain in lower case, without a dot before or after it.
func Parse(text string) (string, error) {
	domain := strings.ToLower(strings.Trim(strings.TrimSpace(text), "."))
	if domain == "" {
		return "", errors.New("--base-domain is required: the domain whose subdomains are the tenants, such as example.com")
	}
	if wrong := validation.IsDNS1123Subdomain(domain); len(wrong) > 0 || len(domain) > maxLength {
		return "", fmt.Errorf("--base-domain=%s: must be a domain such as example.com, of at most %d characters", text, maxLength)
	}
	return domain, nil
}
