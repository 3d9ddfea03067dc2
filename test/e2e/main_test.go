//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/testing/browsertest"
)

// chapter is a part of the story. What comes after an essential one is of no use
// where it fails.
type chapter struct {
	name      string
	tell      func(*testing.T, *world)
	essential bool
	// short chapters are told for every way to install.
	short bool
}

var chapters = []chapter{
	{name: "before", tell: before, essential: true, short: true},
	{name: "install", tell: install, essential: true, short: true},
	{name: "the story", tell: story, essential: true, short: true},
	{name: "the rest of the host", tell: restOfTheHost},
	{name: "tenants come and go", tell: tenants},
	{name: "addresses", tell: addresses},
	{name: "bodies", tell: bodies},
	{name: "endings", tell: endings},
	{name: "rotation", tell: rotation},
	{name: "the API for tokens", tell: tokenAPI},
	{name: "documentation", tell: documentation},
	{name: "Settings", tell: settingsPages},
	{name: "pods end", tell: podsEnd},
	{name: "pods are killed", tell: podsAreKilled},
	{name: "rolling restart", tell: rollingRestart, short: true},
	{name: "what it takes", tell: resources},
	{name: "a gateway of their own", tell: gateway},
	{name: "nothing was written down", tell: nothingWrittenDown, short: true},
	{name: "uninstall", tell: uninstall, short: true},
}

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// TestE2E tells the story. E2E_INSTALL says how it begins: "manifests" installs
// dist/install.yaml and tells all of it, "chart" installs with Helm and tells the
// short one.
func TestE2E(t *testing.T) {
	w := newWorld(t)
	for _, c := range chapters {
		if w.install == "chart" && !c.short {
			continue
		}
		if !t.Run(c.name, func(t *testing.T) { c.tell(t, w) }) && c.essential {
			t.Fatalf("without %q the rest makes no sense", c.name)
		}
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		install: setting(t, "E2E_INSTALL"), ingress: setting(t, "E2E_INGRESS"), work: setting(t, "E2E_WORK"),
		trustedProxies: setting(t, "E2E_TRUSTED_PROXIES"), images: setting(t, "E2E_IMAGES"),
		gatewayImage: os.Getenv("E2E_TRAEFIK_IMAGE"), domain: "example.com",
	}
	if w.install != "manifests" && w.install != "chart" {
		t.Fatalf("E2E_INSTALL=%s: must be manifests or chart", w.install)
	}
	w.ca = newAuthority(t, w.work, w.domain)
	follow(t, filepath.Join(w.work, "logs"))
	return w
}

func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run this test by `make e2e`", name)
	}
	return value
}
