package tokens

import (
	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/directory"
	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

// exceedingRate says that a token may call more often than the calling one by limits
// of their own: whoever rotates it would be rid of his.
func exceedingRate(caller *directory.Token, limit *v1alpha1.RateLimit) []string {
	if ratelimit.Of(limit).Covers(caller.RateLimit) {
		return nil
	}
	return []string{"a higher rate limit than the calling token's"}
}
