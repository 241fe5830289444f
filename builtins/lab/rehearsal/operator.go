package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// operator types what somebody would who finds an unfinished run.
type operator struct {
	r    *rehearsal
	node string
	// back: a run that can go either way is undone.
	back bool
	// at is where the run was cut: what a look at the cluster would tell of the
	// step that was interrupted.
	at    Place
	known map[string]bool // runs that were there before
	did   []string
	said  *strings.Builder
}

// listedRun is a line of runs list.
type listedRun struct {
	ID, Runbook, State, Next string
	Past                     bool `json:"past_no_return"`
}

// stuckStates are those of a run that is not to be left as it is.
var stuckStates = []string{"interrupted", "under way", "stopped halfway"}

func (run listedRun) open() bool { return slices.Contains(stuckStates, run.State) }

func (o *operator) runs(ctx context.Context) (runs []listedRun, err error) {
	got, err := o.r.run(ctx, o.node, "runs", "list", "--json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(got.out), &runs); err != nil {
		return nil, fmt.Errorf("runs list on %s (%s): %w\n%s", o.node, got.status(), err, got.err)
	}
	return slices.DeleteFunc(runs, func(run listedRun) bool { return o.known[run.ID] }), nil
}

// look notes the runs that are there already.
func (o *operator) look(ctx context.Context) error {
	runs, err := o.runs(ctx)
	o.known = map[string]bool{}
	for _, run := range runs {
		o.known[run.ID] = true
	}
	return err
}

// settleTries bounds what is typed for one row.
const settleTries = 4

// settle goes on with unfinished runs until there are none, and notes how the
// one of the row has ended.
func (o *operator) settle(ctx context.Context, row *Row) error {
	var words []string
	for range settleTries {
		runs, err := o.runs(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(runs, listedRun.open)
		if i < 0 {
			row.Ended = ""
			if len(runs) > 0 {
				row.Ended = runs[0].State // the newest
			}
			return nil
		}
		row.Ended = runs[i].State
		if words, err = o.goOn(ctx, runs[i], words); err != nil {
			return err
		}
	}
	row.problem("the run is still unfinished, whatever was typed")
	return nil
}

// goOn types resume or rollback. The words that it gives are to be typed next:
// what the run asks of an interrupted step.
func (o *operator) goOn(ctx context.Context, run listedRun, words []string) ([]string, error) {
	way := "resume"
	canResume, canUndo := strings.Contains(run.Next, "runs resume"), strings.Contains(run.Next, "runs rollback")
	if canUndo && (!canResume || o.back) {
		way = "rollback"
	}
	if way == "rollback" {
		words = nil
	}
	typed := append([]string{"runs", way, run.ID, "--yes"}, words...)
	o.did = append(o.did, strings.Join(append([]string{way}, words...), " "))
	var got outcome
	err := eventually(ctx, "the locks of the killed run are free", func() (bool, error) {
		var err error
		got, err = o.r.run(ctx, o.node, typed...)
		if err == nil && got.code == 5 {
			err = fmt.Errorf("%s", got.err)
		}
		return got.code != 5, err
	})
	fmt.Fprintf(o.said, "%s$ warmrun %s (%s)\n%s", o.node, strings.Join(typed, " "), got.status(), got.all())
	if err != nil || got.code != 4 {
		return nil, err
	}
	return o.settled(got.err), nil
}

// askedOf finds the step that an operator is asked about.
var askedOf = regexp.MustCompile(`--repeat (?:'([^']+)'|([^\s;]+))`)

// settled is the operator's word on an interrupted step, where it is asked for.
func (o *operator) settled(said string) []string {
	found := askedOf.FindStringSubmatch(strings.Join(strings.Fields(said), " "))
	if found == nil {
		return nil
	}
	word := "--repeat"
	if o.at == Changed {
		word = "--done"
	}
	return []string{word, found[1] + found[2]}
}

// abandon gives the newest run up.
func (o *operator) abandon(ctx context.Context) error {
	runs, err := o.runs(ctx)
	if err != nil {
		return err
	}
	if len(runs) == 0 || !runs[0].open() {
		return fmt.Errorf("there is no unfinished run on %s to give up", o.node)
	}
	return eventually(ctx, "the killed run is given up", func() (bool, error) {
		got, err := o.r.run(ctx, o.node, "runs", "abandon", runs[0].ID, "--yes")
		if err == nil && got.code != 0 {
			err = fmt.Errorf("%s: %s", got.status(), got.err)
		}
		return got.code == 0, err
	})
}
