package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is what the programs run as: Kubernetes' runAsNonRoot wants a number.
const user = "65532:65532"

// accounts are for programs that look up their user. There is no root's shell, nor
// anything else that a shell would need.
var accounts = []entry{
	{"etc/", 0o755, nil},
	{"etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n")},
	{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
}

// assemble puts a program on the base, as the only thing that runs.
func assemble(src *source, base *baseImage, p *program, labels map[string]string) (v1.Image, error) {
	under, err := base.image(p.platform)
	if err != nil {
		return nil, err
	}
	entries := []entry{}
	if base == nil {
		entries = append(entries, accounts...)
	}
	license, err := src.readLicense()
	if err != nil {
		return nil, err
	}
	entries = append(entries,
		entry{"LICENSE", 0o644, license},
		entry{"THIRD-PARTY-LICENSES", 0o644, p.notices},
		entry{p.name, 0o755, p.content})
	layer, err := newLayer(entries)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: src.time}
	image, err := mutate.Append(under, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "hack/release", Comment: p.folder},
	})
	if err != nil {
		return nil, err
	}
	return configure(image, p, created, labels)
}

// newLayer has the same digest for the same content: its files have no times.
func newLayer(entries []entry) (v1.Layer, error) {
	var content bytes.Buffer
	if err := writeTar(&content, time.Unix(0, 0), entries); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	return tarball.LayerFromOpener(open,
		tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression),
		tarball.WithCompressedCaching)
}

func configure(image v1.Image, p *program, created v1.Time, labels map[string]string) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = p.platform.os, p.platform.arch
	file.Created = created
	file.Config.User = user
	file.Config.Entrypoint, file.Config.Cmd = []string{"/" + p.name}, nil
	file.Config.WorkingDir = "/"
	file.Config.Labels = labels
	return mutate.ConfigFile(image, file)
}

// imageLabels are those of
// https://github.com/opencontainers/image-spec/blob/main/annotations.md.
func imageLabels(src *source, title, description string, base *baseImage) map[string]string {
	const prefix = "org.opencontainers.image."
	labels := map[string]string{
		prefix + "title":       title,
		prefix + "description": description,
		prefix + "url":         homepage,
		prefix + "source":      homepage,
		prefix + "revision":    src.revision,
		prefix + "version":     src.version,
		prefix + "licenses":    license,
		prefix + "created":     src.time.Format(time.RFC3339),
	}
	if base != nil {
		labels[prefix+"base.digest"] = base.digest.String()
		if base.name != "" {
			labels[prefix+"base.name"] = base.name
		}
	}
	return labels
}

// scratch is an OCI image of nothing.
func scratch() v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
}
