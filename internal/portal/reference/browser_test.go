package reference_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/browsertest"
)

const (
	viewerShown = `!document.querySelector("#viewer").hidden && document.querySelectorAll("#viewer .opblock").length > 5`
	example     = `#viewer [id$="example_endpoint"]`
)

// looks are the ways in which people see the page.
var looks = []struct {
	name    string
	options browsertest.Options
}{
	{"light", browsertest.Options{}},
	{"dark", browsertest.Options{Dark: true}},
	{"phone", browsertest.Options{Width: 360}},
	{"phone-dark", browsertest.Options{Width: 360, Dark: true}},
}

func TestEveryLookIsAccessible(t *testing.T) {
	s := newSite(t)
	for _, look := range looks {
		t.Run(look.name, func(t *testing.T) {
			p := browsertest.Open(t, s.docs, look.options)
			p.Wait(viewerShown)
			p.WantAccessible()
			p.WantNoSidewaysScrolling()
			p.Screenshot("docs-" + look.name)
			expand(p, "#viewer .opblock-post")
			expand(p, `#viewer [id$="get_api_v1_orders"]`)
			p.WantAccessible()
			p.WantNoSidewaysScrolling()
			p.Screenshot("docs-" + look.name + "-expanded")
			tryExample(p, goodToken)
			p.WantAccessible()
			p.WantNoSidewaysScrolling()
			p.Screenshot("docs-" + look.name + "-tried")
			browsertest.Eval[any](p, `document.querySelector("#api-token").value = ""`)
			p.Type("#api-token", "lk_wrong")
			p.Click(example + " .execute")
			p.Wait(`document.querySelector(".callout-problem")`)
			p.WantAccessible()
			p.WantNoSidewaysScrolling()
			p.Screenshot("docs-" + look.name + "-refused")
		})
	}
}

// expand opens an operation of the viewer.
func expand(p *browsertest.Page, operation string) {
	p.Click(operation + " .opblock-summary-control")
	p.Wait(`document.querySelector(` + "`" + operation + `.is-open` + "`" + `)`)
}

// tryExample calls the example operation from the page.
func tryExample(p *browsertest.Page, token string) {
	expand(p, example)
	p.Type("#api-token", token)
	p.Click(example + " .try-out__btn")
	p.Click(example + " .execute")
	p.Wait(`document.querySelector(".live-responses-table")`)
}
