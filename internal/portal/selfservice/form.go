package selfservice

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/portal/body"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/portal/tokens"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

const formType = "application/x-www-form-urlencoded"

// crossOrigin answers a form that another site sent in a person's name.
var crossOrigin = &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden,
	Title: "This did not come from this page", Detail: "Another site sent the request. Nothing was done."}

// byScript answers what is no form that was sent. The product's own pages are of the same
// origin, so that http.CrossOriginProtection lets their scripts pass.
var byScript = &problem.Problem{Code: problem.CodeForbidden, Status: http.StatusForbidden,
	Title: "This did not come from this page", Detail: "A script sent the request, or a page in a frame. Nothing was done."}

// isNavigation says whether the browser goes to where it sends the request, as for a form,
// and neither does a script read the answer nor is it shown in a frame, such as a hidden one
// that a script sends its form into (Fetch Metadata, Sec-Fetch-Mode and Sec-Fetch-Dest). No
// script can set the headers; older browsers lack them, and pass.
func isNavigation(r *http.Request) bool {
	return isAbsentOr(r.Header.Get("Sec-Fetch-Mode"), "navigate") && isAbsentOr(r.Header.Get("Sec-Fetch-Dest"), "document")
}

func isAbsentOr(value, wanted string) bool { return value == "" || value == wanted }

// readForm reads a POST's form, once it is known to come from a page of ours.
func (v *visit) readForm(e endpoint) *problem.Problem {
	if v.r.Method != http.MethodPost {
		return nil
	}
	if !isNavigation(v.r) {
		return byScript
	}
	if v.handler.protection.Check(v.r) != nil {
		if !e.foreign {
			return crossOrigin
		}
		v.foreign = true
	}
	content, p := body.Read(v.w, v.r, tokens.RequestTimeout)
	if p != nil {
		return p
	}
	mediaType, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if len(content) > 0 && (err != nil || mediaType != formType) {
		p := problem.Invalid("The body must be a form: " + formType + ".")
		p.Status = http.StatusUnsupportedMediaType
		return p
	}
	form, wrong := decodeForm(string(content), e.fields)
	if wrong != "" {
		return problem.Invalid(wrong)
	}
	v.form = form
	return nil
}

// maxValues bounds how often a field that may repeat does.
const maxValues = 64

// decodeForm decodes a form that may have the fields, each once but for scopes, or says
// what is wrong.
func decodeForm(content string, fields []string) (form url.Values, wrong string) {
	form, err := url.ParseQuery(content)
	if err != nil {
		return nil, "The form can't be decoded."
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := form[name]
		switch {
		case !slices.Contains(fields, name):
			return nil, fmt.Sprintf("The form has the field %.40q, which is none of this page's. Reload the page it came from.", name)
		case name != settings.FieldScope && len(values) > 1, len(values) > maxValues:
			return nil, fmt.Sprintf("The form has the field %s %d times.", name, len(values))
		case slices.ContainsFunc(values, isNoText):
			return nil, fmt.Sprintf("The field %s is not text.", name)
		}
	}
	return form, ""
}

// isNoText says whether something was sent that no form field can hold.
func isNoText(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) }

// isName keeps from the cluster what can't be a token's name.
func isName(name string) bool {
	return name != "" && len(name) <= 63 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}
