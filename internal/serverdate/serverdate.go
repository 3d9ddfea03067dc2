// Package serverdate takes the time from the Kubernetes API server's answers, for
// those who mint tokens: their own clock may be wrong by hours.
package serverdate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Date is the API server's clock, as its answer told it. A credential's
// issuedAt comes from there: a laptop's clock may be wrong by hours.
type Date struct{ header string }

type contextKey struct{}

// With returns a context whose requests fill in the date.
func With(ctx context.Context) (context.Context, *Date) {
	date := &Date{}
	return context.WithValue(ctx, contextKey{}, date), date
}

// Time is the date, in UTC and whole seconds.
func (d *Date) Time() (time.Time, error) {
	if d.header == "" {
		return time.Time{}, errors.New("the API server's answer has no Date header, from which a token's issuedAt is taken: does a proxy on the way remove it?")
	}
	date, err := http.ParseTime(d.header)
	if err != nil {
		return time.Time{}, fmt.Errorf("the Date header of the API server's answer: %w", err)
	}
	return date.UTC().Truncate(time.Second), nil
}

// Record makes a transport tell the answers' dates to the contexts of
// With.
func Record(next http.RoundTripper) http.RoundTripper { return dateRecorder{next} }

type dateRecorder struct{ next http.RoundTripper }

func (r dateRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if date, ok := request.Context().Value(contextKey{}).(*Date); ok && err == nil {
		date.header = response.Header.Get("Date")
	}
	return response, err
}

// WrappedRoundTripper lets client-go find what is below, to cancel and to close.
func (r dateRecorder) WrappedRoundTripper() http.RoundTripper { return r.next }

// OrNow is the date, or what this machine takes for it: good enough to say how far
// away something is.
func (d *Date) OrNow() time.Time {
	now, err := d.Time()
	if err != nil {
		return time.Now()
	}
	return now
}
