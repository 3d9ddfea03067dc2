package cli

import "github.com/latchkey-dev/latchkey/internal/serverdate"

// The API server's clock. A credential's issuedAt comes from there: a laptop's
// clock may be wrong by hours.
type serverDate = serverdate.Date

var (
	withServerDate = serverdate.With
	recordDates    = serverdate.Record
)
