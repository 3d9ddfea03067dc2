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
		Docs             string            `json:"docs"`
		Settings         string            `json:"settings"`
	}{
		s.httpPort.port, s.httpsPort.port, s.settings.baseDomain,
		s.files.kubeconfig(), s.files.memberKubeconfig(), s.files.ca("ca.crt"), curl,
		s.endpoints()[0].url(docsPath), s.endpoints()[0].url(settingsPath),
	}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(s.files.summary(), append(content, '\n'), 0o600)
}

// summaryText is what people see. The token is in it once.
var summaryText = template.Must(template.New("summary").Parse(`
{{.Bold}}Latchkey runs.{{.Plain}} Tenants acme and globex are on loopback, each on a host of its own.

{{.Bold}}Call acme's API.{{.Plain}} The token is shown here and nowhere else; it expires at {{.ExpiresAt}}.

  {{.Curl}}

The same over {{.OtherScheme}}, once TOKEN holds the token:

  {{.OtherCurl}}

{{.Bold}}Read its documentation, and try it there:{{.Plain}}

  {{.Docs}}

{{.Bold}}In another terminal, as the platform team:{{.Plain}}

  export KUBECONFIG={{.Kubeconfig}} PATH={{.Bin}}:$PATH
  kubectl get latchkey --all-namespaces

{{.Bold}}There, as an admin of acme's, make a token of your own:{{.Plain}}

  export KUBECONFIG={{.MemberKubeconfig}}
  echo '{apiVersion: latchkey.dev/v1alpha1, kind: ApiToken, metadata: {name: mine}, spec: {lifetime: 1h}}' | kubectl apply -f -
  kubectl latchkey issue mine
  kubectl delete apitoken mine    # from then on the API refuses its token

{{.Bold}}Or make it in a browser, on acme's Settings page:{{.Plain}} {{.Settings}}

  kubectl latchkey settings {{.Tenant}}    # opens it, signed in as the admin

Logs are in {{.Logs}}. Ctrl-C stops everything. The built programs, the development CA and the logs stay.
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
		"Docs":             endpoints[0].url(docsPath),
		"Settings":         endpoints[0].url(settingsPath),
		"Tenant":           tenantName,
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
