package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// follower writes down what it is told of a run.
type follower struct {
	mu     sync.Mutex
	events []Event
	told   chan Event
}

func (f *follower) tell(e Event) {
	f.mu.Lock()
	f.events = append(f.events, e)
	f.mu.Unlock()
	if f.told != nil {
		f.told <- e
	}
}

// words are the events, in short.
func (f *follower) words() string {
	var lines []string
	for _, e := range f.events {
		words := []string{string(e.Kind)}
		for _, word := range []string{e.Step, string(e.Outcome), e.Line, e.Outage, e.Error} {
			if word != "" {
				words = append(words, word)
			}
		}
		if e.Finally {
			words = append(words, "(finally)")
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

// TestTold: whoever follows a run is told of all that is printed, in its order.
func TestTold(t *testing.T) {
	w := &world{}
	host := extendedHost(w, extension(`finally = { step { "mail", run = function(c) say("over: %s", c.outcome) end } }`))
	r := mustLoad(t, bookText(`checks = { check { "up", function(c) test.print("looking\n") return true end } },
steps = {
  step { "stop", outage = "begins", retries = 1, run = function(c) say("stopping") test.print("half") test.print(" a line\nopen") pg_ctl.stop(c.node) return 7 end,
    undo = function(c) say("starting") end },
  step { "skip", when = function(c) return false end, run = function(c) end },
  step { "verify", outage = "ends", run = function(c) fail("not there") end },
}`), host)
	f := &follower{}
	var out bytes.Buffer
	_, _ = r.Run(t.Context(), nil, RunOptions{Out: &out, Tell: f.tell})
	want := `run began
output up looking
check ended up done
mark stop the outage begins: clients cannot write from here begins
step began stop
output stop stopping
output stop half a line
change began stop
output stop open
step ended stop done
step ended skip skipped
mark verify the outage ends: clients can write again ends
step began verify
step ended verify failed not there
gave up verify not there
undo began stop
output stop starting
undo ended stop undone
step began mail (finally)
output mail over: failed (finally)
step ended mail done (finally)
run ended failed step verify: not there`
	if got := f.words(); got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
	if got := f.events[0].Steps; fmt.Sprint(got) != "[stop skip verify]" {
		t.Errorf("steps %v", got)
	}
}

// TestToldOfRunsWithin: the lines of a run within a step are told once, as its own.
func TestToldOfRunsWithin(t *testing.T) {
	var host Host
	inner := `return runbook { api = 1, name = "inner", summary = "s", runs_on = "any", lock = "none",
steps = { step { "deep", run = function(c) say("from within") end } } }`
	host.Modules = []Module{{Name: "site", Funcs: []Func{{Name: "run", Effect: Change, Fn: func(ctx context.Context) error {
		r, err := Load(ctx, Source{Path: "inner.lua", Text: inner}, host)
		if err != nil {
			return err
		}
		_, err = r.Run(ctx, nil, RunOptions{})
		return err
	}}}}}
	r := mustLoad(t, bookText(`steps = { step { "outer", run = function(c) say("before") site.run() say("after") end } }`), host)
	f := &follower{}
	var out bytes.Buffer
	if _, err := r.Run(t.Context(), nil, RunOptions{Out: &out, Tell: f.tell}); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range f.events {
		if e.Kind == OutputLine {
			lines = append(lines, e.Runbook+": "+e.Line)
		}
	}
	if got, want := strings.Join(lines, "; "), "demo: before; demo/outer/inner: from within; demo: after"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(out.String(), "        from within\n") {
		t.Errorf("the output is\n%s", out.String())
	}
}

// TestToldWithoutSecrets: what is told hides secrets as the output does.
func TestToldWithoutSecrets(t *testing.T) {
	var given string
	host := Host{
		Modules: []Module{{Name: "test", Funcs: []Func{
			{Name: "take", Effect: Change, Args: []string{"key"}, Fn: func(ctx context.Context, s Secret) (string, error) {
				given = s.Reveal()
				for _, piece := range []string{"the key is", " hush", "hush\n"} {
					fmt.Fprint(Output(ctx), piece)
				}
				return "kept " + s.Reveal(), fmt.Errorf("refused %s", s.Reveal())
			}},
		}}},
		Secret: func(string) (Secret, error) { return NewSecret("hushhush"), nil },
	}
	r := mustLoad(t, bookText(`params = { key = param.secret { help = "h" } },
steps = { step { "one", run = function(c) test.take(c.params.key) end } }`), host)
	f := &follower{}
	_, _ = r.Run(t.Context(), map[string]string{"key": "file"}, RunOptions{Tell: f.tell})
	got := f.words()
	if given != "hushhush" || strings.Contains(got, "hush") || !strings.Contains(got, "output one the key is ***") || !strings.Contains(got, "refused ***") {
		t.Errorf("told:\n%s", got)
	}
}

// TestHeartbeat: a step that says nothing for a while says that it still runs, and
// how far it is.
func TestHeartbeat(t *testing.T) {
	f := &follower{told: make(chan Event, 100)}
	var out bytes.Buffer
	host := Host{Modules: []Module{{Name: "test", Funcs: []Func{
		{Name: "long", Effect: Change, Args: []string{}, Fn: func(ctx context.Context) error {
			SoFar(ctx, "%d of 12 segments", 3)
			for e := range f.told {
				if e.Kind == StillRunning && e.Line != "" {
					return nil
				}
			}
			return nil
		}},
	}}}}
	r := mustLoad(t, bookText(`steps = { step { "wait", run = function(c) test.long() end } }`), host)
	if _, err := r.Run(t.Context(), nil, RunOptions{Out: &out, Tell: f.tell, heartbeatAfter: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "    still running after ") || !strings.Contains(out.String(), ": 3 of 12 segments\n") {
		t.Errorf("the output is\n%s", out.String())
	}
}

// TestNoHeartbeat: nothing is said over output that comes, over a run within that
// gives signs of life itself, and while the operator is asked.
func TestNoHeartbeat(t *testing.T) {
	const after = 40 * time.Millisecond
	for name, quiet := range map[string]func(context.Context){
		"output": func(ctx context.Context) {
			for range 40 {
				fmt.Fprint(Output(ctx), "\rbar")
				time.Sleep(after / 10)
			}
		},
		"elsewhere": func(ctx context.Context) {
			defer LivesElsewhere(ctx)()
			time.Sleep(4 * after)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := Host{Modules: []Module{{Name: "test", Funcs: []Func{
					{Name: "busy", Effect: Change, Fn: func(ctx context.Context) error { quiet(ctx); return nil }},
				}}}}
				r := mustLoad(t, bookText(`steps = { step { "wait", run = function(c) test.busy() end } }`), host)
				f := &follower{}
				if _, err := r.Run(t.Context(), nil, RunOptions{Tell: f.tell, heartbeatAfter: after}); err != nil {
					t.Fatal(err)
				}
				if got := f.words(); strings.Contains(got, string(StillRunning)) {
					t.Errorf("told:\n%s", got)
				}
			})
		})
	}
}
