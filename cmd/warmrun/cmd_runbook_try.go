package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/hint"
)

// runbookTestCommand runs the tests of runbooks, in which nothing is real.
type runbookTestCommand struct {
	Files []string `arg:"" optional:"" name:"file" help:"Files that end in return test { ... } (default: all NAME_test.lua in global/runbooks)."`
	JSON  bool     `help:"Print JSON."`
}

// Run prints a line for each case; with any that fails, the exit code is 1. A
// failure of a runbook that no case has brought about is said, and is none.
func (c *runbookTestCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.looseSession(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	files, err := c.files(s)
	if err != nil {
		return err
	}
	var reports []engine.TestReport
	failed := 0
	for _, file := range files {
		report, err := s.test(ctx, file)
		if err != nil {
			return err
		}
		reports = append(reports, report)
		failed += report.Failed()
	}
	if c.JSON {
		err = printJSON(p.out, reports)
	} else {
		err = printReports(p, reports)
	}
	if err != nil || failed == 0 {
		return err
	}
	return negativeError{fmt.Errorf("%d cases fail", failed)}
}

func (c *runbookTestCommand) files(s *session) ([]string, error) {
	if len(c.Files) > 0 || s.site == nil {
		if len(c.Files) == 0 {
			return nil, usageError{errors.New("which files?")}
		}
		return c.Files, nil
	}
	pattern := filepath.Join(s.site.Global("runbooks"), "*"+testMark+".lua")
	files, err := filepath.Glob(pattern)
	if err == nil && len(files) == 0 {
		err = hint.Wrap(absentError{fmt.Errorf("there is no %s", pattern)}, "runbooks/REFERENCE.md tells how to write one")
	}
	return files, err
}

// test runs one file. The runbook that it is for is the site's own, where there
// is one, with the site's extensions.
func (s *session) test(ctx context.Context, file string) (engine.TestReport, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return engine.TestReport{}, err
	}
	source := engine.Source{Path: file, Text: string(text)}
	return engine.TestRunbook(ctx, source, s.host(s.setting()), func(name string) (engine.Source, error) { return findSource(s.site, name, "") })
}

func printReports(p *process, reports []engine.TestReport) error {
	var b strings.Builder
	for _, report := range reports {
		for _, c := range report.Cases {
			if len(c.Problems) == 0 {
				fmt.Fprintf(&b, "ok      %s: %s\n", report.Runbook, c.Name)
				continue
			}
			fmt.Fprintf(&b, "FAILED  %s: %s (%s:%d)\n", report.Runbook, c.Name, c.File, c.Line)
			for _, problem := range c.Problems {
				fmt.Fprintf(&b, "          %s\n", problem)
			}
			for _, call := range c.Calls {
				fmt.Fprintf(&b, "            %s\n", call)
			}
		}
		for _, untried := range report.Untried {
			fmt.Fprintf(&b, "untried %s: %s\n", report.Runbook, untried)
		}
	}
	_, err := fmt.Fprint(p.out, b.String())
	return err
}
