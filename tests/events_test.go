package tests

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warmrun/warmrun/tests/cluster"
)

// TestEvents follows runs as programs and logs do: what nodes at work say, that
// they still work, and how long the outage was.
func TestEvents(t *testing.T) {
	t.Parallel()
	newState(t).inTurn(
		chapter{"followed by a program", (*state).followedByProgram},
		chapter{"how long it took before", (*state).outagePlanned},
		chapter{"a long silence on another node", (*state).longSilence},
		chapter{"several nodes at once", (*state).severalNodes},
	)
}

// toldEvent is a line of --json.
type toldEvent struct {
	Event, Run, Node, Runbook, Step, Outcome, Line, Outage string
	Seconds                                                float64
	Format                                                 int
	Code                                                   int `json:"exit_code"`
}

// told reads what a command prints with --json: nothing but events.
func (s *state) told(result cluster.Result) (events []toldEvent) {
	s.Helper()
	for line := range strings.Lines(result.Stdout) {
		var e toldEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.Fatalf("%s\n%q is no event: %v", result, line, err)
		}
		events = append(events, e)
	}
	return events
}

// followedByProgram: the standby drives a switchover, whose flush runs on the
// primary. All of both is told in one stream, in its order.
func (s *state) followedByProgram() {
	s.write(s.DB1)
	result := s.DB2.Must("switchover", "--drain", "0s", "--json")
	events := s.told(result)
	id := events[1].Run
	last := events[len(events)-1]
	if first := events[0]; first.Event != "stream" || first.Format != 1 || last.Event != "end" || last.Code != 0 || last.Run != id {
		s.Errorf("%s\nwant it to begin with the stream and to end with status 0", result)
	}
	next := 0
	for _, want := range []toldEvent{
		{Event: "run began", Node: "db2", Runbook: "switchover"},
		{Event: "step began", Node: "db2", Step: "flush"},
		{Event: "nested run called", Node: "db2", Step: "flush"},
		{Event: "run began", Node: "db1", Runbook: "flushPrimary"},
		{Event: "output", Node: "db1", Step: "checkpoint", Line: "CHECKPOINT"},
		{Event: "mark", Node: "db1", Step: "stop", Outage: "begins"},
		{Event: "step ended", Node: "db1", Step: "stop", Outcome: "done"},
		{Event: "run ended", Node: "db1", Runbook: "flushPrimary", Outcome: "done"},
		{Event: "step ended", Node: "db2", Step: "flush", Outcome: "done"},
		{Event: "no return", Node: "db2", Runbook: "triggerStandby"},
		{Event: "mark", Node: "db2", Step: "verify", Outage: "ends"},
		{Event: "run ended", Node: "db2", Runbook: "switchover", Outcome: "done"},
	} {
		i := slices.IndexFunc(events[next:], want.matches)
		if i < 0 {
			s.Fatalf("%s\nwant %+v behind the first %d", result, want, next)
		}
		if !strings.HasPrefix(events[next+i].Run, id) {
			s.Errorf("%+v is of another run than %s", events[next+i], id)
		}
		next += i + 1
	}
	for _, e := range events {
		if e.Event == "output" && strings.Contains(e.Line, "==>") {
			s.Errorf("the frame of another run is told as output: %+v", e)
		}
	}
	s.asBefore(s.DB2, s.DB1)
	output := filepath.Join(s.DB2.Home, "local", "runs", id, "output")
	if text := s.DB2.Exec("cat", output).Stdout; !strings.Contains(text, "\n==> flush  [") || !strings.Contains(text, "\n    ==> stop  [") {
		s.Errorf("%s has\n%s\nwant what is printed without --json", output, text)
	}
}

// matches reports whether an event has what is wanted of it.
func (want toldEvent) matches(e toldEvent) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return want.Event == e.Event && same(want.Node, e.Node) && same(want.Runbook, e.Runbook) && same(want.Step, e.Step) &&
		same(want.Outcome, e.Outcome) && same(want.Line, e.Line) && same(want.Outage, e.Outage)
}

// outagePlanned: a plan tells from where to where clients cannot write, and how
// long that was in the run before, parts of which are on other nodes.
func (s *state) outagePlanned() {
	plan := s.DB2.Must("switchover", "--plan", "--drain", "0s")
	s.says(plan, "clients cannot write from step flush/stop to step promote/verify", "the last run of switchover took ", " between the two (",
		"flush/stop: 0 clients are connected and have 0s to finish", "promote/trigger: db1 has replayed up to ")
	var saved struct {
		Outage struct {
			Begins, Ends []string
			Past         []struct{ Seconds float64 }
		}
	}
	if err := json.Unmarshal([]byte(s.DB2.Must("switchover", "--plan", "--json").Stdout), &saved); err != nil {
		s.Fatal(err)
	}
	if o := saved.Outage; strings.Join(o.Begins, "/") != "flush/stop" || strings.Join(o.Ends, "/") != "promote/verify" || len(o.Past) != 1 || o.Past[0].Seconds <= 0 || o.Past[0].Seconds > 60 {
		s.Errorf("the plan has %+v", o)
	}
	// dr drove none of them, but was locked and has the copy.
	s.says(s.DR.Must("switchover", "--plan"), "the last run of switchover took ")
	first := s.DB2.Must("flushPrimary", "--plan", "--drain", "0s")
	s.says(first, "how long it takes from there to its end is not known: no earlier run of flushPrimary")
}

// longSilence: a step on another node that says nothing for half a minute is said
// to be at work, once, by that node.
func (s *state) longSilence() {
	s.override(s.DB2, "flushPrimary", `      say("Executing pre-flush checkpoint")`, `      shell.run(c.node, "sleep 33")`)
	s.write(s.DB2)
	events := s.told(s.DB1.Must("switchover", "--drain", "0s", "--json"))
	var beats []toldEvent
	for _, e := range events {
		if e.Event == "still running" {
			beats = append(beats, e)
		}
	}
	if len(beats) != 1 || beats[0].Node != "db2" || beats[0].Step != "checkpoint" || beats[0].Seconds < 30 {
		s.Errorf("signs of life %+v, want one of db2's checkpoint", beats)
	}
	s.asBefore(s.DB1, s.DB2)
	output := filepath.Join(s.DB1.Home, "local", "runs", events[1].Run, "output")
	if text := s.DB1.Exec("cat", output).Stdout; strings.Count(text, "still running after 30.") != 1 {
		s.Errorf("%s has\n%s", output, text)
	}
}

// severalNodes: distrib works on the others at the same time, and one that is down
// keeps no other from being served.
func (s *state) severalNodes() {
	s.says(s.DB1.Must("distrib"), "    db2: Running rsync ", "    dr: Running rsync ")
	s.says(s.DB1.Must("distrib", "--plan"), "copy this program and global/ to db2", "copy this program and global/ to dr")
	s.DB2.StopSSH()
	defer s.DB2.StartSSH()
	result := s.DB1.Run("distrib")
	s.failed(result, 1, "on db2: reach db2: ")
	s.says(result, "    dr: Running rsync ")
}
