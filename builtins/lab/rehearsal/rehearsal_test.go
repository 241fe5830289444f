package rehearsal

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warmrun/warmrun/builtins/lab"
	"github.com/warmrun/warmrun/builtins/lab/boundary"
)

// TestSplit: two nodes accept writes at one time only where one does before and
// after the other was seen to.
func TestSplit(t *testing.T) {
	for _, test := range []struct {
		name string
		seen []string // node and what it is
		want string   // part of the finding
	}{
		{"one all the time", []string{"db1 primary", "db2 standby", "db1 primary", "db2 standby"}, ""},
		{"a switchover", []string{"db1 primary", "db2 standby", "db1 stopped", "db2 primary", "db1 standby", "db2 primary"}, ""},
		{"promoted between two questions", []string{"db1 primary", "db2 primary", "db1 stopped", "db2 primary"}, ""},
		{"there and back", []string{"db1 primary", "db2 primary", "db1 silent", "db2 standby", "db1 primary"}, ""},
		{"two", []string{"db1 primary", "db2 primary", "db1 primary"}, "db1 and db2 accepted writes at the same time"},
		{"the DR node", []string{"dr primary", "db1 primary", "db2 standby", "dr primary"}, "dr and db1 accepted writes at the same time"},
	} {
		w := &watcher{lab: &lab.Lab{}, seen: map[string]string{}}
		after := map[string]map[string]bool{}
		for _, seen := range test.seen {
			node, what, _ := strings.Cut(seen, " ")
			w.note(node, what, after)
		}
		if got := w.split; (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: found %q, want %q", test.name, got, test.want)
		}
	}
}

func TestBoundaryOf(t *testing.T) {
	for _, test := range []struct {
		moment boundary.Moment
		want   Place
	}{
		{boundary.Moment{Event: "step began"}, ""},
		{boundary.Moment{Event: "change began", Before: true}, ""},
		{boundary.Moment{Event: "change began"}, Before},
		{boundary.Moment{Event: "nested run called"}, Before},
		{boundary.Moment{Event: "step ended", Outcome: "done", Before: true}, Changed},
		{boundary.Moment{Event: "step ended", Outcome: "done"}, Ended},
		{boundary.Moment{Event: "step ended", Outcome: "skipped"}, ""},
		{boundary.Moment{Event: "step ended", Outcome: "failed", Before: true}, ""},
	} {
		test.moment.Runbook, test.moment.Step = "b", "s"
		b, ok := boundaryOf(test.moment)
		if b.At != test.want || ok != (test.want != "") {
			t.Errorf("%+v is %q, %v; want %q", test.moment, b.At, ok, test.want)
		}
		past := Boundary{Runbook: "b", Step: "s", At: test.want, Past: true}
		if ok && !past.is(test.moment) {
			t.Errorf("%+v is not %+v", test.moment, past)
		}
	}
}

// TestScenario: what the table does not know runs on the node that has its part,
// and flags that are given, or that a site's own version has not, are not added.
func TestScenario(t *testing.T) {
	for part, driver := range map[string]string{"primary": "db1", "standby": "db2", "dr": "dr", "any": "db1", "pair": "db1"} {
		if got := scenarioOf(Book{Name: "own", RunsOn: part}); got.driver != driver || got.cluster != full {
			t.Errorf("a runbook that runs on %s: driver %s, stage %d; want %s and a whole cluster", part, got.driver, got.cluster, driver)
		}
	}
	for _, test := range []struct {
		flags, given []string
		want         string
	}{
		{[]string{"drain", "erase"}, nil, "switchback --drain=0s --erase --yes"},
		{[]string{"drain", "erase"}, []string{"--drain=5s"}, "switchback --erase --drain=5s --yes"},
		{[]string{"drain", "erase"}, []string{"--no-erase"}, "switchback --drain=0s --no-erase --yes"},
		{[]string{"drain"}, nil, "switchback --drain=0s --yes"},
	} {
		book := Book{Name: "switchback", Flags: test.flags}
		if got := strings.Join(scenarioOf(book).command(book, test.given, strings.NewReplacer()), " "); got != test.want {
			t.Errorf("%v with %v: %q, want %q", test.flags, test.given, got, test.want)
		}
	}
}

// TestShippedScenarios: every shipped runbook changes something, so each has a
// cluster that it makes sense on.
func TestShippedScenarios(t *testing.T) {
	files, err := filepath.Glob("../../../runbooks/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d runbooks found, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".lua")
		if _, ok := scenarios[name]; !ok {
			t.Errorf("%s has no scenario: it is not in the crash matrix", name)
		}
	}
	if len(scenarios) != len(files) {
		t.Errorf("%d scenarios for %d runbooks", len(scenarios), len(files))
	}
}

// TestPlans: filters leave the rows that are asked for, a run that can be undone
// is played both ways, and a filter that leaves nothing says what there is.
func TestPlans(t *testing.T) {
	declared := []Boundary{
		{Runbook: "b", Step: "stop", At: Before}, {Runbook: "b", Step: "stop", At: Ended},
		{Runbook: "inner", Step: "stop", At: Before, Past: true},
	}
	for _, test := range []struct {
		o    Options
		want int
	}{
		{Options{}, 4 + 4 + 3},
		{Options{Step: "inner/stop"}, 3},
		{Options{Step: "stop", At: Before}, 4 + 3},
		{Options{Step: "b/stop", Kill: Program}, 4},
		{Options{Kill: Server}, 3},
		{Options{Step: "none"}, 0},
	} {
		test.o.Book.Name = "b"
		r := &rehearsal{o: test.o}
		asked, err := r.asked(declared)
		if (err != nil) != (test.want == 0) {
			t.Errorf("%+v: %v", test.o, err)
		}
		if got := len(r.plans(asked)); got != test.want {
			t.Errorf("%+v: %d rows, want %d", test.o, got, test.want)
		}
	}
}

// TestConclude: a boundary that was never hit fails the rehearsal, as a problem
// does.
func TestConclude(t *testing.T) {
	a, b := Boundary{Step: "a", At: Before}, Boundary{Step: "b", At: Before}
	for _, test := range []struct {
		name   string
		rows   []Row
		passed bool
		missed []Boundary
	}{
		{"all hit", []Row{{}, {Boundary: &a, Hit: true}, {Boundary: &b, Hit: true}}, true, nil},
		{"one missed", []Row{{}, {Boundary: &a, Hit: true}, {Boundary: &b}}, false, []Boundary{b}},
		{"one without a row", []Row{{}, {Boundary: &a, Hit: true}}, false, []Boundary{b}},
		{"a problem", []Row{{}, {Boundary: &a, Hit: true, Problems: []string{"x"}}, {Boundary: &b, Hit: true}}, false, nil},
		{"nothing at all", nil, false, []Boundary{a, b}},
	} {
		report := Report{Rows: test.rows}
		report.conclude([]Boundary{a, b}, time.Now())
		if report.Passed != test.passed || !slices.Equal(report.Missed, test.missed) {
			t.Errorf("%s: passed %v, missed %v; want %v, %v", test.name, report.Passed, report.Missed, test.passed, test.missed)
		}
	}
}

// TestSettled: the operator says of an interrupted step what is true of it.
func TestSettled(t *testing.T) {
	const said = "warmrun: hint: nothing was done; look what it has come to (warmrun status), then go on behind it: warmrun runs resume R --done 'one step'; or run it\nagain: warmrun runs resume R --repeat 'one step'; or undo the run"
	for at, want := range map[Place]string{Before: "--repeat one step", Changed: "--done one step"} {
		o := operator{at: at}
		if got := strings.Join(o.settled(said), " "); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	o := operator{}
	if got := o.settled("to go on where it stopped: warmrun runs resume R"); got != nil {
		t.Errorf("%q, though nothing was asked", got)
	}
}
