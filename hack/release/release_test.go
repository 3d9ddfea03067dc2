package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/yaml"
)

const testVersion = "v1.2.3"

// images is the API server's image, made for real: once from this folder, and once
// more from a copy of it elsewhere, which is published to a registry on loopback.
type images struct {
	repository    string
	first, second string
}

var (
	registryHost string
	folder       string
)

func TestMain(m *testing.M) {
	// These tests build the API server and the plugin. Go's test cache notes which variables
	// are read, and runs them again when hack/testprograms.sh tells another build ID.
	_ = os.Getenv("LATCHKEY_TEST_PROGRAM_APISERVER") + os.Getenv("LATCHKEY_TEST_PROGRAM_KUBECTL_LATCHKEY")
	os.Exit(withRegistry(m.Run))
}

func withRegistry(run func() int) int {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	registryHost = strings.TrimPrefix(server.URL, "http://")
	var err error
	if folder, err = os.MkdirTemp("", "latchkey-release-test-"); err != nil {
		log.Print(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	return run()
}

var buildTwice = sync.OnceValues(func() (images, error) {
	made := images{
		repository: registryHost + "/latchkey",
		first:      filepath.Join(folder, "first"),
		second:     filepath.Join(folder, "second"),
	}
	args := []string{
		"images", "-only=apiserver", "-platforms=linux/" + runtime.GOARCH,
		"-version=" + testVersion, "-repository=" + made.repository,
	}
	root := filepath.Join("..", "..")
	if err := run(context.Background(), append(args, "-root="+root, "-out="+made.first)); err != nil {
		return made, err
	}
	// What is set here for other builds does not get into a release.
	if err := os.Setenv("GOFLAGS", "-tags=faultpoints"); err != nil {
		return made, err
	}
	defer func() { _ = os.Unsetenv("GOFLAGS") }()
	elsewhere := filepath.Join(folder, "another", "checkout")
	if err := copyTree(root, elsewhere); err != nil {
		return made, fmt.Errorf("copying the tree: %w", err)
	}
	return made, run(context.Background(), append(args, "-root="+elsewhere, "-out="+made.second, "-push"))
})

// copyTree makes a checkout like the one at root, with what is not committed.
func copyTree(root, to string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clone", "--quiet", "--no-checkout", root, to},
		{"-C", to, "checkout", "--quiet", "--detach", revisionOf(root)},
	} {
		if output, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, output)
		}
	}
	if err := deleteMissing(root, to); err != nil {
		return err
	}
	list, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return err
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, file), filepath.Join(to, file)); err != nil {
			return err
		}
	}
	return nil
}

func revisionOf(root string) string {
	output, _ := exec.Command("git", "-C", root, "rev-parse", "HEAD").Output()
	return strings.TrimSpace(string(output))
}

func deleteMissing(root, to string) error {
	list, err := exec.Command("git", "-C", to, "ls-files", "-z").Output()
	if err != nil {
		return err
	}
	for file := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, file)); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(filepath.Join(to, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) { // deleted, and not committed
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

func TestImagesAreReproducible(t *testing.T) {
	made := made(t)
	first, err := listFiles(made.first)
	must(t, err)
	second, err := listFiles(made.second)
	must(t, err)
	if len(first) != 4 {
		t.Errorf("made %v; want two archives, digests.txt and an SBOM", first)
	}
	if !slices.Equal(first, second) {
		t.Errorf("another folder gives other files:\n%v\n%v", first, second)
	}
}

func TestImageIsPublishedAsWritten(t *testing.T) {
	made := made(t)
	tag, err := name.NewTag(made.repository + "/latchkey-apiserver:" + testVersion)
	must(t, err)
	published, err := remote.Index(tag)
	must(t, err)
	digest, err := published.Digest()
	must(t, err)
	written, err := os.ReadFile(filepath.Join(made.first, "images", "digests.txt"))
	must(t, err)
	if want := tag.Name() + "@" + digest.String() + "\n"; string(written) != want {
		t.Errorf("digests.txt has %q; published is %q", written, want)
	}

	dir := t.TempDir()
	untar(t, open(t, filepath.Join(made.first, "images", "latchkey-apiserver.oci.tar")), dir)
	base, err := openLayout(dir)
	must(t, err)
	if base.digest != digest {
		t.Errorf("the OCI layout has %s; published is %s", base.digest, digest)
	}
}

func TestImage(t *testing.T) {
	image := loadable(t)
	file, err := image.ConfigFile()
	must(t, err)
	if file.OS != "linux" || file.Architecture != runtime.GOARCH {
		t.Errorf("image is for %s/%s", file.OS, file.Architecture)
	}
	if file.Config.User != "65532:65532" || !slices.Equal(file.Config.Entrypoint, []string{"/apiserver"}) || len(file.Config.Cmd) > 0 {
		t.Errorf("image runs %v %v as %q", file.Config.Entrypoint, file.Config.Cmd, file.Config.User)
	}
	src, err := readSource(t.Context(), filepath.Join("..", ".."), testVersion)
	must(t, err)
	for label, want := range map[string]string{
		"title":    "latchkey-apiserver",
		"source":   "https://github.com/latchkey-dev/latchkey",
		"revision": src.revision,
		"version":  testVersion,
		"licenses": "Apache-2.0",
		"created":  src.time.Format(time.RFC3339),
	} {
		if got := file.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q; want %q", label, got, want)
		}
	}
	if !file.Created.Equal(src.time) {
		t.Errorf("created %s; want the commit's time, %s", file.Created, src.time)
	}
}

func TestImageHasOneLayerOfKnownFiles(t *testing.T) {
	layers, err := loadable(t).Layers()
	must(t, err)
	if len(layers) != 1 {
		t.Fatalf("%d layers; want one", len(layers))
	}
	content, err := layers[0].Uncompressed()
	must(t, err)
	defer content.Close()
	var got []string
	for header := range headers(t, content) {
		got = append(got, fmt.Sprintf("%04o %s", header.Mode, header.Name))
		if header.Uid != 0 || header.Gid != 0 || header.ModTime.Unix() != 0 {
			t.Errorf("%s is of %d:%d, from %s; want root's and no time", header.Name, header.Uid, header.Gid, header.ModTime)
		}
	}
	want := []string{"0755 etc/", "0644 etc/group", "0644 etc/passwd", "0644 LICENSE", "0644 THIRD-PARTY-LICENSES", "0755 apiserver"}
	if !slices.Equal(got, want) {
		t.Errorf("the layer has %q; want %q", got, want)
	}
}

func TestSBOMIsOfTheProgramInTheImage(t *testing.T) {
	file := filepath.Join(made(t).first, "sbom", "latchkey-apiserver_linux_"+runtime.GOARCH+".cdx.json")
	var bom cyclonedx.BOM
	must(t, cyclonedx.NewBOMDecoder(open(t, file), cyclonedx.BOMFileFormatJSON).Decode(&bom))
	binary := filepath.Join(unpacked(t), "apiserver")
	sum, err := sumFile(binary)
	must(t, err)
	info, err := buildinfo.ReadFile(binary)
	must(t, err)

	components := map[string]string{}
	for _, component := range *bom.Components {
		components[component.PackageURL] = (func() string {
			if component.Hashes == nil {
				return ""
			}
			return (*component.Hashes)[0].Value
		})()
		if component.BOMRef == "program" && (*component.Hashes)[0].Value != sum {
			t.Errorf("the SBOM is of the program %s; the image has %s", (*component.Hashes)[0].Value, sum)
		}
	}
	for _, dependency := range info.Deps {
		if components["pkg:golang/"+dependency.Path+"@"+dependency.Version] == "" {
			t.Errorf("the SBOM lacks %s %s, or its checksum", dependency.Path, dependency.Version)
		}
	}
	if want := len(info.Deps) + 2 + len(embeds); len(components) != want {
		t.Errorf("%d components; want %d: the modules, what is embedded, the program and the standard library", len(components), want)
	}
	for _, e := range embeds {
		if !slices.ContainsFunc(*bom.Components, func(c cyclonedx.Component) bool { return c.Name == e.name }) {
			t.Errorf("the SBOM lacks %s, which %s embeds", e.name, e.by)
		}
	}
	if _, ok := components["pkg:golang/golang.org/x/crypto/x509roots/fallback@"+version(info, "golang.org/x/crypto/x509roots/fallback")]; !ok {
		t.Error("the API server has no CA certificates for backends that are https")
	}
	if got := (*bom.Metadata.Component.Hashes)[0].Value; got != imageDigest(t).Hex {
		t.Errorf("the SBOM is of image %s; the index has %s", got, imageDigest(t))
	}
}

func version(info *debug.BuildInfo, path string) string {
	for _, dependency := range info.Deps {
		if dependency.Path == path {
			return dependency.Version
		}
	}
	return ""
}

func TestPublishKeepsReleases(t *testing.T) {
	index := func() *builtImage {
		random, err := random.Index(10, 1, 1)
		must(t, err)
		return &builtImage{index: random}
	}
	first, second := index(), index()
	for version, moves := range map[string]bool{
		"v0.1.0": false, "v0.1.0-rc.1": false, "v0.1.0-dirty": true, "dev": true,
	} {
		tag, err := name.NewTag(registryHost + "/kept/latchkey-manager:" + version)
		must(t, err)
		first.reference, second.reference = tag, tag
		must(t, publish(t.Context(), []*builtImage{first}))
		must(t, publish(t.Context(), []*builtImage{first}))
		if err := publish(t.Context(), []*builtImage{second}); (err == nil) != moves {
			t.Errorf("publishing other content as %s: %v", version, err)
		} else if err != nil && !strings.Contains(err.Error(), "published already") {
			t.Errorf("error %q does not say what is wrong", err)
		}
	}
}

func TestBase(t *testing.T) {
	under, err := random.Image(10, 1)
	must(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: under, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	})
	digest, err := index.Digest()
	must(t, err)
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	must(t, err)
	must(t, path.AppendIndex(index))
	tag, err := name.NewTag(registryHost + "/base:nonroot")
	must(t, err)
	must(t, remote.WriteIndex(tag, index))

	src := &source{root: filepath.Join("..", ".."), version: testVersion, time: time.Unix(1700000000, 0).UTC()}
	for _, from := range []string{dir, registryHost + "/base@" + digest.String()} {
		base, err := openBase(t.Context(), from)
		must(t, err)
		image, err := assemble(src, base, fakeProgram("manager", platform{"linux", "arm64"}), imageLabels(src, "x", "x", base))
		must(t, err)
		layers, err := image.Layers()
		must(t, err)
		file, err := image.ConfigFile()
		must(t, err)
		if len(layers) != 2 || file.Config.User != user || file.Config.Labels["org.opencontainers.image.base.digest"] != digest.String() {
			t.Errorf("on base %s: %d layers, %+v", from, len(layers), file.Config)
		}
		if _, err := base.image(platform{"linux", "amd64"}); err == nil {
			t.Errorf("base %s has no image for linux/amd64, and nothing was said", from)
		}
	}
	for _, from := range []string{registryHost + "/base:nonroot", t.TempDir()} {
		if _, err := openBase(t.Context(), from); err == nil {
			t.Errorf("base %s was taken", from)
		}
	}
}

func TestPluginArchives(t *testing.T) {
	src := &source{root: filepath.Join("..", ".."), version: testVersion, time: time.Unix(1700000000, 0).UTC()}
	for _, p := range []platform{{"darwin", "arm64"}, {"windows", "amd64"}} {
		o := &options{out: t.TempDir(), plugin: pluginOptions{downloads: "https://example.com/download"}}
		again := &options{out: t.TempDir(), plugin: o.plugin}
		program := fakeProgram(plugin, p)
		entry, err := packPlugin(o, src, program)
		must(t, err)
		_, err = packPlugin(again, src, program)
		must(t, err)
		first, err := listFiles(o.out)
		must(t, err)
		second, err := listFiles(again.out)
		must(t, err)
		if !slices.Equal(first, second) {
			t.Errorf("%s: made twice: %v, %v", p, first, second)
		}
		archive := entry.URI[strings.LastIndex(entry.URI, "/")+1:]
		if !strings.HasPrefix(entry.URI, "https://example.com/download/v1.2.3/kubectl-latchkey_v1.2.3_"+p.os+"_"+p.arch+".") ||
			!slices.Contains(first, madeFile{archive, entry.SHA256}) {
			t.Errorf("%s: krew gets %s with %s; made is %v", p, entry.URI, entry.SHA256, first)
		}
		want := []string{"-rw-r--r-- LICENSE", "-rw-r--r-- THIRD-PARTY-LICENSES", "-rwxr-xr-x " + entry.Bin}
		if got := contents(t, filepath.Join(o.out, archive)); !slices.Equal(got, want) {
			t.Errorf("%s has %q; want %q", archive, got, want)
		}
	}
}

func TestKrewManifest(t *testing.T) {
	manifest := newKrewManifest(&source{version: testVersion})
	content, err := yaml.Marshal(manifest)
	must(t, err)
	var generic struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct{ Version, ShortDescription string }
	}
	must(t, yaml.Unmarshal(content, &generic))
	if generic.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || generic.Kind != "Plugin" ||
		generic.Metadata.Name != "latchkey" || generic.Spec.Version != testVersion || len(generic.Spec.ShortDescription) > 50 {
		t.Errorf("krew would not take %s", content)
	}
}

func TestChecksums(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "images"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "images", "a.tar"), []byte("a"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "install.yaml"), []byte("b"), 0o644))
	for range 2 { // the second time the file is there itself
		must(t, run(t.Context(), []string{"checksums", "-root=" + filepath.Join("..", ".."), "-out=" + dir}))
	}
	got, err := os.ReadFile(filepath.Join(dir, "checksums.txt"))
	must(t, err)
	sum := func(content string) string {
		sum := sha256.Sum256([]byte(content))
		return hex.EncodeToString(sum[:])
	}
	if want := sum("a") + "  a.tar\n" + sum("b") + "  install.yaml\n"; string(got) != want {
		t.Errorf("checksums.txt is\n%swant\n%s", got, want)
	}
	must(t, os.WriteFile(filepath.Join(dir, "a.tar"), []byte("c"), 0o644))
	if err := run(t.Context(), []string{"checksums", "-root=" + filepath.Join("..", ".."), "-out=" + dir}); err == nil {
		t.Error("two files of one name were taken")
	}
}

func TestTagsAreRefused(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}}}
	must(t, checkTags(info))
	info.Settings = append(info.Settings, debug.BuildSetting{Key: "-tags", Value: "faultpoints"})
	if err := checkTags(info); err == nil || !strings.Contains(err.Error(), "the tags faultpoints") {
		t.Errorf("the error is %v", err)
	}
}

func TestWrongArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                                         "say what to make",
		"everything":                               "say what to make",
		"images now":                               "unexpected argument",
		"images -version=v1+2":                     "cannot be an image's tag",
		"images -platforms=linux":                  "must be like linux/amd64",
		"images -platforms=linux/x,linux/x":        "twice",
		"images -platforms=linux/x":                "--loadable",
		"images -only=kubectl-latchkey":            "must be manager, apiserver or e2e-backend",
		"images -only=e2e-backend -push":           "is for tests and is not published",
		"images -only=manager -repository=A/b":     "the image's name",
		"images -base=gcr.io/distroless/static:no": "REFERENCE@sha256",
	} {
		args := strings.Fields(args)
		if len(args) > 1 {
			args = append(args[:1:1], append([]string{"-root=" + filepath.Join("..", ".."), "-out=" + t.TempDir()}, args[1:]...)...)
		}
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", args, err, want)
		}
	}
}

// What is embedded is not in the compiler's list, and its licence goes along all the
// same.
func TestEmbeddedPackagesAreListed(t *testing.T) {
	src := &source{root: filepath.Join("..", "..")}
	none, err := src.embedded(t.Context(), "cmd/kubectl-latchkey")
	must(t, err)
	if len(none) != 0 {
		t.Errorf("the plugin embeds %v, want nothing", none)
	}
	found, err := src.embedded(t.Context(), "internal/portal/reference")
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the documentation embeds %v, want the viewer", found)
	}
	p := fakeProgram("apiserver", platform{"linux", "amd64"})
	p.embedded = found
	var sbom bytes.Buffer
	must(t, writeSBOM(&sbom, src, cyclonedx.Component{Name: "test", Hashes: &[]cyclonedx.Hash{{Value: "0"}}}, p, nil))
	for _, want := range []string{"pkg:npm/swagger-ui-dist@5.35.0", "SHA-512", found[0].digest} {
		if !strings.Contains(sbom.String(), want) {
			t.Errorf("the SBOM has not %s", want)
		}
	}
	notices, err := src.notices(t.Context(), &debug.BuildInfo{GoVersion: runtime.Version()}, found)
	must(t, err)
	for _, want := range []string{"==== swagger-ui-dist 5.35.0: LICENSE\n", "SmartBear", "Copyright (c) 2018 Jed Watson"} {
		if !strings.Contains(string(notices), want) {
			t.Errorf("the licences have not %q", want)
		}
	}
}

func fakeProgram(name string, p platform) *program {
	return &program{
		name: name, platform: p, content: []byte("program"), notices: []byte("licences"),
		info: &debug.BuildInfo{GoVersion: "go1.26.6", Path: module + "/cmd/" + name},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func made(t *testing.T) images {
	t.Helper()
	made, err := buildTwice()
	must(t, err)
	return made
}

// loadable is what `docker load` would get.
func loadable(t *testing.T) v1.Image {
	t.Helper()
	made := made(t)
	tag, err := name.NewTag(made.repository + "/latchkey-apiserver:" + testVersion)
	must(t, err)
	image, err := tarball.ImageFromPath(filepath.Join(made.first, "images", "latchkey-apiserver.tar"), &tag)
	must(t, err)
	return image
}

// unpacked is the image's file system.
func unpacked(t *testing.T) string {
	t.Helper()
	content := mutate.Extract(loadable(t))
	defer content.Close()
	dir := t.TempDir()
	untar(t, content, dir)
	return dir
}

// imageDigest is that of the image in the published index.
func imageDigest(t *testing.T) v1.Hash {
	t.Helper()
	tag, err := name.NewTag(made(t).repository + "/latchkey-apiserver:" + testVersion)
	must(t, err)
	index, err := remote.Index(tag)
	must(t, err)
	manifest, err := index.IndexManifest()
	must(t, err)
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.String() != "linux/"+runtime.GOARCH {
		content, _ := json.Marshal(manifest)
		t.Fatalf("the index is %s", content)
	}
	return manifest.Manifests[0].Digest
}

func open(t *testing.T, path string) io.Reader {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return bytes.NewReader(content)
}

// headers gives each entry while r stands at its content.
func headers(t *testing.T, r io.Reader) func(func(*tar.Header, io.Reader) bool) {
	return func(yield func(*tar.Header, io.Reader) bool) {
		archive := tar.NewReader(r)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			must(t, err)
			if !yield(header, archive) {
				return
			}
		}
	}
}

func untar(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	for header, content := range headers(t, r) {
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.Typeflag == tar.TypeDir {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(header.Mode))
		must(t, err)
		_, err = io.Copy(file, content)
		must(t, errors.Join(err, file.Close()))
	}
}

// contents lists an archive's modes and names.
func contents(t *testing.T, path string) []string {
	t.Helper()
	var list []string
	if strings.HasSuffix(path, ".zip") {
		archive, err := zip.OpenReader(path)
		must(t, err)
		defer archive.Close()
		for _, file := range archive.File {
			list = append(list, file.Mode().String()+" "+file.Name)
		}
		return list
	}
	content, err := gzip.NewReader(open(t, path))
	must(t, err)
	for header := range headers(t, content) {
		list = append(list, header.FileInfo().Mode().String()+" "+header.Name)
	}
	return list
}
