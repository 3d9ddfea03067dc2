package browsertest

import (
	_ "embed"
	"strings"
)

// axeSource is axe-core of npm, as it is; make docs-assets refreshes it.
//
//go:embed axe/axe.min.js
var axeSource string

// axeRun checks what can be checked of WCAG 2.2 AA by a program, and good practice
// such as the order of headings.
const axeRun = `axe.run(document, {
	runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	resultTypes: ["violations"],
}).then(result => result.violations.flatMap(v => v.nodes.map(n =>
	v.id + ": " + n.target.join(" ") + ": " + n.html.slice(0, 200) + " " + n.failureSummary.replaceAll("\n", " "))))`

// WantAccessible checks the page as it is with axe. The DevTools protocol runs axe,
// past the page's Content-Security-Policy.
func (p *Page) WantAccessible() {
	p.t.Helper()
	if violations := p.Axe(); len(violations) > 0 {
		p.t.Errorf("axe finds:\n%s", strings.Join(violations, "\n"))
	}
}

// Axe is what axe finds wrong with the page.
func (p *Page) Axe() []string {
	p.t.Helper()
	// A page that was loaded without JavaScript stays as it is: its own scripts are
	// not run later.
	p.Do(scripts(true))
	Eval[bool](p, axeSource+"\n;true")
	return Eval[[]string](p, axeRun)
}
