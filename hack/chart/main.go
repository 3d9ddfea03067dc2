// Command chart makes the Helm chart: it reads the manifests that kustomize builds
// from config/chart, puts the chart's values where the settings are, and writes an
// archive that is the same for the same input.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run() error {
	source := flag.String("chart", "charts/latchkey", "the folder with what is written by hand")
	appVersion := flag.String("version", "", "the release, such as v1.2.3")
	out := flag.String("out", "dist", "the folder for the archive")
	flag.Parse()
	objects, err := decode(os.Stdin)
	if err != nil {
		return fmt.Errorf("manifests on standard input: %w", err)
	}
	files, err := handWritten(*source)
	if err != nil {
		return err
	}
	chartVersion := chartVersion(*appVersion)
	files["Chart.yaml"] = stamp(files["Chart.yaml"], chartVersion, *appVersion)
	if err := addTemplates(files, objects); err != nil {
		return err
	}
	name := filepath.Join(*out, "latchkey-"+chartVersion+".tgz")
	if err := writeArchive(name, files); err != nil {
		return err
	}
	fmt.Println(name)
	return nil
}

// chartVersion is the release as Helm wants it: a semantic version without v. What
// is none, such as a commit, becomes a pre-release of 0.0.0.
func chartVersion(release string) string {
	if v, err := version.ParseSemantic(release); err == nil {
		return v.String()
	}
	return "0.0.0-" + strings.Trim(regexp.MustCompile(`[^0-9A-Za-z-]+`).ReplaceAllString("g"+release, "-"), "-")
}

var (
	versionLine    = regexp.MustCompile(`(?m)^version: .*$`)
	appVersionLine = regexp.MustCompile(`(?m)^appVersion: .*$`)
)

func stamp(chart []byte, chartVersion, appVersion string) []byte {
	chart = versionLine.ReplaceAll(chart, []byte("version: "+chartVersion))
	return appVersionLine.ReplaceAll(chart, fmt.Appendf(nil, "appVersion: %q", appVersion))
}
