package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

const checksums = "checksums.txt"

// madeFile is a file below the folder that all is written to.
type madeFile struct{ name, sum string }

// listFiles is sorted by name.
func listFiles(dir string) ([]madeFile, error) {
	var files []madeFile
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sum, err := sumFile(path)
		files = append(files, madeFile{filepath.ToSlash(name), sum})
		return err
	})
	return files, err
}

func sumFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// makeChecksums writes what `sha256sum --check` reads, of every file in the folder.
// It names them without their folders, as they are on the release's page.
func makeChecksums(_ context.Context, o *options, _ *source) error {
	files, err := listFiles(o.out)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	seen := map[string]string{}
	for _, file := range files {
		if file.name == checksums {
			continue
		}
		name := path.Base(file.name)
		if seen[name] != "" {
			return fmt.Errorf("%s and %s would be the same file on the release's page", seen[name], file.name)
		}
		seen[name] = file.name
		fmt.Fprintf(&lines, "%s  %s\n", file.sum, name)
	}
	return writeFile(filepath.Join(o.out, checksums), func(w io.Writer) error {
		_, err := w.Write(lines.Bytes())
		return err
	})
}
