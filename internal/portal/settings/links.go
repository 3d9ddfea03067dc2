package settings

import (
	"net/url"
	"strconv"
	"strings"
)

// path is a path below the list, of segments that are escaped.
func path(settingsPath string, segments ...string) string {
	for _, s := range segments {
		settingsPath += "/" + url.PathEscape(s)
	}
	return settingsPath
}

// withQuery is a path with those parameters that are not empty; params are pairs.
func withQuery(path string, params ...string) string {
	query := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] != "" {
			query.Set(params[i], params[i+1])
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// providerLink begins a sign-in at the identity provider.
func providerLink(s SignIn) string {
	recent := ""
	if s.Again {
		recent = "1"
	}
	return withQuery(path(s.SettingsPath, "sign-in", "oidc"), FieldReturn, s.Return, "recent", recent)
}

// listed is the list with one parameter changed, from its first page on.
func listed(l List, name, value string) string {
	params := map[string]string{"q": l.Query, "show": l.Show, "sort": l.Sort}
	params[name] = value
	if params["show"] == ShowAll {
		params["show"] = ""
	}
	if params["sort"] == SortName {
		params["sort"] = "" // is the order where none is asked for
	}
	return withQuery(l.SettingsPath, "q", params["q"], "show", params["show"], "sort", params["sort"], "page", params["page"])
}

// page is the list some pages on.
func page(l List, by int) string { return listed(l, "page", strconv.Itoa(l.Page+by)) }

// column is a column that the list can be sorted by.
type column struct {
	Label, Sort string
	List        List
}

func columns(l List) []column {
	return []column{
		{"Token", SortName, l}, {"State", SortState, l}, {"Expires", SortExpires, l},
		{"Last used", SortUsed, l}, {"Owner", SortOwner, l}, {"Created", SortCreated, l},
	}
}

// Order is the value of aria-sort.
func (c column) Order() string {
	switch c.List.Sort {
	case c.Sort:
		return "ascending"
	case "-" + c.Sort:
		return "descending"
	}
	return ""
}

// Link sorts by the column, or the other way around if that is so already.
func (c column) Link() string {
	if c.List.Sort == c.Sort {
		return listed(c.List, "sort", "-"+c.Sort)
	}
	return listed(c.List, "sort", c.Sort)
}

// trail is what leads to a page.
type trail struct{ SettingsPath, Name string }

func newTrail(settingsPath, name string) trail { return trail{settingsPath, name} }

// initial is what stands for a person where there is no room for the name.
func initial(person string) string {
	for _, r := range strings.ToUpper(person) {
		return string(r)
	}
	return ""
}
