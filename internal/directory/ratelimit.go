package directory

import (
	"encoding/binary"
	"time"

	"github.com/latchkey-dev/latchkey/internal/ratelimit"
)

// appendLimit packs a limit: requests, whole seconds of period, burst, as varints.
func appendLimit(b []byte, l ratelimit.Limit) []byte {
	for _, n := range []int64{int64(l.Requests), int64(l.Period / time.Second), int64(l.Burst)} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func (u *unpacker) limit() ratelimit.Limit {
	return ratelimit.Limit{Requests: int(u.varint()), Period: time.Duration(u.varint()) * time.Second, Burst: int(u.varint())}
}
