package proxy

import (
	"maps"
	"net/http"
	"slices"
)

// interim passes on 1xx answers, without names that are ours. ReverseProxy clears
// the headers after each: what the caller had set for the final answer comes back
// with that.
type interim struct {
	http.ResponseWriter
	// ours are the headers that the caller had set.
	ours http.Header
	lost bool
}

func newInterim(w http.ResponseWriter) *interim {
	return &interim{ResponseWriter: w, ours: maps.Clone(w.Header())}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *interim) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *interim) WriteHeader(status int) {
	h := w.Header()
	switch {
	case status < http.StatusOK:
		maps.DeleteFunc(h, func(name string, _ []string) bool { return reserved(name) })
		w.lost = true
	case w.lost:
		for name, values := range w.ours {
			h[name] = slices.Concat(values, h[name])
		}
	}
	w.ResponseWriter.WriteHeader(status)
}
