package settings

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
	"github.com/latchkey-dev/latchkey/internal/portal/wording"
)

// functions are what templates can call.
func functions(files *assets.Set) template.FuncMap {
	return template.FuncMap{
		"asset": func(settingsPath, name string) string { return settingsPath + assetsBelow + files.Public(name) },

		// Links.
		"path": path, "listed": listed, "page": page, "providerLink": providerLink, "trail": newTrail,

		// Texts.
		"label": label, "tone": tone, "verb": verb, "advice": advice, "soon": soon, "changeable": changeable,
		"filter": filter, "nothing": nothing, "happened": happened, "unused": unused,
		"initial": initial, "sample": sample, "tally": tally, "words": http.StatusText,
		"span": wording.Span, "grouped": wording.Grouped, "breakable": breakable,

		// Times.
		"day": day, "moment": moment, "ago": ago, "after": after, "remaining": remaining,

		// The list and the forms.
		"shows": Shows, "sortings": sortings, "columns": columns, "first": first, "beyond": beyond,
		"fault": faultOf, "faults": faults, "scopes": scopes, "bounds": bounds, "previous": newPrevious,
	}
}

// first are at most the first n.
func first(n int, texts []string) []string { return texts[:min(n, len(texts))] }

// beyond is how many there are after the first n.
func beyond(n int, texts []string) int { return max(0, len(texts)-n) }

// breakable is a name in parts between which a line may break: where an address does.
func breakable(name string) []string { return strings.SplitAfter(name, "@") }

// sample is a call to begin with: it works with any token.
func sample(c Common) string {
	return fmt.Sprintf("curl -X GET \"%s%s/token\" \\\n  -H \"Authorization: token YOUR_API_TOKEN\"", c.Origin, c.APIBasePath)
}

// tally says how many of the tokens are seen.
func tally(l List) string {
	if l.Pages <= 1 {
		if l.Matching == l.Total {
			return wording.Count(l.Total, "token")
		}
		return wording.Grouped(l.Matching) + " of " + wording.Count(l.Total, "token")
	}
	// Only the last page may be short.
	last := l.Matching
	if l.Page < l.Pages {
		last = l.Page * len(l.Rows)
	}
	return fmt.Sprintf("%s–%s of %s", wording.Grouped(last-len(l.Rows)+1), wording.Grouped(last), wording.Count(l.Matching, "token"))
}

// previous is a replaced credential, seen at an instant.
type previous struct {
	Now        time.Time
	Credential Credential
}

func newPrevious(now time.Time, c Credential) previous { return previous{now, c} }
