package reference

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"lower": strings.ToLower,
	"span":  span,
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

// render makes the page of a host.
func (v view) render(host Host) ([]byte, error) {
	v.Host, v.Samples = host, samples(v.Example.Method, host.Origin+v.Example.Path)
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, &v); err != nil {
		return nil, fmt.Errorf("rendering the page of %s: %w", host.Name, err)
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

// span writes a duration as people say it: in days where it is whole days.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d%day == 0:
		return count(int(d/day), "day")
	case d%time.Hour == 0:
		return count(int(d/time.Hour), "hour")
	case d%time.Minute == 0:
		return count(int(d/time.Minute), "minute")
	}
	return d.String()
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return strconv.Itoa(n) + " " + unit + "s"
}
