package programs

import (
	"fmt"
	"time"
)

// listed is a package that a build needs.
type listed struct {
	path string
	// part names the package for the user: the first program that needs it.
	part string
	// weight is proportional to what it costs to compile the package.
	weight float64
	// main says that the package is a program, which is linked when it is compiled.
	main bool
}

// estimate follows a build from the names of the packages that Go compiles, in the order of
// a list in which every package stands behind those that it imports.
type estimate struct {
	packages []listed
	places   map[string]int
	started  time.Time
	compiled map[string]bool
	// work is the weight of the packages that were compiled, without those that are being
	// compiled now.
	work float64
	// current is the place of the package that was started last, and furthest the last
	// place of all that were started.
	current, furthest int
	// ahead[i] is the weight of the packages from place i on.
	ahead []float64
}

// A build is extrapolated once it ran for so long, and has done so much of the work.
const (
	firstEstimate = 10 * time.Second
	firstPart     = 0.02
)

func newEstimate(packages []listed) *estimate {
	e := &estimate{packages: packages, places: make(map[string]int, len(packages)), compiled: map[string]bool{}, current: -1, furthest: -1}
	e.ahead = make([]float64, len(packages)+1)
	for i := len(packages) - 1; i >= 0; i-- {
		e.places[packages[i].path] = i
		e.ahead[i] = e.ahead[i+1] + packages[i].weight
	}
	return e
}

// compiling notes that Go starts to compile a package. What it skips on the way there it
// has in its cache.
func (e *estimate) compiling(path string, now time.Time) {
	place, ok := e.places[path]
	if !ok || e.compiled[path] {
		return
	}
	if e.started.IsZero() {
		e.started = now
	}
	if e.current >= 0 {
		e.work += e.packages[e.current].weight
	}
	e.compiled[path] = true
	e.current, e.furthest = place, max(e.furthest, place)
}

// status is how far a build is.
type status struct {
	part        string
	done, total int
	// linking says that the programs are being linked.
	linking bool
	// left is 0 while it cannot be told.
	left time.Duration
}

func (e *estimate) status(now time.Time) status {
	s := status{total: len(e.packages)}
	if e.current < 0 {
		return s
	}
	current := e.packages[e.current]
	s.part, s.linking, s.done = current.part, current.main, e.furthest
	if elapsed := now.Sub(e.started); elapsed >= firstEstimate && e.work > firstPart*e.ahead[0] {
		s.left = time.Duration(float64(elapsed) * e.ahead[e.furthest] / e.work)
	}
	return s
}

func (s status) String() string {
	verb := "Compiling"
	if s.linking {
		verb = "Linking"
	}
	text := fmt.Sprintf("  %s %s: %d of %d packages", verb, s.part, s.done, s.total)
	if s.left > 0 {
		text += ", " + about(s.left)
	}
	return text
}

// about rounds a time that is only an estimate.
func about(d time.Duration) string {
	switch {
	case d >= 90*time.Second:
		return fmt.Sprintf("about %.0f min left", d.Minutes())
	case d >= 15*time.Second:
		return fmt.Sprintf("about %d s left", int(d.Seconds()+5)/10*10)
	default:
		return "a few seconds left"
	}
}
