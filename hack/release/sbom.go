package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// writeImageSBOM describes an image of one platform.
func writeImageSBOM(out string, src *source, base *baseImage, p *program, reference name.Tag, image v1.Image) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	title := filepath.Base(reference.RepositoryStr())
	subject := cyclonedx.Component{
		Type:    cyclonedx.ComponentTypeContainer,
		Name:    title,
		Version: src.version,
		Hashes:  &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: digest.Hex}},
		PackageURL: fmt.Sprintf("pkg:oci/%s@%s?arch=%s&repository_url=%s&tag=%s", title, url.QueryEscape(digest.String()),
			p.platform.arch, url.QueryEscape(reference.Context().Name()), src.version),
	}
	var under []cyclonedx.Component
	if base != nil {
		under = append(under, cyclonedx.Component{
			Type: cyclonedx.ComponentTypeContainer, Name: "base image", Version: base.digest.String(), BOMRef: base.digest.String(),
		})
	}
	file := filepath.Join(out, "sbom", sbomName(title, p.platform))
	return writeFile(file, func(w io.Writer) error { return writeSBOM(w, src, subject, p, under) })
}

// writePluginSBOM describes an archive of the plugin.
func writePluginSBOM(out string, src *source, p *program, archive string, sum string) error {
	subject := cyclonedx.Component{
		Type:    cyclonedx.ComponentTypeFile,
		Name:    archive,
		Version: src.version,
		Hashes:  &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}},
	}
	file := filepath.Join(out, "sbom", sbomName(p.name, p.platform))
	return writeFile(file, func(w io.Writer) error { return writeSBOM(w, src, subject, p, nil) })
}

func sbomName(title string, p platform) string {
	return title + "_" + p.os + "_" + p.arch + ".cdx.json"
}

// writeSBOM lists what the compiler says it put into the program: the standard
// library and each module, by the checksum that go.sum has of it. Besides, it lists
// the npm packages whose files are embedded.
func writeSBOM(w io.Writer, src *source, subject cyclonedx.Component, p *program, under []cyclonedx.Component) error {
	subject.BOMRef = "subject"
	subject.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: license}}}
	program := programComponent(src, p)
	contents := []string{program.BOMRef}
	components := []cyclonedx.Component{program}
	for _, component := range under {
		components, contents = append(components, component), append(contents, component.BOMRef)
	}
	library := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: p.info.GoVersion,
		PackageURL: "pkg:golang/std@" + strings.TrimPrefix(p.info.GoVersion, "go"),
	}
	library.BOMRef = library.PackageURL
	components = append(components, library)
	libraries := []string{library.BOMRef}
	for _, dependency := range p.info.Deps {
		component, err := moduleComponent(dependency)
		if err != nil {
			return err
		}
		components, libraries = append(components, component), append(libraries, component.BOMRef)
	}
	for _, e := range p.embedded {
		component := e.component()
		components, libraries = append(components, component), append(libraries, component.BOMRef)
	}

	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(subject)
	bom.Metadata = &cyclonedx.Metadata{Timestamp: src.time.Format(time.RFC3339), Component: &subject}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{
		{Ref: subject.BOMRef, Dependencies: &contents},
		{Ref: program.BOMRef, Dependencies: &libraries},
	}
	encoder := cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	// 1.6: what readers of SBOMs commonly know.
	return encoder.EncodeVersion(bom, cyclonedx.SpecVersion1_6)
}

// serialNumber is a UUID of version 8, the same for the same content.
func serialNumber(subject cyclonedx.Component) string {
	sum := sha256.Sum256([]byte(subject.Name + " " + (*subject.Hashes)[0].Value))
	id := hex.EncodeToString(sum[:])
	return fmt.Sprintf("urn:uuid:%s-%s-8%s-a%s-%s", id[0:8], id[8:12], id[13:16], id[17:20], id[20:32])
}

func programComponent(src *source, p *program) cyclonedx.Component {
	return cyclonedx.Component{
		BOMRef:     "program",
		Type:       cyclonedx.ComponentTypeApplication,
		Name:       p.info.Path,
		Version:    src.version,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: p.digest()}},
		PackageURL: fmt.Sprintf("pkg:golang/%s@%s?goarch=%s&goos=%s#cmd/%s", module, src.version, p.platform.arch, p.platform.os, p.name),
		ExternalReferences: &[]cyclonedx.ExternalReference{
			{Type: cyclonedx.ERTypeVCS, URL: homepage, Comment: "commit " + src.revision},
		},
	}
}

func moduleComponent(m *debug.Module) (cyclonedx.Component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	// go.sum's h1 is the SHA-256 of the module's list of files and their digests.
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return cyclonedx.Component{}, fmt.Errorf("module %s: the program has no checksum of it (%q)", m.Path, m.Sum)
	}
	component := cyclonedx.Component{
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       m.Path,
		Version:    m.Version,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}},
		PackageURL: "pkg:golang/" + m.Path + "@" + m.Version,
	}
	component.BOMRef = component.PackageURL
	return component, nil
}
