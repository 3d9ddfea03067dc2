package browsertest

import (
	_ "embed"
	"encoding/json"
	"strings"
)

// axeSource is axe-core of npm, as it is; make docs-assets refreshes it.
//
//go:embed axe/axe.min.js
var axeSource string

// axeRun checks what can be checked of WCAG 2.2 AA by a program, and good practice
// such as the order of headings. A list of rules takes their place if there is one.
const axeRun = `((rules) => axe.run(document, {
	runOnly: rules ?? ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	resultTypes: ["violations"],
}).then(result => result.violations.flatMap(v => v.nodes.map(n =>
	v.id + ": " + n.target.join(" ") + ": " + n.html.slice(0, 200) + " " + n.failureSummary.replaceAll("\n", " ")))))`

// rest ends all transitions, and those that start when others end: axe would take a colour
// on its way to another one for the page's.
const rest = `(() => { for (let all; (all = document.getAnimations()).length > 0;) all.forEach(a => a.finish()); return true; })()`

// Appearance are the rules of axe whose outcome depends on colours and places. Others look
// at the document alone, and need no second look at the same one.
var Appearance = []string{"color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"}

// WantAccessible checks the page as it is with axe. The DevTools protocol runs axe,
// past the page's Content-Security-Policy.
func (p *Page) WantAccessible() {
	p.t.Helper()
	if violations := p.Axe(); len(violations) > 0 {
		p.t.Errorf("axe finds:\n%s", strings.Join(violations, "\n"))
	}
}

// Axe returns the faults that axe finds in the page, by all rules or by those that are named.
func (p *Page) Axe(rules ...string) []string {
	p.t.Helper()
	// A page that was loaded without JavaScript stays as it is: its own scripts are
	// not run later.
	p.Do(scripts(true))
	if !Eval[bool](p, `"axe" in window`) {
		Eval[bool](p, axeSource+"\n;true")
	}
	Eval[bool](p, rest)
	named, err := json.Marshal(rules) // null without any
	if err != nil {
		p.t.Fatal(err)
	}
	return Eval[[]string](p, axeRun+"("+string(named)+")")
}
