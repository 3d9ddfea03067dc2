package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Overlay is what a build takes instead of files of this repository: their contents, by
// their paths below its root. A program that is built with it is the product as it is but
// for what a test has to reach, and the product's source needs no hook for that.
type Overlay map[string]string

// Change puts texts in the place of others, given in pairs, in a file. Each has to be
// there once: the error says which is not, since the source has changed then and the test
// has to follow.
func (o Overlay) Change(path string, fromTo ...string) error {
	if len(fromTo)%2 != 0 {
		return fmt.Errorf("change %s: %d texts are no pairs", path, len(fromTo))
	}
	text, ok := o[path]
	if !ok {
		content, err := os.ReadFile(filepath.Join(Root(), path))
		if err != nil {
			return fmt.Errorf("change a file of this repository: %w", err)
		}
		text = string(content)
	}
	for n := 0; n < len(fromTo); n += 2 {
		if count := strings.Count(text, fromTo[n]); count != 1 {
			return fmt.Errorf("%s has %d times, not once, the text %q: it has to be changed in another way", path, count, fromTo[n])
		}
		text = strings.Replace(text, fromTo[n], fromTo[n+1], 1)
	}
	o[path] = text
	return nil
}

// Build builds one program of this repository, such as ./cmd/apiserver, into a file.
func (o Overlay) Build(ctx context.Context, file, pkg string) (err error) {
	dir, err := os.MkdirTemp("", "latchkey-overlay-")
	if err != nil {
		return fmt.Errorf("a folder for the changed files: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	replace := map[string]string{}
	for path, content := range o {
		changed := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(changed, []byte(content), 0o600); err != nil {
			return fmt.Errorf("write the changed %s: %w", path, err)
		}
		replace[filepath.Join(Root(), path)] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return fmt.Errorf("the overlay of go build: %w", err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return fmt.Errorf("write the overlay of go build: %w", err)
	}
	return build(ctx, []string{"-overlay=" + list, "-o", file, pkg})
}
