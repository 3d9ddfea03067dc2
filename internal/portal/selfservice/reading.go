package selfservice

import (
	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

const (
	// chunk is how many ApiTokens are listed at a time.
	chunk = 500
	// maxRead bounds what a list has: ApiTokens that pile up must not fill the server's
	// memory.
	maxRead = 100_000
)

// read reads all of the tenant's ApiTokens in pieces, and gives each to use, but for
// those that only sign in. It asks for the latest, which kube-apiserver answers from its
// cache: a person who has just revoked a token sees that.
func (v *visit) read(use func(*v1alpha1.ApiToken)) error {
	call, next := v.call(), ""
	for n := 0; n < maxRead; {
		var err error
		next, err = v.handler.config.Tokens.List(v.r.Context(), call, chunk, next, func(t *v1alpha1.ApiToken) {
			n++
			if !policy.SignsIn(t.Spec.Scopes) {
				use(t)
			}
		})
		if err != nil || next == "" {
			return err
		}
	}
	return nil
}
