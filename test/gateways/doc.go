// Package gateways tests the configurations in docs/guides/gateways.md with real
// gateways. Those that are not installed are skipped, by name.
package gateways
