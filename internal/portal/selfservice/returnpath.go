package selfservice

import (
	"net/url"
	"slices"
	"strings"
)

// returnPages are the pages that a sign-in leads back to.
var returnPages = []string{pathList, pathSignedIn, pathNew, named, named + "/rotate", named + "/revoke"}

// maxReturnPath bounds what is kept of where somebody was.
const maxReturnPath = 512

// returnPath is where to go after a sign-in, if that is a page of Settings on this host,
// and the list otherwise. It goes into a Location header, in which a browser takes
// //evil.example and /\evil.example for other hosts: only the bytes that our own paths
// and queries consist of are let through, and nothing is repaired.
func returnPath(settingsPath, wanted string) string {
	path, query, hasQuery := strings.Cut(wanted, "?")
	below, isBelow := strings.CutPrefix(path, settingsPath)
	switch {
	case len(wanted) > maxReturnPath, !isBelow, below != "" && below[0] != '/',
		strings.ContainsFunc(below, outsidePath), strings.ContainsFunc(query, outsideQuery):
		return settingsPath
	}
	if found, _ := pattern(below); !slices.Contains(returnPages, found) {
		return settingsPath // such as a sign-in, which would go round in circles
	}
	if _, err := url.ParseQuery(query); err != nil {
		return settingsPath
	}
	if hasQuery {
		return path + "?" + query
	}
	return path
}

func outsidePath(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !slices.Contains([]rune{'-', '/'}, r)
}

func outsideQuery(r rune) bool {
	return outsidePath(r) && (r < 'A' || r > 'Z') && !slices.Contains([]rune{'%', '=', '&', '+', '.', '_', '~', '*'}, r) || r == '/'
}
