package conditions_test

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
)

// recorder keeps events as "type reason note".
type recorder struct{ events []string }

func (r *recorder) Eventf(_, _ runtime.Object, eventType, reason, _, note string, args ...any) {
	r.events = append(r.events, eventType+" "+reason+" "+fmt.Sprintf(note, args...))
}
