package selfservice

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/audit"
	"github.com/latchkey-dev/latchkey/internal/portal/settings"
	"github.com/latchkey-dev/latchkey/internal/problem"
)

const (
	// perPage is how many tokens a page of the list has.
	perPage = 50
	// idleAfter is after how long without use a token counts as idle.
	idleAfter = 90 * 24 * time.Hour
	// maxQuery bounds a search, in bytes.
	maxQuery = 200
)

// entry is a token of the list, and what it is found by.
type entry struct {
	settings.Row
	text  string
	shows map[string]bool
}

// list shows the tenant's tokens.
func (v *visit) list() *problem.Problem {
	query := v.r.URL.Query()
	if id, pasted := v.handler.config.Tokens.IDIn(query.Get("q")); pasted {
		// The token leaves the address, and so the links of the page.
		return v.redirect(v.path(pathList) + "?q=" + id)
	}
	page := settings.List{Query: query.Get("q"), Show: query.Get("show"), Sort: query.Get("sort")}
	if len(page.Query) > maxQuery {
		page.Query = strings.ToValidUTF8(page.Query[:maxQuery], "")
	}
	if !slices.Contains(settings.Shows(), page.Show) {
		page.Show = settings.ShowAll
	}
	if !slices.Contains(settings.Sorts(), strings.TrimPrefix(page.Sort, "-")) {
		page.Sort = settings.SortName
	}
	all, err := v.entries()
	if err != nil {
		return problem.Of(err)
	}
	wanted, _ := strconv.Atoi(query.Get("page"))
	page.Common = v.common()
	fill(&page, all, wanted)
	return v.render(http.StatusOK, page)
}

// entries are all of the tenant's tokens.
func (v *visit) entries() (all []entry, err error) {
	now := v.now()
	asked := v.questions(now)
	err = v.read(func(t *v1alpha1.ApiToken) {
		e := entry{Row: v.row(t, now), shows: map[string]bool{settings.ShowAll: true}}
		for show, isFound := range asked {
			if isFound(t, &e.Row) {
				e.shows[show] = true
			}
		}
		// The previous id too: a leaked token is looked for after it was rotated.
		e.text = strings.ToLower(strings.Join(append([]string{t.Name, t.Spec.Description, t.Spec.Owner, e.ID, previousID(t)}, t.Spec.Scopes...), "\n"))
		all = append(all, e)
	})
	return all, err
}

func previousID(t *v1alpha1.ApiToken) string {
	if t.Status.PreviousCredential == nil {
		return ""
	}
	return t.Status.PreviousCredential.ID
}

// questions are the filters. Those of an audit are internal/audit's.
func (v *visit) questions(now time.Time) map[string]func(*v1alpha1.ApiToken, *settings.Row) bool {
	facts := audit.Facts{Now: now, Tenant: v.Tenant.Name, Users: v.Tenant.Users, Policy: &v.API.Policy}
	asks := func(checks audit.Checks) func(*v1alpha1.ApiToken, *settings.Row) bool {
		return func(t *v1alpha1.ApiToken, _ *settings.Row) bool { return checks.AllFind(t, facts) }
	}
	return map[string]func(*v1alpha1.ApiToken, *settings.Row) bool{
		settings.ShowExpiring:     asks(audit.Checks{Expiring: v.API.Policy.Notice}),
		settings.ShowIdle:         asks(audit.Checks{Idle: idleAfter}),
		settings.ShowNeverUsed:    asks(audit.Checks{NeverUsed: true}),
		settings.ShowWithoutOwner: asks(audit.Checks{WithoutOwner: true}),
		settings.ShowMine: func(t *v1alpha1.ApiToken, _ *settings.Row) bool {
			return t.Spec.Owner == v.session.User || t.Annotations[v1alpha1.AnnotationCreatedBy] == v.session.User
		},
		settings.ShowInactive: func(_ *v1alpha1.ApiToken, row *settings.Row) bool {
			return row.State == settings.Expired || row.State == settings.Revoked || row.State == settings.Refused
		},
	}
}

// fill puts the wanted page of what was asked for into the list. There is no page
// before the first and none after the last.
func fill(page *settings.List, all []entry, wanted int) {
	words := strings.Fields(strings.ToLower(page.Query))
	page.Counts = map[string]int{}
	for _, show := range settings.Shows() {
		page.Counts[show] = 0
	}
	var found []entry
	for _, e := range all {
		if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e.text, word) }) {
			continue
		}
		for show := range e.shows {
			page.Counts[show]++
		}
		if e.shows[page.Show] {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, order(page.Sort))
	page.Total, page.Matching = len(all), len(found)
	page.Pages = max(1, (len(found)+perPage-1)/perPage)
	page.Page = min(max(1, wanted), page.Pages)
	for _, e := range found[(page.Page-1)*perPage : min(page.Page*perPage, len(found))] {
		page.Rows = append(page.Rows, e.Row)
	}
}

// order compares two tokens by what is to be sorted by, and then by name. What has no
// such instant comes last, whichever way around.
func order(sort string) func(a, b entry) int {
	by := strings.TrimPrefix(sort, "-")
	isReversed := by != sort
	compare := map[string]func(a, b entry) int{
		settings.SortName:    func(entry, entry) int { return 0 },
		settings.SortOwner:   func(a, b entry) int { return cmp.Compare(a.Owner, b.Owner) },
		settings.SortCreated: func(a, b entry) int { return a.CreatedAt.Compare(b.CreatedAt) },
		settings.SortExpires: func(a, b entry) int { return a.ExpiresAt.Compare(b.ExpiresAt) },
		settings.SortUsed:    func(a, b entry) int { return orZero(a.LastUsedAt).Compare(orZero(b.LastUsedAt)) },
		settings.SortState:   func(a, b entry) int { return cmp.Compare(a.State, b.State) },
	}[by]
	isMissing := map[string]func(entry) bool{
		settings.SortOwner:   func(e entry) bool { return e.Owner == "" },
		settings.SortExpires: func(e entry) bool { return e.ExpiresAt.IsZero() },
		settings.SortUsed:    func(e entry) bool { return e.LastUsedAt == nil },
	}[by]
	return func(a, b entry) int {
		if isMissing != nil && isMissing(a) != isMissing(b) {
			if isMissing(a) {
				return 1
			}
			return -1
		}
		result := cmp.Or(compare(a, b), cmp.Compare(a.Name, b.Name))
		if isReversed {
			return -result
		}
		return result
	}
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
