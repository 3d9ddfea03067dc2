package examplebackend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Bounds of what a client can ask of a stream. openapi.json says the same.
const (
	minEventInterval     = 10 * time.Millisecond
	maxEventInterval     = 10 * time.Second
	defaultEventInterval = time.Second
	maxEvents            = 1000
)

// eventWriteTimeout is how long a client may take to receive one event.
const eventWriteTimeout = 10 * time.Second

type event struct {
	// Sequence counts the stream's events from 1.
	Sequence int       `json:"sequence"`
	Time     time.Time `json:"time"`
	Tenant   string    `json:"tenant"`
	Orders   int       `json:"orders"`
}

// events streams how many orders the tenant has: at once, and then at every
// interval until the count is reached or the client goes.
func (b *backend) events(w http.ResponseWriter, r *http.Request, c caller) error {
	query := r.URL.Query()
	interval, err := queryDuration(query, "interval", minEventInterval, maxEventInterval, defaultEventInterval)
	if err != nil {
		return err
	}
	const unlimited = 0
	count, err := queryInt(query, "count", 1, maxEvents, unlimited)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		count = 1 // nothing of the body arrives, so there is nothing to wait for
	}

	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for sequence := 1; ; sequence++ {
		// This can fail only before the first event: the store forgets no tenant.
		orders, err := b.store.count(c.tenant)
		if err != nil {
			return err
		}
		e := event{Sequence: sequence, Time: b.now(), Tenant: c.tenant, Orders: orders}
		if err := sendEvent(w, e); err != nil || sequence == count {
			return nil // an error here means that the client is gone
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-ticker.C:
		}
	}
}

// sendEvent writes one server-sent event and waits until it is on its way.
func sendEvent(w http.ResponseWriter, e event) error {
	control := http.NewResponseController(w)
	// In place of the server's WriteTimeout, which would end every long stream.
	// Where the writer has no deadlines there is none to replace.
	_ = control.SetWriteDeadline(time.Now().Add(eventWriteTimeout))
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "id: %d\nevent: orders\ndata: %s\n\n", e.Sequence, data); err != nil {
		return err
	}
	return control.Flush()
}
