package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore/cluster"
)

const shippedTests = "../../runbooks/tests"

// TestShippedRunbooks runs the tests of the shipped runbooks. Every failure of
// theirs is brought about: of each check and step, each undo, each fail.
func TestShippedRunbooks(t *testing.T) {
	names, err := runbookNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			testFile(t, newSession(nil, nil, nil), filepath.Join(shippedTests, name+"_test.lua"))
		})
	}
}

// TestExamples runs those of the examples, as a site that has copied them.
func TestExamples(t *testing.T) {
	for _, example := range exampleNames(t) {
		t.Run(example, func(t *testing.T) {
			site := &cluster.Site{Home: t.TempDir()}
			text, err := examples(t, example)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeDurably(filepath.Join(site.Global("runbooks"), example+".lua"), text); err != nil {
				t.Fatal(err)
			}
			file := strings.ReplaceAll(example, ".d/", "_") + "_test.lua"
			testFile(t, newSession(site, nil, nil), filepath.Join(shippedTests, "examples", file))
		})
	}
}

func testFile(t *testing.T, s *session, file string) {
	t.Helper()
	report, err := s.test(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		if len(c.Problems) > 0 {
			t.Errorf("%s:%d: %s:\n%s\nits calls:\n%s\nits output:\n%s", c.File, c.Line, c.Name,
				strings.Join(c.Problems, "\n"), strings.Join(c.Calls, "\n"), c.Output)
		}
	}
	for _, untried := range report.Untried {
		if s.site != nil && strings.HasPrefix(untried, "fail is never called: ") && !strings.Contains(untried, s.site.Home) {
			continue // of the shipped text that the example extends
		}
		t.Errorf("%s: no case in which: %s", file, untried)
	}
}

func exampleNames(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(runbooks.Examples, "examples", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(path, "examples/"), ".lua"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func examples(t *testing.T, name string) (string, error) {
	t.Helper()
	text, err := runbooks.Examples.ReadFile("examples/" + name + ".lua")
	return string(text), err
}
