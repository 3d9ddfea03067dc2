package main

import (
	"context"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// baseImage is what images stand on, pinned by its digest; nil is nothing.
type baseImage struct {
	name   string // where it is from, empty for a folder
	digest v1.Hash
	index  v1.ImageIndex
}

// openBase takes an OCI layout's folder or a reference with a digest: a tag's
// content changes, and with it what is published.
func openBase(ctx context.Context, base string) (*baseImage, error) {
	if base == "" {
		return nil, nil //nolint:nilnil // nothing is what to stand on
	}
	if _, err := os.Stat(base); err == nil {
		return openLayout(base)
	}
	reference, err := name.NewDigest(base)
	if err != nil {
		return nil, fmt.Errorf("base %q: neither a folder here nor REFERENCE@sha256:…: %w", base, err)
	}
	index, err := remote.Index(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("base %s: pulling it (needs the network; an image for one platform only does not do): %w", base, err)
	}
	digest, err := index.Digest()
	return &baseImage{name: reference.Context().Name(), digest: digest, index: index}, err
}

func openLayout(dir string) (*baseImage, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("base %s: not an OCI layout: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", dir, err)
	}
	// A layout's own index often holds nothing but the index of the image.
	if len(manifest.Manifests) == 1 && manifest.Manifests[0].MediaType.IsIndex() {
		if index, err = index.ImageIndex(manifest.Manifests[0].Digest); err != nil {
			return nil, fmt.Errorf("base %s: %w", dir, err)
		}
	}
	digest, err := index.Digest()
	return &baseImage{digest: digest, index: index}, err
}

// image is the base for a platform.
func (b *baseImage) image(p platform) (v1.Image, error) {
	if b == nil {
		return scratch(), nil
	}
	images, err := partial.FindImages(b.index, match.Platforms(v1.Platform{OS: p.os, Architecture: p.arch}))
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", b.digest, err)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("base %s: has no image for %s", b.digest, p)
	}
	return images[0], nil
}
