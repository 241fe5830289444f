package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The runbooks that are measured. None of their steps does anything.
const (
	fewSteps  = 1
	manySteps = 21
	longLines = 5000
)

// runbookPart: what the journal costs a step, beside the two flushes that are
// most of it; the help with every shipped runbook loaded; and the help of a
// runbook of 5,000 lines, beside that of one of seven.
func runbookPart(ctx context.Context, b *bench) error {
	home, err := b.runbookHome("shipped", map[string]string{
		"few": emptyRunbook("few", emptySteps(fewSteps)), "many": emptyRunbook("many", emptySteps(manySteps))})
	if err != nil {
		return err
	}
	// A home of its own: --help loads every runbook there is.
	long, err := b.runbookHome("long", map[string]string{"long": emptyRunbook("long", stepsOf(longLines))})
	if err != nil {
		return err
	}
	if err := b.stepRows(ctx, home); err != nil {
		return err
	}
	var rows []row
	calls := []struct {
		who, home string
		args      []string
	}{
		{"--help, all shipped runbooks", home, []string{"--help"}},
		{fmt.Sprintf("--help of a runbook of %d lines", longLines), long, []string{"long", "--help"}},
		{"--help of a runbook of 7 lines", home, []string{"few", "--help"}},
		{"version, which loads none", home, []string{"version"}},
	}
	for _, c := range calls {
		rows = append(rows, row{Part: "runbook", Who: c.who, Unit: "ms"})
	}
	for round := range b.rounds(30, 5) {
		for _, i := range turns(len(calls), round) {
			took, err := b.timed(ctx, b.dir, append([]string{b.path("warmrun"), "--home", calls[i].home}, calls[i].args...)...)
			if err != nil {
				return err
			}
			rows[i].Values = append(rows[i].Values, ms(took))
		}
	}
	b.print("whole calls that load runbooks", rows)
	return nil
}

// stepRows runs few and many steps in turn: the difference is the steps'.
func (b *bench) stepRows(ctx context.Context, home string) error {
	rows := []row{
		{Part: "runbook", Who: us, Unit: "ms", Fsync: "journal"},
		{Part: "runbook", Who: "two lines appended, each flushed", Unit: "ms", Fsync: "fdatasync"},
	}
	for range b.rounds(30, 5) {
		few, err := b.runSteps(ctx, home, "few")
		if err != nil {
			return err
		}
		flushes, err := b.flushTwice(manySteps - fewSteps)
		if err != nil {
			return err
		}
		many, err := b.runSteps(ctx, home, "many")
		if err != nil {
			return err
		}
		steps := float64(manySteps - fewSteps)
		rows[0].Values = append(rows[0].Values, (ms(many)-ms(few))/steps)
		rows[1].Values = append(rows[1].Values, ms(flushes)/steps)
	}
	b.print(fmt.Sprintf("an empty step of a run with its journal, by a run of %d steps and one of %d", manySteps, fewSteps), rows)
	return nil
}

func (b *bench) runSteps(ctx context.Context, home, name string) (time.Duration, error) {
	return b.timed(ctx, b.dir, b.path("warmrun"), "--home", home, name)
}

// flushTwice appends and flushes two lines for each step, as the journal does.
func (b *bench) flushTwice(steps int) (took time.Duration, err error) {
	f, err := os.Create(b.path("lines"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line := []byte(strings.Repeat("x", 200) + "\n")
	start := time.Now()
	for range 2 * steps {
		if _, err := f.Write(line); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// runbookHome makes a site of one node with runbooks of its own, which are given
// by name.
func (b *bench) runbookHome(name string, runbooks map[string]string) (string, error) {
	home := b.path(name)
	files := map[string]string{
		"global/cluster.toml": fmt.Sprintf("[[node]]\nname = \"db1\"\nhome = %q\npgdata = %q\n", home, b.path("none")),
		"local/node":          "db1\n",
	}
	for runbook, text := range runbooks {
		files["global/runbooks/"+runbook+".lua"] = text
	}
	for path, text := range files {
		if err := write(home+"/"+path, text, 0o644); err != nil {
			return "", err
		}
	}
	return home, nil
}

// stepsOf are steps that fill so many lines of a runbook.
func stepsOf(lines int) string {
	var steps strings.Builder
	for i := range (lines - 6) / 4 {
		fmt.Fprintf(&steps, "    step { \"step %d\",\n      run = function(c) return { n = %d, on = c.node } end,\n      undo = function(c) say(\"%%s\", c.node) end,\n    },\n", i, i)
	}
	return steps.String()
}

func emptySteps(n int) string {
	var steps strings.Builder
	for i := range n {
		fmt.Fprintf(&steps, "    step { \"step %d\", run = function(c) end },\n", i)
	}
	return steps.String()
}

func emptyRunbook(name, steps string) string {
	return fmt.Sprintf("return runbook {\n  api = 1, name = %q, summary = \"Steps that do nothing\", runs_on = \"any\", lock = \"none\",\n  steps = {\n%s  },\n}\n", name, steps)
}
