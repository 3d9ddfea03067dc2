package settings

import (
	"embed"
	"fmt"
	"html/template"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/portal/assets"
)

//go:embed templates/*.html
var sources embed.FS

// The files' own names, as the templates know them.
var (
	//go:embed settings.js
	script []byte
	//go:embed settings.css
	style []byte
)

// static is the pages' files.
var static = sync.OnceValues(func() (*assets.Set, error) {
	return assets.New(
		assets.Stylesheet,
		assets.File{Name: "settings.css", Content: style},
		assets.File{Name: "settings.js", Content: script},
	)
})

// views are one of each, for their templates' names.
var views = []View{
	SignIn{}, ConfirmSignIn{}, SignedIn{}, SignedOut{}, List{}, Create{}, Reveal{}, Token{}, Rotate{}, Revoke{}, Resume{}, Failure{},
}

// templates are the views' templates by name, each with the layout around it.
var templates = sync.OnceValues(func() (map[string]*template.Template, error) {
	files, err := static()
	if err != nil {
		return nil, err
	}
	layout, err := template.New("").Funcs(functions(files)).ParseFS(sources, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the pages' layout: %w", err)
	}
	parsed := map[string]*template.Template{}
	for _, v := range views {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(sources, "templates/"+v.name()+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("parsing the page %s: %w", v.name(), err)
		}
		parsed[v.name()] = page
	}
	return parsed, nil
})
