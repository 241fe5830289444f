package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/warmrun/warmrun/walcore/cluster"
)

// Level is how bad a verdict is, in the order and the words of Nagios plugins.
type Level int

// The levels; their numbers are the exit statuses of a plugin.
const (
	OK Level = iota
	Warning
	Critical
	Unknown
)

var levelWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// String is the level's word.
func (l Level) String() string { return levelWords[l] }

// MarshalText makes a level its word in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(levelWords[l]), nil }

// worse reports whether a level counts more than another in a summary: what is
// known to be bad, then what is not known.
func (l Level) worse(than Level) bool {
	order := [...]int{OK: 0, Warning: 1, Unknown: 2, Critical: 3}
	return order[l] > order[than]
}

// Verdict is one line of a check.
type Verdict struct {
	Level Level            `json:"level"`
	Node  cluster.NodeName `json:"node"`
	Check string           `json:"check"` // what was looked at, in one word
	Text  string           `json:"text"`
	Next  string           `json:"next,omitempty"` // what to do; empty where all is well
}

// Limits are the values from which on a check warns.
type Limits struct {
	LagWarning, LagCritical   int64         // bytes that a node is behind
	FreeWarning, FreeCritical float64       // percent of a disk that must be free
	BackupAge                 time.Duration // of the newest base copy; 0 does not ask
}

// Checkup is everything that was looked at.
type Checkup struct {
	Level    Level              `json:"level"`
	Summary  string             `json:"summary"`
	Verdicts []Verdict          `json:"verdicts"`
	Metrics  []Metric           `json:"metrics"`
	Nodes    []cluster.NodeName `json:"nodes"`
}

// Metric is a figure for those who draw graphs.
type Metric struct {
	Name  string           `json:"name"` // in the style of Prometheus, with its unit
	Node  cluster.NodeName `json:"node,omitempty"`
	Help  string           `json:"-"`
	Value float64          `json:"value"`
	// Unit is that of Nagios' performance data: "B", "s" or none.
	Unit              string  `json:"-"`
	Warning, Critical float64 `json:"-"` // 0 is none
}

// judge collects the verdicts on a cluster.
type judge struct {
	Limits
	c        ClusterStatus
	primary  *NodeStatus
	verdicts []Verdict
}

func (j *judge) add(level Level, n NodeStatus, check, next, format string, args ...any) {
	if level == OK {
		next = ""
	}
	j.verdicts = append(j.verdicts, Verdict{Level: level, Node: n.Node, Check: check, Text: fmt.Sprintf(format, args...), Next: next})
}

// Check looks at all nodes, which were examined, and judges everything that is
// known to go wrong.
func Check(limits Limits, nodes ...NodeStatus) Checkup {
	c := Gather(nodes...)
	j := &judge{Limits: limits, c: c}
	for i := range c.Nodes {
		if c.Nodes[i].Node == c.Primary {
			j.primary = &c.Nodes[i]
		}
	}
	j.onePrimary()
	for _, n := range c.Nodes {
		if !j.reached(n) {
			continue
		}
		j.host(n)
		j.links(n)
		if n.Facts == nil {
			continue
		}
		j.settings(n)
		j.archive(n)
		j.freshCopy(n)
		if n.writes() {
			j.ships(n)
			j.handover(n)
		}
		if j.primary != nil && n.Node != j.primary.Node {
			j.against(n, *j.primary)
		}
	}
	j.backups()
	j.unasked()
	j.afterRuns()
	up := Checkup{Verdicts: j.verdicts, Metrics: j.metrics()}
	for _, n := range c.Nodes {
		up.Nodes = append(up.Nodes, n.Node)
	}
	up.sum()
	return up
}

// sum puts the verdicts into one line.
func (u *Checkup) sum() {
	counts := map[Level]int{}
	var first Verdict
	for _, v := range u.Verdicts {
		counts[v.Level]++
		if v.Level.worse(u.Level) {
			u.Level, first = v.Level, v
		}
	}
	if u.Level == OK {
		u.Summary = fmt.Sprintf("%d checks on %d nodes", len(u.Verdicts), len(u.Nodes))
		return
	}
	var parts []string
	for _, level := range []Level{Critical, Unknown, Warning} {
		if counts[level] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[level], strings.ToLower(level.String())))
		}
	}
	u.Summary = fmt.Sprintf("%s of %d checks; %s %s: %s", strings.Join(parts, ", "), len(u.Verdicts), first.Node, first.Check, first.Text)
}

// needed are the fields that a check cannot do without.
var needed = []string{"archiving_active", "backlog", "collations", "fence", "gaps", "half_rewound", "last_backup", "last_received", "libraries", "loads", "logical_slots",
	"prepared_transactions", "role", "running_backups", "secrets", "settings", "stamp", "unfinished_runs", "wanted"}

// unasked notes what could not be found out.
func (j *judge) unasked() {
	for _, n := range j.c.Nodes {
		if n.silent() {
			continue
		}
		byReason := map[string][]string{}
		for _, field := range needed {
			if reason := n.Unknown[field]; reason != "" {
				byReason[reason] = append(byReason[reason], strings.ReplaceAll(field, "_", " "))
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(byReason)) {
			j.add(Unknown, n, "facts", "mend that, and ask again", "unknown: %s: %s", strings.Join(byReason[reason], ", "), reason)
		}
	}
}
