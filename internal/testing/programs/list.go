package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// goPackage describes a package as `go list` prints it.
type goPackage struct {
	ImportPath, Dir string
	Name            string
	Standard        bool
	GoFiles, SFiles []string
	Imports         []string
	// ImportMap has the imports that mean a package by another path.
	ImportMap map[string]string
}

// listPackages lists what a target is made of, every package behind those that it imports.
// Go downloads the modules that are missing.
func listPackages(ctx context.Context, t *target, line func(string)) ([]goPackage, error) {
	args := append([]string{"list", "-deps", "-json=ImportPath,Dir,Name,Standard,GoFiles,SFiles,Imports,ImportMap"}, t.flags()...)
	output, err := goCommand(ctx, t.dir, append(args, t.packages...), line)
	if err != nil {
		return nil, err
	}
	var all []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list -json: %w", err)
		}
		all = append(all, p)
	}
}

// nameParts gives each package the name of the first of the parts that needs it.
func nameParts(packages []goPackage, t *target) []listed {
	byPath := make(map[string]goPackage, len(packages))
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}
	names := make(map[string]string, len(packages))
	var mark func(path, part string)
	mark = func(path, part string) {
		if _, ok := names[path]; ok {
			return
		}
		names[path] = part
		p := byPath[path]
		for _, imported := range p.Imports {
			if actual, ok := p.ImportMap[imported]; ok {
				imported = actual
			}
			mark(imported, part)
		}
	}
	for _, part := range t.parts {
		mark(part.path, part.name)
	}
	all := make([]listed, 0, len(packages))
	for _, p := range packages {
		part, ok := names[p.ImportPath]
		if !ok {
			part = t.name
		}
		all = append(all, listed{p.ImportPath, part, weigh(p), p.Name == "main"})
	}
	return all
}

// weigh guesses what it costs to compile a package from the size of its source. A package
// costs something even if it is small.
func weigh(p goPackage) float64 {
	const least = 50_000
	weight := float64(least)
	for _, name := range slices.Concat(p.GoFiles, p.SFiles) {
		if info, err := os.Stat(filepath.Join(p.Dir, name)); err == nil {
			weight += float64(info.Size())
		}
	}
	return weight
}
