package openapi_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi"
	"github.com/latchkey-dev/latchkey/internal/openapi/check"
	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

// allocated is how many MiB something allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}

// Many values below a long key cost what they are, not the key each.
func TestManyValuesBelowALongKey(t *testing.T) {
	source := head + "paths: {}\nx-a: {" + strings.Repeat("k", tree.MaxKey) + ": [" + strings.Repeat("1,", 100_000) + "1]}"
	d := load(t, source)
	if got := allocated(func() { d.Publish(options(t)) }); got > 50 {
		t.Errorf("publishing it allocates %d MiB", got)
	}
	if got := allocated(func() {
		if err := check.Check([]byte(source)); err != nil {
			t.Error(err)
		}
	}); got > 200 {
		t.Errorf("checking it allocates %d MiB", got)
	}
}

func TestTooManyPaths(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n")
	for i := range openapi.MaxPaths + 1 {
		fmt.Fprintf(&b, "  /%d: {}\n", i)
	}
	_, err := openapi.Load([]byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "/paths/~15000: the document has more than 5000 paths") {
		t.Errorf("%v", err)
	}
}

// However much is wrong with a document, what is told of it fits into a condition.
func TestWhatIsToldIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n")
	for i := range 4000 {
		fmt.Fprintf(&b, "  /%s%d: {servers: [{url: /}], get: {servers: [{url: /}], responses: {}}}\n", strings.Repeat("é", 400), i)
	}
	_, told := load(t, b.String()).Publish(options(t))
	if len(told) != 21 || told[20] != "There are 11980 more such findings." {
		t.Errorf("%d findings, at last %q", len(told), told[len(told)-1])
	}
	for _, finding := range told {
		if len(finding) > 200 || strings.Contains(finding, "\ufffd") || !strings.HasSuffix(finding, ".") {
			t.Errorf("%d bytes: %s", len(finding), finding)
		}
	}
}

// Copies are bounded with their keys, which are published as often as they are copied.
func TestCopiesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "paths:\n  /out:\n    x-long: {")
	for i := range 1000 {
		fmt.Fprintf(&b, "? %s%d\n : 1,", strings.Repeat("k", 1000), i)
	}
	b.WriteString("}\n    get: {responses: {}}\n  /api/v1/in:\n    get:\n      responses: {'200': {description: d}}\n      x-copies: [")
	for range 2000 {
		b.WriteString("{$ref: '#/paths/~1out'}, ")
	}
	b.WriteString("]\n")
	d := load(t, b.String())
	var p *openapi.Published
	if got := allocated(func() { p, _ = d.Publish(options(t)) }); got > 500 {
		t.Errorf("publishing it allocates %d MiB", got)
	}
	if got := len(p.JSON(origin).Bytes()); got > 2*tree.MaxText {
		t.Errorf("%d bytes are published", got)
	}
}

// What a copy refers to is copied in its turn, so long as that ends.
func TestCopiesOfCopies(t *testing.T) {
	n, told := published(t, head+`
paths:
  /a: {get: {responses: {}, x-s: {$ref: '#/paths/~1b/get/x-s'}}}
  /b: {get: {responses: {}, x-s: {type: string, x-again: {$ref: '#/paths/~1c/get'}}}}
  /c: {get: {responses: {}, x-self: {$ref: '#/paths/~1c/get'}}}
  /api/v1/in: {get: {responses: {}, x-s: {$ref: '#/paths/~1a/get/x-s', title: T}}}
`, options(t))
	const in = "/paths/~1api~1v1~1in/get/x-s"
	if got := at(t, n, in+"/type") + at(t, n, in+"/title"); got != `"string""T"` {
		t.Errorf("%s: %s", in, got)
	}
	deep := in + "/x-again" + strings.Repeat("/x-self", 5)
	if got := at(t, n, deep+"/responses"); got != "{}" || at(t, n, deep+"/x-self/x-self") != "" || !strings.Contains(strings.Join(told, " "), "A reference to /paths/~1c/get was removed") {
		t.Errorf("%s: %s\n%q", deep, at(t, n, in), told)
	}
}
