package examplebackend

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// queryInt reads a whole number from low to high, or gives unset where the
// parameter is absent.
func queryInt(query url.Values, name string, low, high, unset int) (int, error) {
	if !query.Has(name) {
		return unset, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < low || n > high {
		return 0, newProblem(http.StatusBadRequest,
			"The query parameter %s must be a whole number from %d to %d, not %q.", name, low, high, query.Get(name))
	}
	return n, nil
}

// queryDuration reads a Go duration from low to high, or gives unset where the
// parameter is absent.
func queryDuration(query url.Values, name string, low, high, unset time.Duration) (time.Duration, error) {
	if !query.Has(name) {
		return unset, nil
	}
	d, err := time.ParseDuration(query.Get(name))
	if err != nil || d < low || d > high {
		return 0, newProblem(http.StatusBadRequest,
			"The query parameter %s must be a duration from %s to %s, such as 500ms, not %q.", name, low, high, query.Get(name))
	}
	return d, nil
}
