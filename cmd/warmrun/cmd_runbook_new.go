package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runbookNewCommand begins a text.
type runbookNewCommand struct {
	Name    string `arg:"" help:"The new runbook, or RUNBOOK.d/NAME for an extension of one."`
	Example bool   `help:"Copy the example of this name (warmrun runbook list --examples)."`
}

// Run writes a text that loads as it is, and opens the editor on it.
func (c *runbookNewCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	text, book, err := c.text(s)
	if err != nil {
		return err
	}
	path := filepath.Join(s.site.Global("runbooks"), c.Name+".lua")
	if _, err := os.Lstat(path); err == nil {
		return hint.Wrap(fmt.Errorf("%s exists", path), "change it with your editor, or take another name")
	}
	if err := writeDurably(path, text); err != nil {
		return err
	}
	edited, err := edit(ctx, p, path)
	if err != nil || !edited {
		return err
	}
	return s.afterEdit(ctx, p, book)
}

// newName is NAME, or RUNBOOK.d/NAME.
const newName = `^([A-Za-z][A-Za-z0-9_-]*)(\.d/[A-Za-z0-9_-]+)?$`

// text is what the new file begins with, and the runbook that it is of.
func (c *runbookNewCommand) text(s *session) (text, book string, err error) {
	parts := regexp.MustCompile(newName).FindStringSubmatch(c.Name)
	if parts == nil {
		return "", "", usageError{fmt.Errorf("%q is not the name of a runbook, or RUNBOOK.d/NAME for an extension: letters, digits, - and _", c.Name)}
	}
	book, extends := parts[1], parts[2] != ""
	v, err := lookAt(s.site, book)
	switch {
	case extends && err != nil:
		return "", "", err
	case !extends && err == nil && v.shipped != "":
		return "", "", hint.Wrap(fmt.Errorf("a runbook %s came with the program", book), "to change it: warmrun runbook edit %s; to add steps to it: warmrun runbook new %[1]s.d/NAME", book)
	}
	if c.Example {
		example, err := runbooks.Examples.ReadFile("examples/" + c.Name + ".lua")
		if err != nil {
			return "", "", hint.Wrap(fmt.Errorf("there is no example %s", c.Name), "warmrun runbook list --examples lists them")
		}
		return string(example), book, nil
	}
	if !extends {
		return strings.ReplaceAll(newRunbook, "NAME", book), book, nil
	}
	source, err := findSource(s.site, book, "")
	if err != nil {
		return "", "", err
	}
	first := ""
	if found := regexp.MustCompile(firstStep).FindStringSubmatch(source.Text); found != nil {
		first = found[1]
	}
	return strings.NewReplacer("BOOK", book, "STEP", first).Replace(newExtension), book, nil
}

const firstStep = `step \{\s*"([A-Za-z_][A-Za-z0-9_]*)"`

const newRunbook = `-- NAME: what it does, and when to run it.

return runbook {
  api = 1,
  name = "NAME",
  summary = "One line for the list of commands",
  runs_on = "any", -- primary, standby, dr, pair or any
  lock = "node",   -- cluster for what changes the state of the cluster, node, or none

  params = {
    wait = param.duration { default = "30s", help = "how long to wait" },
  },

  checks = {
    check { "a server runs on this node", function(c) return pg_ctl.status(c.node).running, "no server runs on " .. c.node end },
  },

  steps = {
    -- Each step that changes something says how that is taken back: undo, or
    -- undo = false where nothing needs to be, or irreversible = true.
    step { "look", run = function(c)
      local control = pg_ctl.control(c.node)
      say("%s is %s, its last checkpoint is at %s", c.node, control.state, control.checkpoint)
    end },
  },
}
`

const newExtension = `-- A site's own steps around those of BOOK, which stays as it is.

return extension {
  api = 1,
  extends = "BOOK",
  summary = "One line that says what is added",

  -- before, after and replace go by the names of BOOK's steps. A step that was
  -- added only warns when it fails; with on_error = "fail" it ends the run.
  before = {
    STEP = step { "greet", run = function(c) say("%s begins on %s", c.name, c.node) end },
  },

  -- At the end of every run that has begun a step, done or failed.
  finally = {
    step { "tell", run = function(c) say("%s: %s", c.name, c.outcome) end },
  },
}
`

// listExamples prints the examples with the first line of each.
func listExamples(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	err := fs.WalkDir(runbooks.Examples, "examples", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := runbooks.Examples.ReadFile(path)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		name := strings.TrimSuffix(strings.TrimPrefix(path, "examples/"), ".lua")
		_, err = fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimPrefix(first, "-- "))
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "\nTo use one: warmrun runbook new --example NAME")
	return err
}
