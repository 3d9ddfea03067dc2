package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const plugin = "kubectl-latchkey"

type pluginOptions struct {
	platforms string
	downloads string
}

func (o *pluginOptions) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64", "comma-separated platforms")
	flags.StringVar(&o.downloads, "downloads", homepage+"/releases/download", "where a folder named after the version has the archives, for krew")
}

// makePlugin writes an archive for each platform, and the manifest by which krew
// installs them.
func makePlugin(ctx context.Context, o *options, src *source) error {
	platforms, err := parsePlatforms(o.plugin.platforms)
	if err != nil {
		return err
	}
	manifest := newKrewManifest(src)
	for _, p := range platforms {
		program, err := src.build(ctx, "cmd/"+plugin, p)
		if err != nil {
			return err
		}
		entry, err := packPlugin(o, src, program)
		if err != nil {
			return err
		}
		manifest.Spec.Platforms = append(manifest.Spec.Platforms, entry)
	}
	content, err := yaml.Marshal(manifest)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(o.out, "krew-latchkey.yaml"), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// packPlugin writes a platform's archive and SBOM, and says how krew installs it.
func packPlugin(o *options, src *source, program *program) (krewPlatform, error) {
	p := program.platform
	license, err := src.readLicense()
	if err != nil {
		return krewPlatform{}, err
	}
	binary, extension, write := plugin, ".tar.gz", writeTarGzip
	if p.os == "windows" {
		binary, extension, write = plugin+".exe", ".zip", writeZip
	}
	archive := fmt.Sprintf("%s_%s_%s_%s%s", plugin, src.version, p.os, p.arch, extension)
	entries := []entry{
		{"LICENSE", 0o644, license},
		{"THIRD-PARTY-LICENSES", 0o644, program.notices},
		{binary, 0o755, program.content},
	}
	digest := sha256.New()
	err = writeFile(filepath.Join(o.out, archive), func(w io.Writer) error {
		return write(io.MultiWriter(w, digest), src.time, entries)
	})
	if err != nil {
		return krewPlatform{}, err
	}
	sum := hex.EncodeToString(digest.Sum(nil))
	var files []krewFile
	for _, e := range entries {
		files = append(files, krewFile{From: e.name, To: "."})
	}
	return krewPlatform{
		Selector: krewSelector{map[string]string{"os": p.os, "arch": p.arch}},
		URI:      o.plugin.downloads + "/" + src.version + "/" + archive,
		SHA256:   sum,
		Files:    files,
		Bin:      binary,
	}, writePluginSBOM(o.out, src, program, archive, sum)
}

// krewManifest is https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/.
type krewManifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec krewSpec `json:"spec"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector krewSelector `json:"selector"`
	URI      string       `json:"uri"`
	SHA256   string       `json:"sha256"`
	Files    []krewFile   `json:"files"`
	Bin      string       `json:"bin"`
}

type krewSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

type krewFile struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func newKrewManifest(src *source) *krewManifest {
	m := &krewManifest{APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin"}
	m.Metadata.Name = "latchkey"
	m.Spec = krewSpec{
		Version:          src.version,
		Homepage:         homepage,
		ShortDescription: "Make and revoke API tokens of Latchkey's tenants",
		Description: "Makes API tokens for the customers of a product that runs Latchkey, lists,\n" +
			"checks and revokes them. A token is made on this machine and shown once; the\n" +
			"cluster gets its digest only.\n",
	}
	return m
}
