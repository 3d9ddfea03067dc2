package openapi

import (
	"net/url"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// readServers takes the path of the first server, before which all paths stand.
func (d *Document) readServers(servers *tree.Node) *Error {
	if !servers.Is(tree.Array) || len(servers.Items) == 0 {
		return nil // the default is /
	}
	const at = "/servers/0/url"
	server := servers.Items[0]
	address := server.Get("url")
	if !address.Is(tree.String) {
		return server.Errorf(at, "the server needs a url, a string")
	}
	text, unknown := substitute(address.Text, server.Get("variables"))
	if unknown != "" {
		return address.Errorf(at, "the variable {%s} has no default", unknown)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Opaque != "":
		return address.Errorf(at, "%.100q is not a URL", text)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return address.Errorf(at, "a server's URL has no query and no fragment")
	case u.Host == "" && !strings.HasPrefix(u.Path, "/"):
		return address.Errorf(at, "%.100q depends on where the document is: begin it with a slash or a scheme", text)
	}
	prefix := strings.TrimRight(u.EscapedPath(), "/")
	if _, problem := parseTemplate(prefix + "/"); problem != "" {
		return address.Errorf(at, "its path %s", problem)
	}
	d.prefix = prefix
	return nil
}

// substitute puts in the variables' defaults; unknown is one that has none.
func substitute(text string, variables *tree.Node) (substituted, unknown string) {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(text, "{")
		b.WriteString(before)
		if !more {
			return b.String(), ""
		}
		name, after, closed := strings.Cut(rest, "}")
		value := variables.Get(name).Get("default")
		if !closed || !value.Is(tree.String) {
			return "", name
		}
		b.WriteString(value.Text)
		text = after
	}
}
