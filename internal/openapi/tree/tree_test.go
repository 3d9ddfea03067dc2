package tree_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/openapi/tree"
)

func parse(t *testing.T, source string) *tree.Node {
	t.Helper()
	n, err := tree.Parse([]byte(source))
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	return n
}

// What YAML means in JSON, by the core schema of YAML 1.2.
func TestYAMLAsJSON(t *testing.T) {
	cases := map[string]string{
		"a: on\nb: yes\nc: n\nd: Off":                `{"a":"on","b":"yes","c":"n","d":"Off"}`,
		"a: true\nb: False\nc: ~\nd:\ne: NULL":       `{"a":true,"b":false,"c":null,"d":null,"e":null}`,
		"a: 0777\nb: 0o17\nc: 0x1F\nd: 1_000":        `{"a":777,"b":15,"c":31,"d":"1_000"}`,
		"a: 12:30:45\nb: 2026-01-31\nc: 3.1.0":       `{"a":"12:30:45","b":"2026-01-31","c":"3.1.0"}`,
		"a: +1\nb: .5\nc: 1.\nd: -0.50\ne: 1e3":      `{"a":1,"b":0.5,"c":1,"d":-0.50,"e":1e3}`,
		"a: 12345678901234567890.10":                 `{"a":12345678901234567890.10}`,
		"a: '1'\nb: \"true\"\nc: |\n  x\n  y\nd: ''": `{"a":"1","b":"true","c":"x\ny\n","d":""}`,
		"a: !!str 1\nb: !!int 2\nc: !!float 1.5":     `{"a":"1","b":2,"c":1.5}`,
		"200: a\n\"404\": b\non: c\nnull: d\n1.0: e": `{"200":"a","404":"b","on":"c","null":"d","1.0":"e"}`,
		"z: 1\na: 2\nm: 3":                           `{"z":1,"a":2,"m":3}`,
		"a: &x {k: 1}\nb: *x":                        `{"a":{"k":1},"b":{"k":1}}`,
		"b: &b {k: 1, l: 2}\nc:\n  <<: *b\n  l: 3":   `{"b":{"k":1,"l":2},"c":{"k":1,"l":3}}`,
		"c:\n  <<: [{k: 1}, {k: 2, l: 3}]\n  m: 4":   `{"c":{"k":1,"l":3,"m":4}}`,
		"\"<<\": 1": `{"<<":1}`,
		"# only\n--- # a comment\na: [1, [2], {}]": `{"a":[1,[2],{}]}`,
		"a: \"\\u0041\\x42\\t\"":                   `{"a":"AB\t"}`,
		"\ufeffa: 1":                               `{"a":1}`,
	}
	for source, want := range cases {
		if got := strings.TrimSpace(string(parse(t, source).JSON().Prefix)); got != want {
			t.Errorf("%q\n is %s\nwant %s", source, got, want)
		}
	}
}

// JSON is read as JSON, where YAML's parser would read it otherwise or not at all.
func TestJSONStaysAsItIs(t *testing.T) {
	for _, source := range []string{
		`{"b":1,"a":[true,false,null,"x"],"":{}}`,
		`{"n":[0,-0,1.50,1E+3,123456789012345678901234567890,1e400]}`,
		`{"s":["\"\\","\n\t","é€😀","<&>"]}`,
	} {
		if got := strings.TrimSpace(string(parse(t, source).JSON().Prefix)); got != source {
			t.Errorf("%s\nbecame %s", source, got)
		}
	}
	if got := parse(t, "{\t\"a\"\t:\t\"\\ud83d\\ude00\\/\" }").Get("a").String(); got != "😀/" {
		t.Errorf("escapes: %q", got)
	}
}

func TestErrorsHaveTheirPlace(t *testing.T) {
	const doubled = "the key is there twice, first in line 1"
	cases := []struct {
		source, pointer string
		line, column    int
		message         string
	}{
		{"", "", 0, 0, "the document is empty"},
		{"# nothing", "", 0, 0, "the document is empty"},
		{"a: 1\na: 2", "/a", 2, 1, doubled},
		{"{\"a\":1,\n \"a\":2}", "/a", 2, 2, doubled},
		{"{\"a\":{\"x/y\":1,\n\"x/y\":2}}", "/a/x~1y", 2, 1, doubled},
		{"200: 1\n\"200\": 2", "/200", 2, 1, doubled},
		{"{\"a\":1,}", "", 1, 7, "it begins with a brace but is not JSON"},
		{"{\"a\":1} x", "", 1, 9, "something follows"},
		{"{\"a\":[1", "/a", 1, 8, "ends too early"},
		{"a: .nan", "/a", 1, 4, ".nan has no JSON"},
		{"a:\n- -.inf", "/a/0", 2, 3, "-.inf has no JSON"},
		{"a: !thing 1", "/a", 1, 4, "the tag !thing is not supported"},
		{"a: !!int x", "/a", 1, 4, "the tag !!int does not fit"},
		{"a: !!binary aGk=", "/a", 1, 4, "the tag !!binary is not supported"},
		{"a: 0xFFFFFFFFFFFFFFFFF", "/a", 1, 4, "64 bits"},
		{"? [a]\n: 1", "", 1, 3, "a key must be a single value"},
		{"a: &x [*x]", "/a/0", 1, 8, "the alias *x is inside of what it stands for"},
		{"a: 1\n---\nb: 2", "", 0, 0, "a second document follows"},
		{"a: 1\nb\n", "", 2, 0, "not YAML"},
		{"a:\n  <<: 1", "/a/<<", 2, 7, "<< takes a mapping"},
		{"a: 1\nb: \xff", "", 2, 4, "not UTF-8"},
		{"{\"a\":\n{\"" + strings.Repeat("k", tree.MaxKey+1) + "\":1}}", "/a", 2, 2, "has 1025 bytes, and may have 1024"},
		{"a:\n  ? " + strings.Repeat("k", tree.MaxKey+1) + "\n  : 1", "/a", 2, 5, "has 1025 bytes, and may have 1024"},
		{strings.Repeat("[", 300) + strings.Repeat("]", 300), strings.Repeat("/0", 200), 1, 201, "more than 200 deep"},
		{`{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "}", "/a" + strings.Repeat("/0", 199), 1, 205, "more than 200 deep"},
		{"a: " + strings.Repeat("x", tree.MaxBytes), "", 0, 0, "larger than 4 MiB"},
		{"[" + strings.Repeat("1,", tree.MaxNodes) + "1]", "", 1, 2 * tree.MaxNodes, "more than 500000 values"},
	}
	for _, c := range cases {
		_, err := tree.Parse([]byte(c.source))
		e, ok := errors.AsType[*tree.Error](err)
		if !ok {
			t.Errorf("%.60q: %v", c.source, err)
			continue
		}
		if e.Pointer != c.pointer || c.line != 0 && e.Line != c.line || c.column != 0 && e.Column != c.column || !strings.Contains(e.Message, c.message) {
			t.Errorf("%.60q: %s at %q %d:%d\nwant %s at %q %d:%d", c.source, e.Message, e.Pointer, e.Line, e.Column, c.message, c.pointer, c.line, c.column)
		}
	}
}

// Aliases of aliases mean more than any machine holds (CVE-2019-11253).
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	if _, err := tree.Parse([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "more than 500000 values") {
		t.Errorf("%v", err)
	}
}

// So do many aliases of a long text.
func TestAliasedText(t *testing.T) {
	source := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 100_000) + "]"
	if _, err := tree.Parse([]byte(source)); err == nil || !strings.Contains(err.Error(), "more than 16 MiB of text") {
		t.Errorf("%.200v", err)
	}
}

// Texts that a YAML parser could take for something else, or that end lines.
var texts = []string{
	"", " ", "a", "on", "Yes", "null", "~", "1", "0x1", "1e3", "2026-01-31", "3.1.0", "a: b", "a #b", "#a", "- a", "-", "?", "!x", "&a", "*a",
	"a\nb", "a\nb\n", "a\nb\n\n", "\na", " a\nb", "a\n b", "a \nb", "a\n\nb", "a\tb", "\ta\nb", "a\r\nb", "\u2028", "\u0085", "\ufeff", "\x00", "\x7f", "é€😀",
	"it's", "'", "\"", "\\", "a:b", "a:", "https://x/y", "/orders/{id}", "{a", "[a", "%a", "@a", "`a", "$ref", "a, b", "---", "...", "--- a\nb", "=", "<<",
	strings.Repeat("long ", 300), strings.Repeat("k", 2000), strings.Repeat("k", tree.MaxKey), strings.Repeat("\x01", tree.MaxKey),
}

// What is written is read as the same, as JSON and as YAML.
func TestRoundTrip(t *testing.T) {
	all := tree.Map()
	for i, text := range texts {
		if len(text) > tree.MaxKey {
			all.Set(fmt.Sprint("long", i), tree.Text(text))
			continue
		}
		all.Set(text, tree.Text(text))
		all.Set(fmt.Sprint("nested", i), tree.List(tree.Text(text), tree.Map(), tree.List(), tree.List(tree.Text(text), tree.Map(tree.Member{Key: text, Value: tree.Text(text)})), tree.True()))
	}
	checkRoundTrip(t, all)
	for range 50 { // deeper than blocks are written
		all = tree.Map(tree.Member{Key: "a", Value: tree.List(all)})
	}
	checkRoundTrip(t, all)
}

func checkRoundTrip(t *testing.T, n *tree.Node) {
	t.Helper()
	if text := n.JSON().Prefix; !json.Valid(text) {
		t.Errorf("not JSON: %q", text)
	}
	for _, text := range [][]byte{n.JSON().Prefix, n.YAML().Prefix} {
		again, err := tree.Parse(text)
		if err != nil {
			t.Fatalf("%v\n%.2000s", err, text)
		}
		if !n.Equal(again) {
			t.Fatalf("%.2000s\nis read as\n%.2000s\nwas\n%.2000s", text, again.JSON().Prefix, n.JSON().Prefix)
		}
	}
}

func TestPointers(t *testing.T) {
	n := parse(t, `{"a/b":{"~":[1,{"c":2}]}}`)
	for pointer, want := range map[string]string{"/a~1b/~0/1/c": "2", "/a~1b/~0/0": "1"} {
		if got := n.Resolve(pointer); got == nil || got.Text != want {
			t.Errorf("%s: %+v", pointer, got)
		}
		if got := tree.Join("", tree.Split(pointer)...); got != pointer {
			t.Errorf("%s was joined to %s", pointer, got)
		}
	}
	for _, pointer := range []string{"a", "/a", "/a~1b/~0/2", "/a~1b/~0/01", "/a~1b/~0/-1"} {
		if got := n.Resolve(pointer); got != nil {
			t.Errorf("%s: %+v", pointer, got)
		}
	}
}

// A pointer is made for the nodes of which one is wanted, and for no other.
func TestWalkMakesNoPointers(t *testing.T) {
	n := parse(t, `{"`+strings.Repeat("k", tree.MaxKey)+`":[`+strings.Repeat("1,", 100_000)+`{"a/b":"here"}]}`)
	visited, pointer := 0, ""
	bytes := allocated(func() {
		n.WalkPlaces(func(at *tree.Place, n *tree.Node) bool {
			if visited++; n.Text == "here" {
				pointer = at.String()
			}
			return true
		})
		n.Walk(func(*tree.Node) bool { visited++; return true })
	})
	if visited != 2*100_004 || !strings.HasSuffix(pointer, "k/100000/a~1b") || n.Resolve(pointer).String() != "here" {
		t.Errorf("%d nodes, %.2000q", visited, pointer)
	}
	if bytes > 64<<10 {
		t.Errorf("%d bytes for two walks and one pointer", bytes)
	}
}

// Values at the end of deep nesting are not each written behind its indentation.
func TestYAMLIsNotMuchLargerThanItsTree(t *testing.T) {
	const depth, items = tree.MaxDepth - 2, 100_000
	n := parse(t, `{"a":`+strings.Repeat("[", depth)+strings.Repeat("1,", items)+"1"+strings.Repeat("]", depth)+"}")
	checkRoundTrip(t, n)
	if got := len(n.YAML().Prefix); got > 10*items {
		t.Errorf("%d bytes of YAML for %d values", got, items)
	}
}

func TestMerge(t *testing.T) {
	n := parse(t, `{"a":1,"b":2}`)
	n.Merge(parse(t, `{"b":3,"c":4}`).Members)
	if got := strings.TrimSpace(string(n.JSON().Prefix)); got != `{"a":1,"b":3,"c":4}` {
		t.Error(got)
	}
}

// allocated is how many bytes something allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzParse: nothing makes it panic, and what it reads is written so that it is
// read as the same.
func FuzzParse(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
		f.Add([]byte("a: " + text))
		f.Add([]byte("{\"a\": \"" + text + "\"}"))
	}
	f.Add([]byte("a: &x {<<: {b: 1}, 200: .5}\nb: [*x, !!str 1, 0x1f, |\n  t\n  u\n]"))
	f.Fuzz(func(t *testing.T, source []byte) {
		n, err := tree.Parse(source)
		if err != nil {
			if n != nil {
				t.Fatal("an error and a tree")
			}
			return
		}
		if n.Kind == tree.Object { // a scalar alone may look like something else
			checkRoundTrip(t, n)
		}
	})
}
