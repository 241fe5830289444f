package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// journaled begins the journal of a run of the text with these events.
func (s *ground) journaled(t *testing.T, text string, events ...Event) {
	t.Helper()
	r := mustLoad(t, text, s.host())
	for _, e := range append([]Event{{Kind: RunBegan}}, events...) {
		e.Runbook = "demo"
		line, err := r.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		s.journals["top"] = append(s.journals["top"], line)
	}
}

func newGround(set ...string) *ground {
	s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}, texts: map[string]string{}}
	for _, name := range set {
		s.set[name] = true
	}
	return s
}

// TestChecksOnResume: a check that says so must hold again when a run is
// resumed, unless the line of no return was passed. Where it does not, what was
// done is undone.
func TestChecksOnResume(t *testing.T) {
	text := bookText(`checks = {
  check { "nobody writes", function(c) return not site.has("writer"), "db1 accepts writes" end, again = true },
  check { "only at first", function(c) return not site.has("fence") end },
},
steps = {
  step { "fence", run = function(c) site.set("fence") end, undo = function(c) site.unset("fence") end },
  step { "promote", irreversible = true, repeatable = true, run = function(c) site.set("promoted") end },
}`)
	fenced := []Event{{Kind: StepBegan, Step: "fence"}, {Kind: StepEnded, Step: "fence", Outcome: Done, Changed: true}}
	past := append(slices.Clone(fenced), Event{Kind: StepBegan, Step: "promote"}, Event{Kind: NoReturnPassed, Step: "promote"})
	for _, test := range []struct {
		name   string
		set    []string
		events []Event
		want   string
		fails  string
	}{
		{"it holds", []string{"fence"}, fenced, "fence promoted", ""},
		{"it does not", []string{"fence", "writer"}, fenced, "writer", "db1 accepts writes"},
		{"past the line", []string{"fence", "writer"}, past, "fence promoted writer", ""},
	} {
		s := newGround(test.set...)
		s.journaled(t, text, test.events...)
		err := s.run(t.Context(), text, "top", &History{})
		if got := s.now(); got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %s, want %s; %v", test.name, got, test.want, err)
		}
		var step *StepError
		if test.fails != "" && (!errors.As(err, &step) || !step.Undone || step.Step != "promote") {
			t.Errorf("%s: %+v", test.name, step)
		}
		state := History{Events: must(s.events(mustLoad(t, text, s.host()), "top"))}.Summary().State
		if test.fails != "" && state != TakenBack {
			t.Errorf("%s: the run is %s", test.name, state)
		}
	}
}

// TestStepThatWasNotBegun: a step whose when failed, or that the operator
// declined, is asked about again when the run is resumed.
func TestStepThatWasNotBegun(t *testing.T) {
	text := bookText(`steps = {
  step { "line", irreversible = true, run = function(c) site.set("line") end },
  step { "asks", confirm = "Really?", when = function(c) return not site.has("not wanted") end, run = function(c) site.set("asked") end },
}`)
	declined := []Event{{Kind: StepBegan, Step: "line"}, {Kind: NoReturnPassed, Step: "line"}, {Kind: StepEnded, Step: "line", Outcome: Done},
		{Kind: StepEnded, Step: "asks", Outcome: Failed, Error: "the operator said no", Refused: true}}
	s := newGround("line")
	s.journaled(t, text, declined...)
	if err := s.run(t.Context(), text, "top", &History{}); err == nil || !strings.Contains(err.Error(), "asks a question") || s.set["asked"] {
		t.Errorf("with nobody to answer: %v, set: %s", err, s.now())
	}
	if err := s.run(t.Context(), text, "top", &History{Done: []string{"asks"}}); err == nil {
		t.Error("a step that was never begun was settled by the operator")
	}
	events := History{Events: must(s.events(mustLoad(t, text, s.host()), "top"))}
	s.set["not wanted"] = true
	result, err := mustLoad(t, text, s.host()).Run(t.Context(), nil, RunOptions{History: &events, AssumeYes: true})
	if err != nil || s.set["asked"] || result.Steps[1].Outcome != Skipped {
		t.Errorf("its when was not asked again: %v, set: %s", err, s.now())
	}
}

// TestStepBegunOnTheSecondTry: one that failed before it was begun, and was begun
// when the run was resumed, is undone with the others.
func TestStepBegunOnTheSecondTry(t *testing.T) {
	text := strings.Replace(bookText(`steps = {
  step { "stop", run = function(c) end },
  step { "after", run = function(c) fail("no") end },
}`), "demonstration", "base", 1)
	site := extension(`before = { after = step { "mine", run = function(c) site.set("mine") end, undo = function(c) site.unset("mine") end } }`)
	s := newGround()
	host := s.host()
	host.Extensions = func(string) ([]Source, error) { return []Source{{Path: "demo.d/0.lua", Text: site}}, nil }
	r := mustLoad(t, text, host)
	events := []Event{{Kind: RunBegan}, {Kind: StepEnded, Step: "mine", Outcome: Skipped},
		{Kind: RunResumed}, {Kind: StepBegan, Step: "mine"}, {Kind: ChangeBegan, Step: "mine", Func: "site.set"}}
	for i := range events {
		events[i].Runbook = "demo"
	}
	s.set["mine"] = true
	_, err := r.Run(context.Background(), nil, RunOptions{History: &History{Events: events, Back: true}})
	var step *StepError
	if !errors.As(err, &step) || strings.Join(step.TookBack, " ") != "mine" || s.now() != "" {
		t.Errorf("set: %s; %v, %+v", s.now(), err, step)
	}
}
