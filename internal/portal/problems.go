package portal

import (
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/problem"
)

// apiTokenRequired answers a user of the cluster where the calling token is meant.
var apiTokenRequired = &problem.Problem{Code: problem.CodeApiTokenRequired, Status: http.StatusForbidden,
	Title: "An API token has to call", Detail: "This endpoint is about the calling API token. Use the endpoint for tokens by name instead."}
