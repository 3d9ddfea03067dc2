package v1alpha1_test

import (
	"strings"
	"testing"
)

const (
	oneSource       = "exactly one of the fields in [path configMap] must be set"
	refreshBounds   = "must be from 10s to 24h"
	perTenantSource = "openAPI.path needs a backend that is the same for all tenants"
	nestedPaths     = "docs.path and basePath must not lie below one another"
	settingsInBase  = "settings.path (/settings unless set) and basePath must not lie below one another"
	settingsInDocs  = "settings.path (/settings unless set) and docs.path must not lie below one another"
)

func TestPublicApiOpenAPI(t *testing.T) {
	repeat := strings.Repeat
	checkSpecs(t, publicApis, withBackend([]specCase{
		{`openAPI: null`, accepted},
		{`openAPI: {}`, oneSource},
		{`openAPI: {path: /openapi.json, configMap: {name: a}}`, oneSource},
		{`openAPI: {path: /openapi.json}`, accepted},
		{`openAPI: {path: /v1/_spec/~x.yaml}`, accepted},
		{`openAPI: {path: /` + repeat("a", 255) + `}`, accepted},
		{`openAPI: {path: /` + repeat("a", 256) + `}`, tooLong},
		{`openAPI: {path: /}`, tooShort},
		{`openAPI: {path: openapi.json}`, badPattern},
		{`openAPI: {path: "/openapi.json?v=1"}`, badPattern},
		{`openAPI: {path: /../openapi.json}`, badPattern},
		{`openAPI: {path: //evil.example/openapi.json}`, badPattern},
		{`openAPI: {path: "/@evil.example/openapi.json"}`, badPattern},

		{`openAPI: {configMap: {name: shop.openapi}}`, accepted},
		{`openAPI: {configMap: {name: shop, key: v1_api.json}}`, accepted},
		{`openAPI: {configMap: {key: openapi.yaml}}`, "spec.openAPI.configMap.name: " + required},
		{`openAPI: {configMap: {name: ""}}`, tooShort},
		{`openAPI: {configMap: {name: Shop}}`, badPattern},
		{`openAPI: {configMap: {name: ` + repeat("a", 254) + `}}`, tooLong},
		{`openAPI: {configMap: {name: shop, key: a/b}}`, badPattern},
		{`openAPI: {configMap: {name: shop, key: ""}}`, tooShort},

		{`openAPI: {path: /o, refreshInterval: 10s}`, accepted},
		{`openAPI: {path: /o, refreshInterval: 24h}`, accepted},
		{`openAPI: {path: /o, refreshInterval: 9s}`, refreshBounds},
		{`openAPI: {path: /o, refreshInterval: 24h1s}`, refreshBounds},
		{`openAPI: {path: /o, refreshInterval: 1d}`, badPattern},

		{`openAPI: {path: /o, unknownOperations: Allow}`, accepted},
		{`openAPI: {path: /o, unknownOperations: allow}`, unsupported},
		{`openAPI: {path: /o, allowAnonymousOperations: true}`, accepted},
		{`openAPI: {path: /o, allowAnonymousOperations: "yes"}`, badType},

		{`docs: {}`, accepted},
		{`docs: {path: /reference/v1}`, accepted},
		{`docs: {path: /docs/}`, badPattern},
		{`docs: {path: docs}`, badPattern},
		{`docs: {path: /` + repeat("a", 128) + `}`, tooLong},
		{`docs: {visibility: Authenticated}`, accepted},
		{`docs: {visibility: Disabled}`, accepted},
		{`docs: {visibility: Private}`, unsupported},
		{`docs: {path: /api/v1}`, nestedPaths},
		{`docs: {path: /api/v1/docs}`, nestedPaths},
		{`docs: {path: /api}`, nestedPaths},
		{`docs: {path: /api/v1docs}`, accepted},
		{"docs: {path: /help}\nbasePath: /help/api", nestedPaths},
		{"docs: {path: /help}\nbasePath: /helpers", accepted},
		{`basePath: /docs`, nestedPaths},
	}))
	checkSpecs(t, publicApis, withBackend([]specCase{
		{`settings: null`, accepted},
		{`settings: {}`, accepted},
		{`settings: {path: /account/tokens}`, accepted},
		{`settings: {path: /settings/}`, badPattern},
		{`settings: {path: settings}`, badPattern},
		{`settings: {path: //settings}`, badPattern},
		{`settings: {path: "/a?b"}`, badPattern},
		{`settings: {path: /` + repeat("a", 128) + `}`, tooLong},
		{`settings: {tokenSignIn: Allow}`, accepted},
		{`settings: {tokenSignIn: Deny}`, accepted},
		{`settings: {tokenSignIn: Maybe}`, unsupported},
		{`settings: {path: /api/v1}`, settingsInBase},
		{`settings: {path: /api/v1/settings}`, settingsInBase},
		{`settings: {path: /api}`, settingsInBase},
		{`settings: {path: /api/v1settings}`, accepted},
		{`basePath: /settings/api`, settingsInBase},
		{`settings: {path: /docs}`, settingsInDocs},
		{`settings: {path: /docs/settings}`, settingsInDocs},
		{`docs: {path: /settings/docs}`, settingsInDocs},
		{`docs: {path: /settings}`, settingsInDocs},
		{"docs: {path: /settings}\nsettings: {path: /docs}", accepted},
		{`docs: {path: /settings-help}`, accepted},
	}))
	checkSpecs(t, publicApis, []specCase{
		{"backend: {service: {name: web, port: 80}}\nopenAPI: {path: /openapi.json}", perTenantSource},
		{"backend: {service: {name: web, port: 80}}\nopenAPI: {configMap: {name: a}}", accepted},
		{"backend: {service: {name: web, port: 80, namespace: shop}}\nopenAPI: {path: /openapi.json}", accepted},
	})
}
