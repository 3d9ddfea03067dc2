// Package tokenapi is the API for tokens: its OpenAPI document, and the server
// interface that is generated from it.
package tokenapi

import _ "embed" // openapi.yaml

// Document is the OpenAPI document of the API for tokens. Its paths are below the
// base path of a PublicApi.
//
//go:embed openapi.yaml
var Document []byte
