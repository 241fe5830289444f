package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmrun/warmrun/builtins/standby"
	"github.com/warmrun/warmrun/engine"
	"github.com/warmrun/warmrun/walcore"
	"github.com/warmrun/warmrun/walcore/atomicfile"
	"github.com/warmrun/warmrun/walcore/cluster"
	"github.com/warmrun/warmrun/walcore/hint"
)

// planFormat is the version of a plan's file.
const planFormat = 1

// planFile is a plan that was saved, with everything that it rests on.
type planFile struct {
	Format  int               `json:"format"`
	Runbook string            `json:"runbook"`
	Args    map[string]string `json:"args,omitempty"`
	Node    cluster.NodeName  `json:"node"` // where it was made, and runs
	Made    time.Time         `json:"made"`
	// Scripts are the hashes of what the runbook consists of.
	Scripts map[string]string `json:"scripts"`
	// Nodes are all nodes as they were then.
	Nodes []planNode   `json:"nodes"`
	Plan  *engine.Plan `json:"plan"`
}

// planNode is what a plan rests on at one node.
type planNode struct {
	Name cluster.NodeName `json:"name"`
	nodeFacts
	// Silent: the node gave no answer.
	Silent bool `json:"silent,omitempty"`
}

// nodeFacts are what a node says of itself.
type nodeFacts struct {
	Version  string       `json:"version"`
	Role     standby.Role `json:"role"`
	SystemID uint64       `json:"system_identifier,string"`
	// Timeline is the one that a primary writes on; a standby's follows it.
	Timeline walcore.Timeline `json:"timeline,omitempty"`
	// Scripts are the hashes of the runbooks that are the site's own there.
	Scripts map[string]string `json:"scripts,omitempty"`
}

func factsHere(ctx context.Context, s *session, _ none) (nodeFacts, error) {
	state, err := s.self().Inspect(ctx)
	if err != nil {
		return nodeFacts{}, err
	}
	own, err := siteSources(s.site)
	if err != nil {
		return nodeFacts{}, err
	}
	facts := nodeFacts{Version: version, Role: state.Role, SystemID: state.Control.SystemID, Scripts: map[string]string{}}
	if state.Role == standby.RolePrimary {
		facts.Timeline = state.Control.Timeline
	}
	for key, src := range own {
		facts.Scripts[key] = hashOf(src.Text)
	}
	return facts, nil
}

// planNodes asks all nodes at once.
func planNodes(ctx context.Context, s *session) []planNode {
	ctx, cancel := context.WithTimeout(ctx, statusAnswer)
	defer cancel()
	nodes := make([]planNode, len(s.site.Nodes))
	var group sync.WaitGroup
	for i, n := range s.site.Nodes {
		group.Go(func() {
			facts, err := callOn(ctx, s, n.Name, "runs.facts", none{}, factsHere)
			nodes[i] = planNode{Name: n.Name, nodeFacts: facts, Silent: err != nil}
		})
	}
	group.Wait()
	slices.SortFunc(nodes, func(a, b planNode) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return nodes
}

// foundation is what a plan of a runbook would rest on now.
func foundation(ctx context.Context, s *session, book *engine.Runbook, args map[string]string) planFile {
	f := planFile{Format: planFormat, Runbook: book.Name, Args: args, Node: s.site.Self.Name, Made: time.Now(), Scripts: map[string]string{}, Nodes: planNodes(ctx, s)}
	for name, src := range loadedScripts(s.site, book) {
		f.Scripts[name] = hashOf(src.Text)
	}
	return f
}

// savePlan writes a plan into a file, durably.
func savePlan(path string, f planFile, plan *engine.Plan) error {
	f.Plan = plan
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'), 0o644)
}

// moved lists what is no longer as it was when the plan was made.
func (f planFile) moved(now planFile) []string {
	moved := movedScripts("", f.Scripts, now.Scripts)
	for _, then := range f.Nodes {
		at := slices.IndexFunc(now.Nodes, func(n planNode) bool { return n.Name == then.Name })
		if at < 0 {
			moved = append(moved, fmt.Sprintf("%s is no node of this site any more", then.Name))
			continue
		}
		moved = append(moved, then.moved(now.Nodes[at])...)
	}
	for _, n := range now.Nodes {
		if !slices.ContainsFunc(f.Nodes, func(then planNode) bool { return then.Name == n.Name }) {
			moved = append(moved, fmt.Sprintf("%s is a new node", n.Name))
		}
	}
	return moved
}

func (n planNode) moved(now planNode) []string {
	switch {
	case n.Silent && now.Silent:
		return nil
	case now.Silent:
		return []string{fmt.Sprintf("%s no longer answers", n.Name)}
	case n.Silent:
		return []string{fmt.Sprintf("%s answers, and did not then", n.Name)}
	}
	var moved []string
	note := func(what string, then, now any) {
		if then != now {
			moved = append(moved, fmt.Sprintf("%s of %s was %v and is %v", what, n.Name, then, now))
		}
	}
	note("the part", n.Role, now.Role)
	note("the system identifier", n.SystemID, now.SystemID)
	if n.Role == now.Role { // only a primary has one
		note("the timeline", uint32(n.Timeline), uint32(now.Timeline))
	}
	note("the warmrun", n.Version, now.Version)
	return append(moved, movedScripts(" on "+string(n.Name), n.Scripts, now.Scripts)...)
}

func movedScripts(where string, then, now map[string]string) (moved []string) {
	for key, hash := range then {
		switch now[key] {
		case hash:
		case "":
			moved = append(moved, fmt.Sprintf("the text of %s%s is gone", key, where))
		default:
			moved = append(moved, fmt.Sprintf("the text of %s%s has changed", key, where))
		}
	}
	for key := range now {
		if then[key] == "" {
			moved = append(moved, fmt.Sprintf("%s%s is the site's own now", key, where))
		}
	}
	slices.Sort(moved)
	return moved
}

// runFileCommand is run: it runs a plan that was saved.
type runFileCommand struct {
	File string `arg:"" help:"A file that --plan --out has written."`
	JSON bool   `help:"Print JSON: an object a line for what happens, the last of them how it ended."`
}

// Run refuses when anything that the plan rests on has moved.
func (c *runFileCommand) Run(ctx context.Context, p *process, g *globals) error {
	defer outliveReaders()()
	plan, err := readPlan(c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.streamed(plan.Runbook, func(p *process) error { return c.run(ctx, p, g, plan) })
	}
	return c.run(ctx, p, g, plan)
}

func (c *runFileCommand) run(ctx context.Context, p *process, g *globals, plan planFile) error {
	s, err := p.session(*g)
	if err != nil {
		return err
	}
	defer s.Close()
	if !s.site.IsSelf(plan.Node) {
		return usageError{hint.Wrap(fmt.Errorf("the plan in %s was made on %s", c.File, plan.Node), "nothing was done; run it there")}
	}
	book, err := loadRunbook(ctx, s, s.setting(), plan.Runbook)
	if err != nil {
		return err
	}
	holds := func(ctx context.Context) error {
		moved := plan.moved(foundation(ctx, s, book, plan.Args))
		if len(moved) == 0 {
			return nil
		}
		return hint.Wrap(fmt.Errorf("the plan in %s no longer holds: %s", c.File, strings.Join(moved, "; ")),
			"nothing was done; make it anew and look at it: warmrun %s --plan --out %s", strings.Join(runbookWords(plan.Runbook, plan.Args), " "), c.File)
	}
	return p.runRunbook(ctx, s, book, runCommand{args: plan.Args, holds: holds, color: g.Color || isTerminal(p.out)})
}

func readPlan(path string) (planFile, error) {
	var f planFile
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&f); err != nil || f.Runbook == "" {
		return f, usageError{hint.Wrap(errors.Join(fmt.Errorf("%s is no plan", path), err), "make one: warmrun RUNBOOK --plan --out %s", path)}
	}
	if f.Format != planFormat {
		return f, usageError{hint.Wrap(fmt.Errorf("the plan in %s is of format %d, and this program writes format %d", path, f.Format, planFormat), "make it anew with --plan --out")}
	}
	return f, nil
}
