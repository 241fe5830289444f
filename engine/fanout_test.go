package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warmrun/warmrun/walcore/hint"
)

// nodesHost has functions that work on a node, and notes on which they did.
type nodesHost struct {
	mu      sync.Mutex
	changed []string
	working int
	most    int
	meet    chan struct{} // closed when two work at once
}

type sizeOptions struct {
	Size int `json:"size"`
}

func (h *nodesHost) host() Host {
	return Host{Modules: []Module{{Name: "site", Funcs: []Func{
		{Name: "size", Args: []string{"node"}, Fn: func(_ context.Context, node string) (int, error) {
			if node == "down" {
				return 0, hint.Wrap(errors.New("no answer"), "look at it")
			}
			return len(node), nil
		}},
		{Name: "grow", Effect: Change, Args: []string{"node"}, Fn: h.grow,
			Describe: func(args []any) string { return fmt.Sprintf("make %s grow", args[0]) }},
		{Name: "refuse", Effect: Change, Args: []string{"node"}, Fn: func(_ context.Context, node string) error {
			return NotBegun(errors.New("no"))
		}},
		{Name: "hang", Args: []string{"node"}, Fn: func(ctx context.Context, node string) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		{Name: "boom", Args: []string{"node"}, Fn: func(context.Context, string) error { panic("boom in Go") }},
		{Name: "promote", Effect: Change, NoReturn: true, Args: []string{"node"}, Fn: func(context.Context, string) error { return nil }},
		{Name: "all", Fn: func(context.Context) error { return nil }},
	}}}}
}

func (h *nodesHost) grow(ctx context.Context, node string, o sizeOptions) error {
	fmt.Fprintf(Output(ctx), "growing by %d\nopen", o.Size)
	h.mu.Lock()
	h.changed = append(h.changed, node)
	h.working++
	h.most = max(h.most, h.working)
	if h.meet != nil && h.working == 2 {
		close(h.meet)
	}
	h.mu.Unlock()
	if h.meet != nil {
		select { // both are here at the same time, or the step times out
		case <-h.meet:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	h.working--
	h.mu.Unlock()
	if node == "down" {
		return errors.New("no answer")
	}
	return nil
}

// TestOnNodes: the results come in the order of the nodes, each with its error.
func TestOnNodes(t *testing.T) {
	for body, want := range map[string]string{
		`local t = {} for i, r in ipairs(on_nodes({ "db2", "drnode" }, site.size)) do t[i] = r.node .. "=" .. r.value end return t`:                 "[db2=3 drnode=6]",
		`local r = on_nodes({ "db2", "down", keep_going = true }, site.size) return { r[1].ok, r[2].ok, r[2].error, r[2].hint, r[2].value == nil }`: "[true false no answer look at it true]",
		`return #on_nodes({}, site.size)`:                                          "0",
		`return on_nodes({ "db2", "down" }, site.size)`:                            "error: on down: no answer",
		`local ok, err = pcall(on_nodes, { "down", "db2" }, site.size) return err`: "on down: no answer",
		`return on_nodes({ "db2" }, site.size)[1].size`:                            "error: demo.lua:3: this result has no field size (known: error, hint, node, ok, value)",
		`on_nodes({ "db2", "db2" }, site.size)`:                                    "error: demo.lua:3: on_nodes is given db2 twice",
		`on_nodes({ "db2" }, say)`:                                                 "error: demo.lua:3: argument 2 (function) of on_nodes: want a function of a module, such as cluster.node, got a function",
		`on_nodes({ "db2" }, site.all)`:                                            "error: demo.lua:3: site.all cannot be called by on_nodes: it works on no node",
		`on_nodes({ "db2" }, site.promote)`:                                        "error: demo.lua:3: site.promote cannot be called by on_nodes: what cannot be taken back is done on one node",
		`on_nodes({ "db2", at_onec = 2 }, site.size)`:                              "error: demo.lua:3: unknown key at_onec in on_nodes, did you mean at_once?",
		`on_nodes({ "db2", at_once = 0 }, site.size)`:                              "error: demo.lua:3: at_once in on_nodes: want a whole number from 1, got 0",
		`on_nodes({ "db2" }, site.grow, { sise = 1 })`:                             "error: demo.lua:3: unknown key sise in site.grow, did you mean size?",
		`on_nodes("db2", site.size)`:                                               "error: demo.lua:3: argument 1 (nodes) of on_nodes: want a list of nodes, got a string",
		`on_nodes({ 7 }, site.size)`:                                               "error: demo.lua:3: node 1 of on_nodes: want a name, got a number",
		`pcall(on_nodes, { "a" }, site.boom) return "swallowed"`:                   "error: internal error in site.boom: boom in Go (called from demo.lua:3)",
		`on_nodes({ "a", "b" }, site.boom)`:                                        "error: internal error in site.boom: boom in Go (called from demo.lua:3)",
	} {
		value, _, err := runStep(t, (&nodesHost{}).host(), body)
		got := fmt.Sprint(value)
		if err != nil {
			got = "error: " + strings.TrimPrefix(err.Error(), "step one: ")
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
}

// TestOnNodesAtOnce: the nodes are worked on at the same time, their lines do not
// run into each other, and the change is on record for all of them.
func TestOnNodesAtOnce(t *testing.T) {
	h := &nodesHost{meet: make(chan struct{})}
	r := mustLoad(t, bookText(`steps = { step { "grow", timeout = "1min", run = function(c) on_nodes({ "db2", "dr" }, site.grow, { size = 4 }) end } }`), h.host())
	f := &follower{}
	var recorded []Event
	_, err := r.Run(t.Context(), nil, RunOptions{Tell: f.tell, Observe: func(e Event) error {
		recorded = append(recorded, e)
		return nil
	}})
	if err != nil || h.most != 2 {
		t.Errorf("%v; %d at once", err, h.most)
	}
	var lines []string
	for _, e := range f.events {
		if e.Kind == OutputLine {
			lines = append(lines, e.Line)
		}
	}
	slices.Sort(lines)
	if got, want := strings.Join(lines, ", "), "db2: growing by 4, db2: open, dr: growing by 4, dr: open"; got != want {
		t.Errorf("lines %q, want %q", got, want)
	}
	i := slices.IndexFunc(recorded, func(e Event) bool { return e.Kind == ChangeBegan })
	if i < 0 || recorded[i].Func != "site.grow" || fmt.Sprint(recorded[i].Nodes) != "[db2 dr]" {
		t.Errorf("recorded %+v", recorded)
	}
}

// TestOnNodesLimit: no more nodes are worked on at once than were asked for.
func TestOnNodesLimit(t *testing.T) {
	h := &nodesHost{}
	_, _, err := runStep(t, h.host(), `on_nodes({ "a", "b", "c", "d", at_once = 1 }, site.grow)`)
	if err != nil || h.most != 1 || fmt.Sprint(h.changed) != "[a b c d]" {
		t.Errorf("%v; %d at once, in the order %v", err, h.most, h.changed)
	}
}

// TestOnNodesFailed: one node that fails keeps no other from ending, and the step
// is undone, unless none of them had begun.
func TestOnNodesFailed(t *testing.T) {
	for call, want := range map[string]string{
		`on_nodes({ "down", "db2", at_once = 1 }, site.grow)`: "[down db2] undone",
		`on_nodes({ "db2", "dr" }, site.refuse)`:              "[] left alone",
	} {
		h := &nodesHost{}
		r := mustLoad(t, bookText(`steps = { step { "grow", run = function(c) `+call+` end, undo = function(c) end } }`), h.host())
		undone := "left alone"
		_, err := r.Run(t.Context(), nil, RunOptions{Observe: func(e Event) error {
			if e.Kind == UndoEnded {
				undone = "undone"
			}
			return nil
		}})
		if got := fmt.Sprint(h.changed, " ", undone); got != want || err == nil {
			t.Errorf("%s: %s, want %s (%v)", call, got, want, err)
		}
	}
}

// TestOnNodesStopped: the end of the run is the end of the call.
func TestOnNodesStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	r := mustLoad(t, bookText(`steps = { step { "hang", run = function(c) on_nodes({ "db2", "dr", keep_going = true }, site.hang) end } }`), (&nodesHost{}).host())
	_, err := r.Run(ctx, nil, RunOptions{Observe: func(e Event) error {
		if e.Kind == StepBegan {
			cancel(stop)
		}
		return nil
	}})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

// TestOnNodesPlanned: a change on several nodes is a line for each in a plan, and
// a read is made.
func TestOnNodesPlanned(t *testing.T) {
	h := &nodesHost{}
	r := mustLoad(t, bookText(`steps = {
  step { "look", run = function(c) say("%d", on_nodes({ "db2" }, site.size)[1].value) end },
  step { "grow", undo = false, run = function(c) local r = on_nodes({ "db2", "dr" }, site.grow, { size = 4 }) say("%s", r[1].node) end },
}`), h.host())
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := plan.Text()
	for _, want := range []string{"1. look\n       says: 3\n", "2. grow\n       make db2 grow\n       make dr grow\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
	if len(h.changed) > 0 {
		t.Errorf("the plan has changed %v", h.changed)
	}
}

// TestOnNodesLint: what is called on the nodes is looked at like any other call.
func TestOnNodesLint(t *testing.T) {
	for body, want := range map[string]string{
		`on_nodes({ "db2" }, site.size)`:                                             "",
		`on_nodes({ "db2", at_onec = 1 }, site.size)`:                                "demo.lua:3: unknown key at_onec in on_nodes, did you mean at_once?",
		`on_nodes({ "db2" }, site.sise)`:                                             "demo.lua:3: site has no function sise, did you mean size?",
		`on_nodes({ "db2" }, site.all)`:                                              "demo.lua:3: site.all cannot be called by on_nodes: it works on no node",
		`on_nodes({ "db2" }, site.size, 1)`:                                          "demo.lua:3: site.size takes 1 argument (node), got 2",
		`return on_nodes({ "db2" }, site.size)[1].nod`:                               "demo.lua:3: this result has no field nod, did you mean node?",
		`on_nodes({ "db2" }, site.grow, { sise = 1 })`:                               "demo.lua:3: unknown key sise in site.grow, did you mean size?",
		`on_nodes({ "db2" }, site.grow)`:                                             "demo.lua:2: step one changes something (site.grow) and has neither undo nor irreversible = true; where nothing needs to be taken back, write undo = false",
		`for _, r in ipairs(on_nodes({ "db2" }, site.size)) do say("%s", r.nod) end`: "demo.lua:3: this result has no field nod, did you mean node?",
	} {
		undo := ""
		if strings.Contains(body, "sise = 1") {
			undo = ", undo = false"
		}
		text := bookText("steps = { step { \"one\", run = function(c)\n" + body + "\nend" + undo + " } }")
		var found []string
		for _, f := range Lint(t.Context(), Source{Path: "demo.lua", Text: text}, (&nodesHost{}).host()) {
			found = append(found, f.String())
		}
		if got := strings.Join(found, "; "); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
	text := bookText("checks = { check { \"up\", function(c)\non_nodes({ \"db2\" }, site.grow)\nreturn true end } }, steps = { step { \"one\", run = function(c) end } }")
	found := Lint(t.Context(), Source{Path: "demo.lua", Text: text}, (&nodesHost{}).host())
	if len(found) != 1 || !strings.Contains(found[0].Text, "site.grow changes something and may not be called in a check") {
		t.Errorf("found %v", found)
	}
}
