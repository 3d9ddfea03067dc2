// Command openapi-validate says what libopenapi finds wrong with OpenAPI documents:
// it reads the files that it is given, and fails where one is not valid.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

func main() {
	failed := false
	for _, file := range os.Args[1:] {
		if err := validate(file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed || len(os.Args) == 1 {
		os.Exit(1)
	}
}

func validate(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		return err
	}
	// The validator knows nothing of references that lead nowhere.
	if _, err := document.BuildV3Model(); err != nil {
		return err
	}
	v, found := validator.NewValidator(document)
	if len(found) > 0 {
		return errors.Join(found...)
	}
	valid, problems := v.ValidateDocument()
	if valid {
		return nil
	}
	err = errors.New("not valid")
	for _, problem := range problems {
		err = errors.Join(err, problem)
		for _, detail := range problem.SchemaValidationErrors {
			err = errors.Join(err, detail)
		}
	}
	return err
}
