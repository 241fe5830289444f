package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// forGood is a module whose promote cannot be taken back.
func forGood(s *ground) Host {
	host := s.host()
	host.Modules = append(host.Modules, Module{Name: "forgood", Funcs: []Func{
		{Name: "promote", Effect: Change, NoReturn: true, Fn: func(context.Context) error {
			s.change("promoted", true)
			return errors.New("no answer")
		}},
	}})
	return host
}

const promotesUnsaid = `steps = {
  step { "stop", run = function(c) site.set("stopped") end, undo = function(c) site.unset("stopped") end },
  step { "promote", repeatable = true, undo = function(c) site.unset("promoted") end, run = function(c) forgood.promote() end },
}`

// TestFunctionWithoutReturn: the line of no return is drawn before a function
// that cannot be taken back, also where the step does not say so.
func TestFunctionWithoutReturn(t *testing.T) {
	s := newGround()
	r := mustLoad(t, bookText(promotesUnsaid), forGood(s))
	plan, err := r.Plan(t.Context(), nil)
	if err != nil || !strings.Contains(plan.Text(), noReturn+"\n  2. promote") {
		t.Errorf("the plan has no line: %v\n%s", err, plan.Text())
	}
	var events []string
	_, err = r.Run(t.Context(), nil, RunOptions{Observe: func(e Event) error {
		events = append(events, string(e.Kind))
		return nil
	}})
	var step *StepError
	if !errors.As(err, &step) || !step.PastReturn || s.now() != "promoted stopped" {
		t.Errorf("set: %s; %v, %+v", s.now(), err, step)
	}
	if got, want := strings.Join(events, ", "), "step began, no return, change began"; !strings.Contains(got, want) {
		t.Errorf("events %s, want %s among them", got, want)
	}
	found := Lint(t.Context(), r.Source(), forGood(s))
	if len(found) != 1 || !strings.Contains(found[0].Text, "step promote calls forgood.promote, after which nothing can be undone: write irreversible = true") {
		t.Errorf("lint finds %v", found)
	}
}

// TestReplacedWithoutTheLine: what takes the place of an irreversible step is
// irreversible, too.
func TestReplacedWithoutTheLine(t *testing.T) {
	text := bookText(`steps = { step { "promote", irreversible = true, run = function(c) end } }`)
	for flag, want := range map[string]string{
		"":                      "demo.d/0.lua:2: replace: step promote of the runbook is irreversible, and so must be the one that takes its place: write irreversible = true",
		"irreversible = true, ": "",
	} {
		host := extendedHost(&world{}, extension(`replace = { promote = step { "promote", `+flag+`run = function(c) end } }`))
		_, err := Load(t.Context(), Source{Path: "demo.lua", Text: text}, host)
		if got := errorText(err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestMayPassNoReturn: a run whose end is unknown may have passed the line, if
// anything that it calls can.
func TestMayPassNoReturn(t *testing.T) {
	for steps, want := range map[string]bool{
		`step { "one", run = function(c) site.set("a") end }`:                                 false,
		`step { "one", irreversible = true, run = function(c) end }`:                          true,
		`step { "one", run = function(c) site.run("inner") end }`:                             true,
		`step { "one", run = function(c) require("lib").deep() end }`:                         true,
		`step { "one", run = function(c) if c.node == "db7" then forgood.promote() end end }`: true,
		`step { "one", run = function(c) local run = forgood.promote; pcall(run) end }`:       true,
	} {
		host := forGood(newGround())
		host.Library = func(name string) (Source, error) {
			return Source{Name: name, Path: "lib/lib.lua", Text: `return { deep = function() forgood.promote() end }`}, nil
		}
		if got := mustLoad(t, bookText("steps = { "+steps+" }"), host).MayPassNoReturn(); got != want {
			t.Errorf("%s: got %t, want %t", steps, got, want)
		}
	}
}
