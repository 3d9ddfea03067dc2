package examplebackend

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is an RFC 9457 problem. Its type is always about:blank: the status
// says of what kind it is, and the detail what to do.
type problem struct {
	Type   string      `json:"type"`
	Title  string      `json:"title"`
	Status int         `json:"status"`
	Detail string      `json:"detail"`
	Errors []violation `json:"errors,omitempty"`
}

// violation is what is wrong with one part of a request's body.
type violation struct {
	Detail string `json:"detail"`
	// Pointer is a JSON pointer in URI fragment form, such as #/quantity.
	Pointer string `json:"pointer"`
}

func newProblem(status int, format string, args ...any) *problem {
	return &problem{
		Type:   "about:blank",
		Title:  http.StatusText(status),
		Status: status,
		Detail: fmt.Sprintf(format, args...),
	}
}

func (p *problem) Error() string { return p.Detail }

// problemOf gives the problem that tells a client of err.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	switch {
	case errors.Is(err, errNoOrder):
		return newProblem(http.StatusNotFound, "The tenant has no such order; GET %s/orders lists those it has.", basePath)
	case errors.Is(err, errOrdersFull):
		return newProblem(http.StatusConflict, "The tenant has %d orders, the most that are kept; delete some first.", maxOrders)
	case errors.Is(err, errTenantsFull):
		return newProblem(http.StatusServiceUnavailable,
			"The backend has orders of %d tenants, the most that it keeps; restart it to begin afresh.", maxTenants)
	}
	return newProblem(http.StatusInternalServerError, "The backend failed; this is a bug of the example backend.")
}

func writeProblem(w http.ResponseWriter, p *problem) {
	write(w, "application/problem+json", p.Status, p)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	write(w, "application/json", status, body)
}

func write(w http.ResponseWriter, contentType string, status int, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(body) // fails only where the client is gone
}
