package reference

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
	"github.com/latchkey-dev/latchkey/internal/portal/wording"
	"github.com/latchkey-dev/latchkey/internal/splice"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"lower": strings.ToLower,
	"span":  wording.Span,
	"words": http.StatusText,
}).Parse(pageSource))

// view is what the template shows.
type view struct {
	Document
	Host        Host
	Description template.HTML
	Samples     []sample
	Groups      []group
	Problems    []adviceGroup
	asset       func(name string) string
}

// group is the operations of a tag.
type group struct {
	Tag        string
	Operations []operation
}

type operation struct {
	Operation
	Description template.HTML
}

// Asset is the path of a file of the page.
func (v view) Asset(name string) string { return v.asset(name) }

// prepare makes what is the same on every host.
func prepare(d Document, files *assets.Set) (view, error) {
	v := view{
		Document: d, Problems: problems,
		asset: func(name string) string { return d.DocsPath + assetsBelow + files.Public(name) },
	}
	var err error
	if v.Description, err = renderMarkdown(d.Description); err != nil {
		return v, err
	}
	v.Groups, err = groups(d.Operations)
	return v, err
}

// page renders the page around the name and the origin of its host. The template's
// placeholders for them are random, so that no document has them in it, and of
// characters that stay as they are wherever they stand; those of a host are as plain.
func (v view) page() (*splice.Text, error) {
	name, origin := rand.Text(), rand.Text()
	content, err := v.render(Host{Name: name, Origin: origin})
	if err != nil {
		return nil, err
	}
	var pieces []splice.Piece
	for {
		before, value, rest := cut(content, name, origin)
		pieces = append(pieces, splice.Piece{Text: before, Value: value})
		if rest == nil {
			return splice.New("text/html; charset=utf-8", pieces...), nil
		}
		content = rest
	}
}

// cut cuts a text at the first of some values that is in it; rest is nil where none is.
func cut(content []byte, values ...string) (before []byte, value int, rest []byte) {
	before = content
	for i, v := range values {
		if at := bytes.Index(before, []byte(v)); at >= 0 {
			before, value, rest = content[:at:at], i, content[at+len(v):]
		}
	}
	return before, value, rest
}

// render makes the page of a host.
func (v view) render(host Host) ([]byte, error) {
	v.Host, v.Samples = host, samples(v.Example.Method, host.Origin+v.Example.Path)
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, &v); err != nil {
		return nil, fmt.Errorf("rendering the page of %s: %w", v.Title, err)
	}
	return page.Bytes(), nil
}

// groups sorts operations by tag, and keeps their order otherwise.
func groups(operations []Operation) ([]group, error) {
	var all []group
	at := map[string]int{}
	for _, o := range operations {
		description, err := renderMarkdown(o.Description)
		if err != nil {
			return nil, err
		}
		i, known := at[o.Tag]
		if !known {
			i = len(all)
			at[o.Tag] = i
			all = append(all, group{Tag: o.Tag})
		}
		all[i].Operations = append(all[i].Operations, operation{o, description})
	}
	return all, nil
}
