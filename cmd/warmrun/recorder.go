package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/lab/boundary"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/engine/journal"
	"github.com/warmrun/warmrun/runbooks"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/fault"
	"github.com/warmrun/warmrun/walcore/hint"
)

// recorder writes the journal of a run that this process drives. The nodes that
// the run has locked keep copies, so that another can go on with it.
type recorder struct {
	s      *session
	id     string
	book   *engine.Runbook
	at     setting
	j      *journal.Journal
	copies *clusterLock // nil: there are none
	words  verdicts     // on steps of runs within this one
	ended  bool
}

type recorderKey struct{}

// recorderOf is the recorder of the run that ctx belongs to, or nil.
func recorderOf(ctx context.Context) *recorder {
	r, _ := ctx.Value(recorderKey{}).(*recorder)
	return r
}

// within gives the steps of the run its recorder.
func (r *recorder) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, recorderKey{}, r)
}

// thisProcess is who goes on with a run.
func thisProcess(s *session) runTaken {
	h := holderOf(s, "")
	return runTaken{User: h.User, Node: h.Node, PID: h.PID, Version: version, At: h.Since}
}

// beginRecord writes the beginning of a run's journal. Whoever cannot has
// changed nothing.
func beginRecord(s *session, book *engine.Runbook, at setting, id string, args map[string]string) (*recorder, error) {
	r := &recorder{s: s, id: id, book: book, at: at}
	if err := r.begin(args); err != nil {
		return nil, engine.NotBegun(fmt.Errorf("the run cannot be recorded: %w", err))
	}
	return r, nil
}

func (r *recorder) begin(args map[string]string) (err error) {
	scripts, err := r.scripts()
	if err != nil {
		return err
	}
	if err := markOpen(r.s.site, r.id); err != nil {
		return err
	}
	if r.j, err = journal.Create(journalPath(r.s.site, r.id)); err != nil {
		return err
	}
	who := thisProcess(r.s)
	entries := []runEntry{{Head: &runHead{
		ID: r.id, Outermost: r.s.run, Runbook: r.book.Name, Args: args, Lock: r.book.LockFor(args),
		User: who.User, Node: who.Node, PID: who.PID, Version: who.Version, Began: who.At, View: r.at.view,
	}}}
	for i := range scripts {
		entries = append(entries, runEntry{Script: &scripts[i]})
	}
	if err := r.write(entries...); err != nil {
		return errors.Join(err, r.j.Close())
	}
	return nil
}

// scripts pins the run to its texts: what it has loaded, and all of the site's
// own that it may load yet. What came with the program stays as it is as long as
// the program does.
func (r *recorder) scripts() ([]runScript, error) {
	own := r.at.pinned // of the run around this one
	if own == nil {
		var err error
		if own, err = siteSources(r.s.site); err != nil {
			return nil, err
		}
	}
	r.at.pinned = maps.Clone(own)
	maps.Copy(r.at.pinned, loadedScripts(r.s.site, r.book))
	var scripts []runScript
	for _, name := range slices.Sorted(maps.Keys(r.at.pinned)) {
		scripts = append(scripts, scriptOf(name, r.at.pinned[name]))
	}
	return scripts, nil
}

// siteSources reads all texts that are the site's own and can become part of a
// runbook, by their names. One that cannot be read is an error, as it is for a
// run that nobody records.
func siteSources(site *cluster.Site) (map[string]engine.Source, error) {
	own := map[string]engine.Source{}
	for _, pattern := range []string{"*.lua", "lib/*.lua", "*.d/*.lua"} {
		files, err := filepath.Glob(filepath.Join(site.Global("runbooks"), pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name, err := filepath.Rel(site.Global("runbooks"), strings.TrimSuffix(file, ".lua"))
			if err != nil {
				return nil, err
			}
			if !canBeLoaded(name) {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			_, err = fs.Stat(runbooks.Files, filepath.ToSlash(name)+".lua")
			own[name] = engine.Source{Name: filepath.Base(name), Path: file, Text: string(text), Shadows: err == nil}
		}
	}
	return own, nil
}

// canBeLoaded is false for files that lie beside the runbooks and are none: their
// tests, and what an editor leaves there. Extensions may have any name.
func canBeLoaded(name string) bool {
	dir, base := filepath.Split(name)
	return strings.HasSuffix(dir, ".d/") || !strings.Contains(base, ".") && (dir != "" || !strings.HasSuffix(base, testMark))
}

// resumeRecord goes on with the journal of a run on this node, and loads the
// runbook as the run was started with it.
func resumeRecord(ctx context.Context, s *session, id string) (*recorder, runRecord, error) {
	r := &recorder{s: s, id: id}
	j, entries, err := journal.Open(journalPath(s.site, id))
	if err != nil {
		return nil, runRecord{}, err
	}
	r.j = j
	record, err := parseRecord(entries)
	if err == nil {
		err = r.resume(ctx, record)
	}
	if err != nil {
		return nil, record, engine.NotBegun(errors.Join(err, j.Close()))
	}
	return r, record, nil
}

func (r *recorder) resume(ctx context.Context, record runRecord) (err error) {
	if !record.Head.View.same(r.s.site) {
		return hint.Wrap(fmt.Errorf("the nodes of this site are not the ones that run %s was started with", r.id),
			"put the names, parts and data directories in cluster.toml back to what warmrun runs show --json %s says, or give the run up as it is: warmrun runs abandon %s", r.id, r.id)
	}
	r.at = setting{view: record.Head.View, pinned: map[string]engine.Source{}}
	for _, script := range record.Scripts {
		if hashOf(script.Text) != script.SHA256 {
			return fmt.Errorf("the text of %s in the journal of run %s is not the one that it was started with", script.Name, r.id)
		}
		r.at.pinned[script.Name] = script.source()
	}
	if r.book, err = loadRunbook(ctx, r.s, r.at, record.Head.Runbook); err != nil {
		return err
	}
	return markOpen(r.s.site, r.id)
}

// take writes down that this process goes on with the run.
func (r *recorder) take() error {
	who := thisProcess(r.s)
	return r.write(runEntry{Taken: &who})
}

// observe writes an event. When it returns nil the event is on this node's disk,
// and on those of the other nodes that the run has locked and that answer.
func (r *recorder) observe(e engine.Event) error {
	line, err := r.book.EncodeEvent(e)
	if err != nil {
		return err
	}
	fault.At(fault.BeforeEvent(string(e.Kind), e.Step))
	r.pass(e, true)
	if err := r.write(runEntry{Event: line}); err != nil {
		return err
	}
	fault.At(fault.AfterEvent(string(e.Kind), e.Step))
	r.pass(e, false)
	r.ended = e.Kind == engine.RunEnded
	return nil
}

// pass lets a rehearsal hold the run, where the node is one of a lab.
func (r *recorder) pass(e engine.Event, before bool) {
	site := r.s.site
	if dir, ok := lab.Of(site.Home); ok {
		boundary.Pass(dir, boundary.Moment{
			Node: string(site.Self.Name), Runbook: r.book.Name, Step: e.Step, Event: string(e.Kind), Outcome: string(e.Outcome), Before: before,
		})
	}
}

// endAt writes that the run has ended before it did anything.
func (r *recorder) endAt(err error) error {
	return r.observe(engine.Event{Kind: engine.RunEnded, At: time.Now(), Runbook: r.book.Name, Outcome: engine.Failed, Error: err.Error()})
}

func (r *recorder) write(entries ...runEntry) error {
	var texts [][]byte
	for _, entry := range entries {
		text, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	lines, err := r.j.Append(texts...)
	if err == nil && r.copies != nil {
		r.copies.copy(lines)
	}
	return err
}

// close lets go of the journal, and forgets runs of long ago.
func (r *recorder) close() error {
	err := r.j.Close()
	if r.ended {
		err = errors.Join(err, unmarkOpen(r.s.site, r.id), forgetOld(r.s.site, r.book.Name))
	}
	return err
}

// setAside puts the journal of a run that was undone out of the way of another
// try.
func setAside(site *cluster.Site, id string) error {
	for i := 1; ; i++ {
		to := fmt.Sprintf("%s~%d", runDir(site, id), i)
		if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
			return os.Rename(runDir(site, id), to)
		}
	}
}

// heldWait is how often a run of another process is looked at that has to end
// first.
const heldWait = 100 * time.Millisecond

// waitEnded waits until no process drives a run on this node.
func waitEnded(ctx context.Context, s *session, id string) error {
	for said := false; ; said = true {
		held, err := journal.Held(journalPath(s.site, id))
		if err != nil || !held {
			return err
		}
		if !said {
			say(ctx, s, "Waiting for run %s, which is still under way on %s", id, s.site.Self.Name)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(heldWait):
		}
	}
}
