package programs

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSpace(t *testing.T) {
	all := []place{{"GOCACHE", "/a/cache", 1000 * megabyte}, {"GOMODCACHE", "/a/mod", 500 * megabyte}, {"TMPDIR", "/b", 100 * megabyte}}
	for name, test := range map[string]struct {
		a, b    uint64
		refused []string
	}{
		"enough":                    {1500 * megabyte, 100 * megabyte, nil},
		"not enough for both":       {1499 * megabyte, 100 * megabyte, []string{"needs 1.6 GB in /a/cache (GOCACHE) and /a/mod (GOMODCACHE), and 1.6 GB are free", "with GOCACHE, GOMODCACHE"}},
		"not enough for temporary":  {1500 * megabyte, 99 * megabyte, []string{"needs 0.1 GB in /b (TMPDIR)"}},
		"not enough on either disk": {0, 0, []string{"/a/cache", "/b (TMPDIR)", "0.0 GB are free"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkSpace(all, func(dir string) (space, error) {
				if strings.HasPrefix(dir, "/a") {
					return space{1, test.a}, nil
				}
				return space{2, test.b}, nil
			})
			if (err == nil) != (test.refused == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.refused {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v; want %q in it", err, want)
				}
			}
		})
	}
}

func TestMeasureSpace(t *testing.T) {
	here := t.TempDir()
	there, err := measureSpace(filepath.Join(here, "not", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := measureSpace(here); err != nil || s.device != there.device || s.free == 0 {
		t.Errorf("got %+v, %v; want the file system of a folder that does not exist yet, %+v", s, err, there)
	}
}
