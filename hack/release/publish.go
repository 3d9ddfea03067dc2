package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// releases are versions whose content never changes.
var releases = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+`)

// publish writes the images to their registry. A release that is there with other
// content stays as it is.
func publish(ctx context.Context, images []*builtImage) error {
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	for _, image := range images {
		if err := checkUnpublished(image, options); err != nil {
			return err
		}
	}
	for _, image := range images {
		if err := remote.WriteIndex(image.reference, image.index, options...); err != nil {
			return fmt.Errorf("publishing %s: %w", image.reference, err)
		}
		fmt.Println("published", image.reference)
	}
	return nil
}

func checkUnpublished(image *builtImage, options []remote.Option) error {
	version := image.reference.TagStr()
	if !releases.MatchString(version) || strings.HasSuffix(version, "-dirty") {
		return nil
	}
	digest, err := image.index.Digest()
	if err != nil {
		return err
	}
	published, err := remote.Head(image.reference, options...)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return nil
	case err != nil:
		return fmt.Errorf("asking whether %s is published: %w", image.reference, err)
	case published.Digest != digest:
		return fmt.Errorf("%s is published already, as %s, and this is %s: use another version", image.reference, published.Digest, digest)
	}
	return nil
}
