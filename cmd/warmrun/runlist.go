package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// runsListCommand is runs list.
type runsListCommand struct {
	JSON bool `help:"Print JSON."`
}

// runsShowCommand is runs show.
type runsShowCommand struct {
	ID   string `arg:"" help:"The run's ID, or how it begins."`
	JSON bool   `help:"Print JSON."`
}

// runInfo is a run as list and show print it.
type runInfo struct {
	ID      string            `json:"id"`
	Runbook string            `json:"runbook"`
	Args    map[string]string `json:"args,omitempty"`
	State   string            `json:"state"`
	Step    string            `json:"step,omitempty"`
	Past    bool              `json:"past_no_return,omitempty"`
	Error   string            `json:"error,omitempty"`
	Left    []string          `json:"left,omitempty"`
	Began   time.Time         `json:"began"`
	User    string            `json:"user"`
	Node    cluster.NodeName  `json:"node"` // that drives it, or did last
	PID     int               `json:"pid"`
	// Taken are the processes that have gone on with it.
	Taken   []runTaken     `json:"taken,omitempty"`
	View    *runView       `json:"view,omitempty"`
	Scripts []scriptInfo   `json:"scripts,omitempty"`
	Events  []engine.Event `json:"events,omitempty"`
	// Certificate is what a switchover can show for itself, for people; beside it
	// is one in JSON.
	Certificate string `json:"certificate,omitempty"`
	// Next are the commands that end it.
	Next string `json:"next,omitempty"`
}

type scriptInfo struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// allRuns reads all runs that this node knows, the newest first. A journal that
// cannot be read is named and passed over.
func allRuns(s *session) ([]runRecord, error) {
	paths, err := filepath.Glob(s.site.Local("runs", "*", "journal"))
	if err != nil {
		return nil, err
	}
	var all []runRecord
	for _, path := range paths {
		r, err := readRecord(s.site, filepath.Base(filepath.Dir(path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.complain(err)
			continue
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b runRecord) int { return b.Head.Began.Compare(a.Head.Began) })
	return all, nil
}

// complain prints an error that does not end the command.
func (s *session) complain(err error) {
	message, next := describe(err)
	fmt.Fprintf(s.err, "warmrun: %s\n", message)
	if next != "" {
		fmt.Fprintf(s.err, "warmrun: hint: %s\n", next)
	}
}

// describe puts a run into the form that is printed.
func (r runRecord) describe(site *cluster.Site) (runInfo, error) {
	state, driver := r.summary(), r.driver()
	info := runInfo{
		ID: r.Head.ID, Runbook: r.Head.Runbook, Args: r.Head.Args, State: string(state.State), Step: state.Step, Past: state.Past, Error: state.Error,
		Left: state.Left, Began: r.Head.Began, User: driver.User, Node: driver.Node, PID: driver.PID, Taken: r.Taken,
	}
	if path := filepath.Join(runDir(site, r.Head.ID), certificateName+".txt"); isFile(path) {
		info.Certificate = path
	}
	held, err := journal.Held(journalPath(site, r.Head.ID))
	if err != nil {
		return info, err
	}
	held = held || r.held != ""
	switch outermost := r.Head.ID == r.Head.Outermost; {
	case r.Abandoned != nil:
		info.State = "abandoned"
	case r.open() && held:
		info.State = "under way"
	case r.open() && outermost:
		info.Next = waysOut(r)
	case state.State == engine.Halfway && outermost && state.Past:
		info.Next = "go on where it stopped: warmrun runs resume " + r.Head.ID
	case state.State == engine.Halfway && outermost:
		info.Next = "undo the rest: warmrun runs rollback " + r.Head.ID
	}
	return info, nil
}

// refresh brings this node's copies of unfinished runs up to what the others
// know, and those that only they know.
func refresh(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, statusAnswer)
	defer cancel()
	there := make([][]string, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		if !s.site.IsSelf(n.Name) {
			group.Go(func() { there[i], _ = callOn(ctx, s, n.Name, "runs.unfinished", none{}, unfinishedHere) })
		}
	}
	group.Wait()
	_, err := unfinished(ctx, s, slices.Concat(there...))
	return err
}

// Run prints the runs, the newest first, without the parts of others.
func (c *runsListCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.quiet, s.connectTimeout = true, statusConnect
	if err := refresh(ctx, s); err != nil {
		s.complain(err)
	}
	all, err := allRuns(s)
	if err != nil {
		return err
	}
	infos := []runInfo{}
	for _, r := range all {
		if r.Head.ID != r.Head.Outermost {
			continue
		}
		info, err := r.describe(s.site)
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	if c.JSON {
		return printJSON(p.out, infos)
	}
	return printRuns(p.out, infos)
}

func printRuns(out io.Writer, infos []runInfo) error {
	if len(infos) == 0 {
		_, err := fmt.Fprintln(out, "No runs are known here.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STATE\tRUN\tDRIVEN BY\tLAST STEP")
	for _, info := range infos {
		fmt.Fprintf(table, "%s\t%s\t%s on %s\t%s\n", info.State, info.ID, info.User, info.Node, info.Step)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, info := range infos {
		if info.Next != "" && info.State == string(engine.Interrupted) {
			fmt.Fprintf(foldTo(out), "\n%s is unfinished; %s\n", info.ID, info.Next)
		}
	}
	return nil
}

// Run prints one run.
func (c *runsShowCommand) Run(ctx context.Context, p *process, g *globals) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	s.quiet, s.connectTimeout = true, statusConnect
	r, err := findRun(ctx, s, c.ID)
	if err != nil {
		return err
	}
	if r.open() {
		if r, err = gather(ctx, s, r.Head.ID); err != nil {
			return err
		}
	}
	info, err := r.describe(s.site)
	if err != nil {
		return err
	}
	info.View, info.Events = &r.Head.View, r.plain
	for _, script := range r.Scripts {
		info.Scripts = append(info.Scripts, scriptInfo{Name: script.Name, Path: script.Path, SHA256: script.SHA256})
	}
	if c.JSON {
		return printJSON(p.out, info)
	}
	return printRun(foldTo(p.out), info)
}

func printRun(out io.Writer, info runInfo) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", info.ID, info.State)
	fmt.Fprintf(&b, "  warmrun %s\n", strings.Join(runbookWords(info.Runbook, info.Args), " "))
	fmt.Fprintf(&b, "  begun %s, driven by %s on %s as process %d\n", clock(info.Began), info.User, info.Node, info.PID)
	for _, taken := range info.Taken {
		fmt.Fprintf(&b, "  taken over %s by %s on %s\n", clock(taken.At), taken.User, taken.Node)
	}
	for _, e := range info.Events {
		if line := eventLine(e); line != "" {
			fmt.Fprintf(&b, "  %s  %s\n", e.At.Format("15:04:05.000"), line)
		}
	}
	if info.Certificate != "" {
		fmt.Fprintf(&b, "certificate: %s\n", info.Certificate)
	}
	if len(info.Left) > 0 {
		fmt.Fprintf(&b, "not undone: %s\n", strings.Join(info.Left, ", "))
	}
	if info.Error != "" {
		fmt.Fprintf(&b, "error: %s\n", info.Error)
	}
	if info.Next != "" {
		fmt.Fprintf(&b, "%s\n", info.Next)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func clock(at time.Time) string { return at.Format("2006-01-02 15:04:05 MST") }

// eventLine is an event in words; empty where it tells nothing that the others
// do not.
func eventLine(e engine.Event) string {
	switch e.Kind {
	case engine.RunBegan, engine.RunResumed, engine.NoReturnPassed:
		return string(e.Kind)
	case engine.RunEnded:
		return "run ended: " + string(e.Outcome)
	case engine.StepBegan, engine.UndoBegan:
		return e.Step + ": began" + map[engine.EventKind]string{engine.UndoBegan: " to be undone"}[e.Kind]
	case engine.ChangeBegan:
		return e.Step + ": calls " + e.Func
	case engine.NestedCalled:
		return fmt.Sprintf("%s: calls %s on %s", e.Step, e.Nested.Runbook, e.Nested.Node)
	case engine.StepRetried:
		return fmt.Sprintf("%s: try %d failed: %s", e.Step, e.Attempt, e.Error)
	case engine.StepEnded, engine.UndoEnded:
		if e.Error != "" {
			return fmt.Sprintf("%s: %s: %s", e.Step, e.Outcome, e.Error)
		}
		return fmt.Sprintf("%s: %s", e.Step, e.Outcome)
	}
	return ""
}
