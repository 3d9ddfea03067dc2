//go:build !faultpoints

package fault

import (
	"net/http"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/token"
)

// InRequest is a step of serving a request.
func InRequest(_ *http.Request, _ string, _ any) {}

// ForToken is a step of working on the ApiToken of the name.
func ForToken(_, _ string, _ any) {}

// Minted is the step at which a token for the ApiToken of the name was minted.
func Minted(_ string, _ token.Token) {}

// Decision returns the decision about a request's token: the token, and the problem with it.
func Decision[T, P any](decided *T, problem *P) (*T, *P) { return decided, problem }

// Clock returns the clock.
func Clock(c clock.WithDelayedExecution) clock.WithDelayedExecution { return c }
