package examplebackend

import (
	"net/http"
	"time"
)

type exampleAnswer struct {
	Tenant  string    `json:"tenant"`
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
	Caller  caller    `json:"caller"`
	Orders  int       `json:"orders"`
}

// exampleEndpoint shows the identity that the backend was told.
func (b *backend) exampleEndpoint(w http.ResponseWriter, _ *http.Request, c caller) error {
	orders, err := b.store.count(c.tenant)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, exampleAnswer{
		Tenant:  c.tenant,
		Message: "Hello, " + c.tenant + "! Latchkey let your API token through to the example backend.",
		Time:    b.now(),
		Caller:  c,
		Orders:  orders,
	})
	return nil
}

type echo struct {
	Method     string      `json:"method"`
	Host       string      `json:"host"`
	RequestURI string      `json:"requestUri"`
	Headers    http.Header `json:"headers"`
}

// headers shows the request as it arrived.
func headers(w http.ResponseWriter, r *http.Request, _ caller) error {
	writeJSON(w, http.StatusOK, echo{Method: r.Method, Host: r.Host, RequestURI: r.RequestURI, Headers: r.Header})
	return nil
}
