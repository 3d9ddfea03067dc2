package server

import "time"

// Every limit of the listeners, so that they can be seen side by side.
const (
	// MaxHeaderBytes bounds the request line and the headers together; net/http
	// adds 4 KiB of slack.
	MaxHeaderBytes = 16 << 10
	// ReadHeaderTimeout bounds the time until the headers are read (Slowloris).
	ReadHeaderTimeout = 10 * time.Second
	// IdleTimeout closes a keep-alive connection that nobody uses.
	IdleTimeout = 2 * time.Minute
	// AdminTimeout bounds everything on the listener for probes and metrics.
	AdminTimeout = 10 * time.Second
	// DefaultShutdownDelay is how long a replica that was told to end still
	// serves while it says that it is not ready, so that load balancers notice.
	DefaultShutdownDelay = 5 * time.Second
	// DefaultShutdownGracePeriod is how long requests under way may then take.
	DefaultShutdownGracePeriod = 30 * time.Second
)
