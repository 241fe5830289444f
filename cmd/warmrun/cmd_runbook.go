package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runbookCommands look at the runbooks and change the site's own. They run none.
type runbookCommands struct {
	List   runbookListCommand   `cmd:"" help:"List the runbooks: which are shipped, which are the site's own, which are extended."`
	Show   runbookShowCommand   `cmd:"" help:"Print the text of a runbook that is in use, with its extensions."`
	New    runbookNewCommand    `cmd:"" help:"Begin a runbook, or with NAME.d/OWN an extension of one; --example copies one that was shipped."`
	Edit   runbookEditCommand   `cmd:"" help:"Edit the site's own text of a runbook, made from the shipped one where there is none yet."`
	Diff   runbookDiffCommand   `cmd:"" help:"Show what the site's own text changes, and what has changed in the shipped one since it was made."`
	Revert runbookRevertCommand `cmd:"" help:"Take the site's own text of a shipped runbook out of use."`
	Lint   runbookLintCommand   `cmd:"" help:"Look for mistakes in runbooks and extensions, without running anything."`
	Test   runbookTestCommand   `cmd:"" help:"Run the tests of runbooks, with a fake for everything that they call."`
	Types  runbookTypesCommand  `cmd:"" help:"Write what editors and linters need to know of runbooks, and the reference."`
}

// runbookListCommand lists them all.
type runbookListCommand struct {
	Examples bool `help:"List the examples that came with the program instead."`
	JSON     bool `help:"Print JSON."`
}

// listed is one runbook in the list.
type listed struct {
	Name    string `json:"name"`
	Origin  origin `json:"origin"`
	Path    string `json:"path,omitempty"` // of the site's own text
	Summary string `json:"summary,omitempty"`
	// Moved: the shipped text has changed under an override.
	Moved bool `json:"shipped_has_changed,omitempty"`
	// Extensions are the paths of the files that extend it.
	Extensions []string `json:"extensions,omitempty"`
	Error      string   `json:"error,omitempty"` // why it cannot be loaded
}

// Run prints the list, also where some of them cannot be loaded.
func (c *runbookListCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.looseSession(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.Examples {
		return listExamples(p.out)
	}
	names, err := runbookNames(s.site)
	if err != nil {
		return err
	}
	var all []listed
	for _, name := range names {
		entry, err := s.listed(ctx, name)
		if err != nil {
			return err
		}
		all = append(all, entry)
	}
	if c.JSON {
		return printJSON(p.out, all)
	}
	return printListed(p, all)
}

func (s *session) listed(ctx context.Context, name string) (listed, error) {
	v, err := lookAt(s.site, name)
	if err != nil {
		return listed{}, err
	}
	entry := listed{Name: name, Origin: v.origin(), Moved: v.moved()}
	if v.hasOwn {
		entry.Path = v.path
	}
	for _, extension := range v.extensions {
		entry.Extensions = append(entry.Extensions, extension.Path)
	}
	book, err := loadRunbook(ctx, s, s.setting(), name)
	if err != nil {
		entry.Error = oneLine(err)
		return entry, nil
	}
	entry.Summary = book.Summary
	return entry, nil
}

func printListed(p *process, all []listed) error {
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	for _, entry := range all {
		what := entry.Summary
		if entry.Error != "" {
			what = "CANNOT BE LOADED: " + entry.Error
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", entry.Name, entry.Origin, what)
		if entry.Moved {
			fmt.Fprintf(w, "\t\tthe shipped text has changed under it: warmrun runbook diff %s\n", entry.Name)
		}
		for _, path := range entry.Extensions {
			fmt.Fprintf(w, "\t\textended by %s\n", path)
		}
	}
	return w.Flush()
}

// runbookShowCommand prints a text.
type runbookShowCommand struct {
	Name    string `arg:"" help:"The runbook."`
	Shipped bool   `help:"Print the text that came with the program, though the site has its own."`
}

// Run prints the runbook, then each of its extensions below its path.
func (c *runbookShowCommand) Run(_ context.Context, p *process, g *globals) error {
	s, err := p.looseSession(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := lookAt(s.site, c.Name)
	if err != nil {
		return err
	}
	text := v.shipped
	if v.hasOwn && !c.Shipped {
		text = v.own
	}
	if text == "" {
		return hint.Wrap(fmt.Errorf("no runbook %s came with the program", c.Name), "the site's own is %s", v.path)
	}
	if !c.Shipped {
		for _, extension := range v.extensions {
			text += fmt.Sprintf("\n-- extended by %s\n\n%s", extension.Path, extension.Text)
		}
	}
	_, err = fmt.Fprint(p.out, text)
	return err
}

// runbookLintCommand looks for mistakes.
type runbookLintCommand struct {
	Names []string `arg:"" optional:"" name:"runbook" help:"Names of runbooks, or files (default: all of them)."`
	JSON  bool     `help:"Print JSON."`
}

// Run prints every finding; with any, the exit code is 1.
func (c *runbookLintCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.looseSession(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	names := c.Names
	if len(names) == 0 {
		if names, err = runbookNames(s.site); err != nil {
			return err
		}
	}
	found := []engine.Finding{}
	seen := map[engine.Finding]bool{}
	for _, name := range names {
		source, err := s.sourceOf(name)
		if err != nil {
			return err
		}
		for _, f := range engine.Lint(ctx, source, s.host(s.setting())) {
			if !seen[f] { // of a library that several require
				found = append(found, f)
			}
			seen[f] = true
		}
	}
	if c.JSON {
		if err := printJSON(p.out, found); err != nil {
			return err
		}
	} else if err := printFindings(p, found); err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	return negativeError{errors.New("there are findings")}
}

func printFindings(p *process, found []engine.Finding) error {
	for _, f := range found {
		if _, err := fmt.Fprintln(p.out, f); err != nil {
			return err
		}
	}
	return nil
}

// sourceOf is the text of a runbook by its name or by the path of its file; the
// path of an extension stands for the runbook that it extends.
func (s *session) sourceOf(name string) (engine.Source, error) {
	if dir := filepath.Dir(name); filepath.Ext(name) == ".lua" && filepath.Ext(dir) == ".d" {
		return findSource(s.site, strings.TrimSuffix(filepath.Base(dir), ".d"), "")
	}
	if filepath.Ext(name) != ".lua" {
		return findSource(s.site, name, "")
	}
	text, err := os.ReadFile(name)
	return engine.Source{Path: name, Text: string(text)}, err
}

// runbookDiffCommand compares.
type runbookDiffCommand struct {
	Name string `arg:"" help:"The runbook."`
}

// Run prints what the site has changed. Where the shipped text has changed since,
// it prints three parts: the site's change, the shipped change, and where both
// have changed the same lines.
func (c *runbookDiffCommand) Run(_ context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := lookAt(s.site, c.Name)
	if err != nil {
		return err
	}
	if v.origin() != originOverride {
		return hint.Wrap(fmt.Errorf("%s has no text of the site's own beside a shipped one", v.name), "warmrun runbook list shows which is whose")
	}
	_, err = fmt.Fprint(p.out, v.diff())
	return err
}
