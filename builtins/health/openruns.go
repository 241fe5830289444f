package health

import (
	"fmt"
	"slices"
	"strings"
)

// UnfinishedRun is a run that a node has on record and that nobody drives any more.
// Other nodes may have the same one.
type UnfinishedRun struct {
	Run  string `json:"run"`
	Next string `json:"next"` // the ways to end it
}

func (r UnfinishedRun) String() string { return r.sentence() + "; " + r.Next }

func (r UnfinishedRun) sentence() string { return fmt.Sprintf("run %s is unfinished", r.Run) }

// refused are the runbooks that change the cluster: none of them begins while
// another run is unfinished.
var refused = []string{
	"configStandby", "copyToDR", "copyToStandby", "distrib", "failover", "flushPrimary", "lowerFence", "rejoin", "restartPrimary",
	"startPrimary", "startSite", "startStandby", "stopSite", "stopStandby", "switchback", "switchover", "triggerStandby",
}

// Refused reports whether an advice names a command that is refused while a run is
// unfinished.
func Refused(advice string) bool {
	words := strings.FieldsFunc(advice, func(r rune) bool { return strings.ContainsRune(" ,;:()", r) })
	for i, word := range words {
		if word == "warmrun" && i+1 < len(words) && slices.Contains(refused, words[i+1]) {
			return true
		}
	}
	return false
}

// openRuns are the runs that have to be brought to an end before anything else,
// each once.
func (c *ClusterStatus) openRuns() []UnfinishedRun {
	var open []UnfinishedRun
	for _, n := range c.Nodes {
		for _, r := range n.Unfinished {
			if !slices.ContainsFunc(open, func(other UnfinishedRun) bool { return other.Run == r.Run }) {
				open = append(open, r)
			}
		}
	}
	return open
}

// besideRuns are the hints where runs are unfinished: how to end these, what can be
// mended beside them, and where to look for the rest.
func (c *ClusterStatus) besideRuns(open []UnfinishedRun, failing, others []string) []string {
	var hints []string
	for _, r := range open {
		hints = append(hints, r.String())
	}
	hints = append(hints, failing...)
	if len(others) > len(failing) {
		hints = append(hints, "nothing else that changes the cluster begins before that; warmrun status says then what is left to do")
	}
	return hints
}

// endFirst is what to do where the advice itself is refused until then.
func endFirst(open []UnfinishedRun, then string) string {
	return fmt.Sprintf("bring run %s to its end first: warmrun runs list; then: %s", open[0].Run, then)
}

// unfinished judges the runs that nobody drives any more, one that several nodes
// have on record once.
func (j *judge) unfinished(n NodeStatus) {
	for _, run := range n.Unfinished {
		told := func(v Verdict) bool { return v.Check == "runs" && v.Text == run.sentence() }
		if !slices.ContainsFunc(j.verdicts, told) {
			j.add(Warning, n, "runs", run.Next, "%s", run.sentence())
		}
	}
}

// afterRuns takes the advice back that must not, or cannot, be followed while runs
// are unfinished. What is wrong is often what they have left half done.
func (j *judge) afterRuns() {
	open := j.c.openRuns()
	if len(open) == 0 {
		return
	}
	for i, v := range j.verdicts {
		if v.Level != OK && v.Check != "runs" && v.Check != "primary" && (v.Check == "server" || Refused(v.Next)) {
			j.verdicts[i].Next = endFirst(open, "warmrun check")
		}
	}
}
