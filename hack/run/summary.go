package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"text/template"
	"time"

	"golang.org/x/term"
)

// present tells programs, then people, that everything is up. Programs are not
// told the token: it goes into no file.
func (s *session) present() error {
	if err := s.writeSummary(); err != nil {
		return err
	}
	return s.print()
}

func (s *session) writeSummary() error {
	curl := map[string]string{}
	for _, e := range s.endpoints() {
		curl[e.scheme] = e.curl("$TOKEN")
	}
	content, err := json.MarshalIndent(struct {
		HTTPPort         int               `json:"httpPort"`
		HTTPSPort        int               `json:"httpsPort"`
		BaseDomain       string            `json:"baseDomain"`
		Kubeconfig       string            `json:"kubeconfig"`
		MemberKubeconfig string            `json:"memberKubeconfig"`
		CAFile           string            `json:"caFile"`
		Curl             map[string]string `json:"curl"`
	}{
		s.httpPort.port, s.httpsPort.port, s.settings.baseDomain,
		s.files.kubeconfig(), s.files.memberKubeconfig(), s.files.ca("ca.crt"), curl,
	}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.files.summary(), append(content, '\n'), 0o600)
}

// summaryText is what people see. The token is in it once.
var summaryText = template.Must(template.New("summary").Parse(`
{{.Bold}}Latchkey runs: tenants acme and globex on loopback, each on its own host.{{.Plain}}

{{.Bold}}Call acme's API{{.Plain}} with its token, which nobody can read again after this line and which expires at {{.ExpiresAt}}:

  {{.Curl}}

Over {{.OtherScheme}}, with the token in TOKEN:

  {{.OtherCurl}}

{{.Bold}}Make a token of your own{{.Plain}}, as an admin of acme's, in another terminal:

  export KUBECONFIG={{.MemberKubeconfig}} PATH={{.Bin}}:$PATH
  echo '{apiVersion: latchkey.dev/v1alpha1, kind: ApiToken, metadata: {name: mine}, spec: {lifetime: 1h}}' | kubectl apply -f -
  kubectl latchkey issue mine
  kubectl delete apitoken mine    # its token stops working at once

{{.Bold}}See everything{{.Plain}}, as the platform team:

  export KUBECONFIG={{.Kubeconfig}}
  {{.Bin}}/kubectl get latchkey --all-namespaces

Logs are in {{.Logs}}. Ctrl-C stops everything and removes all of it but the logs.
`))

func (s *session) print() error {
	endpoints := s.endpoints()
	bold, plain := "\x1b[1m", "\x1b[0m"
	if !hasStyles(s.out) {
		bold, plain = "", ""
	}
	return summaryText.Execute(s.out, map[string]string{
		"Bold": bold, "Plain": plain,
		"ExpiresAt":        s.token.ExpiresAt.UTC().Format(time.RFC3339),
		"Curl":             endpoints[0].curl(s.token.Token),
		"OtherScheme":      strings.ToUpper(endpoints[1].scheme),
		"OtherCurl":        endpoints[1].curl("$TOKEN"),
		"Kubeconfig":       quote(s.files.kubeconfig()),
		"MemberKubeconfig": quote(s.files.memberKubeconfig()),
		"Bin":              quote(s.files.bin("")),
		"Logs":             s.files.log(""),
	})
}

// hasStyles says whether the output is a terminal whose user likes bold words.
func hasStyles(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
