package proxy

import (
	"sync/atomic"
	"time"
)

// headerTimer ends a request whose backend is silent. While the client uploads it
// starts anew with each piece: the time is the backend's, not the client's.
type headerTimer struct {
	timer    *time.Timer
	timeout  time.Duration
	answered atomic.Bool
}

func newHeaderTimer(timeout time.Duration, expire func()) *headerTimer {
	h := &headerTimer{timeout: timeout}
	h.timer = time.AfterFunc(timeout, func() {
		if !h.answered.Load() {
			expire()
		}
	})
	return h
}

func (h *headerTimer) restart() {
	if !h.answered.Load() {
		h.timer.Reset(h.timeout)
	}
}

func (h *headerTimer) stop() {
	h.answered.Store(true)
	h.timer.Stop()
}
