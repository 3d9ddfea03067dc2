package selfservice

import (
	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// maxRead bounds what a list has: ApiTokens that pile up must not fill the server's memory.
const maxRead = 100_000

// read gives each of the tenant's ApiTokens to use, but for those that only sign in. It asks
// for the latest, which kube-apiserver answers from its cache: a person who has just revoked
// a token sees that.
func (v *visit) read(use func(*v1alpha1.ApiToken)) error {
	_, err := v.handler.config.Tokens.List(v.r.Context(), v.call(), maxRead, "", func(t *v1alpha1.ApiToken) {
		if !policy.SignsIn(t.Spec.Scopes) {
			use(t)
		}
	})
	return err
}
