package programs

import (
	"maps"
	"slices"
	"testing"
)

func TestNameParts(t *testing.T) {
	packages := []goPackage{
		{ImportPath: "shared"},
		{ImportPath: "vendored"},
		{ImportPath: "first", Imports: []string{"shared", "mapped"}, ImportMap: map[string]string{"mapped": "vendored"}},
		{ImportPath: "second", Imports: []string{"shared"}},
		{ImportPath: "program", Name: "main", Imports: []string{"first", "second", "other"}},
		{ImportPath: "other"},
	}
	got := map[string]string{}
	for _, p := range nameParts(packages, &target{name: "all", parts: []namedPackage{{"first", "a"}, {"second", "b"}}}) {
		got[p.path] = p.part
		if p.main != (p.path == "program") || p.weight <= 0 {
			t.Errorf("of %s: %+v", p.path, p)
		}
	}
	want := map[string]string{"shared": "a", "vendored": "a", "first": "a", "second": "b", "program": "all", "other": "all"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The packages of the program that builds all others: it is compiled before anything can be
// said, so that it has to stay small.
func TestOnlyTheStandardLibraryIsNeeded(t *testing.T) {
	build := &target{dir: Root(), packages: []string{"./hack/run/build"}}
	packages, err := listPackages(t.Context(), build, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{modulePath + "/hack/run/build", modulePath + "/internal/testing/programs"}
	for _, p := range packages {
		if !p.Standard && !slices.Contains(ours, p.ImportPath) {
			t.Errorf("hack/run/build needs %s", p.ImportPath)
		}
	}
	if len(packages) > 120 || packages[len(packages)-1].ImportPath != ours[0] {
		t.Errorf("hack/run/build needs %d packages, the last is %s", len(packages), packages[len(packages)-1].ImportPath)
	}
}
