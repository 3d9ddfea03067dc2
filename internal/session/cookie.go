package session

import (
	"net/http"
	"slices"
	"strings"
)

// onlyCookie returns the value of a cookie that was sent exactly once. Where a name comes
// twice, one of the two was planted, and nobody can say which. Header lines are read
// here, because net/http leaves out without a word what it can't read.
func onlyCookie(header http.Header, name string) (value string, ok bool) {
	found := 0
	for _, line := range header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			key, content, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(key) == name {
				value = strings.TrimSpace(content)
				found++
			}
		}
	}
	return value, found == 1
}

// cookie is a session's, without a lifetime of its own: the browser forgets it with its
// last window, and the session ends by what is sealed in it.
//
// It is Lax, not Strict: a Strict one is not sent on the way back from an identity
// provider, which is a chain of redirects that another site began. What changes anything
// is a POST, and those are guarded by their origin.
func cookie(value string) *http.Cookie {
	return &http.Cookie{Name: CookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func setSessionCookie(w http.ResponseWriter, value string) { setCookie(w, cookie(value)) }

func removeSessionCookie(w http.ResponseWriter) {
	gone := cookie("") //nolint:gosec // it is all that the other is
	gone.MaxAge = -1
	setCookie(w, gone)
}

// setCookie replaces a cookie of the same name that the answer sets already: browsers
// take the last, and others need not.
func setCookie(w http.ResponseWriter, c *http.Cookie) {
	header := w.Header()
	header["Set-Cookie"] = slices.DeleteFunc(header["Set-Cookie"], func(line string) bool {
		return strings.HasPrefix(line, c.Name+"=")
	})
	http.SetCookie(w, c)
}
