// Package rehearsal runs a runbook on a lab's real servers while a client
// writes, and checks what must hold in the end: never two nodes that accept
// writes, no gap in the WAL of any archive, no acknowledged row lost. With
// crashes it does so once for each boundary of the runbook's steps, kills
// something exactly there, and goes on as an operator would.
//
// Terms:
//
//   - boundary: a place in the life of a step; see Place. An undisturbed run
//     declares the boundaries that it passes, those of runbooks within it too.
//   - row: one run on a cluster that was put back to what it was before.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/lab/boundary"
	"github.com/warmrun/warmrun/builtins/lab/ledger"
)

// Book is the runbook, as far as a rehearsal must know it.
type Book struct {
	Name   string
	RunsOn string
	Steps  []string
	Flags  []string // without their dashes
}

// has reports whether the runbook knows a flag.
func (b Book) has(flag string) bool { return slices.Contains(b.Flags, flagName(flag)) }

// Options say what is rehearsed, and how. Out takes the table as it grows, for
// people; nil is allowed.
type Options struct {
	lab.Options
	Book Book
	// Args are the runbook's flags, as they are typed.
	Args []string
	// Runbooks is the directory of the site's own runbooks; empty means none.
	Runbooks string
	// Crash adds a row for each boundary and victim.
	Crash bool
	// Step, At and Kill bound these to one of each; empty means all.
	Step string
	At   Place
	Kill Victim
}

// rehearsal is one under way.
type rehearsal struct {
	o         Options
	lab       *lab.Lab
	scenario  scenario
	kept      lab.Kept
	answer    string // of the last question to a server
	reference *Row   // the undisturbed run

	mu   sync.Mutex
	hold func(boundary.Moment) // of the row under way
}

// dirPrefix begins the name of a rehearsal's directory; its process ID ends it.
const dirPrefix = "warmrun-rehearse-"

// Run makes a lab, rehearses in it, and takes it down, also when ctx ended. The
// error says that the rehearsal itself could not be made; what was found of the
// runbook is in the report.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	ctx, stop := lab.Outlive(ctx)
	defer stop()
	r := &rehearsal{o: o, scenario: scenarioOf(o.Book)}
	began := time.Now()
	build := o.Options
	build.Out = nil
	if build.Dir == "" {
		build.Dir = lab.OwnDir(ctx, dirPrefix)
	}
	if r.lab, err = lab.Up(ctx, build); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.lab.Close(ctx)) }()
	if err := r.prepare(ctx); err != nil {
		return report, err
	}
	watch, err := boundary.Listen(ctx, r.lab.Dir, func(m boundary.Moment) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.hold != nil {
			r.hold(m)
		}
	})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, watch.Close()) }()
	report = Report{
		Runbook: o.Book.Name, Server: r.lab.Version.String(),
		Command: r.scenario.driver + "$ warmrun " + strings.Join(r.command(), " "),
	}
	return report, r.rows(ctx, &report, began)
}

func (r *rehearsal) command() []string {
	dir := ""
	if n, err := r.lab.Node(r.scenario.driver); err == nil {
		dir = n.Dir
	}
	return r.scenario.command(r.o.Book, r.o.Args, strings.NewReplacer("{dir}", dir, "{answer}", r.answer))
}

func (r *rehearsal) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.o.Out, format, args...) // progress for people
}

// prepare brings the cluster to where the runbook begins, and keeps it.
func (r *rehearsal) prepare(ctx context.Context) error {
	r.say("PostgreSQL %s, three nodes below %s\n", r.lab.Version, r.lab.Dir)
	db1 := r.lab.Nodes[0]
	if r.o.Runbooks != "" {
		if err := os.CopyFS(filepath.Join(db1.Home, "global", "runbooks"), os.DirFS(r.o.Runbooks)); err != nil {
			return fmt.Errorf("take the site's runbooks along: %w", err)
		}
	}
	if err := ledger.CreateTable(ctx, r.lab.Target(db1)); err != nil {
		return err
	}
	var acts []act
	for s := installed; s <= r.scenario.cluster; s++ {
		acts = append(acts, steps[s]...)
	}
	for _, a := range append(acts, r.scenario.prepare...) {
		if _, err := r.act(ctx, a); err != nil {
			return err
		}
	}
	var err error
	r.kept, err = r.lab.Keep(ctx)
	return err
}

// act does one thing to the cluster.
func (r *rehearsal) act(ctx context.Context, a act) (said string, err error) {
	if a.sql != "" {
		return "", r.ask(ctx, a)
	}
	if a.line == "" {
		return "", r.lab.Kill(ctx, a.node)
	}
	words := strings.Fields(a.line)
	if a.killed == nil {
		got, err := r.run(ctx, a.node, words...)
		if err == nil && got.code != 0 {
			err = fmt.Errorf("%s: %s\n%s", a, got.status(), got.all())
		}
		return got.all(), err
	}
	hit := false
	r.holding(func(m boundary.Moment) {
		if a.killed.is(m) {
			hit = true
			_ = syscall.Kill(m.PID, syscall.SIGKILL) // it is held, so it is there
		}
	})
	defer r.holding(nil)
	got, err := r.run(ctx, a.node, words...)
	if err != nil {
		return got.all(), err
	}
	if !hit {
		return got.all(), fmt.Errorf("%s has not come to that step\n%s", a, got.all())
	}
	o := operator{r: r, node: a.node}
	return got.all(), o.abandon(ctx)
}

// ask notes what a server says.
func (r *rehearsal) ask(ctx context.Context, a act) error {
	n, err := r.lab.Node(a.node)
	if err == nil {
		r.answer, err = value(ctx, r.lab.Target(n), a.sql)
	}
	return err
}

func (r *rehearsal) holding(hold func(boundary.Moment)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = hold
}

// rows are the undisturbed run and, where it went well, the disturbed ones.
func (r *rehearsal) rows(ctx context.Context, report *Report, began time.Time) error {
	r.say("%s\n", report.Command)
	for _, a := range r.scenario.before {
		r.say("    after %s\n", a)
	}
	r.say("\n%s", tableHead())
	first, err := r.undisturbed(ctx, report)
	if err != nil {
		return err
	}
	first.print(r.o.Out, r.o.Book.Name)
	report.Rows = append(report.Rows, first)
	var asked []Boundary
	if r.o.Crash && len(first.Problems) == 0 {
		if asked, err = r.asked(report.Declared); err != nil {
			return err
		}
		for _, p := range r.plans(asked) {
			if last := report.Rows[len(report.Rows)-1]; p.back && len(last.Did) == 0 {
				continue // there was nothing left to decide
			}
			row, err := r.play(ctx, p)
			if err != nil {
				return err
			}
			row.print(r.o.Out, r.o.Book.Name)
			report.Rows = append(report.Rows, row)
		}
	}
	report.conclude(asked, began)
	return nil
}
