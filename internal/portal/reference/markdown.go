package reference

import (
	"bytes"
	"fmt"
	"html/template"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// headingShift puts the headings of a description below the page's own h2.
const headingShift = 2

// markdown renders CommonMark with tables. Raw HTML is left out, and URLs that
// could run a script are emptied; both are goldmark's ways unless it is told
// WithUnsafe.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(tame{}, 0))),
	goldmark.WithRendererOptions(html.WithXHTML()),
)

// renderMarkdown turns a document's CommonMark into HTML that is safe in the page.
func renderMarkdown(source string) (template.HTML, error) {
	var rendered bytes.Buffer
	if err := markdown.Convert([]byte(source), &rendered); err != nil {
		return "", fmt.Errorf("rendering CommonMark: %w", err)
	}
	return template.HTML(rendered.Bytes()), nil //nolint:gosec // goldmark escapes, and leaves raw HTML out
}

// tame fits a document into a page: headings go below the page's own, and images,
// which would be requests to other hosts, become links.
type tame struct{}

// Transform changes the tree of a document.
func (tame) Transform(document *ast.Document, _ text.Reader, _ parser.Context) {
	var images []*ast.Image
	// The walk returns only its callback's errors, of which there are none.
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			n.Level = min(n.Level+headingShift, 6)
		case *ast.Image:
			images = append(images, n)
		}
		return ast.WalkContinue, nil
	})
	for _, image := range images {
		link := ast.NewLink()
		link.Destination, link.Title = image.Destination, image.Title
		for child := image.FirstChild(); child != nil; child = image.FirstChild() {
			link.AppendChild(link, child)
		}
		image.Parent().ReplaceChild(image.Parent(), image, link)
	}
}
