package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// ground is what runs change: names that are set or not. It outlives the process
// of a run, as do the journals.
type ground struct {
	set      map[string]bool
	journals map[string][][]byte
	texts    map[string]string
	boundary int      // counts the places at which the process can die
	dieAt    int      // 0: nowhere
	passed   []string // their names
	apart    bool     // nested runs are processes of their own
	changes  []string // in their order
}

// kill ends the process here when it is this boundary's turn: the run's
// goroutine ends without another word.
func (s *ground) kill(format string, args ...any) {
	s.boundary++
	s.passed = append(s.passed, fmt.Sprintf(format, args...))
	if s.boundary == s.dieAt {
		runtime.Goexit()
	}
}

func (s *ground) change(name string, to bool) {
	s.kill("before %s=%v", name, to)
	s.set[name] = to
	s.changes = append(s.changes, fmt.Sprintf("%s=%v", name, to))
	s.kill("after %s=%v", name, to)
}

func (s *ground) host() Host {
	w := &world{}
	host := w.host()
	host.Modules = append(host.Modules, Module{Name: "site", Funcs: []Func{
		{Name: "set", Effect: Change, Args: []string{"name"}, Fn: func(_ context.Context, name string) (lsn, error) {
			s.change(name, true)
			return 0x7FFFFFFFFFFFFFF1, nil
		}},
		{Name: "unset", Effect: Change, Args: []string{"name"}, Fn: func(_ context.Context, name string) error {
			s.change(name, false)
			return nil
		}},
		{Name: "refuse", Effect: Change, Fn: func(context.Context) error { return NotBegun(errors.New("refused")) }},
		{Name: "has", Effect: Read, Args: []string{"name"}, Fn: func(_ context.Context, name string) (bool, error) { return s.set[name], nil }},
		{Name: "run", Effect: Change, Resumes: true, Args: []string{"name"}, Fn: func(ctx context.Context, name string) error {
			key, _, err := CallsRun(ctx, "db1", name)
			if err != nil {
				return err
			}
			if s.apart {
				ctx = context.WithoutCancel(withScope(ctx, &scope{}))
			}
			return s.run(ctx, s.texts[name], "top."+key, &History{})
		}},
	}})
	return host
}

// run begins a run, or goes on with it where its journal has begun.
func (s *ground) run(ctx context.Context, text, journal string, h *History) error {
	r, err := Load(ctx, Source{Path: journal + ".lua", Text: text}, s.host())
	if err != nil {
		return err
	}
	opts := RunOptions{
		Observe: func(e Event) error {
			line, err := r.EncodeEvent(e)
			if err != nil {
				return err
			}
			s.kill("%s: before %s %s", journal, e.Kind, e.Step)
			s.journals[journal] = append(s.journals[journal], line)
			s.kill("%s: after %s %s", journal, e.Kind, e.Step)
			return nil
		},
		SettleNested: func(ctx context.Context, n NestedRun) error {
			err := s.run(ctx, s.texts[n.Runbook], "top."+n.Key, &History{Back: true})
			var step *StepError
			if errors.As(err, &step) && step.Undone {
				return nil
			}
			return err
		},
	}
	if h.Events, err = s.events(r, journal); err != nil {
		return err
	}
	if len(h.Events) > 0 {
		switch state := h.Summary().State; {
		case journal == "top" && state != Interrupted && state != Halfway:
			return nil
		case state == TakenBack, state == Untouched:
			s.journals[journal] = nil
		case state == Succeeded && !h.Back:
			return nil
		default:
			opts.History = h
		}
	}
	if opts.History == nil && h.Back {
		return nil
	}
	_, err = r.Run(ctx, nil, opts)
	return err
}

func (s *ground) events(r *Runbook, journal string) (events []Event, err error) {
	for _, line := range s.journals[journal] {
		e, err := r.DecodeEvent(line)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// process runs fn as a process of its own, which may die in the middle.
func process(fn func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn()
	}()
	<-ended
}

func must(events []Event, err error) []Event {
	if err != nil {
		panic(err)
	}
	return events
}

func (s *ground) now() string {
	maps.DeleteFunc(s.set, func(_ string, there bool) bool { return !there })
	return strings.Join(slices.Sorted(maps.Keys(s.set)), " ")
}

const crashOuter = `steps = {
  step { "first", repeatable = true, run = function(c) site.set("a") end, undo = function(c) site.unset("a") end },
  step { "look", run = function(c) return { at = lsn("1F/FFFFFFFF"), n = 12, has = site.has("a"), list = { 1, 2.5, "x" } } end },
  step { "second", done_if = function(c) return site.has("b"), lsn("7FFFFFFF/FFFFFFF1") end, run = function(c) return site.set("b") end, undo = function(c) site.unset("b") end },
  step { "compare", run = function(c)
    if c.results.second ~= lsn("7FFFFFFF/FFFFFFF1") or c.results.look.at ~= lsn("1F/FFFFFFFF") or c.results.look.list[2] ~= 2.5 or not c.results.look.has then fail("results were lost") end
  end },
  step { "nested", run = function(c) site.run("inner") end },
  step { "third", retries = 1, delay = "1ms", run = function(c) site.set("c") END end },
  step { "last", LINE run = function(c) site.set("d") LAST end, repeatable = true },
}`

const crashInner = `steps = {
  step { "inside", done_if = function(c) return site.has("x") end, run = function(c) site.set("x") end, undo = function(c) site.unset("x") end },
  step { "and", repeatable = true, run = function(c) site.set("y") end, undo = function(c) site.unset("y") end },
}`

// TestKilledAnywhere kills the process of a run before and after every line of
// its journals and every change that it makes, and goes on from the journal. The
// end is the same as that of a run that nothing has happened to. Whether the run
// goes through, comes back, or stops past the line of no return.
func TestKilledAnywhere(t *testing.T) {
	for _, test := range []struct{ name, end, line, last, want string }{
		{"goes through", "", "irreversible = true,", "", "a b c d x y"},
		{"comes back", `fail("no")`, "", "", "c"},
		{"past the line", "", "irreversible = true,", `if not site.has("mended") then fail("no") end`, "a b c d x y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := bookText(strings.NewReplacer("END", test.end, "LINE", test.line, "LAST", test.last).Replace(crashOuter))
			fresh := func(dieAt int) *ground {
				return &ground{set: map[string]bool{}, journals: map[string][][]byte{}, dieAt: dieAt,
					texts: map[string]string{"inner": named3("inner", crashInner)}}
			}
			undisturbed := fresh(0)
			end := undisturbed.run(t.Context(), text, "top", &History{})
			if got := undisturbed.now(); got != test.want {
				t.Fatalf("undisturbed: %s, want %s; %v", got, test.want, end)
			}
			for at := 1; at <= undisturbed.boundary; at++ {
				s := fresh(at)
				process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
				where := s.passed[len(s.passed)-1]
				s.dieAt = 0
				var err error
				process(func() { err = s.run(t.Context(), text, "top", &History{}) })
				if got := s.now(); got != test.want {
					t.Errorf("killed %s, then resumed: %s, want %s; %v", where, got, test.want, err)
				}
				// Only what was interrupted may have been done twice.
				if got, want := len(s.changes), len(undisturbed.changes)+1; got > want {
					t.Errorf("killed %s, then resumed: %d changes, %v, want %d at most", where, got, s.changes, want)
				}
			}
			t.Logf("killed at %d boundaries", undisturbed.boundary)
		})
	}
}

// TestKilledAndRolledBack kills the run likewise and gives it up: all that has
// an undo is undone, unless the line of no return was passed.
func TestKilledAndRolledBack(t *testing.T) {
	text := bookText(strings.NewReplacer("END", "", "LINE", "irreversible = true,", "LAST", "").Replace(crashOuter))
	for at := 1; ; at++ {
		s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}, dieAt: at, texts: map[string]string{"inner": named3("inner", crashInner)}}
		process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
		if s.boundary < at {
			break
		}
		where := s.passed[at-1]
		past := slices.ContainsFunc(s.journals["top"], func(line []byte) bool { return strings.Contains(string(line), string(NoReturnPassed)) })
		if h := (History{Events: must(s.events(mustLoad(t, text, s.host()), "top"))}); h.Summary().State == Succeeded {
			continue
		}
		before := s.now()
		// Dying once more, in the middle of the undo, changes nothing.
		for again := range 3 {
			s.boundary, s.dieAt = 0, []int{3, 8, 0}[again]
			var err error
			process(func() { err = s.run(t.Context(), text, "top", &History{Back: true}) })
			if past != errors.Is(err, ErrPastReturn) && s.dieAt == 0 {
				t.Errorf("killed %s: past the line %v, and rolling back: %v", where, past, err)
			}
		}
		switch got := s.now(); {
		case past && got != before:
			t.Errorf("killed %s: past the line, and rolling back left %s of %s", where, got, before)
		case !past && got != "" && got != "c":
			t.Errorf("killed %s: rolled back to %s", where, got)
		}
	}
}

// TestInnerRunPastTheLine: a run on another node has passed the line of no
// return when the one that called it is killed, before it was told. Nothing of
// that is undone.
func TestInnerRunPastTheLine(t *testing.T) {
	s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}, apart: true, texts: map[string]string{"inner": named3("inner", `steps = {
  step { "promote", irreversible = true, run = function(c) site.set("promoted") end },
}`)}}
	text := bookText(`steps = {
  step { "stop", run = function(c) site.set("stopped") end, undo = function(c) site.unset("stopped") end },
  step { "nested", run = function(c) site.run("inner") end, undo = function(c) site.unset("nested") end },
}`)
	process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
	s.dieAt = slices.Index(s.passed, "after promoted=true") + 1
	s.boundary, s.passed, s.set, s.journals = 0, nil, map[string]bool{}, map[string][][]byte{}
	process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
	s.dieAt = 0
	err := s.run(t.Context(), text, "top", &History{Back: true})
	if got := s.now(); !errors.Is(err, ErrPastReturn) || got != "promoted stopped" {
		t.Fatalf("rolled back to %s; %v", got, err)
	}
	if err := s.run(t.Context(), text, "top", &History{}); err == nil {
		t.Error("the promotion was made again, though nobody knows whether it was made")
	}
	if got := s.now(); got != "promoted stopped" {
		t.Errorf("resumed to %s", got)
	}
}

// TestUnsettledStep: a step that was interrupted in the middle of a change, and
// says nothing about that, is not guessed at.
func TestUnsettledStep(t *testing.T) {
	text := bookText(`steps = {
  step { "one", run = function(c) site.set("a") end, undo = function(c) site.unset("a") end },
  step { "two", run = function(c) site.set("b") end },
}`)
	s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}}
	s.dieAt = 6 // within site.set("a")
	process(func() { _ = s.run(t.Context(), text, "top", &History{}) })
	s.dieAt = 0
	lines := len(s.journals["top"])
	err := s.run(t.Context(), text, "top", &History{})
	var unsettled *UnsettledError
	if !errors.As(err, &unsettled) || unsettled.Step != "one" || unsettled.Func != "site.set" || HasBegun(err) {
		t.Fatalf("killed %s, then resumed: %v", s.passed[5], err)
	}
	if got := len(s.journals["top"]); got != lines {
		t.Errorf("a run that was refused wrote %d lines", got-lines)
	}
	if err := s.run(t.Context(), text, "top", &History{Again: []string{"two"}}); err == nil {
		t.Error("a step that was not interrupted was settled by the operator")
	}
	done := &ground{set: maps.Clone(s.set), journals: map[string][][]byte{"top": s.journals["top"]}}
	if err := done.run(t.Context(), text, "top", &History{Done: []string{"one"}}); err != nil || done.now() != "b" {
		t.Errorf("the operator says that it is done: %s, want b; %v", done.now(), err)
	}
	if err := s.run(t.Context(), text, "top", &History{Again: []string{"one"}}); err != nil || s.now() != "a b" {
		t.Errorf("the operator wants it again: %s, want a b; %v", s.now(), err)
	}
}

// TestResumedRunThatAsks: a run that will ask somebody who is not there stays as
// it was.
func TestResumedRunThatAsks(t *testing.T) {
	text := bookText(`steps = {
  step { "one", run = function(c) site.set("a") end, undo = function(c) site.unset("a") end, repeatable = true },
  step { "two", confirm = "Go on?", run = function(c) site.set("b") end },
}`)
	s := &ground{set: map[string]bool{}, journals: map[string][][]byte{}}
	r := mustLoad(t, text, s.host())
	for _, e := range []Event{{Kind: RunBegan}, {Kind: StepBegan, Step: "one"}, {Kind: StepEnded, Step: "one", Outcome: Done, Changed: true}} {
		e.Runbook = "demo"
		line, err := r.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		s.journals["top"] = append(s.journals["top"], line)
	}
	if err := s.run(t.Context(), text, "top", &History{}); err == nil || !strings.Contains(err.Error(), "asks a question") {
		t.Errorf("got %v", err)
	}
	if got := len(s.journals["top"]); got != 3 || s.now() != "" {
		t.Errorf("%d lines are in the journal, want 3; set: %s", got, s.now())
	}
}

// TestExactValues: what a step returned comes back from the journal as it was.
func TestExactValues(t *testing.T) {
	r := mustLoad(t, bookText(`steps = { step { "one", run = function(c) end } }`), (&world{}).host())
	value := map[string]any{
		"lsn": lsn(0xFFFFFFFFFFFFFFFE), "n": int64(1 << 53), "f": 0.1, "big": float64(1 << 60), "no": nil, "yes": true,
		"text": "a \"b\"\n\u2028", "bytes": "\xff\x00", "$odd": "x", "list": []any{lsn(1), "1", int64(1), map[string]any{"$lsn": "not one"}},
		"empty": map[string]any{},
	}
	line, err := r.EncodeEvent(Event{Kind: StepEnded, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.DecodeEvent(line)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%#v", e.Value), fmt.Sprintf("%#v", value); got != want {
		t.Errorf("got  %s\nwant %s\nfrom %s", got, want, line)
	}
	if _, err := r.EncodeEvent(Event{Kind: StepEnded, Value: struct{}{}}); err == nil {
		t.Error("a value was written that cannot be read back")
	}
}
