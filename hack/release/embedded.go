package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// embeds are the npm packages whose files a package of this repository embeds: the
// compiler knows nothing of them.
var embeds = []struct {
	name   string // npm's
	by     string // the package's path in the module
	folder string // where the files and their licence are
}{
	{"swagger-ui-dist", "internal/portal/reference", "internal/portal/reference/swagger-ui"},
}

// lockFile pins the npm packages.
const lockFile = "hack/tools/swagger-ui/package-lock.json"

// embedded is an npm package that is in a program.
type embedded struct {
	name, version, license string
	digest                 string // SHA-512 of the package, in hex
	folder                 string
}

// embedded finds the npm packages that are in a command.
func (s *source) embedded(ctx context.Context, command string) ([]embedded, error) {
	output, err := s.goOutput(ctx, "list", "-deps", "./"+command)
	if err != nil {
		return nil, err
	}
	packages := strings.Split(output, "\n")
	var found []embedded
	for _, e := range embeds {
		if !slices.Contains(packages, module+"/"+e.by) {
			continue
		}
		one, err := s.pinned(e.name)
		if err != nil {
			return nil, err
		}
		one.folder = filepath.Join(s.root, e.folder)
		found = append(found, one)
	}
	return found, nil
}

// pinned is what the lock file has of a package.
func (s *source) pinned(name string) (embedded, error) {
	content, err := os.ReadFile(filepath.Join(s.root, lockFile))
	if err != nil {
		return embedded{}, err
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity, License string }
	}
	if err := json.Unmarshal(content, &lock); err != nil {
		return embedded{}, fmt.Errorf("%s: %w", lockFile, err)
	}
	entry := lock.Packages["node_modules/"+name]
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(entry.Integrity, "sha512-"))
	if err != nil || len(sum) != 64 || entry.License == "" {
		return embedded{}, fmt.Errorf("%s: %s has no SHA-512 (%q) or no licence (%q)", lockFile, name, entry.Integrity, entry.License)
	}
	return embedded{name: name, version: entry.Version, license: entry.License, digest: hex.EncodeToString(sum)}, nil
}

func (e embedded) component() cyclonedx.Component {
	component := cyclonedx.Component{
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       e.name,
		Version:    e.version,
		Licenses:   &cyclonedx.Licenses{{License: &cyclonedx.License{ID: e.license}}},
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA512, Value: e.digest}},
		PackageURL: "pkg:npm/" + e.name + "@" + e.version,
	}
	component.BOMRef = component.PackageURL
	return component
}
