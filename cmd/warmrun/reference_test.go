package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReferenceIsInStep: the annotations, the definitions for linters and the
// page of the manual are those of the operations that there are.
func TestReferenceIsInStep(t *testing.T) {
	files, err := typeFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join("..", "..", "runbooks", f.name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != f.text {
			t.Errorf("%s is not what the registry of operations says; run: make types", path)
		}
	}
}

// TestEveryOperationIsDescribed: the reference says of each what it does.
func TestEveryOperationIsDescribed(t *testing.T) {
	reference, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range reference.Modules {
		if m.Doc == "" {
			t.Errorf("nothing is said of module %s", m.Name)
		}
		for _, f := range m.Funcs {
			if f.Doc == "" {
				t.Errorf("nothing is said of %s.%s", m.Name, f.Name)
			}
		}
	}
	for _, f := range reference.Fields {
		if f.Doc == "" {
			t.Errorf("nothing is said of c.%s", f.Name)
		}
	}
}
