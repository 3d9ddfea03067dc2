package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// product is a program that has an image, latchkey-NAME.
type product struct{ name, folder, description string }

// products are those that are published.
var products = []product{
	{"manager", "cmd/manager", "Latchkey's controllers: tenants, API tokens and their records on Kubernetes"},
	{"apiserver", "cmd/apiserver", "Latchkey's API server: authenticates tenants' API tokens in front of the product's Public API"},
}

// forTests have an image only where --only asks for it. It is never published.
var forTests = []product{
	{"e2e-backend", "test/e2e/backend", "The backend of Latchkey's own tests"},
}

type imageOptions struct {
	repository string
	platforms  string
	loadable   string
	base       string
	only       string
	push       bool
}

func (o *imageOptions) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.repository, "repository", "ghcr.io/latchkey-dev", "where the images are published; their names follow")
	flags.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "comma-separated platforms to publish")
	flags.StringVar(&o.loadable, "loadable", "linux/"+runtime.GOARCH, "the platform of the archives for `docker load`, one of those")
	flags.StringVar(&o.base, "base", "", "what the images stand on: an OCI layout's folder, or REFERENCE@sha256:… to pull (default: nothing)")
	flags.StringVar(&o.only, "only", "", "make the image of this program only: manager, apiserver, or e2e-backend for the tests")
	flags.BoolVar(&o.push, "push", false, "publish the images, signed in as docker is")
}

// builtImage is an image for every platform.
type builtImage struct {
	reference name.Tag
	index     v1.ImageIndex
	images    map[platform]v1.Image
}

func makeImages(ctx context.Context, o *options, src *source) error {
	platforms, err := parsePlatforms(o.images.platforms)
	if err != nil {
		return err
	}
	loadable, err := parsePlatforms(o.images.loadable)
	if err != nil {
		return err
	}
	if len(loadable) != 1 || !slices.Contains(platforms, loadable[0]) {
		return fmt.Errorf("--loadable=%s: must be one of %s", o.images.loadable, o.images.platforms)
	}
	base, err := openBase(ctx, o.images.base)
	if err != nil {
		return err
	}
	wanted, err := o.images.wanted()
	if err != nil {
		return err
	}
	var built []*builtImage
	for _, product := range wanted {
		image, err := makeImage(ctx, o, src, base, product, platforms)
		if err != nil {
			return err
		}
		if err := writeImage(o.out, image, loadable[0]); err != nil {
			return err
		}
		built = append(built, image)
	}
	if err := writeDigests(o.out, built); err != nil {
		return err
	}
	if !o.images.push {
		return nil
	}
	return publish(ctx, built)
}

// wanted are the programs to make images of.
func (o *imageOptions) wanted() ([]product, error) {
	if o.only == "" {
		return products, nil
	}
	named := func(p product) bool { return p.name == o.only }
	if i := slices.IndexFunc(products, named); i >= 0 {
		return products[i : i+1], nil
	}
	i := slices.IndexFunc(forTests, named)
	switch {
	case i < 0:
		return nil, fmt.Errorf("--only=%s: must be manager, apiserver or e2e-backend", o.only)
	case o.push:
		return nil, fmt.Errorf("--only=%s: is for tests and is not published", o.only)
	}
	return forTests[i : i+1], nil
}

func makeImage(ctx context.Context, o *options, src *source, base *baseImage, product product, platforms []platform) (*builtImage, error) {
	reference, err := name.NewTag(o.images.repository+"/latchkey-"+product.name+":"+src.version, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("the image's name: %w", err)
	}
	built := &builtImage{reference: reference, index: empty.Index, images: map[platform]v1.Image{}}
	labels := imageLabels(src, "latchkey-"+product.name, product.description, base)
	for _, p := range platforms {
		program, err := src.build(ctx, product.folder, p)
		if err != nil {
			return nil, err
		}
		image, err := assemble(src, base, program, labels)
		if err != nil {
			return nil, fmt.Errorf("image of %s for %s: %w", product.name, p, err)
		}
		built.images[p] = image
		built.index = mutate.AppendManifests(built.index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
		if err := writeImageSBOM(o.out, src, base, program, reference, image); err != nil {
			return nil, err
		}
	}
	annotated, ok := mutate.Annotations(built.index, labels).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("annotating the index did not give an index")
	}
	built.index = annotated
	return built, nil
}

// writeImage writes the image twice: for one platform as `docker save` does, which
// everything loads, and for all of them as an OCI layout, which is what is published.
func writeImage(out string, built *builtImage, loadable platform) error {
	file := filepath.Join(out, "images", filepath.Base(built.reference.RepositoryStr()))
	err := writeFile(file+".tar", func(w io.Writer) error {
		return tarball.Write(built.reference, built.images[loadable], w)
	})
	if err != nil {
		return err
	}
	return writeFile(file+".oci.tar", func(w io.Writer) error { return writeLayout(w, built) })
}

func writeLayout(w io.Writer, built *builtImage) error {
	dir, err := os.MkdirTemp("", "latchkey-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = path.AppendIndex(built.index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          built.reference.Name(),
		"org.opencontainers.image.ref.name": built.reference.TagStr(),
	}))
	if err != nil {
		return err
	}
	return tarFolder(w, dir)
}

// writeDigests says what each published image is pinned by.
func writeDigests(out string, built []*builtImage) error {
	var lines bytes.Buffer
	for _, image := range built {
		digest, err := image.index.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s@%s\n", image.reference.Name(), digest)
	}
	return writeFile(filepath.Join(out, "images", "digests.txt"), func(w io.Writer) error {
		_, err := w.Write(lines.Bytes())
		return err
	})
}
