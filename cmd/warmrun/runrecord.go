package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore/cluster"
)

// runHead begins the journal of a run: what it was started with, all of which
// it keeps to its end, on whatever node that comes about.
type runHead struct {
	ID string `json:"id"`
	// Outermost is the run whose locks it works under: its own, unless it is part
	// of another.
	Outermost string            `json:"outermost"`
	Runbook   string            `json:"runbook"`
	Args      map[string]string `json:"args,omitempty"`
	Lock      string            `json:"lock"`
	User      string            `json:"user"`
	Node      cluster.NodeName  `json:"node"`
	PID       int               `json:"pid"`
	Version   string            `json:"version"`
	Began     time.Time         `json:"began"`
	// View is the cluster as the run sees it.
	View runView `json:"view"`
}

// runView is what runbooks know of the cluster: the node that the run was
// started on, its partner and the DR node, and what each node is.
type runView struct {
	Node    string    `json:"node"`
	Partner string    `json:"partner,omitempty"`
	DR      string    `json:"dr,omitempty"`
	Nodes   []runNode `json:"nodes"`
}

type runNode struct {
	Name   cluster.NodeName `json:"name"`
	Role   cluster.Role     `json:"role"`
	PGData string           `json:"pgdata"`
}

func viewOf(site *cluster.Site) runView {
	v := runView{Node: string(site.Self.Name)}
	if partner, ok := site.Partner(); ok {
		v.Partner = string(partner.Name)
	}
	if dr, ok := site.DR(); ok {
		v.DR = string(dr.Name)
	}
	for _, n := range site.Nodes {
		v.Nodes = append(v.Nodes, runNode{Name: n.Name, Role: n.Role, PGData: n.PGData})
	}
	return v
}

// same reports whether the nodes are still the ones that the run knew.
func (v runView) same(site *cluster.Site) bool {
	byName := func(a, b runNode) int { return strings.Compare(string(a.Name), string(b.Name)) }
	return slices.Equal(slices.SortedFunc(slices.Values(v.Nodes), byName), slices.SortedFunc(slices.Values(viewOf(site).Nodes), byName))
}

// runScript is a text that the run was started with.
type runScript struct {
	// Name is the file's name in the runbooks' directory, without .lua:
	// "switchover", "lib/follow".
	Name    string `json:"name"`
	Path    string `json:"path"`
	Shipped bool   `json:"shipped,omitempty"` // it came with the program
	Shadows bool   `json:"shadows,omitempty"` // it is the site's, in place of one that did
	SHA256  string `json:"sha256"`
	Text    string `json:"text"`
}

func scriptOf(name string, src engine.Source) runScript {
	return runScript{Name: name, Path: src.Path, Shipped: src.Shipped, Shadows: src.Shadows, SHA256: hashOf(src.Text), Text: src.Text}
}

func (r runScript) source() engine.Source {
	return engine.Source{Name: filepath.Base(r.Name), Path: r.Path, Text: r.Text, Shipped: r.Shipped, Shadows: r.Shadows}
}

// loadedScripts are the texts that a runbook has loaded, by their names.
func loadedScripts(site *cluster.Site, book *engine.Runbook) map[string]engine.Source {
	loaded := map[string]engine.Source{}
	for i, src := range book.Sources() {
		name := filepath.Join("lib", src.Name)
		if i == 0 {
			name = book.Name
		}
		if rel, err := filepath.Rel(site.Global("runbooks"), src.Path); err == nil && filepath.IsLocal(rel) && !src.Shipped {
			name = strings.TrimSuffix(rel, ".lua")
		}
		loaded[name] = src
	}
	return loaded
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// runTaken is a process that went on with a run.
type runTaken struct {
	User    string           `json:"user"`
	Node    cluster.NodeName `json:"node"`
	PID     int              `json:"pid"`
	Version string           `json:"version"`
	At      time.Time        `json:"at"`
}

// runEntry is one entry of a run's journal: one of these.
type runEntry struct {
	Head   *runHead        `json:"head,omitempty"`
	Script *runScript      `json:"script,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"`
	Taken  *runTaken       `json:"taken,omitempty"`
	// Abandoned: an operator has given the run up as it is.
	Abandoned *runTaken `json:"abandoned,omitempty"`
}

// runRecord is what the journal of a run says.
type runRecord struct {
	Head      runHead
	Scripts   []runScript
	Taken     []runTaken
	Abandoned *runTaken
	// raw are the events as they are written, plain the same with results as
	// JSON has them: the run's own runbook makes their values exact.
	raw   []json.RawMessage
	plain []engine.Event
	lines int
	// held is the node on which a process writes it, and parts are the keys of the
	// runs within it that nodes have journals of, as far as gather has asked.
	held  cluster.NodeName
	parts []string
}

// parseRecord reads the entries of a journal.
func parseRecord(entries [][]byte) (runRecord, error) {
	r := runRecord{lines: len(entries)}
	for i, text := range entries {
		var e runEntry
		if err := json.Unmarshal(text, &e); err != nil {
			return r, fmt.Errorf("entry %d: %w", i+1, err)
		}
		switch {
		case e.Head != nil:
			r.Head = *e.Head
		case e.Script != nil:
			r.Scripts = append(r.Scripts, *e.Script)
		case e.Taken != nil:
			r.Taken = append(r.Taken, *e.Taken)
		case e.Abandoned != nil:
			r.Abandoned = e.Abandoned
		case e.Event != nil:
			var event engine.Event
			if err := json.Unmarshal(e.Event, &event); err != nil {
				return r, fmt.Errorf("entry %d: %w", i+1, err)
			}
			r.raw, r.plain = append(r.raw, e.Event), append(r.plain, event)
		}
	}
	if r.Head.ID == "" {
		return r, errNoHead
	}
	return r, nil
}

// errNoHead is a run that was killed before it had written who it is: it has
// done nothing.
var errNoHead = errors.New("the journal has no beginning")

// beyond reports whether a record knows more than another copy of it. One that
// was taken over counts more than the one that its former driver went on with, and
// what the operator has given up stays so.
func (r runRecord) beyond(other runRecord) bool {
	if (r.Abandoned == nil) != (other.Abandoned == nil) {
		return r.Abandoned != nil
	}
	if len(r.Taken) != len(other.Taken) {
		return len(r.Taken) > len(other.Taken)
	}
	return r.lines > other.lines
}

// summary is where the run stands.
func (r runRecord) summary() engine.Summary {
	if len(r.plain) == 0 {
		return engine.Summary{State: engine.Interrupted}
	}
	return engine.History{Events: r.plain}.Summary()
}

// open reports whether the run has not come to an end.
func (r runRecord) open() bool { return r.Abandoned == nil && r.summary().State == engine.Interrupted }

// leftNothing reports whether the run has ended and left everything as it was:
// it was refused, has only looked, or was undone whole. Of one that has not ended,
// a copy of the journal may not tell everything.
func (r runRecord) leftNothing() bool {
	s := r.summary()
	return s.State == engine.Untouched || (s.State == engine.TakenBack || s.State == engine.Succeeded) && !s.Changed
}

// events are the run's events with exact values.
func (r runRecord) events(book *engine.Runbook) ([]engine.Event, error) {
	var events []engine.Event
	for _, raw := range r.raw {
		e, err := book.DecodeEvent(raw)
		if err != nil {
			return nil, fmt.Errorf("the journal of run %s: %w", r.Head.ID, err)
		}
		events = append(events, e)
	}
	return events, nil
}

// driver is who drives the run, or did last.
func (r runRecord) driver() runTaken {
	if len(r.Taken) > 0 {
		return r.Taken[len(r.Taken)-1]
	}
	h := r.Head
	return runTaken{User: h.User, Node: h.Node, PID: h.PID, Version: h.Version, At: h.Began}
}

// holder is the run as the holder of a lock.
func (r runRecord) holder() lockHolder {
	d := r.driver()
	return lockHolder{Run: r.Head.Outermost, Runbook: r.Head.Runbook, User: d.User, Node: d.Node, PID: d.PID, Since: d.At}
}
